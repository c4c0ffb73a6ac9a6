//! `check`: every error and warning with its place and its code.

use crate::program::{Run, file, run};
use serde_json::Value;

const ENVOY: &str = include_str!("../../envoy/standalone/envoy.yaml");
const FEEDS: &str = include_str!("../../envoy/feeds/envoy.yaml");
const ETCD: &str = include_str!("../../envoy/etcd/envoy.yaml");
const WASM_PLUGIN: &str = include_str!("../../envoy/istio/wasmplugin.yaml");
const BUFFER_BEHIND: &str = include_str!("../../envoy/istio/buffer-behind.yaml");
const GATEWAY_HELD: &str = include_str!("../../envoy/envoy-gateway/held.yaml");
const GATEWAY_BUFFER: &str = include_str!("../../envoy/envoy-gateway/buffer-behind.yaml");

/// The findings as `CODE LINE`, those about variables that are not set left out.
fn codes(run: &Run) -> Vec<String> {
    let list: Vec<Value> =
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"));
    let said = list.iter().filter(|one| one["code"] != "unset-variable");
    said.map(|one| format!("{} {}", one["code"].as_str().unwrap(), one["line"])).collect()
}

/// A name, a file, and for each finding its code and what stands in its line.
type Row<'r> = (&'r str, String, &'r [(&'r str, &'r str)]);

/// The line of a text in which something stands, counted from 1.
pub(crate) fn line_of(text: &str, what: &str) -> usize {
    text.lines().position(|line| line.contains(what)).unwrap_or_else(|| panic!("{what} is not there")) + 1
}

/// The text with one part exchanged.
pub(crate) fn with(text: &str, part: &str, other: &str) -> String {
    assert!(text.contains(part), "{part} is not there");
    text.replacen(part, other, 1)
}

#[test]
fn what_is_shipped_has_nothing_to_be_said_about() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../envoy");
    for files in [
        &["standalone/envoy.yaml"][..],
        &["flexdeploy/envoy.yaml"],
        &["per-route/disabled.yaml"],
        &["per-route/named-filters.yaml"],
        &["per-route/virtual-host.yaml"],
        &["istio/wasmplugin.yaml", "istio/buffer-behind.yaml"],
        &["istio/envoyfilter-held.yaml"],
        &["envoy-gateway/held.yaml"],
        &["envoy-gateway/buffer-behind.yaml"],
        &["client-certificate/envoy.yaml"],
        &["client-certificate/native.yaml"],
        &["native/envoy.yaml"],
        &["native/per-route.yaml"],
        &["native/ecds.yaml", "native/guard.yaml"],
        &["native/lds.yaml", "native/listener.yaml"],
        &["istio/envoyfilter-native.yaml"],
        &["envoy-gateway/native.yaml", "envoy-gateway/native-proxy.yaml"],
    ] {
        let paths: Vec<String> = files.iter().map(|name| format!("{root}/{name}")).collect();
        let mut arguments = vec!["check", "--format", "json"];
        arguments.extend(paths.iter().map(String::as_str));
        let run = run(&arguments, &[], b"");
        assert_eq!((run.status, codes(&run)), (0, Vec::new()), "{files:?}");
    }
}

