//! `explain`: the policy, every check and the verdict, for a request of each captured form.

use crate::program::{Run, file, run};
use serde_json::Value;

const CONFIGURATION: &str = r#"{
  "policies": [
    {"name": "stripe", "match": {"path": {"prefix": "/hooks/stripe"}},
     "require": {"signature": {"provider": "stripe", "secrets": [{"env": "STRIPE", "id": "2026"}]}}},
    {"name": "all-hooks", "match": {"path": {"prefix": "/hooks"}, "hosts": ["*.example.com"]}, "mode": "report",
     "content_types": ["application/json"], "max_body_bytes": 16,
     "require": {
       "any_of": [
         {"source_ip": {"allow": ["192.0.2.0/24"]}},
         {"all_of": [{"token": {"query": "token", "secrets": [{"env": "TOKEN"}]}},
                     {"token": {"bearer": true, "secrets": [{"env": "TOKEN"}]}}]}
       ]}},
    {"name": "get-only", "match": {"path": "/status", "methods": ["GET"]}, "require": {"token": {"bearer": true, "secrets": [{"env": "TOKEN"}]}}},
    {"name": "by-route", "require": {"token": {"bearer": true, "secrets": [{"env": "TOKEN"}]}}}
  ]
}"#;
const ENVIRONMENT: [(&str, &str); 2] =
    [("STRIPE", "whsec_test_secret_0123"), ("TOKEN", "token-0123456789ab")];
/// HMAC-SHA256 of `1700000000.{"id":"evt_1"}`, computed with openssl.
const STRIPE: &str = "73f168c8f95cae26bf3b3104a1307c3040d4d7a17c3c699c8af06025c9c6bd14";
const STRIPE_BODY: &str = r#"{"id":"evt_1"}"#;

fn explain(test: &str, request: &str, more: &[&str]) -> Run {
    let configuration = file(test, "configuration.json", CONFIGURATION);
    let request = file(test, "request", request);
    let arguments = ["explain", "--config", &configuration, "--request", &request];
    run(&[&arguments[..], more].concat(), &ENVIRONMENT, b"")
}

