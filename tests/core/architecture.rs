//! Proves what keeps the code reviewable and the compiler does not say: one door for JSON and for each kind of
//! cryptography, no circle of modules, one line that lets a request through, and a head on every module that says what
//! it is responsible for.

#![expect(clippy::unwrap_used, reason = "a file that cannot be read must fail the test loudly")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Every module of the core and the filter: its path below `src`, and its text without its unit tests. The command line
/// and the messages are programs around the core: they may print, and read JSON of their own.
fn modules() -> Vec<(String, String)> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("src");
    let mut open = vec![root.clone()];
    let mut modules = Vec::new();
    while let Some(directory) = open.pop() {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                if !path.ends_with("cli") && !path.ends_with("messages") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap().to_owned();
                modules.push((name, code));
            }
        }
    }
    modules.sort();
    assert!(modules.len() > 20, "the modules are not found");
    modules
}

/// The lines of code, without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// Whether a word stands in a line, with nothing of a name before or behind it.
fn has_word(line: &str, word: &str) -> bool {
    let of_a_name = |next: Option<char>| next.is_some_and(|one| one.is_alphanumeric() || one == '_');
    line.match_indices(word).any(|(at, _)| {
        let (before, behind) = line.split_at(at);
        !of_a_name(before.chars().next_back()) && !of_a_name(behind.chars().nth(word.len()))
    })
}

/// A word, and the beginnings of the modules that may use it.
const DOORS: &[(&str, &[&str])] = &[
    ("unsafe", &["filter/hostcalls.rs", "native/abi.rs"]),
    ("serde", &["core/vocabulary/"]),
    ("serde_json", &["core/vocabulary/", "core/config/secret.rs", "core/build.rs"]),
    ("prost", &["core/memory/etcd", "core/vocabulary/"]),
    ("prost_types", &["core/vocabulary/"]),
    ("strsim", &["core/vocabulary/"]),
    ("percent_encoding", &["core/uri/percent.rs"]),
    ("hmac", &["core/signature/hmac.rs"]),
    ("sha1", &["core/signature/hmac.rs", "core/signature/public_key.rs"]),
    (
        "sha2",
        &["core/memory/etcd.rs", "core/signature/hmac.rs", "core/signature/public_key.rs", "core/secret.rs"],
    ),
    ("ed25519_dalek", &["core/signature/public_key.rs"]),
    ("p256", &["core/signature/certificate.rs", "core/signature/public_key.rs"]),
    ("rsa", &["core/signature/public_key.rs"]),
    ("crc32fast", &["core/signature/hmac.rs"]),
    ("sfv", &["core/signature/structured.rs"]),
    ("subtle", &["core/secret.rs"]),
    ("ipnet", &["core/address.rs", "core/feed/list.rs"]),
    ("httpdate", &["core/signature/timestamp.rs"]),
    ("OffsetDateTime", &["core/signature/timestamp.rs"]),
    ("SystemTime", &["native/callbacks.rs"]),
    ("println", &["core/build.rs"]),
    ("dbg", &[]),
];

#[test]
fn every_package_has_its_door() {
    for (name, text) in modules() {
        for (word, allowed) in DOORS {
            if allowed.iter().any(|start| name.starts_with(start)) {
                continue;
            }
            for line in code(&text) {
                // A crate is used as `name::..`, `use name;` or an attribute; the word in a string is a word.
                let plain: String = line.split('"').step_by(2).collect();
                let used = ["unsafe", "OffsetDateTime", "SystemTime"].contains(word)
                    && has_word(&plain, word)
                    || has_word(&plain, word)
                        && plain.contains(&format!("{word}::"))
                        && !plain.contains(&format!("::{word}::"))
                    || plain.contains(&format!("{word}!("));
                assert!(!used, "src/{name} uses {word}: {line}");
            }
        }
    }
}

#[test]
fn every_module_says_what_it_is_responsible_for() {
    for (name, text) in modules() {
        let head: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        assert!(head.starts_with("//! "), "src/{name} does not open with `//!`");
        let is_index = ["core/lib.rs", "core/check.rs"].contains(&name.as_str());
        assert!(
            is_index || head.contains("Responsible"),
            "src/{name} does not say what it is responsible for"
        );
    }
}

/// The core's modules, and which others each of them uses.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, text) in modules() {
        let Some(path) = name.strip_prefix("core/").filter(|path| *path != "lib.rs") else { continue };
        let module = path.trim_end_matches(".rs").split('/').next().unwrap().to_owned();
        let others = uses.entry(module.clone()).or_default();
        for line in code(&text) {
            for used in line.split("crate::").skip(1) {
                let other = used.split(|one: char| !one.is_alphanumeric() && one != '_').next().unwrap();
                assert!(!other.is_empty(), "src/{name} uses several modules in one line: {line}");
                others.extend(Some(other.to_owned()).filter(|other| *other != module));
            }
        }
    }
    uses
}

#[test]
fn no_module_of_the_core_uses_one_that_uses_it() {
    let mut left = uses();
    assert!(left["config"].contains("catalogue"), "the uses are not found");
    // Modules that use none of those that are left go, until none is left.
    while !left.is_empty() {
        let names: BTreeSet<String> = left.keys().cloned().collect();
        left.retain(|_, others| !others.is_disjoint(&names));
        assert!(left.len() < names.len(), "a circle is among these: {left:#?}");
    }
}

#[test]
fn one_line_lets_a_request_through() {
    let claims = |text: &str| code(text).filter(|line| line.contains("Pass::all_checks_held()")).count();
    let places: Vec<_> =
        modules().into_iter().map(|(name, text)| (name, claims(&text))).filter(|(_, n)| *n > 0).collect();
    assert_eq!(places, [("core/policy.rs".to_owned(), 1)]);
    let constructs =
        |text: &str| code(text).filter(|line| line.contains("Pass(()") || line.contains("Self(())")).count();
    let made: usize = modules().iter().map(|(_, text)| constructs(text)).sum();
    // Its definition and its constructor, in decision.rs.
    assert_eq!(made, 2, "a Pass is made elsewhere");
}

#[test]
fn headers_are_read_as_bytes() {
    // The SDK's string calls trap on a header that is not UTF-8.
    for (name, text) in modules() {
        for call in [
            "get_http_request_header(",
            "get_http_request_headers(",
            "get_http_response_header(",
            "get_http_response_headers(",
            "get_http_request_trailer(",
            "get_http_request_trailers(",
            "get_map(",
            "get_map_value(",
        ] {
            assert!(
                !code(&text).any(|line| has_word(line, call.trim_end_matches('(')) && line.contains(call)),
                "src/{name} calls {call}..)"
            );
        }
    }
}
