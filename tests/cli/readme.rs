//! The sessions of docs/command-line.md, run as they stand there.

use crate::program::{file, run_in};
use std::path::Path;

const PAGE: &str = include_str!("../../docs/command-line.md");
const ENVOY: &str = include_str!("../../envoy/standalone/envoy.yaml");

/// The commands of the page that begin with these words, each with what it shows.
fn sessions(command: &str) -> Vec<(String, String)> {
    let blocks = PAGE.split("```console\n$ ").skip(1).map(|rest| rest.split("\n```").next().unwrap());
    let sessions =
        blocks.filter_map(|block| block.split_once('\n')).filter(|(line, _)| line.starts_with(command));
    sessions.map(|(line, shown)| (line.to_owned(), format!("{shown}\n"))).collect()
}

fn holds(test: &str, command: &str, files: &[(&str, &str)], status: i32) {
    let paths: Vec<String> = files.iter().map(|(name, content)| file(test, name, content)).collect();
    let directory = Path::new(&paths[0]).parent().unwrap().to_str().unwrap();
    let sessions = sessions(command);
    assert!(!sessions.is_empty(), "the page does not show `{command}`");
    for (line, shown) in sessions {
        let arguments: Vec<&str> = line.split(' ').skip(1).collect();
        let run = run_in(directory, &arguments, &[], b"");
        assert_eq!((run.status, run.stdout), (status, shown), "{line}");
    }
}

#[test]
fn check() {
    let mut envoy = ENVOY.to_owned();
    for (part, other) in [
        ("\"provider\": \"slack\"", "\"provider\": \"slak\""),
        ("          use_remote_address: true\n", ""),
        ("\"10.0.0.0/8\"", "\"10.0.0.1/8\""),
        ("                    - STRIPE_WEBHOOK_SECRET\n", ""),
    ] {
        assert!(envoy.contains(part), "{part} is not there");
        envoy = envoy.replacen(part, other, 1);
    }
    holds("readme check", "webhook-guard check", &[("envoy.yaml", &envoy)], 1);
}

#[test]
fn explain() {
    let secrets = "GITHUB_WEBHOOK_SECRET=github-demo-key-000001\nSLACK_SIGNING_SECRET=slack-demo-key-0000001\n\
                   STRIPE_WEBHOOK_SECRET=whsec_stripe-demo-key-1\nBITBUCKET_WEBHOOK_SECRET=bitbucket-demo-key-001\n\
                   GITLAB_WEBHOOK_TOKEN=gitlab-demo-token-0001\nBUILD_SERVER_TOKEN=build-demo-token-00001\n";
    let delivery = "POST /flexdeploy/webhooks/v1/github HTTP/1.1\r\nHost: hooks.example.com\r\n\
                    X-Hub-Signature-256: sha256=00\r\nContent-Length: 2\r\n\r\n{}";
    let files = [("envoy.yaml", ENVOY), ("secrets.env", secrets), ("delivery.http", delivery)];
    holds("readme explain", "webhook-guard explain", &files, 1);
}

#[test]
fn doctor() {
    // GitHub's delivery of tests/vectors/github.json, gidgethub-http, whose body lost its blanks on the way.
    let delivery = "POST /flexdeploy/webhooks/v1/github HTTP/1.1\r\nHost: hooks.example.com\r\n\
                    X-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-4c9367dc0958\r\n\
                    X-Hub-Signature-256: sha256=0340d06469a1b35662ebd7a67ea2c0c328239f319f1cfafb221451de629e0430\r\n\
                    Content-Length: 19\r\n\r\n{\"action\":\"opened\"}";
    let files = [("delivery.http", delivery), ("secret.txt", "123456\n")];
    holds("readme doctor", "webhook-guard doctor", &files, 1);
}

#[test]
fn every_warning_is_in_the_table() {
    for source in
        [include_str!("../../src/cli/cmd/check/host.rs"), include_str!("../../src/cli/cmd/check/policies.rs")]
    {
        let codes = source.split("findings.warn(").skip(1).filter_map(|call| call.split('"').nth(1));
        for code in codes {
            assert!(PAGE.contains(&format!("`{code}`")), "{code} is not in the page");
        }
    }
}

#[test]
fn addresses() {
    let github = r#"{"hooks": ["192.30.252.0/22", "185.199.108.0/22"], "web": ["10.0.0.0/8"]}"#;
    let guard = "{\n  \"policies\": [\n    {\n      \"name\": \"github\",\n      \"match\": {\"path\": \"/hooks/github\"},\n      \"require\": {\n        \"source_ip\": {\"allow\": [\"192.30.252.0/22\", \"192.0.2.7\"]}\n      }\n    }\n  ]\n}\n";
    let files = [("github.json", github), ("guard.json", guard)];
    holds("readme-addresses", "webhook-guard addresses github --file github.json --against", &files, 1);
    let printed = sessions("webhook-guard addresses github --file github.json");
    assert_eq!(printed.len(), 2, "the page shows both");
}
