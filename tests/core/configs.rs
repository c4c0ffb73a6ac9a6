//! Proves that a configuration is read strictly: the good ones parse, with exactly the warnings beside them, and each bad
//! one is refused with exactly the line beside it. No secret of any of them occurs in any error, warning or `{:?}`.
//!
//! `UPDATE_GOLDEN=1 cargo test --test configs` writes the texts anew; read every one of them before it is committed.

#![expect(clippy::unwrap_used, reason = "a broken file must fail the test loudly")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use webhook_guard_core::config::{self, SecretSources, Wrong};

/// The environment of every configuration here. What is secret in it is found again in no output.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("TOKEN", "tk-4f0c6b1e9a7d2358"),
    ("HOOK_TOKEN", "hook-91c2d7ab64e0f538"),
    ("GITHUB_WEBHOOK_SECRET", "gh-77d0e1f2a3b4c5d6"),
    ("SIGNING_KEY", "key!-5e8a1c3b7f9d0246"),
    ("WHSEC", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ("HEX_KEY", "00112233445566778899aAbBcCdDeEfF"),
    ("SHORT", "short-one"),
    ("TRAILING_NEWLINE", "newline-3c9b2a7f1e\n"),
    ("EMPTY", ""),
    ("NEWLINE", "\n"),
    ("UNEXPANDED", "${UNEXPANDED_INNER_NAME}"),
    ("PLACEHOLDER", "ChangeMe"),
    ("STARS", "***"),
    ("JSON_LIST", r#"["list-member-0a1b2c3d"]"#),
    (
        "JSON_KEYS",
        r#"{"github": "json-member-8d7c6b5a", "number": 5550123, "empty": "", "placeholder": "changeme",
            "twice": "first-of-two-1f2e", "twice": "second-of-two-3d4c"}"#,
    ),
];

/// Members of the variables that hold JSON.
const MEMBERS: [&str; 5] =
    ["list-member-0a1b2c3d", "json-member-8d7c6b5a", "5550123", "first-of-two-1f2e", "second-of-two-3d4c"];

/// A placeholder that is refused is a word of our own messages as well.
const NO_SECRET: [&str; 1] = ["secret"];

fn environment(name: &str) -> Option<String> {
    ENVIRONMENT.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

fn files(kind: &str) -> Vec<PathBuf> {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("tests/configs").join(kind);
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
}

/// What is different from the golden text; nothing where it is the same, or has just been written.
fn difference(golden: &Path, actual: &str) -> Option<String> {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        match actual {
            "" => drop(fs::remove_file(golden)),
            _ => fs::write(golden, actual).unwrap(),
        }
    }
    let expected = fs::read_to_string(golden).unwrap_or_default();
    let name = golden.file_stem().unwrap_or_default().to_string_lossy();
    (expected != actual).then(|| format!("{name}\n  expected: {expected}\n  actual:   {actual}"))
}

/// The warnings of a good configuration or all errors of a bad one, a line each, and all that it prints.
fn outcome(file: &Path) -> (Result<String, String>, String) {
    match config::read(&fs::read(file).unwrap(), &environment) {
        Ok(configuration) => {
            let warnings: String = configuration.warnings.iter().map(|one| format!("{one}\n")).collect();
            let printed = format!("{configuration:?}");
            (Ok(warnings), printed)
        }
        Err(report) => {
            let all = std::iter::once(&report.first).chain(&report.others);
            let lines: String = all.map(|error| format!("{error}\n")).collect();
            (Err(lines), format!("{report:?}"))
        }
    }
}