#[test]
fn a_listener_is_to_verify_the_certificates_that_a_policy_asks_for() {
    let envoy = include_str!("../../envoy/client-certificate/envoy.yaml");
    let trusted = "              trusted_ca: {filename: /etc/envoy/senders-ca.pem}\n";
    let untrusted =
        with(envoy, trusted, &format!("{trusted}              trust_chain_verification: ACCEPT_UNTRUSTED\n"));
    let by_number = untrusted.replace("ACCEPT_UNTRUSTED\n", "1\n");
    let digest = format!(r#"{{"sha256": ["{}"]}}"#, "0".repeat(64));
    let pinned = with(&untrusted, r#"{"dns": ["*.partner.example.com"]}"#, &digest);
    let all_pinned = with(&pinned, r#"{"subject": ["CN=hooks.bank.example.com,O=Bank"]}"#, &digest);
    let expired = with(envoy, trusted, &format!("{trusted}              allow_expired_certificate: true\n"));
    let (before, rest) = envoy.split_once("            validation_context:\n").unwrap();
    let (_, behind) = rest.split_once(trusted).unwrap();
    let not_asked = format!("{before}{behind}");
    let (before, rest) = envoy.split_once("    - transport_socket:\n").unwrap();
    let (_, behind) = rest.split_once("      filters:\n").unwrap();
    let plain = format!("{before}    - filters:\n{behind}");
    let discovered = with(
        &with(
            &not_asked,
            "            tls_certificates:",
            "            validation_context_sds_secret_config: {name: senders}\n            tls_certificates:",
        ),
        "  clusters:\n",
        "  secrets:\n  - name: senders\n    validation_context:\n      trust_chain_verification: ACCEPT_UNTRUSTED\n  clusters:\n",
    );
    // What the upstream's certificate is taken for is another matter.
    let cluster = with(
        envoy,
        "    type: STRICT_DNS\n",
        "    type: STRICT_DNS\n    transport_socket:\n      typed_config:\n        common_tls_context:\n          \
         validation_context: {trust_chain_verification: ACCEPT_UNTRUSTED}\n",
    );
    let none_asked = with(&plain, "client_certificate", "source_ip")
        .replace(r#"{"dns": ["*.partner.example.com"]}"#, r#"{"allow": ["10.0.0.1"]}"#);
    let no_check =
        none_asked.replace(r#""client_certificate": {"subject": ["CN=hooks.bank.example.com,O=Bank"]},"#, "");
    let rows: &[Row<'_>] = &[
        (
            "untrusted",
            untrusted,
            &[("unverified-client-certificate", "  trust_chain_verification: ACCEPT_UNTRUSTED")],
        ),
        ("by number", by_number, &[("unverified-client-certificate", "  trust_chain_verification: 1")]),
        (
            "pinned in part",
            pinned,
            &[("unverified-client-certificate", "  trust_chain_verification: ACCEPT_UNTRUSTED")],
        ),
        ("pinned", all_pinned, &[]),
        ("expired", expired, &[("expired-client-certificate", "allow_expired_certificate")]),
        (
            "resumed",
            with(envoy, "disable_stateful_session_resumption: true", "session_timeout: 3600s"),
            &[("expired-client-certificate", "tls.v3.DownstreamTlsContext")],
        ),
        (
            "resumed by ticket",
            with(
                envoy,
                "disable_stateless_session_resumption: true",
                "disable_stateless_session_resumption: false",
            ),
            &[("expired-client-certificate", "tls.v3.DownstreamTlsContext")],
        ),
        ("not asked for", not_asked, &[("no-client-certificate", "alpn_protocols")]),
        ("no TLS", plain, &[("no-client-certificate", "- filters:")]),
        (
            "discovered",
            discovered,
            &[("unverified-client-certificate", "  trust_chain_verification: ACCEPT_UNTRUSTED")],
        ),
        ("upstream", cluster, &[]),
        ("nothing to verify", no_check, &[]),
    ];
    for (name, text, expected) in rows {
        let path = file("certificates", "envoy.yaml", text);
        let run = run(&["check", "--format", "json", &path], &[], b"");
        let expected: Vec<String> =
            expected.iter().map(|(code, what)| format!("{code} {}", line_of(text, what))).collect();
        assert_eq!(codes(&run), expected, "{name}");
    }
}

#[test]
fn all_errors_are_said_with_their_places() {
    let bad = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/configs/bad/many-faults.json");
    let golden = include_str!("../configs/bad/many-faults.txt");
    let run = run(&["check", bad], &[], b"");
    assert_eq!(run.status, 1, "{run:?}");
    for message in golden.lines().filter(|line| !line.contains("NOT_SET_ANYWHERE")) {
        assert!(run.stdout.contains(message), "{message} is not in {}", run.stdout);
    }
    for place in [
        ":2:16: error[unknown-word]: unmatched: ",
        ":8:61: error[invalid-value]: policies[0].require.source_ip.allow[2]: ",
        ":13:7: error[unknown-key]: policies[0].forwrd: ",
        ":18:14: error[name-taken]: policies[4].name: ",
    ] {
        assert!(run.stdout.contains(place), "{place} is not in {}", run.stdout);
    }
    assert!(run.stdout.contains("note: 1 secret was not looked at"), "{}", run.stdout);
    assert!(run.stdout.ends_with("1 configuration: 21 errors, 4 warnings\n"), "{}", run.stdout);
}

#[test]
fn every_warning_has_its_code_and_its_line() {
    let policy = |text: &str| {
        format!("{{\"policies\": [\n{{\"name\": \"a\", \"match\": {{\"path\": \"/a\"}},\n{text}}}]}}")
    };
    // With a signed time, so that nothing is to be said of replays.
    let slack = |more: &str| {
        format!(r#""require": {{"signature": {{"provider": "slack", "secrets": [{{"env": "A"}}]}}}}{more}"#)
    };
    let one = ["A=0123456789abcdef", "B=0123456789abcdef"].join("\n");
    let env = file("warnings", "env", one);
    let rows: Vec<(&str, String, &str)> = vec![
        (
            "inline",
            policy(r#""require": {"token": {"bearer": true, "secrets": [{"value": "0123456789abcdefg"}]}}"#),
            "inline-secret 3",
        ),
        (
            "short",
            policy(r#""require": {"token": {"bearer": true, "secrets": [{"env": "SHORT"}]}}"#),
            "short-secret 3",
        ),
        (
            "placeholder",
            policy(r#""require": {"token": {"bearer": true, "secrets": [{"env": "CHANGEME"}]}}"#),
            "placeholder-secret 3",
        ),
        (
            "tolerance",
            policy(
                r#""require": {"signature": {"provider": "slack", "tolerance_seconds": 3601, "secrets": [{"env": "A"}]}}"#,
            ),
            "long-tolerance 3",
        ),
        ("report", policy(&slack(",\n\"mode\": \"report\"")), "report-mode 4"),
        ("nothing", policy(r#""require": "nothing""#), "nothing-required 3"),
        (
            "everyone",
            policy(
                r#""require": {"source_ip": {"allow": ["0.0.0.0/0", "::/0"]}, "token": {"bearer": true, "secrets": [{"env": "A"}]}}"#,
            ),
            "address-list-admits-everyone 3",
        ),
        (
            "address alone",
            policy(r#""require": {"source_ip": {"allow": ["192.30.252.0/22"]}}"#),
            "address-alone 3",
        ),
        (
            "a feed alone",
            r#"{"feeds": {"github": {"cluster": "c"}}, "policies": [{"name": "a", "match": {"path": "/a"},
"require": {"source_ip": {"allow": [{"feed": "github"}]}}}]}"#
                .to_owned(),
            "address-alone 2",
        ),
        (
            "addresses that a feed would keep",
            policy(
                r#""require": {"source_ip": {"allow": ["3.18.12.63"]}, "signature": {"provider": "stripe", "secrets": [{"env": "A"}]}}"#,
            ),
            "addresses-by-hand 3",
        ),
        (
            "private addresses are nobody's feed",
            policy(
                r#""require": {"source_ip": {"allow": ["10.1.2.3"]}, "signature": {"provider": "stripe", "secrets": [{"env": "A"}]}}"#,
            ),
            "",
        ),
        (
            "address alone in a branch",
            policy(
                r#""require": {"any_of": [{"source_ip": {"allow": ["192.30.252.0/22"]}}, {"token": {"bearer": true, "secrets": [{"env": "A"}]}}]}"#,
            ),
            "address-alone 3",
        ),
        (
            "body not signed",
            policy(
                r#""require": {"signature": {"scheme": {"algorithm": "hmac-sha256", "signature": {"header": "x-s", "encoding": "hex"}, "signed": "{path}"}, "secrets": [{"env": "A"}]}}"#,
            ),
            "replay 3, body-not-signed 3",
        ),
        (
            "replay",
            policy(r#""require": {"signature": {"provider": "github", "secrets": [{"env": "A"}]}}"#),
            "replay 3",
        ),
        (
            "no replay",
            policy(
                r#""require": {"signature": {"provider": "github", "secrets": [{"env": "A"}]}}, "duplicates": {}"#,
            ),
            "",
        ),
        (
            "unconfirmed provider",
            policy(
                r#""require": {"signature": {"provider": "nexus", "secrets": [{"env": "A"}]}}, "duplicates": {}"#,
            ),
            "unconfirmed-provider 3",
        ),
        ("short window", policy(&slack(",\n\"duplicates\": {\"window_seconds\": 299}")), "short-window 4"),
        (
            "short window of an own tolerance",
            policy(
                r#""require": {"signature": {"provider": "slack", "tolerance_seconds": 60, "secrets": [{"env": "A"}]}}, "duplicates": {"window_seconds": 60}"#,
            ),
            "",
        ),
        (
            "own scheme without a time",
            policy(
                r#""require": {"signature": {"scheme": {"algorithm": "hmac-sha256", "signature": {"header": "x-s", "encoding": "hex"}, "signed": "{body}"}, "secrets": [{"env": "A"}]}}"#,
            ),
            "replay 3",
        ),
        (
            "same variable",
            policy(&slack(
                "},\n{\"name\": \"b\", \"match\": {\"path\": \"/b\"},\n\"require\": {\"signature\": {\"provider\": \"slack\", \"secrets\": [{\"env\": \"A\"}]}}",
            )),
            "reused-secret 5",
        ),
        (
            "the operator's key in two policies",
            policy(
                "\"require\": {\"signature\": {\"provider\": \"operator\", \"secrets\": [{\"env\": \"A\"}]}}},\n{\"name\": \"b\", \"match\": {\"path\": \"/b\"},\n\"require\": {\"signature\": {\"provider\": \"operator\", \"secrets\": [{\"env\": \"A\"}]}}",
            ),
            "",
        ),
        (
            "the operator's key is a sender's",
            policy(&slack(
                "},\n{\"name\": \"b\", \"match\": {\"path\": \"/b\"},\n\"require\": {\"signature\": {\"provider\": \"operator\", \"secrets\": [{\"env\": \"A\"}]}}",
            )),
            "reused-secret 5",
        ),
        (
            "same value",
            policy(&slack(
                "},\n{\"name\": \"b\", \"match\": {\"path\": \"/b\"},\n\"require\": {\"signature\": {\"provider\": \"slack\", \"secrets\": [{\"env\": \"B\"}]}}",
            )),
            "reused-secret 5",
        ),
    ];
    for (name, text, expected) in rows {
        let path = file("warnings", &format!("{name}.json"), text);
        let variables = [("SHORT", "0123456789abcde"), ("CHANGEME", "changeme")];
        let run = run(&["check", "--format", "json", "--env-file", &env, &path], &variables, b"");
        assert_eq!(codes(&run).join(", "), expected, "{name}");
        assert_eq!(run.status, i32::from(name == "placeholder"), "{name}: {run:?}");
        assert!(!run.stdout.contains("0123456789abcde"), "{name}: a secret is printed");
    }
    let private = policy(r#""require": {"source_ip": {"allow": ["10.0.0.0/8", "192.168.1.1", "fc00::/8"]}}"#);
    let path = file("warnings", "private.json", private);
    assert_eq!(
        codes(&run(&["check", "--format", "json", &path], &[], b"")),
        Vec::<String>::new(),
        "private addresses"
    );
}

#[test]
fn what_surrounds_a_configuration_is_looked_at() {
    let option = "                allow_on_headers_stop_iteration: true\n";
    let buffer = "          - name: envoy.filters.http.buffer\n            typed_config: {max_request_bytes: 1048576}\n";
    let (guard, router) =
        ("          - name: webhook_guard\n", "          - name: envoy.filters.http.router\n");
    let not_held = with(ENVOY, "\"policies\": [", "\"hold_request_head\": false, \"policies\": [");
    let lua = "          - name: envoy.filters.http.lua\n";
    let rows: Vec<Row<'_>> = vec![
        ("no option", with(ENVOY, option, ""), &[("option-missing", "                name: webhook_guard")]),
        (
            "option is false",
            with(ENVOY, "iteration: true", "iteration: false"),
            &[("option-missing", "                name: webhook_guard")],
        ),
        ("open", with(ENVOY, "FAIL_RELOAD", "FAIL_OPEN"), &[("fail-open", "failure_policy: FAIL_OPEN")]),
        (
            "open, the old way",
            with(ENVOY, "failure_policy: FAIL_RELOAD", "fail_open: true"),
            &[("fail-open", "fail_open: true")],
        ),
        (
            "no reload",
            with(ENVOY, "                failure_policy: FAIL_RELOAD\n", ""),
            &[("no-reload", "                name: webhook_guard")],
        ),
        (
            "optional",
            with(ENVOY, guard, &format!("{guard}            is_optional: true\n")),
            &[("optional-filter", "- name: webhook_guard")],
        ),
        (
            "buffer in front",
            with(ENVOY, guard, &format!("{buffer}{guard}")),
            &[("filter-order", "envoy.filters.http.buffer")],
        ),
        ("not held, no buffer", not_held.clone(), &[("filter-order", "- name: webhook_guard")]),
        (
            "not held, buffer in front",
            with(&not_held, guard, &format!("{buffer}{guard}")),
            &[("filter-order", "envoy.filters.http.buffer"), ("filter-order", "- name: webhook_guard")],
        ),
        ("not held, buffer behind", with(&not_held, router, &format!("{buffer}{router}")), &[]),
        (
            "another filter behind",
            with(ENVOY, router, &format!("{lua}{router}")),
            &[("filter-order", "envoy.filters.http.lua")],
        ),
        ("another filter before", with(ENVOY, guard, &format!("{lua}{guard}")), &[]),
        (
            "default address",
            with(ENVOY, "use_remote_address: true", "server_name: x"),
            &[(
                "use-remote-address",
                "\"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager",
            )],
        ),
        (
            "upgrades",
            with(
                ENVOY,
                "normalize_path: true",
                "upgrade_configs: [{upgrade_type: websocket, filters: [{name: envoy.filters.http.router}]}]",
            ),
            &[("upgrade-filters", "upgrade_configs")],
        ),
        (
            "not passed",
            with(ENVOY, "                    - SLACK_SIGNING_SECRET\n", ""),
            &[("variable-not-passed", "\"env\": \"SLACK_SIGNING_SECRET\"")],
        ),
        (
            "written down",
            with(
                ENVOY,
                "                    host_env_keys:",
                "                    key_values: {A: b}\n                    host_env_keys:",
            ),
            &[("inline-secret", "key_values")],
        ),
        (
            "no cluster of the memory",
            with(
                ENVOY,
                "\"policies\": [",
                "\"memory\": {\"etcd\": {\"cluster\": \"etcd\"}}, \"policies\": [",
            ),
            &[("memory-cluster", "\"memory\"")],
        ),
        (
            "a cluster of the memory without h2",
            with(
                &with(
                    ENVOY,
                    "\"policies\": [",
                    "\"memory\": {\"etcd\": {\"cluster\": \"etcd\"}}, \"policies\": [",
                ),
                "  clusters:\n",
                "  clusters:\n  - name: etcd\n",
            ),
            &[("memory-cluster", "  - name: etcd")],
        ),
        (
            "no cluster of a feed",
            with(
                ENVOY,
                "\"policies\": [",
                "\"feeds\": {\"github\": {\"cluster\": \"hub\"}}, \"policies\": [",
            ),
            &[("feed-unused", "\"feeds\""), ("feed-cluster", "\"feeds\"")],
        ),
        (
            "a cluster of a feed that verifies nothing",
            with(FEEDS, "            trusted_ca: {filename: /etc/ssl/certs/ca-certificates.crt}\n", ""),
            &[("feed-cluster", "  - name: api_github_com")],
        ),
        ("the feeds' clusters", FEEDS.to_owned(), &[]),
        ("the memory's cluster", ETCD.to_owned(), &[]),
        ("Istio alone", WASM_PLUGIN.to_owned(), &[("buffer-missing", "  hold_request_head: false")]),
        ("Istio, buffer", format!("{WASM_PLUGIN}---\n{BUFFER_BEHIND}"), &[]),
        (
            "Istio, held",
            with(WASM_PLUGIN, "  hold_request_head: false", "  hold_request_head: true"),
            &[("option-missing", "  hold_request_head: true")],
        ),
        (
            "Istio, open",
            with(
                &format!("{WASM_PLUGIN}---\n{BUFFER_BEHIND}"),
                "failStrategy: FAIL_RELOAD",
                "failStrategy: FAIL_OPEN",
            ),
            &[("fail-open", "failStrategy: FAIL_OPEN")],
        ),
        (
            "Istio, written down",
            with(&format!("{WASM_PLUGIN}---\n{BUFFER_BEHIND}"), "valueFrom: HOST", "value: x"),
            &[("inline-secret", "value: x")],
        ),
        (
            "Envoy Gateway, no patch",
            GATEWAY_HELD.split("---").next().unwrap().to_owned(),
            &[("option-missing", "policies:")],
        ),
        (
            "Envoy Gateway, no buffer",
            GATEWAY_BUFFER.split("---").next().unwrap().to_owned(),
            &[("buffer-missing", "  hold_request_head: false")],
        ),
        (
            "Envoy Gateway, open",
            with(GATEWAY_BUFFER, "    rootID: webhook_guard", "    failOpen: true"),
            &[("fail-open", "failOpen: true")],
        ),
    ];
    for (name, text, expected) in rows {
        let path = file("around", &format!("{name}.yaml"), &text);
        let run = run(&["check", "--format", "json", &path], &[], b"");
        let expected: Vec<String> =
            expected.iter().map(|(code, what)| format!("{code} {}", line_of(&text, what))).collect();
        assert_eq!(codes(&run), expected, "{name}");
        assert_eq!(run.status, 0, "{name}: warnings alone are no failure");
    }
}

#[test]
fn the_exit_status_is_for_ci() {
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/../../envoy/standalone/envoy.yaml");
    let istio = concat!(env!("CARGO_MANIFEST_DIR"), "/../../envoy/istio/wasmplugin.yaml");
    let broken = file("status", "broken.json", "{\"policies\": [\n  }");
    let yaml = file("status", "broken.yaml", "a: [1\nb: {");
    let other = file("status", "other.yaml", "kind: Deployment\n");
    let rows: Vec<(&str, Vec<&str>, i32, &str)> = vec![
        ("good, without its variables", vec![good], 0, "6 secrets were not looked at"),
        ("the same, strict", vec!["--strict", good], 1, "6 secrets were not looked at"),
        ("a warning", vec![istio], 0, "warning[buffer-missing]"),
        ("a warning, strict", vec!["--strict", istio], 1, "warning[buffer-missing]"),
        ("no JSON", vec![&broken], 1, ":2:3: error[not-json]"),
        ("no YAML", vec![&yaml], 2, "is neither YAML nor JSON"),
        ("nothing of ours", vec![&other], 2, "no configuration of webhook-guard"),
        ("no such file", vec!["/no/such/file"], 2, "/no/such/file: No such file"),
    ];
    for (name, arguments, status, said) in rows {
        let run = run(&[&["check"], arguments.as_slice()].concat(), &[], b"");
        assert_eq!(run.status, status, "{name}: {run:?}");
        assert!(format!("{}{}", run.stdout, run.stderr).contains(said), "{name}: {run:?}");
    }
}

#[test]
fn code_scanning_gets_sarif() {
    let istio = concat!(env!("CARGO_MANIFEST_DIR"), "/../../envoy/istio/wasmplugin.yaml");
    let run = run(&["check", "--format", "sarif", istio], &[], b"");
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["version"], "2.1.0");
    let result = &report["runs"][0]["results"][0];
    assert_eq!(
        (&result["ruleId"], &result["level"]),
        (&"buffer-missing".into(), &"warning".into()),
        "{result}"
    );
    let region = &result["locations"][0]["physicalLocation"]["region"];
    assert_eq!(region["startLine"], line_of(WASM_PLUGIN, "  hold_request_head"), "{region}");
}

/// Two files of the same layout, so that lines and columns are the same in both.
#[test]
fn every_file_is_looked_at_by_itself() {
    let held = ENVOY.to_owned();
    let not_held = with(ENVOY, "\"policies\": [", "\"hold_request_head\": false, \"policies\": [");
    let (held, not_held) = (file("two files", "a.yaml", held), file("two files", "b.yaml", not_held));
    for files in [[&held, &not_held], [&not_held, &held]] {
        let run = run(&["check", "--format", "json", files[0], files[1]], &[], b"");
        let list: Vec<Value> = serde_json::from_str(&run.stdout).unwrap();
        let order: Vec<_> = list.iter().filter(|one| one["code"] == "filter-order").collect();
        assert!(order.len() == 1 && order[0]["file"] == not_held.as_str(), "{files:?}: {run:?}");
    }
}

/// Discovered by name: the resource of the file itself comes before one of the same name in another file.
#[test]
fn a_discovered_filter_is_the_one_of_its_own_file() {
    let discovered = |held: bool| {
        format!(
            "http_filters:\n- name: webhook_guard\n  config_discovery: {{type_urls: [type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm]}}\n- name: envoy.filters.http.router\nuse_remote_address: true\n---\n\"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\nconfig:\n  name: webhook_guard\n  configuration:\n    value: '{{\"hold_request_head\": {held}, \"policies\": []}}'\n"
        )
    };
    let held = file("two discovered", "a.yaml", discovered(true));
    let not_held = file("two discovered", "b.yaml", discovered(false));
    for files in [[&held, &not_held], [&not_held, &held]] {
        let run = run(&["check", "--format", "json", files[0], files[1]], &[], b"");
        let list: Vec<Value> = serde_json::from_str(&run.stdout).unwrap();
        let order: Vec<_> = list.iter().filter(|one| one["code"] == "filter-order").collect();
        assert!(order.len() == 1 && order[0]["file"] == not_held.as_str(), "{files:?}: {run:?}");
    }
}

#[test]
fn an_env_file_is_read_as_a_shell_would_but_for_its_dollars() {
    let config = file(
        "env file",
        "guard.json",
        r#"{"policies": [{"name": "p", "match": {"path": "/"}, "require": {"token": {"header": "x-t", "secrets": [{"env": "K"}]}}}]}"#,
    );
    let value = "0123456789abcdef";
    let pem = "-----BEGIN-----\n0123\n-----END-----";
    let rows: Vec<(String, &str)> = vec![
        (format!("K={value}"), value),
        (format!("K=\"{value}\""), value),
        (format!("K=\"{value}\" "), value),
        (format!("K=\"{value}\" \n"), value),
        (format!("K=\"{value}\"\t\r\n"), value),
        (format!("K='{value}'  # a comment, isn't it"), value),
        (format!("K={value} # a comment"), value),
        (format!("K={value}#1"), "0123456789abcdef#1"),
        (format!("K='{value} # 1'"), "0123456789abcdef # 1"),
        (format!("  export K={value}"), value),
        (format!("export\tK = \"{value}\""), value),
        (format!("# it's a comment\r\n\r\nA='1'\r\nK={value}\r\nB=2\r\n"), value),
        (format!("\u{feff}K={value}"), value),
        ("K=0123456789$HOME$$abc${A}d$".to_owned(), "0123456789$HOME$$abc${A}d$"),
        ("K=\"0123456789$HOME$$abc${A}d$\"".to_owned(), "0123456789$HOME$$abc${A}d$"),
        ("K='0123456789$HOME$$abc${A}d$'".to_owned(), "0123456789$HOME$$abc${A}d$"),
        ("K=\"0123456789\\$abc\\\"d\\\\e\"".to_owned(), "0123456789$abc\"d\\e"),
        ("K='0123456789\\$abc\"d\\\\'\nL='x'".to_owned(), "0123456789\\$abc\"d\\\\"),
        ("K='0123456789abcdef\\'\nL='x'".to_owned(), "0123456789abcdef\\"),
        ("K=0123456789\\ abc\\$d".to_owned(), "0123456789 abc$d"),
        ("K=\"0123456789\\nabc\"".to_owned(), "0123456789\nabc"),
        (format!("K=\"{pem}\"\nL=1"), pem),
        (format!("A=\nK={value}"), value),
        (format!("K={value}\nK=another-0123456789"), value),
        (format!("K={value}="), "0123456789abcdef="),
    ];
    for (text, expected) in rows {
        // The header cannot hold a line end: it is told by the doctor that reads the same text from the environment.
        let env = file("env file", "env", &text);
        let har = serde_json::json!({"request": {"method": "POST", "url": "http://h/", "headers": [{"name": "x-t", "value": expected}]}});
        let request = file("env file", "request", har.to_string());
        let arguments = ["explain", "--config", &config, "--env-file", &env, "--request", &request];
        let run = run(&arguments, &[("HOME", "home"), ("A", "a")], b"");
        assert_eq!(run.status, 0, "{text:?} is not {expected:?}: {run:?}");
    }
    for (text, line) in [
        ("A=1\nnonsense 0123456789abcdef", 2),
        ("A=1\n\nK=\"0123456789abcdef", 3),
        ("A=\"1\n2\"\n9K=0123456789abcdef", 3),
        ("K=0123456789 abcdef", 1),
        ("K=0123456789\\abcdef", 1),
        ("K='0123456789abcdef", 1),
    ] {
        let env = file("env file", "bad", text);
        let run = run(&["check", "--env-file", &env, &config], &[], b"");
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{text:?}: {run:?}");
        let place = format!("line {line}: ");
        assert!(run.stderr.contains(&place) && !run.stderr.contains("0123456789"), "{text:?}: {run:?}");
    }
}