fn raw(target: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {target} HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

/// The verdict and the reason in JSON, with the policy.
fn verdict(run: &Run) -> String {
    let report: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"));
    let part = |key: &str| report["verdict"][key].as_str().unwrap_or("-").to_owned();
    format!("{} {} {}", part("policy"), part("verdict"), part("reason"))
}

#[test]
fn every_check_has_its_line() {
    let run = explain("lines", &raw("/hooks/x?token=guess&a=1", "", "{}"), &["--source-ip", "10.0.0.1"]);
    let expected = "\
request   POST /hooks/x?a=1 for a.example.com, 2 bytes, from 10.0.0.1
policies
  stripe     -       another path: POST /hooks/stripe and below
  all-hooks  chosen  POST /hooks and below on *.example.com
  get-only   -       another path: GET /status
  by-route   -       has no `match`: only a route can name it
checks
  method                           pass
  content_types                    fail  content_type_not_allowed: the content type is not in the policy's list
  content_encodings                pass
  max_body_bytes                   pass
  any_of                           fail  no_alternative_held: no branch of an any_of holds
    source_ip                      fail  source_ip_not_allowed: the source address may not send
    all_of                         fail  token_mismatch: the token is none of the configured ones
      token (in the query, token)  fail  token_mismatch: the token is none of the configured ones
      token (Bearer)               fail  token_missing: the request carries no token there
verdict   report content_type_not_allowed: forwarded, but only because the policy is in report mode; the content type is \
not in the policy's list
";
    assert_eq!((run.status, run.stdout.as_str()), (1, expected));
}

#[test]
fn a_certificate_is_described_by_what_the_gateway_shows_of_it() {
    let digest = "fedcba98".repeat(8);
    let configuration = serde_json::json!({"policies": [{"name": "partner", "match": {"path": "/partner"}, "require": {
        "client_certificate": {"dns": ["*.partner.example.com"], "sha256": [digest]}}}]});
    let configuration = file("certificate", "configuration.json", configuration.to_string());
    let request = file(
        "certificate",
        "request",
        raw("/partner", "X-Forwarded-Client-Cert: DNS=a.partner.example.com\r\n", ""),
    );
    for (more, outcome) in [
        (&[][..], "partner deny client_certificate_missing"),
        (&["--client-dns", "a.partner.example.com"], "partner deny client_certificate_not_allowed"),
        (
            &["--client-dns", "a.partner.example.com", "--client-sha256", &digest.to_ascii_uppercase()],
            "partner allow ok",
        ),
        (
            &["--client-subject", "CN=a.partner.example.com", "--client-sha256", &digest],
            "partner deny client_certificate_not_allowed",
        ),
        (&["--client-uri", "https://a.partner.example.com/"], "partner deny client_certificate_not_allowed"),
    ] {
        let arguments = ["explain", "--format", "json", "--config", &configuration, "--request", &request];
        assert_eq!(verdict(&run(&[&arguments[..], more].concat(), &[], b"")), outcome, "{more:?}");
    }
    let run = run(&["explain", "--config", &configuration, "--request", &request], &[], b"");
    let line =
        "client_certificate  fail  client_certificate_missing: the connection has no client certificate";
    assert!(run.stdout.contains(line), "{}", run.stdout);
}

#[test]
fn every_form_of_a_capture_comes_to_the_same() {
    let header = format!("Stripe-Signature: t=1700000000,v1={STRIPE}");
    let har = serde_json::json!({"log": {"entries": [
        {"request": {"method": "GET", "url": "https://a.example.com/other", "headers": []}},
        {"startedDateTime": "2023-11-14T22:13:25.000Z", "request": {
            "method": "POST", "url": "https://a.example.com/hooks/stripe?x=1",
            "headers": [{"name": ":authority", "value": "a.example.com"},
                        {"name": "stripe-signature", "value": format!("t=1700000000,v1={STRIPE}")}],
            "postData": {"mimeType": "application/json", "text": STRIPE_BODY}}},
    ]}});
    let rows = [
        ("raw", raw("/hooks/stripe?x=1", &format!("{header}\r\n"), STRIPE_BODY), vec!["--now", "1700000005"]),
        (
            "raw with LF alone",
            format!(
                "{}\n",
                raw("/hooks/stripe?x=1", &format!("{header}\r\n"), STRIPE_BODY).replace('\r', "")
            ),
            vec!["--now", "2023-11-14T22:13:25Z"],
        ),
        (
            "curl",
            format!(
                "$ curl -sS -X POST https://a.example.com/hooks/stripe?x=1 \\\n  -H '{header}' \\\n  --data-raw '{STRIPE_BODY}'"
            ),
            vec!["--now", "1700000005"],
        ),
        ("HAR", har.to_string(), vec!["--entry", "2"]),
    ];
    for (name, request, more) in rows {
        let run = explain(&format!("form {name}"), &request, &[&more[..], &["--format", "json"]].concat());
        assert_eq!((run.status, verdict(&run).as_str()), (0, "stripe allow ok"), "{name}: {run:?}");
        assert!(run.stdout.contains(r#""2026""#), "{name}: the secret's id is not said: {run:?}");
    }
    // The time of the capture is in the file; a clock that is asked for comes before it.
    let late = explain(
        "form HAR late",
        &har.to_string(),
        &["--entry", "2", "--now", "1700000400", "--format", "json"],
    );
    assert_eq!((late.status, verdict(&late).as_str()), (1, "stripe deny timestamp_stale"), "{late:?}");
}

#[test]
fn a_line_of_the_access_log_is_judged_as_far_as_it_tells() {
    let line = r#"{"time":"2026-11-23T10:00:00.000Z","method":"POST","path":"/hooks/stripe","status":401,"verdict":"deny","reason":"signature_mismatch","policy":"stripe","checks":"path:pass,source_ip:skip,token:skip,signature:fail","source":"192.0.2.7:4711"}"#;
    let run = explain("log", line, &[]);
    for said in [
        "POST /hooks/stripe for unknown.invalid, 0 bytes, from 192.0.2.7",
        "an access-log line holds no headers",
        "the gateway said: deny signature_mismatch by policy stripe",
        "stripe     chosen",
        "deny 401 signature_missing",
    ] {
        assert!(run.stdout.contains(said), "{said:?} is not in {}", run.stdout);
    }
    assert_eq!(run.status, 1);
}

#[test]
fn the_policy_and_the_verdict_are_the_cores() {
    let bearer = "Authorization: Bearer token-0123456789ab\r\n";
    let json = "Content-Type: application/json\r\n";
    let rows: [(&str, String, &[&str], &str); 9] = [
        ("no policy", raw("/other", "", ""), &[], "- deny no_policy"),
        ("malformed", raw("/hooks/stripe/..%2fadmin", "", ""), &[], "- deny path_malformed"),
        ("method", raw("/status", bearer, ""), &[], "get-only deny method_not_allowed"),
        (
            "segment boundary",
            raw("/hooks/stripes", json, "{}"),
            &["--source-ip", "192.0.2.1"],
            "all-hooks allow ok",
        ),
        ("no address", raw("/hooks/x", json, "{}"), &[], "all-hooks report no_alternative_held"),
        (
            "too large",
            raw("/hooks/x", json, "12345678901234567"),
            &["--source-ip", "192.0.2.1"],
            "all-hooks report body_too_large",
        ),
        ("by route", raw("/any", bearer, "{}"), &["--route-policy", "by-route"], "by-route allow ok"),
        ("unknown route", raw("/any", bearer, "{}"), &["--route-policy", "by-rout"], "- deny policy_unknown"),
        (
            "upgrade",
            raw("/hooks/stripe", "Upgrade: websocket\r\n", ""),
            &[],
            "stripe deny upgrade_not_allowed",
        ),
    ];
    for (name, request, more, expected) in rows {
        let run = explain(&format!("verdict {name}"), &request, &[more, &["--format", "json"]].concat());
        assert_eq!(verdict(&run), expected, "{name}");
        assert_eq!(run.status, i32::from(!expected.ends_with("allow ok")), "{name}");
    }
}

#[test]
fn a_question_that_cannot_be_read_has_no_answer() {
    let good = raw("/hooks/x", "", "{}");
    let rows: [(&str, &str, &[&str], &str); 5] = [
        ("empty", "", &[], "is empty"),
        (
            "nonsense",
            "hello",
            &[],
            "none of raw HTTP, a curl command line, a HAR file and an access-log line",
        ),
        (
            "cut",
            "POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\n{}",
            &[],
            "the body has 2 bytes, and content-length says 5",
        ),
        ("time", &good, &["--now", "yesterday"], "--now: \"yesterday\" is neither RFC 3339"),
        ("curl option", "curl --upload-file x https://a/", &[], "the option --upload-file is not known here"),
    ];
    for (name, request, more, said) in rows {
        let run = explain(&format!("unreadable {name}"), request, more);
        assert_eq!(run.status, 2, "{name}: {run:?}");
        assert!(run.stderr.contains(said), "{name}: {run:?}");
    }
    let broken = file("unreadable", "broken.json", "{\"policies\": [{\"name\": \"A\"}]}");
    let request = file("unreadable", "request", &good);
    let run = run(&["explain", "--config", &broken, "--request", &request], &[], b"");
    assert_eq!(run.status, 2, "{run:?}");
    for said in ["broken.json:1:24: policies[0].name: ", "broken.json:1:15: policies[0].require: is required"]
    {
        assert!(run.stderr.contains(said), "{said:?} is not in {}", run.stderr);
    }
}

#[test]
fn no_token_is_shown() {
    let request =
        raw("/hooks/x?token=token-0123456789ab", "Authorization: Bearer token-0123456789ab\r\n", "{}");
    for format in ["text", "json"] {
        let run = explain("secret", &request, &["--format", format]);
        assert!(!format!("{run:?}").contains("token-0123456789ab"), "{format}: {run:?}");
    }
}

/// For every request under every policy: the verdict's reason is that of a check that fails, and what is let through has
/// none that does.
#[test]
fn the_checks_agree_with_the_verdict() {
    let config = file(
        "agree",
        "guard.json",
        r#"{"policies": [
          {"name": "meta", "match": {"path": "/meta"}, "max_body_bytes": 30, "handshake": {"verify_tokens": [{"env": "TOKEN"}]},
           "require": {"signature": {"provider": "meta", "secrets": [{"env": "TOKEN"}]}, "token": {"header": "x-t", "secrets": [{"env": "TOKEN"}]}}},
          {"name": "slack", "match": {"path": "/slack"}, "content_types": ["application/json"], "handshake": "answer",
           "require": {"signature": {"provider": "slack", "secrets": [{"env": "TOKEN"}]}}},
          {"name": "report", "match": {"path": "/report", "methods": ["POST", "PUT"]}, "mode": "report", "max_body_bytes": 4,
           "require": {"all_of": [{"all_of": [{"source_ip": {"allow": ["192.0.2.1"]}}, {"token": {"bearer": true, "secrets": [{"env": "TOKEN"}]}}]},
                                  {"signature": {"provider": "github", "secrets": [{"env": "TOKEN"}]}}]}},
          {"name": "open", "match": {"path": {"prefix": "/open"}, "methods": ["GET", "POST"]}, "max_body_bytes": 4, "require": "nothing"},
          {"name": "routed", "match": {"path": {"prefix": "/routed"}}, "require": {"token": {"bearer": true, "secrets": [{"env": "TOKEN"}]}}}
        ]}"#,
    );
    let token = "token-0123456789ab";
    let mut requests: Vec<(String, String, Vec<&str>)> = Vec::new();
    for (method, target) in [
        ("CONNECT", "hooks.example.com:443".to_owned()),
        ("CONNECT", "http://hooks.example.com".to_owned()),
        ("GET", format!("/meta?hub.mode=subscribe&hub.verify_token={token}&hub.challenge=1158201444")),
        ("GET", "/meta?hub.mode=subscribe&hub.verify_token=wrong&hub.challenge=1158201444".to_owned()),
        ("GET", "/report".to_owned()),
        ("DELETE", "/meta".to_owned()),
        ("POST", "/open/%2e%2e/x".to_owned()),
        ("POST", "/nowhere".to_owned()),
    ] {
        requests.push((method.to_owned(), target, vec![]));
    }
    for path in ["/meta", "/slack", "/report", "/open"] {
        for method in ["POST", "CONNECT"] {
            requests.push((method.to_owned(), path.to_owned(), vec![]));
        }
        requests.push(("POST".to_owned(), path.to_owned(), vec!["--source-ip", "192.0.2.1"]));
    }
    requests.push(("POST".to_owned(), "/elsewhere".to_owned(), vec!["--route-policy", "routed"]));
    requests.push(("GET".to_owned(), "/routed".to_owned(), vec!["--route-policy", "routed"]));
    let headers = [
        "".to_owned(),
        "Upgrade: websocket\r\n".to_owned(),
        "Content-Encoding: br\r\n".to_owned(),
        format!("X-T: {token}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for (method, target, more) in &requests {
        for header in &headers {
            for (declared, body) in [(0, ""), (2, "{}"), (9, "{\"a\":\"b\"}"), (40, "{}")] {
                if declared == 40 && (header.is_empty() || method == "CONNECT") {
                    continue;
                }
                let text = format!(
                    "{method} {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {declared}\r\n{header}\r\n{body}"
                );
                let request = file("agree", "request", &text);
                // The body beside the capture: its length is another than the declared one.
                let beside = file("agree", "body", body);
                let mut arguments =
                    vec!["explain", "--format", "json", "--config", &config, "--request", &request];
                arguments.extend(more);
                if declared == 40 {
                    arguments.extend(["--body", &beside]);
                }
                let run = run(&arguments, &ENVIRONMENT, b"");
                let report: Value =
                    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"));
                let (verdict, reason) = (&report["verdict"]["verdict"], &report["verdict"]["reason"]);
                let checks = report["checks"].as_array().unwrap();
                let mut failed = checks.iter().filter(|check| check["outcome"] == "fail");
                match (verdict.as_str().unwrap(), report["verdict"]["policy"].as_str()) {
                    ("deny" | "report", Some(_)) => {
                        assert!(failed.any(|check| check["reason"] == *reason), "{text}: {report:#}");
                    }
                    ("deny", None) => assert!(checks.is_empty(), "{text}: {report:#}"),
                    _ => assert_eq!(failed.next(), None, "{text}: {report:#}"),
                }
                if method == "CONNECT" && reason != "host_fault" {
                    assert_eq!(reason, "upgrade_not_allowed", "{text}: {report:#}");
                }
                seen.insert(format!("{} {}", verdict.as_str().unwrap(), reason.as_str().unwrap()));
            }
        }
    }
    for said in [
        "allow ok",
        "answer ok",
        "deny handshake_refused",
        "deny upgrade_not_allowed",
        "deny body_too_large",
        "report source_ip_unknown",
    ] {
        assert!(seen.contains(said), "{said} is not among {seen:?}");
    }
}

#[test]
fn what_is_recorded_of_the_request_is_said() {
    let configuration = r#"{"policies": [{"name": "hook", "match": {"path": "/hook"},
        "require": {"any_of": [{"token": {"query": "token", "secrets": [{"env": "TOKEN"}]}},
                               {"token": {"header": "x-token", "secrets": [{"env": "TOKEN"}]}}]},
        "record": {"body": "accepted", "headers": ["x-event", "x-token"]}}]}"#;
    let configuration = file("record", "configuration.json", configuration);
    let headers = "X-Event: a?token=token-0123456789ab\r\nX-Token: token-0123456789ab\r\n";
    let request = file("record", "request", raw("/hook", headers, "{}"));
    let arguments = ["explain", "--config", &configuration, "--request", &request];
    let text = run(&arguments, &ENVIRONMENT, b"").stdout;
    let line = "\nrecord    the body; headers {\"x-event\":\"a?token=REDACTED\"}\n";
    assert!(text.ends_with(line), "{text}");
    let refused = file("record", "refused", raw("/hook", "X-Token: wrong\r\n", "{}"));
    let arguments = ["explain", "--config", &configuration, "--request", &refused, "--format", "json"];
    let report: Value = serde_json::from_str(&run(&arguments, &ENVIRONMENT, b"").stdout).unwrap();
    assert_eq!(report["record"], serde_json::json!({"body": false, "headers": "{}"}));
}