#[test]
fn good_configurations_parse_with_their_warnings() {
    let mut differences = Vec::new();
    for file in files("good") {
        let warnings = outcome(&file).0.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        differences.extend(difference(&file.with_extension("warnings.txt"), &warnings));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn bad_configurations_are_refused_with_their_message() {
    let mut differences = Vec::new();
    let mut messages = BTreeSet::new();
    for file in files("bad") {
        match outcome(&file).0 {
            Ok(_) => differences.push(format!("{}\n  is not refused", file.display())),
            Err(error) => {
                assert!(
                    !error.contains('\r'),
                    "{}: a message of more than one line: {error}",
                    file.display()
                );
                messages.extend(error.lines().map(str::to_owned));
                differences.extend(difference(&file.with_extension("txt"), &error));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(messages.len() >= 70, "only {} different messages", messages.len());
}

#[test]
fn no_secret_is_in_any_output() {
    let mut secrets: BTreeSet<String> = MEMBERS.map(str::to_owned).into();
    secrets.extend(ENVIRONMENT.iter().map(|(_, value)| value.trim().to_owned()));
    let files = [files("good"), files("bad")].concat();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        collect_secrets(&serde_json::from_str(&text).unwrap_or_default(), &mut secrets);
    }
    secrets.retain(|secret| !secret.is_empty() && !NO_SECRET.contains(&secret.as_str()));
    assert!(secrets.contains("inline-secret-value-03"), "inline secrets are not found");
    for file in &files {
        let (result, printed) = outcome(file);
        let output = format!("{}{printed}", result.unwrap_or_else(|error| error)).to_ascii_lowercase();
        for secret in &secrets {
            assert!(!output.contains(&secret.to_ascii_lowercase()), "{}: prints {secret:?}", file.display());
        }
    }
}

/// What stands behind `value` and `sha256`, and text that stands in place of a secret.
fn collect_secrets(value: &Value, secrets: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_secrets(item, secrets)),
        Value::Object(members) => {
            for (key, member) in members {
                match (key.as_str(), member) {
                    ("value" | "sha256" | "secrets", Value::String(text)) => {
                        secrets.insert(text.clone());
                    }
                    ("value", Value::Number(number)) => {
                        secrets.insert(number.to_string());
                    }
                    ("secrets", Value::Array(items)) => {
                        secrets.extend(items.iter().filter_map(Value::as_str).map(str::to_owned));
                        collect_secrets(member, secrets);
                    }
                    _ => collect_secrets(member, secrets),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn every_text_has_its_configuration() {
    for kind in ["good", "bad"] {
        let stems: BTreeSet<String> =
            files(kind).iter().map(|file| file.file_stem().unwrap().to_string_lossy().into_owned()).collect();
        let directory =
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("tests/configs").join(kind);
        for entry in fs::read_dir(directory).unwrap() {
            let name = entry.unwrap().file_name().to_string_lossy().into_owned();
            let stem = name.split('.').next().unwrap_or_default();
            assert!(stems.contains(stem), "{kind}/{name} belongs to no configuration");
        }
    }
}

#[test]
fn the_good_ones_name_every_provider_and_every_key() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let catalogue: Value =
        serde_json::from_slice(&fs::read(root.join("src/core/catalogue.json")).unwrap()).unwrap();
    let mut words = BTreeSet::new();
    for file in files("good") {
        collect_words(&serde_json::from_slice(&fs::read(file).unwrap()).unwrap(), &mut words);
    }
    for provider in catalogue.as_object().unwrap().keys() {
        assert!(words.contains(provider), "the provider {provider} is in no good configuration");
    }
    // The keys of the contract.
    for key in "policies unmatched hold_request_head policy_namespace held_bytes name match path exact prefix methods hosts require \
                mode max_body_bytes content_types content_encodings forward token identity remove_headers deny_status \
                source_ip allow deny query header bearer basic username secrets signature provider scheme \
                tolerance_seconds public_url env key value sha256 id not_before not_after algorithm encoding timestamp \
                unit future_seconds delivery_id signed secret split index repeated jwt body_sha256 url_sha256 claim required issuer audience equals equals_body_sha256 any_of all_of"
        .split_whitespace()
    {
        assert!(words.contains(key), "the key {key} is in no good configuration");
    }
}

fn collect_words(value: &Value, words: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            words.insert(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| collect_words(item, words)),
        Value::Object(members) => {
            for (key, member) in members {
                words.insert(key.clone());
                collect_words(member, words);
            }
        }
        _ => {}
    }
}

#[test]
fn of_a_process_only_what_is_listed_is_read_and_files_as_well() {
    let of = |environment: &str, secret: &str| {
        let list =
            if environment.is_empty() { String::new() } else { format!(r#""environment": {environment}, "#) };
        let policy = r#""policies": [{"name": "a", "match": {"path": "/a"}, "require": {"signature": {"provider": "github", "secrets": ["#;
        format!("{{{list}{policy}{secret}]}}}}}}]}}")
    };
    let files = |path: &str| match path {
        "/run/secrets/github" => Ok("a-secret-of-a-file-01\n".to_owned()),
        "/run/secrets/empty" => Ok("\n".to_owned()),
        "/run/secrets/placeholder" => Ok("changeme\n".to_owned()),
        "/run/secrets/large" => Err(Wrong::Rule("the file has more than 64 KiB")),
        _ => Err(Wrong::Unreadable("the file cannot be opened")),
    };
    let sources = SecretSources { variable: &environment, file: Some(&files), is_process: true };
    let said = |text: String| match config::parse_with(text.as_bytes(), &sources) {
        Ok(_) => "taken".to_owned(),
        Err(error) => error.to_string(),
    };
    let place = "policies[0].require.signature.secrets[0]";
    let variable = r#"{"env": "GITHUB_WEBHOOK_SECRET"}"#;
    assert_eq!(said(of(r#"["GITHUB_WEBHOOK_SECRET"]"#, variable)), "taken");
    for (environment, secret, complaint) in [
        (
            "",
            variable,
            ".env: is a variable of the process: the native module reads those only that `environment`, a key at the top of the configuration, lists",
        ),
        (r#"["TOKEN"]"#, variable, ".env: is not one of the variables that `environment` lists"),
        (
            r#"["UNSET"]"#,
            r#"{"env": "UNSET"}"#,
            ".env: the environment variable \"UNSET\" is not set for the guard (a Wasm VM has an environment of its own)",
        ),
        ("", r#"{"file": "/run/secrets/gone"}"#, ".file: the file cannot be opened"),
        ("", r#"{"file": "/run/secrets/large"}"#, ".file: the file has more than 64 KiB"),
        ("", r#"{"file": "/run/secrets/empty"}"#, ".file: the file is empty"),
    ] {
        assert_eq!(said(of(environment, secret)), format!("{place}{complaint}"));
    }
    assert_eq!(said(of("", r#"{"file": "/run/secrets/github"}"#)), "taken");
    assert!(said(of("", r#"{"file": "/run/secrets/placeholder"}"#)).starts_with(&format!("{place}.file: ")));
}
