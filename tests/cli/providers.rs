//! The catalogue as it is shown, and what it offers for pasting.

use crate::program::{file, run};
use serde_json::{Value, json};
use webhook_guard_core::config;
use webhook_guard_core::policy::Check;

fn catalogue() -> Value {
    serde_json::from_str(include_str!("../../src/core/catalogue.json")).unwrap()
}

fn names() -> Vec<String> {
    catalogue().as_object().unwrap().keys().cloned().collect()
}

fn details(name: &str) -> Value {
    let run = run(&["providers", name, "--format", "json"], &[], b"");
    assert_eq!(run.status, 0, "{name}: {run:?}");
    serde_json::from_str(&run.stdout).unwrap()
}

/// A secret that is one for the algorithm of the provider, as its published or made vectors have it.
fn secret(name: &str) -> String {
    let path = format!("{}/../../tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let vectors: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let accepted =
        vectors["vectors"].as_array().unwrap().iter().find(|vector| vector["expect"] == "ok").unwrap();
    accepted["secret"].as_str().unwrap().to_owned()
}

#[test]
fn the_table_has_a_line_a_provider() {
    let run = run(&["providers"], &[], b"");
    assert_eq!(run.status, 0, "{run:?}");
    let lines: Vec<&str> = run.stdout.lines().collect();
    let names = names();
    let listed: Vec<&str> =
        lines.iter().skip(1).take(names.len()).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(listed, names, "one line each, in order");
    assert!(!run.stdout.contains('\u{1b}'), "no colour but on a terminal");
    let column =
        |line: &str, word: &str| line.find(word).unwrap_or_else(|| panic!("{word:?} is not in {line:?}"));
    let line = |name: &str| *lines.iter().find(|line| line.starts_with(&format!("{name} "))).unwrap();
    for (name, words) in [
        ("github", ["GitHub", "hmac-sha256 in x-hub-signature-256", "none", "published vector"]),
        ("slack", ["Slack", "hmac-sha256 in x-slack-signature", "signed", "published vector"]),
        ("azure_devops", ["Azure DevOps", "token, Basic", "none", "documentation read"]),
        ("cloudevents", ["CloudEvents", "token, Bearer", "none", "documentation read"]),
        ("anthropic", ["Anthropic", "hmac-sha256 in webhook-signature", "signed", "vendor library"]),
        ("nexus", ["Sonatype", "hmac-sha1 in x-nexus", "none", "unconfirmed"]),
    ] {
        let head = lines[0];
        for (word, title) in words.into_iter().zip(["provider", "checks", "time", "checked against"]) {
            assert_eq!(column(line(name), word), column(head, title), "{name}: {word} stands under {title}");
        }
    }
}

#[test]
fn the_list_for_programs_has_the_same() {
    let run = run(&["providers", "--format", "json"], &[], b"");
    let list: Value = serde_json::from_str(&run.stdout).unwrap();
    let listed: Vec<&str> =
        list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(listed, names());
    let meta = list.as_array().unwrap().iter().find(|one| one["name"] == "meta").unwrap();
    assert_eq!((&meta["handshake"], &meta["time"]), (&json!(true), &json!("none")));
}

#[test]
fn a_page_has_everything_about_a_provider() {
    let page = |name: &str| run(&["providers", name], &[], b"").stdout;
    for (name, words) in [
        (
            "github",
            &[
                "GitHub (github)",
                "https://api.github.com/meta",
                "published vector",
                "docs.github.com",
                "retries          GitHub does not deliver again by itself.",
                "all that from    github/docs@10096c3ddf6d:",
                "\"path\": \"/hooks/github\"",
                "\"duplicates\": {}",
            ][..],
        ),
        (
            "slack",
            &[
                "v0:{timestamp}:{body}",
                "signed: an old delivery is refused",
                "POST, signed; answered",
                "\"handshake\": \"answer\"",
            ],
        ),
        (
            "pagerduty",
            &["certificate      common name webhooks.pagerduty.com (US) or webhooks.eu.pagerduty.com (EU)"],
        ),
        ("whatsapp", &["common name client.webhooks.fbclientcerts.com"]),
        (
            "meta",
            &[
                "common name client.webhooks.fbclientcerts.com",
                "GET, unsigned",
                "\"verify_tokens\": [{ \"env\": \"META_VERIFY_TOKEN\" }]",
            ],
        ),
        ("clerk", &["Clerk (clerk)", "\"header\": \"svix-signature\"", "\"prefix\": \"whsec_\""]),
        ("discord", &["ed25519", "DISCORD_WEBHOOK_PUBLIC_KEY"]),
        (
            "gitlab",
            &[
                "token in x-gitlab-token",
                "\"token\": { \"header\": \"x-gitlab-token\"",
                "GITLAB_WEBHOOK_TOKEN",
            ],
        ),
        (
            "gogs",
            &[
                "vendor code read: written after the provider's own code (2026-11-26: gogs/gogs@eb1054e, internal/database/webhook.go)",
            ],
        ),
        ("nexus", &["unconfirmed: nothing that can be cited"]),
        ("paystack", &["52.31.139.75, 52.49.173.169"]),
        (
            "netlify",
            &["JWT, hmac-sha256 in x-webhook-signature", "none: a delivery can be replayed", "\"jwt\": {"],
        ),
        ("gocardless", &["\"deny_status\": { \"signature_mismatch\": 498 }"]),
        ("twilio", &["\"public_url\": \"https://hooks.example.com/hooks/twilio\""]),
    ] {
        let page = page(name);
        for word in words {
            assert!(page.contains(word), "{name}: {word} is not in {page}");
        }
    }
    assert!(!page("github").contains("  certificate "), "none is known");
    assert!(!page("acuity").contains("  retries "), "nothing is known");
    assert!(details("acuity")["guide"].is_null());
    assert_eq!(details("github")["guide"]["test"], "A new webhook gets the event ping at once.");
    assert!(details("github")["guide"]["traps"].is_null(), "none is known");
    assert!(details("github")["client_certificate"].is_null());
    assert!(details("wise")["client_certificate"].as_str().unwrap().contains("mtls_enabled"));
}

#[test]
fn every_example_is_a_configuration_and_the_custom_form_means_the_same() {
    for name in names() {
        let details = details(&name);
        let env = |_: &str| Some(secret(&name));
        let leaf = |text: String| {
            let configuration =
                config::parse(text.as_bytes(), &env).unwrap_or_else(|error| panic!("{name}: {error}"));
            configuration.policies.iter().next().unwrap().leaves[0].clone()
        };
        let example = leaf(details["configuration"].to_string());
        assert_eq!(example.provider.as_deref(), Some(name.as_str()));
        let policies = json!([{ "name": "custom", "require": details["custom"] }]);
        let custom = leaf(json!({ "policies": policies }).to_string());
        match (&example.check, &custom.check) {
            (Check::Signature(one), Check::Signature(other)) => {
                assert_eq!(format!("{:?}", one.scheme), format!("{:?}", other.scheme), "{name}");
            }
            (Check::Token(one), Check::Token(other)) => {
                assert_eq!(one.place.header(), other.place.header(), "{name}");
            }
            _ => panic!("{name}: the custom form is of another kind"),
        }
    }
}

/// The rule of `duplicates` itself: what it refuses is not offered, and what would pass for ever has it.
#[test]
fn an_example_has_duplicates_where_they_keep_a_recorded_delivery_out() {
    for (name, has) in [
        ("github", true),
        ("svix", true),
        ("orb", true),
        ("netlify", true),
        ("slack", false),
        ("gitlab", false),
        ("plivo_v2", false),
        ("monday", false),
    ] {
        let policy = &details(name)["configuration"]["policies"][0];
        assert_eq!(policy["duplicates"] == json!({}), has, "{name}: {policy}");
    }
}

/// The guides are made outside, and their policies held to the parser through those that are printed here.
#[test]
fn a_guide_shows_the_policy_that_is_printed() {
    // What the operator signs has a page of its own.
    for name in names().iter().filter(|name| *name != "operator") {
        let path = format!("{}/../../docs/providers/{name}.md", env!("CARGO_MANIFEST_DIR"));
        let guide = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let shown = guide.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
        let shown: Value =
            serde_json::from_str(shown.unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(shown, details(name)["configuration"], "{name}");
    }
}

#[test]
fn what_is_printed_for_people_is_the_same_json() {
    for name in ["github", "worldpay", "clerk", "azure_devops", "meta"] {
        let page = run(&["providers", name], &[], b"").stdout;
        let details = details(name);
        for (heading, key) in
            [("A configuration to start from\n", "configuration"), ("for `require`\n", "custom")]
        {
            let text = page.split(heading).nth(1).unwrap().split("\n\n").next().unwrap();
            let value: Value =
                serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"));
            assert_eq!(value, details[key], "{name}: {key}");
            assert!(text.lines().all(|line| line.chars().count() <= 110), "{name}: {text}");
        }
    }
}

#[test]
fn an_example_passes_the_check_command() {
    for name in ["github", "stripe", "meta", "azure_devops", "hubspot_v3", "gocardless"] {
        let path =
            file("providers check", &format!("{name}.json"), details(name)["configuration"].to_string());
        let run = run(&["check", &path], &[], b"");
        assert_eq!(run.status, 0, "{name}: {run:?}");
    }
}

#[test]
fn a_name_that_is_not_known_is_suggested_a_near_one() {
    for (name, meant) in [
        ("githb", "did you mean \"github\"?"),
        ("Stripe", "did you mean \"stripe\"?"),
        ("qqqqqqqqqqqq", "fits into a `scheme`"),
    ] {
        let run = run(&["providers", name], &[], b"");
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{run:?}");
        assert!(
            run.stderr.contains(meant) && run.stderr.contains("`webhook-guard providers` lists them"),
            "{run:?}"
        );
    }
}
