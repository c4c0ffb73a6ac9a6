//! Proves the decisions: rows of policy, request, verdict and reason. Every reason has a row, or is named as one that the
//! core cannot come to.
//!
//! A request is one line: `METHOD TARGET | name: value | @source: .. | @dns: .. | @subject: .. | @route: .. | @now: MILLISECONDS | @end: MILLISECONDS || BODY`. `SIG1`
//! and `SIG2` stand for the HMAC-SHA-256 of `{}` under the keys `key-one-…` and `key-two-…`, `EMPTY1` for that of no
//! body, `SLACK1` for that of `v0:1700000000:{}`: made with Python's hmac.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a broken row must fail the test loudly")]

mod common;

use common::{Framing, Request, codes};
use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use webhook_guard_core::budget::Held;
use webhook_guard_core::config;
use webhook_guard_core::decision::{Decision, Reason, Verdict};
use webhook_guard_core::feed::Lists;
use webhook_guard_core::policy::{AfterHeaders, BodyCheck, Check, PolicySet};
use webhook_guard_core::request::{ClientCertificate, Millis};

const DIGESTS: [(&str, &str); 4] = [
    ("SIG1", "2c28d2e6159b2a07689b4362742cb13bf49f6533f2ae8def4ed5143f0d46be6d"),
    ("SIG2", "cb15175dc3f2b75f392a781e3e15f839d79e9de848889e600b1745923ea721cb"),
    ("EMPTY1", "6e29c423682a51cba8938ad52aff308d544d414f9c721e57d6fdf3c4aef82fbd"),
    ("SLACK1", "9fc4d038ffd98b930fb05437eda47d1a99213146f8f63b887d8f40cb7d513bac"),
];

/// `@now` where a row does not say: the start of a second.
const NOW: i64 = 1_700_000_000_000;

fn policies(configuration: &Value) -> PolicySet {
    config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap().policies
}

fn request(row: &str) -> Request {
    let filled = DIGESTS.iter().fold(row.to_owned(), |text, (name, digest)| text.replace(name, digest));
    let (head, body) = filled.split_once(" || ").unwrap_or((&filled, ""));
    let mut parts = head.split(" | ");
    let (method, target) = parts.next().unwrap().split_once(' ').unwrap();
    let mut request = Request {
        headers: vec![(":method".into(), method.into()), (":path".into(), target.into())],
        source: None,
        client_certificate: None,
        route_policy: None,
        now: Millis(NOW),
        ended: None,
        body: body.into(),
    };
    for part in parts {
        let (name, value) = part.split_once(": ").unwrap();
        match name {
            "@dns" | "@uri" | "@subject" | "@sha256" => {
                let certificate = request.client_certificate.get_or_insert_with(ClientCertificate::default);
                *match name {
                    "@dns" => &mut certificate.dns,
                    "@uri" => &mut certificate.uri,
                    "@subject" => &mut certificate.subject,
                    _ => &mut certificate.sha256,
                } = value.into();
            }
            "@source" => request.source = Some(value.to_owned()),
            "@route" => request.route_policy = Some(value.to_owned()),
            "@end" => request.ended = Some(Millis(value.parse().unwrap())),
            "@now" => request.now = Millis(value.parse().unwrap()),
            _ => request.headers.push((name.to_owned(), value.into())),
        }
    }
    if !head.contains(":authority: ") {
        request.headers.push((":authority".into(), "hooks.example.com".into()));
    }
    request
}

fn decision(policies: &PolicySet, row: &str) -> Option<Decision> {
    request(row).judge(policies, Framing::Undeclared, 3).1
}

/// Rows of a request, a verdict and a reason.
fn check(configuration: &Value, rows: &[(&str, &str, &str)]) {
    let policies = policies(configuration);
    for (row, verdict, reason) in rows {
        assert_eq!(codes(decision(&policies, row).as_ref()), (*verdict, *reason), "{row}");
    }
}

/// The HMAC-SHA-256 in hexadecimal digits, as the sender would make it.
fn hmac(key: &str, content: &str) -> String {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key.as_bytes()).unwrap();
    Mac::update(&mut mac, content.as_bytes());
    HEXLOWER.encode(&mac.finalize().into_bytes())
}

const KEY_ONE: &str = "key-one-0123456789";

/// One policy at these paths with one signature check.
fn signed(path: Value, signature: Value) -> Value {
    json!({"policies": [{"name": "p", "match": {"path": path}, "require": {"signature": signature}}]})
}

/// A scheme with an HMAC in `x-signature` over that template, and what else it needs.
fn scheme(signed: &str, more: Value) -> Value {
    let signature = json!({"header": "x-signature", "encoding": "hex"});
    let mut scheme = json!({"algorithm": "hmac-sha256", "signature": signature, "signed": signed});
    scheme.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"scheme": scheme, "secrets": [{"value": KEY_ONE}]})
}

fn secrets() -> Value {
    json!([{"value": "key-one-0123456789", "id": "one"}])
}

fn token() -> Value {
    json!({"header": "x-token", "secrets": [{"value": "token-0123456789", "id": "token"}]})
}

fn github() -> Value {
    json!({"provider": "github", "secrets": secrets()})
}

fn source() -> Value {
    json!({"allow": ["192.0.2.0/24"]})
}

fn certificate() -> Value {
    json!({"dns": ["hooks.example.com"]})
}

/// One policy at `/hooks` with these members beside its name and match.
fn single(members: &Value) -> Value {
    let mut policy = json!({"name": "single", "match": {"path": "/hooks"}});
    policy.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    json!({ "policies": [policy] })
}

const REASONS: &[(&str, &str)] = &[
    ("GET /handshake", "handshake_refused"),
    ("GET /handshake?challenge=<script>", "handshake_refused"),
    ("POST /nowhere", "no_policy"),
    ("POST /github//x", "path_malformed"),
    ("GET /github", "method_not_allowed"),
    ("POST /github | upgrade: websocket", "upgrade_not_allowed"),
    ("GET /github | upgrade: websocket", "upgrade_not_allowed"),
    ("CONNECT /github", "upgrade_not_allowed"),
    ("CONNECT ", "upgrade_not_allowed"),
    ("CONNECT /nowhere", "no_policy"),
    ("POST ", "path_malformed"),
    ("POST /github | content-type: text/plain", "content_type_not_allowed"),
    (
        "POST /github | content-type: application/json | content-encoding: gzip",
        "content_encoding_not_allowed",
    ),
    (
        "POST /github | content-type: application/json | x-hub-signature-256: sha256=SIG1 || 123456789",
        "body_too_large",
    ),
    ("POST /source", "source_ip_unknown"),
    ("POST /source | @source: pipe", "source_ip_unknown"),
    ("POST /source | @source: 192.0.3.1:443", "source_ip_not_allowed"),
    ("POST /source | @source: 192.0.3.1:443 | x-forwarded-for: 192.0.2.1", "source_ip_not_allowed"),
    ("POST /certificate", "client_certificate_missing"),
    (
        "POST /certificate | x-forwarded-client-cert: Subject=\"CN=hooks\";DNS=hooks.example.com",
        "client_certificate_missing",
    ),
    ("POST /certificate | @dns: other.example.com", "client_certificate_not_allowed"),
    ("POST /certificate | @subject: CN=hooks.example.com", "client_certificate_not_allowed"),
    ("POST /token", "token_missing"),
    ("POST /token | x-token: token-0123456789 | X-Token: token-0123456789", "token_ambiguous"),
    ("POST /token | x-token: token-0123456788", "token_mismatch"),
    ("POST /slack || {}", "signature_missing"),
    (
        "POST /slack | x-slack-signature: v0=SLACK1 | x-slack-signature: v0=SLACK1 || {}",
        "signature_ambiguous",
    ),
    ("POST /slack | x-slack-signature: SLACK1 || {}", "signature_malformed"),
    (
        "POST /slack | x-slack-request-timestamp: 1700000000 | x-slack-signature: v0=SLACK1 || {1",
        "signature_mismatch",
    ),
    ("POST /slack | x-slack-signature: v0=SLACK1 || {}", "timestamp_missing"),
    (
        "POST /slack | x-slack-request-timestamp: now | x-slack-signature: v0=SLACK1 || {}",
        "timestamp_malformed",
    ),
    (
        "POST /slack | x-slack-request-timestamp: 1699999699 | x-slack-signature: v0=SLACK1 || {}",
        "timestamp_stale",
    ),
    (
        "POST /slack | x-slack-request-timestamp: 1700000061 | x-slack-signature: v0=SLACK1 || {}",
        "timestamp_future",
    ),
    ("POST /require | x-signature: SIG1 | x-version: 2 || {}", "requirement_not_met"),
    ("POST /require | x-signature: SIG1 || {}", "requirement_not_met"),
    ("POST /require | x-signature: SIG1 | x-version: 1 | x-version: 1 || {}", "requirement_not_met"),
    ("POST /digest?sha=00 | x-signature: SIG1 || {}", "requirement_not_met"),
    ("POST /any | @source: 192.0.3.1:1 | x-token: other", "no_alternative_held"),
    ("POST /github | @route: unknown", "policy_unknown"),
    ("POST /crowd | x-hub-signature-256: sha256=SIG1 || {}", "overloaded"),
];

/// What only the host or a memory can come to: tests/core/exchange.rs.
const NO_ROW: [Reason; 4] =
    [Reason::DuplicateDelivery, Reason::MemoryUnavailable, Reason::HostCannotHold, Reason::HostFault];

fn reasons() -> Value {
    let scheme = |require: Value| {
        let signature = json!({"header": "x-signature", "encoding": "hex"});
        json!({"algorithm": "hmac-sha256", "signature": signature, "signed": "{body}", "require": require})
    };
    let version = scheme(json!([{"header": "x-version", "equals": "1"}]));
    let digest = scheme(json!([{"query": "sha", "equals_body_sha256": "hex"}]));
    let policy = |name: &str, require: Value| {
        let path = format!("/{name}");
        json!({"name": name, "match": {"path": {"prefix": path}}, "require": require})
    };
    let mut github = policy("github", json!({"signature": github()}));
    github["max_body_bytes"] = json!(8);
    github["content_types"] = json!(["application/json"]);
    let mut handshake =
        policy("handshake", json!({"signature": {"provider": "dropbox", "secrets": secrets()}}));
    handshake["handshake"] = json!("answer");
    // What forty secrets keep of one request is more than all requests may.
    let crowd: Vec<Value> =
        (0..40).map(|index| json!({"value": format!("key-{index}-0123456789")})).collect();
    json!({"held_bytes": 8192, "policies": [
        policy("crowd", json!({"signature": {"provider": "github", "secrets": crowd}})),
        github,
        handshake,
        policy("source", json!({"source_ip": source()})),
        policy("certificate", json!({"client_certificate": certificate()})),
        policy("token", json!({"token": token()})),
        policy("slack", json!({"signature": {"provider": "slack", "secrets": secrets()}})),
        policy("require", json!({"signature": {"scheme": version, "secrets": secrets()}})),
        policy("digest", json!({"signature": {"scheme": digest, "secrets": secrets()}})),
        policy("any", json!({"any_of": [{"source_ip": source()}, {"token": token()}]})),
    ]})
}

#[test]
fn every_reason_has_its_row() {
    let rows: Vec<_> = REASONS.iter().map(|(row, reason)| (*row, "deny", *reason)).collect();
    check(&reasons(), &rows);
    let named: BTreeSet<&str> = REASONS.iter().map(|(_, reason)| *reason).collect();
    for reason in Reason::ALL {
        assert!(
            named.contains(reason.code()) != NO_ROW.contains(&reason),
            "{}: row or exemption",
            reason.code()
        );
        // Where operator or host is at fault, and where there is no request to judge, report mode forwards nothing.
        // A memory that is away is no reason to refuse what is only watched.
        let is_fault = reason.status() == 503 && reason != Reason::MemoryUnavailable;
        let is_refused = is_fault || reason == Reason::UpgradeNotAllowed;
        assert_eq!(reason.may_be_reported(), !is_refused, "{}", reason.code());
    }
}

#[test]
fn each_policy_of_those_rows_lets_its_request_through() {
    // Made with `printf '{}' | sha256sum`.
    let digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    check(
        &reasons(),
        &[
            (
                "POST /github/x | content-type: application/json | x-hub-signature-256: sha256=SIG1 || {}",
                "allow",
                "ok",
            ),
            ("POST /source | @source: 192.0.2.1:443", "allow", "ok"),
            ("POST /source | @source: [::ffff:192.0.2.1]:443", "allow", "ok"),
            ("POST /certificate | @dns: Hooks.Example.com", "allow", "ok"),
            ("POST /token | x-token: token-0123456789", "allow", "ok"),
            (
                "POST /slack | x-slack-request-timestamp: 1700000000 | x-slack-signature: v0=SLACK1 || {}",
                "allow",
                "ok",
            ),
            ("POST /require | x-signature: SIG1 | x-version: 1 || {}", "allow", "ok"),
            (&format!("POST /digest?sha={digest} | x-signature: SIG1 || {{}}"), "allow", "ok"),
            ("POST /digest?sha=SIG1 | x-signature: SIG1 || {}", "deny", "requirement_not_met"),
            ("POST /any | @source: 192.0.2.1:1", "allow", "ok"),
            ("POST /any | x-token: token-0123456789", "allow", "ok"),
        ],
    );
}

#[test]
fn cheap_comes_before_dear() {
    let require = json!({
        "signature": {"provider": "slack", "secrets": secrets()},
        "token": token(),
        "source_ip": source(),
        "client_certificate": certificate(),
    });
    let mut configuration =
        single(&json!({"require": require, "content_types": ["application/json"], "max_body_bytes": 2}));
    configuration["policies"][0]["match"]["hosts"] = json!(["hooks.example.com"]);
    // Everything is wrong; each row puts right what the row before was refused for.
    let mut row = "GET /hooks;a | :authority: other.example.com | upgrade: h2c | content-type: text/plain | \
                   content-encoding: br | @source: 192.0.3.1:1 | @dns: other.example.com | x-token: other | x-slack-signature: v1=SLACK1 | \
                   x-slack-request-timestamp: 1 || {}}"
        .to_owned();
    for (reason, wrong, right) in [
        ("path_malformed", "/hooks;a", "/hooks"),
        ("no_policy", ":authority: other", ":authority: hooks"),
        ("upgrade_not_allowed", "upgrade: ", "x-upgrade: "),
        ("method_not_allowed", "GET", "POST"),
        ("content_type_not_allowed", "text/plain", "application/json"),
        ("content_encoding_not_allowed", "br |", "identity |"),
        ("source_ip_not_allowed", "192.0.3.1", "192.0.2.1"),
        ("client_certificate_not_allowed", "@dns: other", "@dns: hooks"),
        ("token_mismatch", "x-token: other", "x-token: token-0123456789"),
        ("signature_malformed", "v1=SLACK1", "v0=SLACK1"),
        ("timestamp_stale", "timestamp: 1 ", "timestamp: 1700000000 "),
        ("body_too_large", "|| {}}", "|| {]"),
        ("signature_mismatch", "|| {]", "|| {}"),
    ] {
        check(&configuration, &[(&row, "deny", reason)]);
        assert!(row.contains(wrong), "{row}: nothing to put right: {wrong}");
        row = row.replacen(wrong, right, 1);
    }
    check(&configuration, &[(&row, "allow", "ok")]);
}

#[test]
fn requirements_nest() {
    let require = json!({
        "source_ip": {"deny": ["203.0.113.0/24"]},
        "any_of": [
            {"source_ip": source()},
            {"all_of": [{"token": token()}, {"any_of": [{"signature": github()}, {"source_ip": {"allow": ["2001:db8::/32"]}}]}]},
        ],
    });
    check(
        &single(&json!({ "require": require })),
        &[
            ("POST /hooks | @source: 192.0.2.1:1 || {}", "allow", "ok"),
            (
                "POST /hooks | @source: 203.0.113.1:1 | x-token: token-0123456789 || {}",
                "deny",
                "source_ip_not_allowed",
            ),
            ("POST /hooks | @source: 198.51.100.1:1 || {}", "deny", "no_alternative_held"),
            (
                "POST /hooks | @source: 198.51.100.1:1 | x-token: token-0123456789 || {}",
                "deny",
                "no_alternative_held",
            ),
            (
                "POST /hooks | @source: 198.51.100.1:1 | x-token: token-0123456789 | x-hub-signature-256: sha256=SIG1 || {}",
                "allow",
                "ok",
            ),
            (
                "POST /hooks | @source: 198.51.100.1:1 | x-token: token-0123456789 | x-hub-signature-256: sha256=SIG2 || {}",
                "deny",
                "no_alternative_held",
            ),
            (
                "POST /hooks | @source: 198.51.100.1:1 | x-token: other | x-hub-signature-256: sha256=SIG1 || {}",
                "deny",
                "no_alternative_held",
            ),
            ("POST /hooks | @source: [2001:db8::1]:1 | x-token: token-0123456789 || {}", "allow", "ok"),
            ("POST /hooks | @source: [2001:db8::1]:1 || {}", "deny", "no_alternative_held"),
            (
                "POST /hooks | x-token: token-0123456789 | x-hub-signature-256: sha256=SIG1 || {}",
                "deny",
                "source_ip_unknown",
            ),
        ],
    );
    // Two places of one token: ambiguity in a branch is a failed branch.
    let either = json!({"any_of": [{"token": token()}, {"token": {"query": "token", "secrets": secrets()}}]});
    check(
        &single(&json!({ "require": either })),
        &[
            ("POST /hooks?token=key-one-0123456789 | x-token: a | x-token: b", "allow", "ok"),
            ("POST /hooks?token=key-one-0123456789&token=b | x-token: a", "deny", "no_alternative_held"),
        ],
    );
}

#[test]
fn report_mode_forwards_and_loosens_nothing_else() {
    let policy = |name: &str, path: &str, method: &str, mode: &str| {
        json!({"name": name, "match": {"path": path, "methods": [method]}, "mode": mode, "require": {"token": token()},
               "max_body_bytes": 2})
    };
    let mut beside = policy("strict", "/hooks/strict", "POST", "enforce");
    beside["require"] = json!({"signature": github()});
    let configuration = json!({"policies": [
        policy("report", "/hooks", "POST", "report"),
        policy("enforce", "/hooks", "PUT", "enforce"),
        policy("alone", "/alone", "POST", "report"),
        beside,
    ]});
    check(
        &configuration,
        &[
            ("POST /hooks | x-token: token-0123456789", "allow", "ok"),
            ("POST /hooks", "report", "token_missing"),
            // A tunnel holds no request that could be reported.
            ("POST /hooks | upgrade: websocket", "deny", "upgrade_not_allowed"),
            ("POST /hooks | content-encoding: gzip", "report", "content_encoding_not_allowed"),
            ("POST /hooks | x-token: token-0123456789 || 123", "report", "body_too_large"),
            ("PUT /hooks", "deny", "token_missing"),
            ("GET /hooks", "deny", "method_not_allowed"),
            ("GET /alone", "report", "method_not_allowed"),
            ("POST /hooks/strict || {}", "deny", "signature_missing"),
            ("POST /hooks/other", "deny", "no_policy"),
            ("POST /hooks//", "deny", "path_malformed"),
            ("POST /hooks | @route: unknown", "deny", "policy_unknown"),
            ("POST /hooks | @route: strict", "deny", "no_policy"),
        ],
    );
}

#[test]
fn what_no_policy_governs_is_left_alone_only_when_no_reading_of_it_is_governed() {
    let configuration = |unmatched: &str| {
        json!({"unmatched": unmatched, "policies": [
            {"name": "hooks", "match": {"path": {"prefix": "/Hooks/v1"}, "hosts": ["*.example.com"]}, "require": {"token": token()}},
        ]})
    };
    let rows = [
        ("GET /", "leave", "-"),
        ("POST /hooks/v10", "leave", "-"),
        ("POST /other//place;a=1/..", "leave", "-"),
        ("POST /%zz", "leave", "-"),
        ("POST /hooks/v1 | :authority: example.net", "leave", "-"),
        ("OPTIONS *", "leave", "-"),
        ("POST /Hooks/v1/a", "deny", "token_missing"),
        ("GET /Hooks/v1", "deny", "method_not_allowed"),
        ("POST /hooks/v1", "deny", "path_malformed"),
        ("POST /HOOKS/V1/a", "deny", "path_malformed"),
        ("GET //Hooks/v1", "deny", "path_malformed"),
        ("POST /Hooks%2fv1", "deny", "path_malformed"),
        ("POST /Hooks%252Fv1", "deny", "path_malformed"),
        ("POST /%48ooks/v1", "deny", "path_malformed"),
        ("POST /x/../Hooks/v1", "deny", "path_malformed"),
        ("POST /x/%2e%2e/Hooks/v1", "deny", "path_malformed"),
        ("POST /x/..;/Hooks/v1", "deny", "path_malformed"),
        ("POST /Hooks;p=1/v1", "deny", "path_malformed"),
        ("POST \\Hooks\\v1", "deny", "path_malformed"),
        ("POST /Hooks/v1%00", "deny", "path_malformed"),
        ("POST /Hooks/./v1?token=a", "deny", "path_malformed"),
        ("POST //x/../Hooks\\v1;a/b", "deny", "path_malformed"),
    ];
    check(&configuration("pass"), &rows);
    let denied = rows.map(|(row, verdict, reason)| match (verdict, row) {
        ("leave", _) if row.contains("//") || row.contains('%') || row.contains('*') => {
            (row, "deny", "path_malformed")
        }
        ("leave", _) => (row, "deny", "no_policy"),
        // A path in another case or decoded reads in one way: it is simply not this one.
        (_, "POST /hooks/v1" | "POST /HOOKS/V1/a" | "POST /%48ooks/v1" | "POST /Hooks%252Fv1") => {
            (row, "deny", "no_policy")
        }
        _ => (row, verdict, reason),
    });
    check(&configuration("deny"), &denied);
}

#[test]
fn a_route_names_its_policy() {
    let configuration = json!({"unmatched": "pass", "policies": [
        {"name": "free", "require": {"token": token()}},
        {"name": "bound", "match": {"path": {"prefix": "/hooks"}, "hosts": ["hooks.example.com"]}, "require": {"source_ip": source()}},
        {"name": "deep", "match": {"path": "/hooks/deep"}, "require": {"token": token()}},
    ]});
    check(
        &configuration,
        &[
            ("POST /anything | @route: free | x-token: token-0123456789", "allow", "ok"),
            ("GET /anything | @route: free", "deny", "token_missing"),
            ("POST /hooks | @route: bound | @source: 192.0.2.1:1", "allow", "ok"),
            ("POST /hooks/deep | @route: bound | @source: 192.0.2.1:1", "allow", "ok"),
            ("POST /hooks/deep | @source: 192.0.2.1:1", "deny", "token_missing"),
            ("GET /hooks | @route: bound | @source: 192.0.2.1:1", "deny", "method_not_allowed"),
            ("POST /other | @route: bound | @source: 192.0.2.1:1", "deny", "no_policy"),
            ("POST /hooks | :authority: other | @route: bound | @source: 192.0.2.1:1", "deny", "no_policy"),
            ("POST /hooks | @route: Bound", "deny", "policy_unknown"),
            ("POST /hooks | @route: ", "deny", "policy_unknown"),
            ("POST /a//b | @route: free | x-token: token-0123456789", "deny", "path_malformed"),
            ("POST /anything | x-token: token-0123456789", "leave", "-"),
        ],
    );
}

/// What is changed: the target, if it is, and the removed headers in lower case, sorted, each once.
fn edits(policies: &PolicySet, row: &str) -> (Option<String>, String) {
    let (edits, _) = request(row).judge(policies, Framing::Undeclared, 3);
    let names = edits.remove.iter().map(|name| String::from_utf8(name.to_ascii_lowercase()).unwrap());
    let names: BTreeSet<String> = names.collect();
    (edits.target.map(|target| String::from_utf8(target).unwrap()), Vec::from_iter(names).join(" "))
}

#[test]
fn tokens_and_forged_verdicts_are_taken_out_whatever_becomes_of_the_request() {
    let token_in = |place: &str, value: Value| json!({"token": {place: value, "secrets": secrets()}});
    let policy = |name: &str, require: Value| {
        let path = format!("/{name}");
        json!({"name": name, "match": {"path": path}, "require": require})
    };
    let mut keep = policy(
        "keep",
        json!({"all_of": [token_in("query", json!("token")), token_in("header", json!("x-t"))]}),
    );
    keep["forward"] = json!({"token": "keep"});
    let mut remove = policy("remove", json!("nothing"));
    remove["forward"] = json!({"remove_headers": ["Flex-Sync-Webhook", "x-other"]});
    let either = json!({"any_of": [token_in("query", json!("key")), token_in("header", json!("x-token"))]});
    let configuration = json!({"unmatched": "pass", "policies": [
        policy("query", token_in("query", json!("token"))),
        policy("header", token_in("header", json!("x-token"))),
        policy("bearer", token_in("bearer", json!(true))),
        policy("basic", token_in("basic", json!({"username": "u"}))),
        policy("azure", json!({"signature": {"provider": "azure_devops", "secrets": secrets()}})),
        policy("either", either),
        keep,
        remove,
    ]});
    let policies = policies(&configuration);
    for (row, target, removed) in [
        ("POST /query?token=key-one-0123456789", Some("/query"), ""),
        ("POST /query?a=1&token=key-one-0123456789&b=%41", Some("/query?a=1&b=%41"), ""),
        ("POST /query?a=1&token=wrong", Some("/query?a=1"), ""),
        ("POST /query?a&&tok%65n=wrong&&b", Some("/query?a&&&b"), ""),
        ("POST /query?token=a&token=b&c", Some("/query?c"), ""),
        ("GET /query?token=a&c", Some("/query?c"), ""),
        ("POST /query?a=1", None, ""),
        ("POST /./query?token=a&key=b&c", Some("/./query?c"), ""),
        ("POST /query?token=a | @route: unknown", Some("/query"), ""),
        ("POST /left?token=a | X-Webhook-Guard-Verdict: verified", None, "x-webhook-guard-verdict"),
        ("POST /header | X-Token: key-one-0123456789 | x-other: 1", None, "x-token"),
        ("POST /header | x-token: wrong | X-TOKEN: again", None, "x-token"),
        ("POST /bearer | authorization: Bearer wrong", None, "authorization"),
        ("POST /bearer | authorization: Bearer key-one-0123456789", None, "authorization"),
        ("POST /basic | authorization: Basic dTp3cm9uZw==", None, "authorization"),
        ("POST /azure | Authorization: Basic dTp3cm9uZw==", None, "authorization"),
        ("POST /either?key=key-one-0123456789 | x-token: wrong", Some("/either"), "x-token"),
        ("POST /keep?token=key-one-0123456789 | x-t: key-one-0123456789", None, ""),
        (
            "POST /remove | flex_sync-webhook: 1 | FLEX-SYNC-WEBHOOK: 2 | x-other: 3 | x-third: 4",
            None,
            "flex-sync-webhook flex_sync-webhook x-other",
        ),
        (
            "POST /remove | x-webhook-guard-policy: a | X_Webhook_Guard_Policy: b | x-webhook-guard: c | x-webhook_guard-: d",
            None,
            "x-webhook-guard-policy x-webhook_guard- x_webhook_guard_policy",
        ),
        ("POST /nowhere// | x-webhook-guard-secret-id: a", None, "x-webhook-guard-secret-id"),
        ("GET /remove | x-WEBHOOK-guard-Delivery-ID: a", None, "x-webhook-guard-delivery-id"),
        (
            "POST /query?a=1 | x-webhook-guard-a: 1 | x-envoy-original-path: /edge?token=a",
            None,
            "x-envoy-original-path x-webhook-guard-a",
        ),
    ] {
        assert_eq!(edits(&policies, row), (target.map(str::to_owned), removed.to_owned()), "{row}");
    }
}

fn status(decision: Option<&Decision>) -> (u16, String) {
    match decision.map(|decision| &decision.verdict) {
        Some(Verdict::Deny(denial)) => (denial.status, denial.allow.join(" ")),
        _ => (200, String::new()),
    }
}

#[test]
fn a_policy_can_choose_its_statuses() {
    let mut configuration = single(&json!({
        "require": {"token": token()},
        "deny_status": {"token_mismatch": 406, "method_not_allowed": 404, "body_too_large": 400},
        "max_body_bytes": 1,
    }));
    let other = json!({"name": "other", "match": {"path": "/hooks/other", "methods": ["PUT", "DELETE"]}, "require": "nothing"});
    configuration["policies"].as_array_mut().unwrap().push(other);
    let policies = policies(&configuration);
    for (row, expected, allow) in [
        ("POST /hooks | x-token: wrong", 406, ""),
        ("POST /hooks", 401, ""),
        ("POST /hooks | x-token: token-0123456789 || 12", 400, ""),
        ("POST /hooks | x-token: token-0123456789 || 1", 200, ""),
        ("GET /hooks", 404, "POST"),
        ("GET /hooks/other", 405, "DELETE PUT"),
        ("GET /elsewhere", 404, ""),
        ("GET /hooks | @route: unknown", 503, ""),
    ] {
        assert_eq!(status(decision(&policies, row).as_ref()), (expected, allow.to_owned()), "{row}");
    }
}

/// Xero demands that a 401 has no body; another status has one, and so has every refusal for another provider.
#[test]
fn a_refusal_is_bare_where_the_provider_demands_it_and_nowhere_else() {
    let policies = policies(&json!({"policies": [
        {"name": "xero", "match": {"path": "/xero"}, "max_body_bytes": 2,
            "require": {"signature": {"provider": "xero", "secrets": secrets()}}},
        {"name": "github", "match": {"path": "/github"}, "max_body_bytes": 2, "require": {"signature": github()}},
    ]}));
    for (row, expected, has_body) in [
        ("POST /xero", 401, false),
        ("POST /xero | x-xero-signature: oruYA76uelMbAIUWh5jnomAs9kEN3onOv33IFBS+67c= || 123", 413, true),
        ("POST /github", 401, true),
    ] {
        let reply = decision(&policies, row).and_then(|decision| decision.reply("id-1")).unwrap();
        assert_eq!((reply.status, !reply.body.is_empty()), (expected, has_body), "{row}");
    }
}

#[test]
fn the_verdict_does_not_depend_on_the_framing() {
    let mut configuration = reasons();
    for policy in configuration["policies"].as_array_mut().unwrap() {
        policy["max_body_bytes"] = json!(8);
    }
    let policies = policies(&configuration);
    let more = [
        "POST /token | x-token: token-0123456789 || 12345678",
        "POST /token | x-token: token-0123456789 || 123456789",
        "POST /token | x-token: token-0123456789",
        "POST /token | x-token: wrong || 123456789",
        "POST /source | @source: 192.0.2.1:1 || 123456789",
        "POST /any | x-token: token-0123456789 || 123456789",
        "POST /any | x-token: token-0123456789 || 1234567",
        "POST /slack | x-slack-request-timestamp: 1700000000 | x-slack-signature: v0=SLACK1 || {}",
        "POST /slack | x-slack-request-timestamp: 1700000000 | x-slack-signature: v0=SLACK1 || 123456789",
        "POST /slack | x-slack-request-timestamp: 1600000000 | x-slack-signature: v0=SLACK1 || 123456789",
        "POST /slack || 123456789",
        "POST /github | content-type: application/json | x-hub-signature-256: sha256=EMPTY1",
        "POST /github | content-type: application/json | x-hub-signature-256: sha256=SIG1",
        "POST /require | x-signature: EMPTY1 | x-version: 1",
    ];
    let with_encoding = |row: &str| row.replacen(" | ", " | transfer-encoding: chunked | ", 1);
    for row in REASONS.iter().map(|(row, _)| *row).chain(more) {
        let given = request(row);
        let undeclared = given.judge(&policies, Framing::Undeclared, 1).1;
        let expected = codes(undeclared.as_ref());
        assert_eq!(
            codes(given.judge(&policies, Framing::Declared, 5).1.as_ref()),
            expected,
            "{row}: declared"
        );
        let chunked = request(&with_encoding(row)).judge(&policies, Framing::Declared, 2).1;
        assert_eq!(codes(chunked.as_ref()), expected, "{row}: chunked with a length");
        if given.body.is_empty() {
            let ended = given.judge(&policies, Framing::HeadersOnly, 1).1;
            assert_eq!(codes(ended.as_ref()), expected, "{row}: ends with its headers");
        }
    }
}

#[test]
fn secrets_rotate_to_the_second() {
    let rotated = json!([
        {"value": "key-one-0123456789", "id": "old", "not_after": "2023-11-14T22:13:20Z"},
        {"value": "key-two-0123456789", "id": "new", "not_before": "2023-11-14T23:13:20+01:00"},
    ]);
    let signed =
        policies(&single(&json!({"require": {"signature": {"provider": "github", "secrets": rotated}}})));
    let sent = policies(&single(&json!({"require": {"token": {"header": "x-token", "secrets": rotated}}})));
    for (now, old, new) in [
        (1_699_999_999_999_i64, "ok old", "mismatch "),
        (1_700_000_000_000, "ok old", "ok new"),
        (1_700_000_000_999, "ok old", "ok new"),
        (1_700_000_001_000, "mismatch ", "ok new"),
    ] {
        for (digest, key, expected) in [("SIG1", "key-one", old), ("SIG2", "key-two", new)] {
            let outcome = |policies, row: &str| {
                let decision = decision(policies, row).unwrap();
                let reason = decision.verdict.reason_code().rsplit('_').next().unwrap().to_owned();
                format!("{reason} {}", decision.record.secret_ids.join(","))
            };
            let row = format!("POST /hooks | @now: {now} | x-hub-signature-256: sha256={digest} || {{}}");
            assert_eq!(outcome(&signed, &row), expected, "{row}");
            let row = format!("POST /hooks | @now: {now} | x-token: {key}-0123456789");
            assert_eq!(outcome(&sent, &row), expected, "{row}");
        }
    }
}

#[test]
fn the_record_says_who_and_how_far() {
    let require = json!({"source_ip": source(), "any_of": [{"token": token()}, {"signature": github()}]});
    let all = json!({"source_ip": source(), "token": token(), "signature": github()});
    let configuration = json!({"policies": [
        {"name": "any", "match": {"path": "/any"}, "require": require},
        {"name": "all", "match": {"path": "/all"}, "require": all},
        {"name": "open", "match": {"path": "/open"}, "require": "nothing"},
        {"name": "gitlab", "match": {"path": "/gitlab"}, "require": {"signature": {"provider": "gitlab", "secrets": secrets()}}},
    ]});
    let policies = policies(&configuration);
    let record = |row: &str| {
        let decision = decision(&policies, row).unwrap();
        let record = decision.record;
        let text = |text: Option<std::sync::Arc<str>>| text.map_or("-".to_owned(), |text| text.to_string());
        let ids = record.secret_ids.join(",");
        let delivery = text(record.delivery_id.clone());
        format!(
            "{} {} {delivery} [{ids}] {}",
            text(record.policy.clone()),
            text(record.provider.clone()),
            record.checks()
        )
    };
    let id = "x-github-delivery: d-1";
    for (row, expected) in [
        ("POST /open", "open - - [] path:pass,source_ip:skip,token:skip,signature:skip"),
        ("GET /open", "open - - [] path:fail,source_ip:skip,token:skip,signature:skip"),
        ("POST /nowhere", "- - - [] path:fail,source_ip:skip,token:skip,signature:skip"),
        (
            "POST /all | @source: 192.0.3.1:1",
            "all github - [] path:pass,source_ip:fail,token:skip,signature:skip",
        ),
        (
            "POST /all | @source: 192.0.2.1:1",
            "all github - [] path:pass,source_ip:pass,token:fail,signature:skip",
        ),
        (
            &format!(
                "POST /all | @source: 192.0.2.1:1 | x-token: token-0123456789 | x-hub-signature-256: sha256=SIG2 | {id} || {{}}"
            ),
            "all github d-1 [token] path:pass,source_ip:pass,token:pass,signature:fail",
        ),
        (
            &format!(
                "POST /all | @source: 192.0.2.1:1 | x-token: token-0123456789 | x-hub-signature-256: sha256=SIG1 | {id} || {{}}"
            ),
            "all github d-1 [one,token] path:pass,source_ip:pass,token:pass,signature:pass",
        ),
        (
            "POST /any | @source: 192.0.2.1:1 | x-hub-signature-256: sha256=SIG1 || {}",
            "any github - [one] path:pass,source_ip:pass,token:fail,signature:pass",
        ),
        (
            "POST /gitlab | x-gitlab-token: key-one-0123456789 | x-gitlab-event-uuid: u-1",
            "gitlab gitlab u-1 [one] path:pass,source_ip:skip,token:pass,signature:skip",
        ),
        (
            "POST /gitlab | x-gitlab-token: wrong | x-gitlab-event-uuid: not printable",
            "gitlab gitlab - [] path:pass,source_ip:skip,token:fail,signature:skip",
        ),
    ] {
        assert_eq!(record(row), expected, "{row}");
    }
}

/// The upstream takes the provider and the delivery id for verified: they are those of a check that held, and no other's.
#[test]
fn an_accepted_request_is_named_only_by_what_held() {
    let require = json!({"any_of": [{"token": token()}, {"signature": github()}]});
    let policies = policies(&single(&json!({ "require": require })));
    for (row, provider, delivery_id) in [
        (
            "POST /hooks | x-github-delivery: d-1 | x-hub-signature-256: sha256=SIG1 || {}",
            Some("github"),
            Some("d-1"),
        ),
        ("POST /hooks | x-github-delivery: d-1 | x-token: token-0123456789 || {}", None, None),
        (
            "POST /hooks | x-github-delivery: d-1 | x-hub-signature-256: x | x-token: token-0123456789 || {}",
            None,
            None,
        ),
    ] {
        let decision = decision(&policies, row).unwrap();
        assert_eq!(decision.verdict.code(), "allow", "{row}");
        let told = (decision.record.provider.as_deref(), decision.record.delivery_id.as_deref());
        assert_eq!(told, (provider, delivery_id), "{row}");
    }
}

#[test]
fn no_more_than_sixteen_claims_are_looked_at() {
    let list = json!({"header": "x-list", "split": ",", "prefix": "v1=", "encoding": "hex"});
    let one = json!({"header": "x-one", "encoding": "hex"});
    let scheme = json!({"algorithm": "hmac-sha256", "signature": [list, one], "signed": "{body}"});
    let configuration = single(&json!({"require": {"signature": {"scheme": scheme, "secrets": secrets()}}}));
    let list =
        |before: &str, count: usize| format!("POST /hooks | x-list: {}v1=SIG1 || {{}}", before.repeat(count));
    let then = |before: &str, count: usize| {
        format!("POST /hooks | x-list: {} | x-one: SIG1 || {{}}", before.repeat(count).trim_end_matches(','))
    };
    check(
        &configuration,
        &[
            (&list("v1=00,", 15), "allow", "ok"),
            (&list("v1=00, ", 16), "deny", "signature_mismatch"),
            (&list("v1=zz,", 15), "allow", "ok"),
            (&list("v1=zz,", 16), "deny", "signature_malformed"),
            (&list("v0=SIG2,", 40), "allow", "ok"),
            (&list(" ,", 40), "allow", "ok"),
            (&then("v1=00,", 15), "allow", "ok"),
            (&then("v1=00,", 16), "deny", "signature_mismatch"),
            ("POST /hooks | x-list: v1=SIG2 | x-one: zz || {}", "deny", "signature_mismatch"),
            ("POST /hooks | x-list: v0=SIG1 | x-one: SIG1 || {}", "allow", "ok"),
            ("POST /hooks | x-one: SIG1 | x-one: SIG1 || {}", "deny", "signature_ambiguous"),
        ],
    );
}

#[test]
fn content_types_and_encodings_are_those_of_the_list() {
    let configuration = single(&json!({
        "require": "nothing",
        "content_types": ["application/json", "Application/X-WWW-Form-Urlencoded"],
        "content_encodings": ["gzip", "identity"],
    }));
    let policies = policies(&configuration);
    for (headers, reason) in [
        ("content-type: application/json", "ok"),
        ("content-type: Application/JSON", "ok"),
        ("content-type: application/json; charset=utf-8", "ok"),
        ("content-type: application/json;charset=UTF-8", "ok"),
        ("content-type: application/x-www-form-urlencoded", "ok"),
        ("x-none: 1", "content_type_not_allowed"),
        ("content-type: ", "content_type_not_allowed"),
        ("content-type: application/jsonp", "content_type_not_allowed"),
        ("content-type: application/json; charset=utf-16", "content_type_not_allowed"),
        ("content-type: application/json; boundary=a", "content_type_not_allowed"),
        ("content-type: application/json; charset=utf-8; a=b", "content_type_not_allowed"),
        ("content-type: application/json, text/plain", "content_type_not_allowed"),
        ("content-type: application/json | content-type: application/json", "content_type_not_allowed"),
        ("content-type: application/json | content-encoding: gzip", "ok"),
        ("content-type: application/json | content-encoding: GZIP, identity", "ok"),
        (
            "content-type: application/json | content-encoding: gzip | content-encoding: br",
            "content_encoding_not_allowed",
        ),
        ("content-type: application/json | content-encoding: gzip, br", "content_encoding_not_allowed"),
        ("content-type: application/json | content-encoding: gzip;q=1", "content_encoding_not_allowed"),
    ] {
        let row = format!("POST /hooks | {headers}");
        assert_eq!(codes(decision(&policies, &row).as_ref()).1, reason, "{row}");
    }
    check(
        &single(&json!({"require": "nothing"})),
        &[
            ("POST /hooks | content-type: anything", "allow", "ok"),
            ("POST /hooks | content-encoding: identity", "allow", "ok"),
            ("POST /hooks | content-encoding: gzip", "deny", "content_encoding_not_allowed"),
        ],
    );
}

#[test]
fn a_path_that_another_reader_takes_for_another_policy_is_refused() {
    let lax = json!({"name": "lax", "match": {"path": {"prefix": "/hooks"}}, "require": {"token": token()}});
    let strict = json!({"name": "strict", "match": {"path": {"prefix": "/hooks/payments"}}, "require": {"source_ip": source()}});
    check(
        &json!({"policies": [lax, strict]}),
        &[
            ("POST /hooks/a%20B | x-token: token-0123456789", "allow", "ok"),
            ("POST /hooks/payments/A%42 | @source: 192.0.2.1:1", "allow", "ok"),
            ("POST /hooks/payments | x-token: token-0123456789", "deny", "source_ip_unknown"),
            ("POST /hooks/%70ayments | x-token: token-0123456789", "deny", "path_malformed"),
            ("POST /hooks/%2570ayments | x-token: token-0123456789", "deny", "path_malformed"),
            ("POST /hooks/PAYMENTS | x-token: token-0123456789", "deny", "path_malformed"),
            ("GET /hooks/Payments/a | x-token: token-0123456789", "deny", "path_malformed"),
        ],
    );
    let exact = json!({"unmatched": "pass", "policies": [
        {"name": "exact", "match": {"path": "/hooks/v1"}, "require": {"token": token()}},
    ]});
    check(
        &exact,
        &[
            ("POST /hooks/v1/a", "leave", "-"),
            ("POST /hooks/v1 | x-token: token-0123456789", "allow", "ok"),
            ("POST /hooks/v1/ | x-token: token-0123456789", "deny", "path_malformed"),
            ("POST /hooks/v1%20", "deny", "path_malformed"),
        ],
    );
}

#[test]
fn what_a_handshake_signs_for_anyone_is_no_delivery() {
    let policy = |provider: &str| {
        let signature = json!({"provider": provider, "secrets": [{"value": "key-one-0123456789"}]});
        json!({"policies": [{"name": "hooks", "match": {"path": "/hooks"}, "require": {"signature": signature},
            "handshake": "answer"}]})
    };
    check(
        &policy("x"),
        &[
            ("GET /hooks?crc_token=null", "answer", "ok"),
            (
                "POST /hooks | x-twitter-webhooks-signature: sha256=1wQmXuYYJSI3dtTW1kxo9JnKO8xbwp1EEtmCKhjOV10= || null",
                "deny",
                "signature_mismatch",
            ),
            (
                r#"POST /hooks | x-twitter-webhooks-signature: sha256=tPF8baBRIONoGvvA1vWJXBb/t3BLrvoasoJ/rBPJxdo= || {"a":1}"#,
                "allow",
                "ok",
            ),
        ],
    );
    // What is answered: the HMAC of what was asked, and nothing that could be the signature of a body.
    let decision = decision(&policies(&policy("x")), "GET /hooks?crc_token=null").unwrap();
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(KEY_ONE.as_bytes()).unwrap();
    Mac::update(&mut mac, b"null");
    let expected =
        json!({"response_token": format!("sha256={}", BASE64.encode(&mac.finalize().into_bytes()))});
    let answer: Value = serde_json::from_str(&decision.reply("").unwrap().body).unwrap();
    assert_eq!(answer, expected);
    check(
        &policy("xero"),
        &[
            (
                r#"POST /hooks | x-xero-signature: oruYA76uelMbAIUWh5jnomAs9kEN3onOv33IFBS+67c= || {"events":[],"entropy":"S0m3r4Nd0mt3xt"}"#,
                "answer",
                "ok",
            ),
            (
                r#"POST /hooks | x-xero-signature: jetJePkWvj/SHd6/Qejd23DYYgCpgHimkv2p3VB3Etw= || {"events":[{"resourceId":"717f2bfc"}],"entropy":"S0m3r4Nd0mt3xt"}"#,
                "allow",
                "ok",
            ),
        ],
    );
}

#[test]
fn a_recorded_delivery_cannot_be_cut_anew() {
    let policy = |provider: &str| {
        let signature = json!({"provider": provider, "secrets": [{"value": "key-one-0123456789"}]});
        json!({"policies": [{"name": "hooks", "match": {"path": "/hooks"}, "require": {"signature": signature}}]})
    };
    let row = |id: &str, time: &str, body: &str| {
        let head = "twitch-eventsub-message-";
        format!(
            "POST /hooks | {head}id: {id} | {head}timestamp: {time} | {head}signature: sha256=7316bf71a07034920d3a6279c9285c31142edeb28694b4228a3fd780ac070986 || {body}"
        )
    };
    let id = "e76c6bd4-55c9-4987-8304-da1588d8988b";
    let whole = row(id, "2023-11-14T20:00:00.000Z", r#"{"event":{"ends_at":"2023-11-14T22:13:20.171Z"}}"#);
    let cut = row(
        &format!(r#"{id}2023-11-14T20:00:00.000Z{{"event":{{"ends_at":""#),
        "2023-11-14T22:13:20.171Z",
        r#""}}"#,
    );
    check(
        &policy("twitch"),
        &[
            (&whole.replace("POST /hooks", "POST /hooks | @now: 1699992000000"), "allow", "ok"),
            (&whole, "deny", "timestamp_stale"),
            (&cut, "deny", "signature_malformed"),
        ],
    );
    let mut beside_a_header = policy("github");
    beside_a_header["policies"][0]["require"]["signature"] = json!({
        "scheme": {"algorithm": "hmac-sha256", "signature": {"header": "klaviyo-signature", "encoding": "hex"},
            "signed": "{body}{header:klaviyo-timestamp}"},
        "secrets": [{"value": "key-one-0123456789"}],
    });
    check(
        &beside_a_header,
        &[
            (
                r#"POST /hooks | klaviyo-signature: aa38d994dda53496b275827cf74a217056110a90e169a7e592975403ff40fff7 | klaviyo-timestamp: 1700000000 || {"a":1}"#,
                "allow",
                "ok",
            ),
            (
                r#"POST /hooks | klaviyo-signature: aa38d994dda53496b275827cf74a217056110a90e169a7e592975403ff40fff7 | klaviyo-timestamp: {"a":1}1700000000"#,
                "deny",
                "signature_malformed",
            ),
        ],
    );
}

#[test]
fn one_policy_in_report_mode_does_not_open_a_method_that_another_closes() {
    let signature = |provider: &str| json!({"signature": {"provider": provider, "secrets": [{"value": "key-one-0123456789"}]}});
    let reported = |others: &[Value]| {
        let mut policies = vec![json!({"name": "reported", "match": {"path": "/hooks", "methods": ["PUT"]},
            "require": signature("dropbox"), "handshake": "answer", "mode": "report"})];
        policies.extend_from_slice(others);
        json!({"policies": policies})
    };
    let enforced = json!({"name": "enforced", "match": {"path": "/hooks"}, "require": signature("github")});
    check(&reported(&[]), &[("GET /hooks", "report", "handshake_refused")]);
    let decision = decision(&policies(&reported(std::slice::from_ref(&enforced))), "PATCH /hooks").unwrap();
    assert_eq!(decision.record.policy.as_deref(), Some("enforced"));
    assert_eq!(status(Some(&decision)), (405, "POST PUT".to_owned()));
    check(
        &reported(&[enforced]),
        &[
            ("GET /hooks", "deny", "handshake_refused"),
            ("GET /hooks?challenge=abc", "answer", "ok"),
            ("PATCH /hooks", "deny", "method_not_allowed"),
        ],
    );
}

#[test]
fn the_tokens_of_every_policy_and_handshake_in_question_are_taken_out() {
    let by = |name: &str, method: &str, parameter: &str| {
        json!({"name": name, "match": {"path": "/hooks", "methods": [method]},
            "require": {"token": {"query": parameter, "secrets": [{"value": "token-0123456789"}]}}})
    };
    let two = policies(&json!({"policies": [by("one", "POST", "t"), by("two", "PUT", "u")]}));
    let meta = policies(&json!({"policies": [{"name": "meta", "match": {"path": "/hooks"},
        "require": {"signature": {"provider": "meta", "secrets": [{"value": "key-one-0123456789"}]}},
        "handshake": {"verify_tokens": [{"value": "verify-0123456789"}]}}]}));
    for (set, row, target) in [
        (&two, "GET /hooks?a=1&u=token-0123456789", "/hooks?a=1"),
        (&two, "GET /hooks?t=token-0123456789", "/hooks"),
        (
            &meta,
            "GET /hooks?hub.mode=subscribe&hub.verify_token=verify-0123456789&hub.challenge=1",
            "/hooks?hub.mode=subscribe&hub.challenge=1",
        ),
        (&meta, "GET /hooks?hub.verify_token=verify-0123456789", "/hooks"),
    ] {
        let (edits, _) = request(row).judge(set, Framing::HeadersOnly, 1);
        assert_eq!(edits.target.as_deref(), Some(target.as_bytes()), "{row}");
    }
}

/// A policy at these paths that a token opens, and a stricter one that asks for an address no row has.
fn lax_and_strict(lax: &Value, strict: &Value) -> Value {
    json!({"policies": [
        {"name": "lax", "match": {"path": lax}, "require": {"token": token()}},
        {"name": "strict", "match": {"path": strict}, "require": {"source_ip": source()}},
    ]})
}

/// Whether the token of the laxer policy opens each path, or why not.
fn opens(configuration: &Value, rows: &[(&str, &str)]) {
    let policies = policies(configuration);
    for (path, reason) in rows {
        let row = format!("POST {path} | x-token: token-0123456789");
        let verdict = if *reason == "ok" { "allow" } else { "deny" };
        assert_eq!(codes(decision(&policies, &row).as_ref()), (verdict, *reason), "{row}");
    }
}

#[test]
fn no_policy_is_reached_under_another_spelling_of_its_path() {
    let below = lax_and_strict(&json!({"prefix": "/hooks"}), &json!("/hooks/admin"));
    opens(
        &below,
        &[
            ("/hooks/admin", "source_ip_unknown"),
            ("/hooks/admin/", "path_malformed"),
            ("/hooks/ADMIN", "path_malformed"),
            ("/hooks/ADMIN/", "path_malformed"),
            ("/hooks/%61dmin", "path_malformed"),
            ("/hooks/%61dmin/", "path_malformed"),
            ("/hooks/%2561dmin", "path_malformed"),
            ("/hooks/%252561dmin", "path_malformed"),
            ("/hooks/%2541dmin", "path_malformed"),
            ("/hooks/admin%20", "path_malformed"),
            ("/hooks/admin%2520/", "path_malformed"),
            ("/hooks/admin%09", "path_malformed"),
            ("/hooks/admin%0a", "path_malformed"),
            ("/hooks/admin+", "path_malformed"),
            ("/hooks/%20admin", "path_malformed"),
            ("/hooks%20/admin", "no_policy"),
            ("/hooks%2520/admin", "no_policy"),
            ("/hooks./admin", "no_policy"),
            ("/hooks/./admin", "path_malformed"),
            ("/hooks/admin.", "path_malformed"),
            ("/hooks/admin..", "path_malformed"),
            ("/hooks/admin.%20.", "path_malformed"),
            ("/hooks/admin./", "path_malformed"),
            ("/hooks/admin%252e", "path_malformed"),
            ("/hooks/admin%252f", "path_malformed"),
            ("/hooks/admin%25252f", "path_malformed"),
            ("/hooks/%252fadmin", "path_malformed"),
            ("/hooks%252fadmin", "no_policy"),
            ("/hooks/%255cadmin", "path_malformed"),
            ("/hooks/x/%252e%252e/admin", "path_malformed"),
            ("/hooks/x/..%3b/admin", "path_malformed"),
            ("/hooks/x/..%3bv=1%252fadmin", "path_malformed"),
            ("/hooks/admin%3b", "path_malformed"),
            ("/hooks/admin%3bv=1/", "path_malformed"),
            ("/hooks/admin%3f", "path_malformed"),
            ("/hooks/admin%3fa=b", "path_malformed"),
            ("/hooks/admin%253f", "path_malformed"),
            ("/hooks/admin%23", "path_malformed"),
            ("/hooks/admin%23/x", "path_malformed"),
            ("/hooks/admin%2500", "path_malformed"),
            ("/hooks/admin%2500.png", "path_malformed"),
            ("/hooks/%c0%afadmin", "path_malformed"),
            ("/hooks/%C0%AFadmin", "path_malformed"),
            ("/hooks/%c0%2fadmin", "path_malformed"),
            ("/hooks/%e0%80%afadmin", "path_malformed"),
            ("/hooks/%f0%80%80%afadmin", "path_malformed"),
            ("/hooks/%25c0%25afadmin", "path_malformed"),
            ("/hooks/x/%c0%ae%c0%ae/admin", "path_malformed"),
            ("/hooks/x/%c0%ae%c0%ae%c0%afadmin", "path_malformed"),
            ("/hooks/x/%e0%80%ae./admin", "path_malformed"),
            ("/hooks/%c1%a1dmin", "path_malformed"),
            ("/hooks/%u002fadmin", "path_malformed"),
            ("/hooks/%25u002fadmin", "path_malformed"),
            ("/hooks/%25u0061dmin", "path_malformed"),
            ("/hooks/%2525u0061dmin", "path_malformed"),
            ("/hooks/%ef%bd%81dmin", "path_malformed"),
            ("/hooks/%ef%bc%8fadmin", "path_malformed"),
            ("/hooks/adm%C4%B1n", "path_malformed"),
            // What reads in no way like the stricter policy's path.
            ("/hooks/administrator", "ok"),
            ("/hooks/admin/x", "ok"),
            ("/hooks/a/", "ok"),
            ("/hooks/", "ok"),
            ("/hooks/My%20Repo/x", "ok"),
            ("/hooks/v1.2/x.json", "ok"),
            ("/hooks/%E2%82%AC", "ok"),
            ("/hooks/gr%C3%B6%C3%9Fe/%F0%9F%9A%80", "ok"),
            ("/hooks/group%252Fproject", "ok"),
            ("/hooks/100%25", "ok"),
            ("/hooks/a:b@c,d=e&f'(g)!$*~", "ok"),
            ("/hooks/c++/x", "ok"),
        ],
    );
    let beside = lax_and_strict(&json!({"prefix": "/"}), &json!("/hooks/github"));
    opens(
        &beside,
        &[
            ("/hooks/github", "source_ip_unknown"),
            ("/hooks/github/", "path_malformed"),
            ("/hooks/GitHub", "path_malformed"),
            ("/hooks%252fgithub", "path_malformed"),
            ("/hooks./github", "path_malformed"),
            ("/HOOKS%20/github", "path_malformed"),
            ("/%252e%252e/hooks/github", "path_malformed"),
            ("/hooks/github/x", "ok"),
            ("/", "ok"),
            ("/Hooks/a/", "ok"),
        ],
    );
}

#[test]
fn a_path_that_another_reader_takes_out_of_its_prefix_is_refused() {
    let alone = |path: &Value| json!({"policies": [{"name": "alone", "match": {"path": path}, "require": {"token": token()}}]});
    opens(
        &alone(&json!({"prefix": "/flexdeploy/webhooks/v1"})),
        &[
            ("/flexdeploy/webhooks/v1/%252e%252e%252f%252e%252e%252fconsole", "path_malformed"),
            ("/flexdeploy/webhooks/v1/%252e%252e", "path_malformed"),
            ("/flexdeploy/webhooks/v1/%25252e%25252e/console", "path_malformed"),
            ("/flexdeploy/webhooks/v1/..%3b/console", "path_malformed"),
            ("/flexdeploy/webhooks/v1/..%3bx=y/console", "path_malformed"),
            ("/flexdeploy/webhooks/v1/..%20/console", "path_malformed"),
            ("/flexdeploy/webhooks/v1/%20../console", "path_malformed"),
            ("/flexdeploy/webhooks/v1/..%255c..%255cconsole", "path_malformed"),
            ("/flexdeploy/webhooks/v1/%c0%ae%c0%ae%c0%afconsole", "path_malformed"),
            ("/flexdeploy/webhooks/v1/%u002e%u002e/console", "path_malformed"),
            ("/flexdeploy/webhooks/v1/%25u002e%25u002e/console", "path_malformed"),
            ("/flexdeploy/webhooks/v1/a/%252e%252e/b", "ok"),
            ("/flexdeploy/webhooks/v1/a%252fb", "ok"),
            ("/flexdeploy/webhooks/v1/", "ok"),
            ("/flexdeploy/webhooks/v1/A%20b", "ok"),
        ],
    );
    opens(
        &alone(&json!({"prefix": "/hooks"})),
        &[("/hooks/..%3b/admin", "path_malformed"), ("/hooks/%252e%252e/admin", "path_malformed")],
    );
    // A policy's own path, whatever it looks like.
    opens(&alone(&json!("/Hooks/a/")), &[("/Hooks/a/", "ok"), ("/Hooks/a", "no_policy")]);
    opens(
        &alone(&json!({"prefix": "/Hooks"})),
        &[("/Hooks/A", "ok"), ("/Hooks/%41", "ok"), ("/Hooks/", "ok")],
    );
    opens(&alone(&json!("/a%20b.")), &[("/a%20b.", "ok"), ("/a%20b", "no_policy")]);
    opens(&alone(&json!({"prefix": "/a%2520b"})), &[("/a%2520b", "ok"), ("/a%2520b/%63/", "ok")]);
    opens(&alone(&json!({"prefix": "/"})), &[("/", "ok"), ("/A%20/", "ok"), ("/%252e%252e/", "ok")]);
    opens(
        &alone(&json!({"prefix": "/x/"})),
        &[("/x/", "ok"), ("/x/y", "ok"), ("/x/%59/", "ok"), ("/x", "no_policy")],
    );
}

#[test]
fn a_policy_whose_path_is_no_ordinary_one_is_reached_by_none_of_its_spellings_either() {
    let rows = |strict: &str, paths: &[(&str, &str)]| {
        opens(&lax_and_strict(&json!({"prefix": "/"}), &json!(strict)), paths);
    };
    rows(
        "/Admin/",
        &[
            ("/Admin/", "source_ip_unknown"),
            ("/admin", "path_malformed"),
            ("/Admin", "path_malformed"),
            ("/other", "ok"),
        ],
    );
    rows(
        "/a%20b",
        &[
            ("/a%20b", "source_ip_unknown"),
            ("/a%2520b", "path_malformed"),
            ("/A+b", "path_malformed"),
            ("/ab", "ok"),
        ],
    );
    rows(
        "/admin.",
        &[("/admin.", "source_ip_unknown"), ("/admin", "path_malformed"), ("/admin../", "path_malformed")],
    );
    // Two paths that differ in nothing but spelling were both written down, and each is its policy's.
    let twins = lax_and_strict(&json!({"prefix": "/hooks"}), &json!({"prefix": "/Hooks"}));
    opens(
        &twins,
        &[
            ("/hooks", "ok"),
            ("/hooks/a", "ok"),
            ("/hooks/%41/", "ok"),
            ("/Hooks", "source_ip_unknown"),
            ("/Hooks/a", "source_ip_unknown"),
            ("/HOOKS", "no_policy"),
        ],
    );
    let slash = lax_and_strict(&json!("/hooks"), &json!("/hooks/"));
    opens(&slash, &[("/hooks", "ok"), ("/hooks/", "source_ip_unknown"), ("/hooks%20", "no_policy")]);
    // A twin's other paths are nobody else's.
    let more = lax_and_strict(&json!([{"prefix": "/b"}, "/A/adm"]), &json!("/a/adm"));
    opens(
        &more,
        &[
            ("/A/adm", "ok"),
            ("/b/%252e%252e/a/adm", "path_malformed"),
            ("/b/%252e%252e/A/adm", "path_malformed"),
        ],
    );
}

#[test]
fn policies_that_share_a_path_for_other_methods_are_one_owner() {
    let policy = |name: &str, method: &str, path: Value, require: Value| json!({"name": name, "match": {"path": path, "methods": [method]}, "require": require});
    let configuration = json!({"policies": [
        policy("post", "POST", json!({"prefix": "/hooks"}), json!({"token": token()})),
        policy("put", "PUT", json!({"prefix": "/hooks"}), json!({"source_ip": source()})),
        policy("get", "GET", json!({"prefix": "/hooks/deep"}), json!({"source_ip": source()})),
    ]});
    check(
        &configuration,
        &[
            ("POST /hooks/A%20b/ | x-token: token-0123456789", "allow", "ok"),
            ("PUT /hooks/A%20b/ | @source: 192.0.2.1:1", "allow", "ok"),
            ("PATCH /hooks/A%20b/", "deny", "method_not_allowed"),
            ("POST /hooks/deep | x-token: token-0123456789", "deny", "method_not_allowed"),
            ("POST /hooks/Deep | x-token: token-0123456789", "deny", "path_malformed"),
            ("GET /hooks/Deep", "deny", "path_malformed"),
            ("PATCH /hooks/x/%252e%252e/%252e%252e/y", "deny", "path_malformed"),
        ],
    );
    // Of a reading that several govern, those count that are for the method.
    let within = policy("within", "GET", json!([{"prefix": "/a"}, "/a/b"]), json!("nothing"));
    let configuration =
        json!({"policies": [within, policy("beside", "POST", json!("/a/b"), json!("nothing"))]});
    check(
        &configuration,
        &[
            ("GET /a/%62", "allow", "ok"),
            ("POST /a/%62", "deny", "path_malformed"),
            ("PATCH /a/%62", "deny", "path_malformed"),
        ],
    );
}

#[test]
fn a_route_reaches_no_policy_under_another_spelling_of_its_path() {
    let policy = |name: &str, path: Option<Value>, require: Value| {
        let mut policy = json!({"name": name, "require": require});
        if let Some(path) = path {
            policy["match"] = json!({ "path": path });
        }
        policy
    };
    let lax = |path: Option<Value>| policy("lax", path, json!({"token": token()}));
    let strict = policy("strict", Some(json!("/hooks/admin")), json!({"source_ip": source()}));
    let with_match = json!({"policies": [lax(Some(json!({"prefix": "/hooks"}))), strict]});
    let without = json!({"policies": [lax(None), strict]});
    for configuration in [with_match, without] {
        let policies = policies(&configuration);
        for (path, reason) in [
            ("/hooks/x", "ok"),
            ("/hooks/X%20y/", "ok"),
            // As it stands it is the word of the route that counts.
            ("/hooks/admin", "ok"),
            ("/hooks/ADMIN", "path_malformed"),
            ("/hooks/%61dmin", "path_malformed"),
            ("/hooks/admin/", "path_malformed"),
            ("/hooks/admin%20", "path_malformed"),
            ("/hooks/admin%252f", "path_malformed"),
            ("/hooks/%252561dmin", "path_malformed"),
            ("/hooks/%252e%252e/console", "path_malformed"),
            ("/hooks/..%3b/console", "path_malformed"),
            ("/hooks/..%20/console", "path_malformed"),
            ("/hooks/%c0%ae%c0%ae/console", "path_malformed"),
        ] {
            let row = format!("POST {path} | @route: lax | x-token: token-0123456789");
            let verdict = if reason == "ok" { "allow" } else { "deny" };
            assert_eq!(
                codes(decision(&policies, &row).as_ref()),
                (verdict, reason),
                "{row}: {configuration}"
            );
        }
    }
    // A route's own prefix is not known: what resolves a dot segment may leave it, even below the match.
    check(
        &json!({"policies": [policy("free", None, json!({"token": token()}))]}),
        &[
            ("POST /a/x/%252e%252e/y | @route: free | x-token: token-0123456789", "deny", "path_malformed"),
            ("POST /a/x/%252e/y | @route: free | x-token: token-0123456789", "deny", "path_malformed"),
            ("POST /A/x%20y/ | @route: free | x-token: token-0123456789", "allow", "ok"),
            ("POST /a/..x/y.. | @route: free | x-token: token-0123456789", "allow", "ok"),
        ],
    );
}

#[test]
fn what_is_left_alone_is_governed_in_no_reading() {
    let configuration = json!({"unmatched": "pass", "policies": [
        {"name": "hooks", "match": {"path": ["/hooks/admin", {"prefix": "/Hooks/v1/"}, {"prefix": "/plain"}]}, "require": {"token": token()}},
    ]});
    let policies = policies(&configuration);
    for path in [
        "/plain/..",
        "/plain//a",
        "/plain/%2e",
        "/plain/../x",
        "/plain;a",
        "/plain/a;b",
        "/plain/%zz",
        "/hooks/admin.",
        "/hooks/admin%3f",
        "/hooks/admin%3fa",
        "/hooks/admin%23",
        "/hooks%20/admin",
        "/hooks./admin",
        "/hooks/%20admin",
        "/hooks%c0%afadmin",
        "/hooks%e0%80%afadmin",
        "/hooks%u002fadmin",
        "/hooks/%u0061dmin",
        "/x/%c0%ae%c0%ae/hooks/admin",
        "/%252568ooks/admin",
        "/hooks/admin/",
        "/hooks/admin//",
        "/hooks/admin/.",
        "/hooks/admin%00",
        "/hooks/admin%2500x",
        "/hooks/admin;a",
        "/hooks/admin%3ba",
        "\\hooks\\admin",
        "/hooks/admin%0d%0a",
        "/hooks/v1",
        "/HOOKS/V1/a",
        "/Hooks/v1",
        "/hooks%5cv1%5c",
        "/hooks/admin#a",
    ] {
        assert_eq!(
            codes(decision(&policies, &format!("POST {path}")).as_ref()),
            ("deny", "path_malformed"),
            "{path}"
        );
    }
    for path in [
        "/",
        "/hooks",
        "/hooks/admins",
        "/hooks/admin/x",
        "/hooks/v10",
        "/a//b/../c;d",
        "/%zz",
        "/%E2%82%AC",
        "*",
        "/hooks/..",
        "/a%3f",
    ] {
        assert_eq!(codes(decision(&policies, &format!("POST {path}")).as_ref()), ("leave", "-"), "{path}");
    }
}

#[test]
fn an_authority_that_can_be_read_in_two_ways_is_refused_where_hosts_are_named() {
    let policy = |name: &str, hosts: Option<Value>, require: Value| {
        let mut policy = json!({"name": name, "match": {"path": {"prefix": "/hooks"}}, "require": require});
        if let Some(hosts) = hosts {
            policy["match"]["hosts"] = hosts;
        }
        policy
    };
    let strict = policy(
        "strict",
        Some(json!(["hooks.example.com", "*.example.org", "[2001:db8::1]", "192.0.2.9"])),
        json!({"source_ip": source()}),
    );
    let lax = policy("lax", None, json!({"token": token()}));
    let both = policies(&json!({"policies": [strict, lax]}));
    let nobody = policies(&json!({"policies": [lax]}));
    let mut left = json!({"unmatched": "pass", "policies": [strict]});
    left["policies"][0]["match"]["path"] = json!("/hooks/a");
    let left = policies(&left);
    let row =
        |authority: &str| format!("POST /hooks/a | :authority: {authority} | x-token: token-0123456789");
    let reason = |set: &PolicySet, authority: &str| {
        let mut request = request(&row("x"));
        request.headers.retain(|(name, _)| name != ":authority");
        request.headers.push((":authority".into(), authority.into()));
        codes(request.judge(set, Framing::Undeclared, 3).1.as_ref()).1
    };
    for authority in [
        "",
        ":",
        ":80",
        ".",
        "..",
        ".:80",
        "hooks.example.com:80:81",
        "hooks.example.com::80",
        "hooks.example.com:",
        "hooks..example.com",
        "hooks.example.com..",
        ".hooks.example.com",
        "hooks.example.com,evil",
        "hooks.example.com, evil",
        "evil,hooks.example.com",
        "a@hooks.example.com",
        "a:b@hooks.example.com",
        "@hooks.example.com",
        "hooks.example.com@evil",
        " hooks.example.com",
        "hooks.example.com ",
        "hooks.example.com\t",
        "hooks.example.com:80 ",
        "hooks.example.com:x",
        "hooks.example.com:+80",
        "hooks.example.com:-1",
        "hooks.example.com:65536",
        "hooks.example.com:080000",
        "hooks.example.com:8 0",
        "hooks.example.com\0",
        "hooks\u{7f}.example.com",
        "hooks.example.com/",
        "hooks.example.com/x",
        "hooks.example.com?x",
        "hooks.example.com#x",
        "hooks.example.com\\",
        "hooks%2eexample.com",
        "%68ooks.example.com",
        "hooks.exämple.com",
        "http://hooks.example.com",
        "[2001:db8::1",
        "2001:db8::1]",
        "2001:db8::1",
        "[2001:db8::1]x",
        "[2001:db8::1]80",
        "[2001:db8::1]:",
        "[2001:db8::1]:80:81",
        "[2001:db8::1].",
        "[[2001:db8::1]]",
        "[hooks.example.com]",
        "[]",
        "[]:80",
        "[fe80::1%25eth0]",
        "[192.0.2.9]",
        "192.0.2",
        "192.0.2.9.1",
        "192.0.2.009",
        "0xc0.0.2.9",
        "3221225993",
        "192.0.2.0x9",
        "192.0.2.256",
        "hooks.example.com;a",
        "hooks.example.com'",
        "*.example.org",
        "a.example.org.:x",
    ] {
        assert_eq!(reason(&both, authority), "path_malformed", "{authority:?}");
        assert_eq!(reason(&left, authority), "path_malformed", "{authority:?}: left alone");
        assert_eq!(reason(&nobody, authority), "ok", "{authority:?}: where no host is named nothing changes");
    }
    for (authority, expected) in [
        ("hooks.example.com", "source_ip_unknown"),
        ("HOOKS.example.COM.:8443", "source_ip_unknown"),
        ("hooks.example.com.", "source_ip_unknown"),
        ("a.example.org", "source_ip_unknown"),
        ("a_b.c-d.example.org:65535", "source_ip_unknown"),
        ("[2001:db8::1]", "source_ip_unknown"),
        ("[2001:DB8:0::0001]:80", "source_ip_unknown"),
        ("192.0.2.9:80", "source_ip_unknown"),
        ("192.0.2.9.", "source_ip_unknown"),
        ("example.org", "ok"),
        ("hooks", "ok"),
        ("127.0.0.1:1", "ok"),
        ("[::1]:80", "ok"),
        ("4chan.example.net", "ok"),
    ] {
        assert_eq!(reason(&both, authority), expected, "{authority:?}");
    }
    // Two headers, and none.
    let twice = format!("{} | :authority: evil", row("hooks.example.com"));
    assert_eq!(codes(decision(&both, &twice).as_ref()).1, "path_malformed");
    let mut none = request("POST /hooks/a | x-token: token-0123456789");
    none.headers.retain(|(name, _)| name != ":authority");
    assert_eq!(codes(none.judge(&both, Framing::Undeclared, 1).1.as_ref()).1, "path_malformed");
    // By route metadata as well.
    let by_route =
        "POST /hooks/a | :authority: hooks.example.com:80:81 | @route: lax | x-token: token-0123456789";
    assert_eq!(codes(decision(&both, by_route).as_ref()).1, "path_malformed");
}

#[test]
fn no_token_of_any_policy_is_logged_of_a_refused_request() {
    let policy = |name: &str, require: Value| {
        let path = format!("/{name}");
        json!({"name": name, "match": {"path": {"prefix": path}}, "require": require})
    };
    let in_query = |name: &str| json!({"token": {"query": name, "secrets": [{"value": "token-0123456789"}]}});
    let mut keep = policy("keep", in_query("kept"));
    keep["forward"] = json!({"token": "keep"});
    let policies = policies(&json!({"policies": [
        policy("token", in_query("token")),
        policy("other", in_query("api.key")),
        policy("header", json!({"token": token()})),
        policy("open", json!("nothing")),
        keep,
    ]}));
    let edited = |row: &str| edits(&policies, row).0;
    for (target, logged) in [
        ("/header?token=T", "/header"),
        ("/header?a=1&token=T&b=2", "/header?a=1&b=2"),
        ("/header?api.key=T&kept=T&x", "/header?x"),
        ("/header?a;token=T", "/header?a"),
        ("/header?a=1;token=T;b=2&c", "/header?a=1&c"),
        ("/header?token=T;T&c", "/header?c"),
        ("/header?;token=T", "/header"),
        ("/header?a&amp;token=T&b", "/header?a&amp&b"),
        ("/header?a=1%26token=T", "/header?a=1"),
        ("/header?a=1%2526token%253DT", "/header?a=1"),
        ("/header?a=1%3btoken=T&b", "/header?a=1&b"),
        ("/header?a=b?token=T", "/header?a=b"),
        ("/header??token=T", "/header"),
        ("/header?%3ftoken=T", "/header"),
        ("/header?tok%2565n=T", "/header"),
        ("/header?token%3DT", "/header"),
        ("/header?Token=T&TOKEN=T", "/header"),
        ("/header?+token=T&%20token=T&token+=T", "/header"),
        ("/header?token[]=T&token%5b0%5d=T", "/header"),
        ("/header&token=T", "/header"),
        ("/header&token=T?b=1", "/header?b=1"),
        ("/header%3ftoken=T", "/header"),
        ("/header%253ftoken%253dT", "/header"),
        ("/header;token=T", "/header"),
        ("/header;token=T/x?b", "/header?b"),
        ("/token?a;token=T", "/token?a"),
        ("/token?token=T&api.key=T", "/token"),
        ("/nowhere?token=T", "/nowhere"),
        ("/nowhere?a;token=T", "/nowhere?a"),
        ("/keep?kept=T", "/keep"),
    ] {
        assert_eq!(edited(&format!("POST {target}")).as_deref(), Some(logged), "{target}");
    }
    for target in [
        "/header",
        "/header?",
        "/header?a=token&tokens=1&b;token2=T",
        "/header?a=%26x&%",
        "/header?token",
        "/header/token=T",
    ] {
        let expected = (target == "/header?token").then(|| "/header".to_owned());
        assert_eq!(edited(&format!("POST {target}")), expected, "{target}");
    }
    // What goes on is as it was sent, but for the governing policy's own tokens.
    for (row, target) in [
        ("POST /open?token=T;token=T&api.key=T", None),
        ("POST /header?a;token=T&token=T | x-token: token-0123456789", None),
        ("POST /token?token=token-0123456789&api.key=T&b;token=T", Some("/token?api.key=T&b;token=T")),
        ("POST /keep?kept=token-0123456789", None),
    ] {
        assert_eq!(codes(decision(&policies, row).as_ref()), ("allow", "ok"), "{row}");
        assert_eq!(edited(row).as_deref(), target, "{row}");
    }
    let behind = "POST /header | x-envoy-original-path: /header?a;token=T";
    assert_eq!(edits(&policies, behind).1, "x-envoy-original-path x-token".replace(" x-token", ""));
}

#[test]
fn a_claim_that_no_tag_can_be_is_a_mismatch_before_the_body() {
    let long = "00".repeat(20_000);
    check(
        &single(&json!({"require": {"signature": github()}})),
        &[
            (
                &format!("POST /hooks | x-hub-signature-256: sha256={long} || {{}}"),
                "deny",
                "signature_mismatch",
            ),
            (
                &format!("POST /hooks | x-hub-signature-256: sha256={long}0 || {{}}"),
                "deny",
                "signature_malformed",
            ),
            ("POST /hooks | x-hub-signature-256: sha256=00 || {}", "deny", "signature_mismatch"),
        ],
    );
    // It is settled by the headers: nothing of it is kept.
    let policies = policies(&single(&json!({"require": {"signature": github()}})));
    let request = request(&format!("POST /hooks | x-hub-signature-256: sha256={long} || {{}}"));
    let headers = request.to_headers();
    assert!(matches!(
        policies.open(&request.facts(&headers, false), &Lists::default()).step,
        AfterHeaders::Settled(_)
    ));
    assert_eq!(policies.held_bytes(), 0);
    // What else the headers tell comes first.
    let slack = signed(json!("/hooks"), json!({"provider": "slack", "secrets": secrets()}));
    let time = "x-slack-request-timestamp";
    check(
        &slack,
        &[
            (
                &format!("POST /hooks | {time}: 1600000000 | x-slack-signature: v0=00"),
                "deny",
                "timestamp_stale",
            ),
            (
                &format!("POST /hooks | {time}: 1700000000 | x-slack-signature: v0=00"),
                "deny",
                "signature_mismatch",
            ),
        ],
    );
}

#[test]
fn no_more_than_four_claims_of_a_public_key_are_looked_at() {
    use ed25519_dalek::{Signer as _, SigningKey};
    let key = SigningKey::from_bytes(&[7; 32]);
    let public = BASE64.encode(key.verifying_key().as_bytes());
    let field = json!({"header": "x-list", "split": ",", "encoding": "hex"});
    let scheme = json!({"algorithm": "ed25519", "signature": field, "signed": "{body}", "secret": {"encoding": "base64"}});
    let configuration = signed(json!("/hooks"), json!({"scheme": scheme, "secrets": [{"value": public}]}));
    let right = HEXLOWER.encode(&key.sign(b"{}").to_bytes());
    let other = HEXLOWER.encode(&key.sign(b"[]").to_bytes());
    let row = |before: usize| {
        format!("POST /hooks | x-list: {}{right} || {{}}", format!("{other},").repeat(before))
    };
    check(
        &configuration,
        &[
            (&row(0), "allow", "ok"),
            (&row(3), "allow", "ok"),
            (&row(4), "deny", "signature_mismatch"),
            (&row(15), "deny", "signature_mismatch"),
        ],
    );
}

#[test]
fn a_form_of_more_parameters_than_are_sorted_is_malformed() {
    let url = "https://hooks.example.com/hooks";
    let configuration =
        signed(json!("/hooks"), json!({"provider": "mandrill", "secrets": secrets(), "public_url": url}));
    let row = |count: usize| {
        let body = vec!["a=1"; count].join("&");
        let mut mac = <Hmac<sha1::Sha1> as KeyInit>::new_from_slice(KEY_ONE.as_bytes()).unwrap();
        Mac::update(&mut mac, format!("{url}a1").as_bytes());
        let tag = BASE64.encode(&mac.finalize().into_bytes());
        format!("POST /hooks | x-mandrill-signature: {tag} || {body}")
    };
    check(&configuration, &[(&row(1000), "allow", "ok"), (&row(1001), "deny", "signature_malformed")]);
    // What is malformed anyhow is not copied once more.
    let policies = policies(&configuration);
    for (count, is_needed) in [(1000, true), (1001, false)] {
        let request = request(&row(count));
        let headers = request.to_headers();
        let step = policies.open(&request.facts(&headers, false), &Lists::default()).step;
        let AfterHeaders::AwaitBody(check) = step else { panic!("no body is awaited") };
        let ControlFlow::Continue(check) = check.update(&request.body) else { panic!("{count}: too much") };
        assert_eq!(check.needs_body(), is_needed, "{count}");
    }
}

#[test]
fn a_digest_that_can_be_extended_takes_no_body_with_nul() {
    let sha256 = |content: &str| HEXLOWER.encode(&Sha256::digest(content.as_bytes()));
    let custom = |signed: &str| {
        let field = json!({"header": "x-signature", "encoding": "hex"});
        json!({"scheme": {"algorithm": "sha256", "signature": field, "signed": signed}, "secrets": secrets()})
    };
    let row = |digest: String, body: &str| format!("POST /hooks | x-signature: {digest} || {body}");
    let before = |body: &str| row(sha256(&format!("{KEY_ONE}.{body}")), body);
    check(
        &signed(json!("/hooks"), custom("{secret}.{body}")),
        &[
            (&before("{}"), "allow", "ok"),
            (&before(""), "allow", "ok"),
            (&before("{}\u{80}\0\0\0"), "deny", "signature_malformed"),
            (&before("\0"), "deny", "signature_malformed"),
        ],
    );
    // A form's values are decoded before they are signed.
    let form = |body: &str, content: &str| row(sha256(&format!("{KEY_ONE}{content}")), body);
    check(
        &signed(json!("/hooks"), custom("{secret}{form}")),
        &[
            (&form("a=1&b=2", "a1b2"), "allow", "ok"),
            (&form("a=1&b=2%00%00x", "a1b2\0\0x"), "deny", "signature_malformed"),
            (&form("a=1&b%00=2", "a1b\u{0}2"), "deny", "signature_malformed"),
        ],
    );
    // A secret behind the body closes the content: nothing can be added.
    let after = |body: &str| row(sha256(&format!("{body}.{KEY_ONE}")), body);
    check(&signed(json!("/hooks"), custom("{body}.{secret}")), &[(&after("a\0b"), "allow", "ok")]);
}

#[test]
fn nothing_can_be_moved_between_parts_that_touch() {
    let square = |row: &str, content: &str| {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(KEY_ONE.as_bytes()).unwrap();
        Mac::update(&mut mac, content.as_bytes());
        row.replace("TAG", &BASE64.encode(&mac.finalize().into_bytes()))
    };
    let pinned = |paths: Value, public_url: Value| {
        signed(paths, json!({"provider": "square", "secrets": secrets(), "public_url": public_url}))
    };
    let row = |target: &str, body: &str| {
        let whole = format!("https://hooks.example.com{target}{body}");
        square(&format!("POST {target} | x-square-hmacsha256-signature: TAG || {body}"), &whole)
    };
    // A base, where no path can be made longer: no query.
    check(
        &pinned(json!("/hooks"), json!("https://hooks.example.com")),
        &[
            (&row("/hooks", "a=1"), "allow", "ok"),
            (&row("/hooks?a=1", ""), "deny", "signature_malformed"),
            (&row("/hooks?", "a=1"), "deny", "signature_malformed"),
        ],
    );
    // Whole URLs.
    check(
        &pinned(
            json!({"prefix": "/hooks"}),
            json!(["https://hooks.example.com/hooks/a", "https://hooks.example.com/hooks/b?c=d"]),
        ),
        &[
            (&row("/hooks/a", "/x"), "allow", "ok"),
            (&row("/hooks/a/x", ""), "deny", "signature_malformed"),
            (&row("/hooks/b?c=d", "e"), "allow", "ok"),
            (&row("/hooks/b?c=de", ""), "deny", "signature_malformed"),
            (&row("/hooks/b?c=d&", ""), "deny", "signature_malformed"),
            (&row("/hooks/b", "?c=de"), "deny", "signature_malformed"),
        ],
    );

    let signature = |content: &str| hmac(KEY_ONE, content);
    let time = json!({"timestamp": {"header": "x-time", "unit": "s"}});
    for (template, order) in [("{timestamp}{body}", 0), ("{body}{timestamp}", 1)] {
        let row = |time: &str, body: &str| {
            let content = if order == 0 { format!("{time}{body}") } else { format!("{body}{time}") };
            format!("POST /hooks | x-time: {time} | x-signature: {} || {body}", signature(&content))
        };
        check(
            &signed(json!("/hooks"), scheme(template, time.clone())),
            &[
                (&row("1700000000", "{}"), "allow", "ok"),
                (&row("1700000000", ""), "allow", "ok"),
                (&row("01700000000", "{}"), "deny", "timestamp_malformed"),
                (&row("0001700000000", "{}"), "deny", "timestamp_malformed"),
                (&row("170000000", "0{}"), "deny", "timestamp_stale"),
            ],
        );
    }
    // One digit is no zero too many.
    let first = format!("POST /hooks | @now: 0 | x-time: 0 | x-signature: {} || {{}}", signature("0{}"));
    check(&signed(json!("/hooks"), scheme("{timestamp}{body}", time.clone())), &[(&first, "allow", "ok")]);
    // With a text between them zeros move nothing.
    let row = |time: &str| {
        format!("POST /hooks | x-time: {time} | x-signature: {} || {{}}", signature(&format!("{time}.{{}}")))
    };
    check(
        &signed(json!("/hooks"), scheme("{timestamp}.{body}", time)),
        &[(&row("01700000000"), "allow", "ok")],
    );

    for (template, order) in [("{body}{header:x-part}", 0), ("{header:x-part}{body}", 1)] {
        let row = |part: &str, body: &str| {
            let content = if order == 0 { format!("{body}{part}") } else { format!("{part}{body}") };
            format!("POST /hooks | x-part: {part} | x-signature: {} || {body}", signature(&content))
        };
        check(
            &signed(json!("/hooks"), scheme(template, json!({}))),
            &[
                (&row("1700000000", r#"{"a":1}"#), "allow", "ok"),
                (&row("Tue, 14 Nov 2023 22:13:20 GMT", "a=1"), "allow", "ok"),
                (&row("Thu 07 Sep 2017 06:30:04 UTC", "12"), "allow", "ok"),
                (&row("7 Sep 2017 06:30:04 UTC", "0"), "deny", "signature_malformed"),
                (&row("700000000", "11"), "deny", "signature_malformed"),
                (&row("abc", "a=b"), "deny", "signature_malformed"),
                (&row("{}1", "{}"), "deny", "signature_malformed"),
                (&row("", "{}"), "deny", "signature_malformed"),
            ],
        );
    }
    for template in ["{id}{body}", "{body}{id}"] {
        let row = |id: &str, body: &str| {
            let content = template.replace("{id}", id).replace("{body}", body);
            format!("POST /hooks | x-id: {id} | x-signature: {} || {body}", signature(&content))
        };
        check(
            &signed(json!("/hooks"), scheme(template, json!({"delivery_id": {"header": "x-id"}}))),
            &[
                (&row("a1", "{}"), "allow", "ok"),
                (&row("a", "1b"), "deny", "signature_malformed"),
                (&row("a.b", "{}"), "deny", "signature_malformed"),
            ],
        );
    }
    // A path before the body: nothing in it that only a body has; and where it can be made longer, the body shows where
    // it begins.
    let row = |path: &str, body: &str| {
        format!("POST {path} | x-signature: {} || {body}", signature(&format!("{path}{body}")))
    };
    check(
        &signed(json!({"prefix": "/hooks"}), scheme("{path}{body}", json!({}))),
        &[
            (&row("/hooks/a", "{}"), "allow", "ok"),
            (&row("/hooks/a", ""), "allow", "ok"),
            (&row("/hooks", "/a=1"), "deny", "signature_malformed"),
            (&row(r#"/hooks/{"a":1}"#, ""), "deny", "signature_malformed"),
        ],
    );
    // With a text between them a path may hold anything.
    let apart =
        format!(r#"POST /hooks/{{"a":1}} | x-signature: {} || {{}}"#, signature(r#"/hooks/{"a":1}.{}"#));
    check(
        &signed(json!({"prefix": "/hooks"}), scheme("{path}.{body}", json!({}))),
        &[(&apart, "allow", "ok")],
    );
    check(
        &signed(json!("/hooks"), scheme("{path}{body}", json!({}))),
        &[(&row("/hooks", "/a=1"), "allow", "ok")],
    );
}

#[test]
fn time_and_secrets_are_judged_again_when_the_body_ends() {
    let slack =
        signed(json!("/hooks"), json!({"provider": "slack", "secrets": secrets(), "tolerance_seconds": 2}));
    let head = "x-slack-request-timestamp: 1700000000 | x-slack-signature: v0=SLACK1";
    let until = |second: u32| json!([{"value": KEY_ONE, "not_after": format!("2023-11-14T22:13:{second}Z")}]);
    let github = signed(json!("/hooks"), json!({"provider": "github", "secrets": until(21)}));
    let token = json!({"header": "x-token", "secrets": until(21)});
    let tokens = single(&json!({"require": {"token": token}}));
    let either = single(
        &json!({"require": {"any_of": [{"token": token}, {"signature": {"provider": "github", "secrets": secrets()}}]}}),
    );
    for (configuration, head, late) in [
        (&slack, head, "timestamp_stale"),
        (&github, "x-hub-signature-256: sha256=SIG1", "signature_mismatch"),
        (&tokens, "x-token: key-one-0123456789", "token_mismatch"),
        (&either, "x-token: key-one-0123456789", "token_mismatch"),
    ] {
        check(
            configuration,
            &[
                (&format!("POST /hooks | {head} | @end: 1700000001000 || {{}}"), "allow", "ok"),
                (&format!("POST /hooks | {head} | @end: 1700000012000 || {{}}"), "deny", late),
            ],
        );
    }
    check(
        &either,
        &[("POST /hooks | x-hub-signature-256: sha256=SIG1 | @end: 1700000012000 || {}", "allow", "ok")],
    );
}

#[test]
fn a_value_in_the_body_that_stands_there_twice_is_malformed() {
    let body_time = json!({"timestamp": {"json": "/t", "unit": "s"}});
    let row = |body: &str| format!("POST /hooks | x-signature: {} || {body}", hmac(KEY_ONE, body));
    check(
        &signed(json!("/hooks"), scheme("{body}", body_time)),
        &[
            (&row(r#"{"t":1700000000}"#), "allow", "ok"),
            (&row(r#"{"t":1700000000,"t":1700000000}"#), "deny", "timestamp_malformed"),
            (&row(r#"{"t":1700000000,"\u0074":1700000000}"#), "deny", "timestamp_malformed"),
            (&row(r#"{"s":1700000000}"#), "deny", "timestamp_missing"),
        ],
    );
    let prefixed = json!({"timestamp": {"json": "/t", "unit": "s", "prefix": "t="}});
    check(
        &signed(json!("/hooks"), scheme("{body}", prefixed)),
        &[
            (&row(r#"{"t":"t=1700000000"}"#), "allow", "ok"),
            (&row(r#"{"t":"1700000000"}"#), "deny", "timestamp_missing"),
        ],
    );
    let in_body = json!({"signature": {"json": "/sig", "encoding": "hex"}});
    let mac = hmac(KEY_ONE, "/hooks");
    let row = |body: String| format!("POST /hooks || {body}");
    check(
        &signed(json!("/hooks"), scheme("{path}", in_body)),
        &[
            (&row(format!(r#"{{"sig":"{mac}"}}"#)), "allow", "ok"),
            (&row(format!(r#"{{"sig":"{mac}","sig":"{mac}"}}"#)), "deny", "signature_malformed"),
            (&row(r#"{"sig":"00"}"#.to_owned()), "deny", "signature_mismatch"),
            (&row(r#"{"sig":17}"#.to_owned()), "deny", "signature_mismatch"),
            (&row(r#"{"sig":null}"#.to_owned()), "deny", "signature_malformed"),
        ],
    );
}

#[test]
fn a_challenge_is_a_json_string() {
    let slack = |handshake: Value| {
        json!({"policies": [{"name": "hooks", "match": {"path": "/hooks"}, "handshake": handshake,
            "require": {"signature": {"provider": "slack", "secrets": secrets()}}}]})
    };
    let row = |body: &str| {
        let tag = hmac(KEY_ONE, &format!("v0:1700000000:{body}"));
        format!("POST /hooks | x-slack-request-timestamp: 1700000000 | x-slack-signature: v0={tag} || {body}")
    };
    let body = |challenge: &str| row(&format!(r#"{{"type":"url_verification","challenge":{challenge}}}"#));
    check(
        &slack(json!("answer")),
        &[
            (&body(r#""abc""#), "answer", "ok"),
            (&body("17"), "deny", "handshake_refused"),
            (&body("null"), "deny", "handshake_refused"),
            (&body("true"), "deny", "handshake_refused"),
            (&body(r#""a","challenge":"b""#), "deny", "handshake_refused"),
            (&body(r#""<b>""#), "deny", "handshake_refused"),
        ],
    );
}

#[test]
fn what_a_handshake_can_sign_is_no_delivery_even_where_it_is_not_answered() {
    let configuration =
        signed(json!("/hooks"), json!({"provider": "x", "secrets": [{"value": "key-one-0123456789"}]}));
    check(
        &configuration,
        &[
            (
                "POST /hooks | x-twitter-webhooks-signature: sha256=1wQmXuYYJSI3dtTW1kxo9JnKO8xbwp1EEtmCKhjOV10= || null",
                "deny",
                "signature_mismatch",
            ),
            (
                r#"POST /hooks | x-twitter-webhooks-signature: sha256=tPF8baBRIONoGvvA1vWJXBb/t3BLrvoasoJ/rBPJxdo= || {"a":1}"#,
                "allow",
                "ok",
            ),
        ],
    );
}

/// Holds requests of that row until one is refused, and says how many were held.
fn held_until_overloaded(policies: &PolicySet, request: &Request) -> (Vec<BodyCheck>, &'static str) {
    let mut held = Vec::new();
    for _ in 0..10_000 {
        let headers = request.to_headers();
        let opening = policies.open(&request.facts(&headers, false), &Lists::default());
        match opening.step {
            AfterHeaders::AwaitBody(check) => held.push(check),
            AfterHeaders::Settled(decision) => return (held, decision.verdict.reason_code()),
            AfterHeaders::Leave => return (held, "-"),
        }
    }
    (held, "ok")
}

#[test]
fn what_is_held_is_bounded_and_given_back() {
    let bound = 1_usize << 20;
    let configuration = json!({"held_bytes": bound, "policies": [
        {"name": "github", "match": {"path": "/github"}, "require": {"signature": github()}},
        {"name": "token", "match": {"path": "/token"}, "require": {"token": token()}},
    ]});
    let policies = policies(&configuration);
    let delivery = request("POST /github | x-hub-signature-256: sha256=SIG1 || {}");
    let (held, reason) = held_until_overloaded(&policies, &delivery);
    assert_eq!(reason, "overloaded");
    assert!(held.len() > 300, "only {} ordinary requests fit into a MiB", held.len());
    assert!((bound / 2..=bound).contains(&policies.held_bytes()));
    // What needs no body goes on.
    assert_eq!(
        codes(
            decision(&policies, "POST /token | x-token: token-0123456789 | content-length: 2 || {}").as_ref()
        ),
        ("allow", "ok")
    );
    let body_less = request("POST /github | x-hub-signature-256: sha256=EMPTY1");
    assert_eq!(codes(body_less.judge(&policies, Framing::HeadersOnly, 1).1.as_ref()), ("allow", "ok"));
    drop(held);
    assert_eq!(policies.held_bytes(), 0);
    assert_eq!(codes(delivery.judge(&policies, Framing::Undeclared, 1).1.as_ref()), ("allow", "ok"));
}

/// What of a body is kept is counted as it grows: a token that is looked for, a value that is echoed.
#[test]
fn what_is_kept_of_a_body_is_counted() {
    let token = json!({"token": {"json": "/token", "secrets": [{"value": "token-0123456789"}]}});
    let mut zoom = single(&json!({"require": {"signature": {"provider": "zoom", "secrets": secrets()}}}));
    zoom["policies"][0]["handshake"] = json!("answer");
    let long = "a".repeat(100);
    for (name, configuration, row, body) in [
        ("token", single(&json!({ "require": token })), "POST /hooks", format!(r#"{{"token": "{long}"#)),
        (
            "echo",
            zoom,
            "POST /hooks | x-zm-request-timestamp: 1700000000 | x-zm-signature: v0=SIG1",
            format!(r#"{{"payload": {{"plainToken": "{long}"#),
        ),
    ] {
        let policies = policies(&configuration);
        let request = request(row);
        let headers = request.to_headers();
        let AfterHeaders::AwaitBody(check) =
            policies.open(&request.facts(&headers, false), &Lists::default()).step
        else {
            panic!("{name}: no body is awaited")
        };
        let before = policies.held_bytes();
        let check = check.update(body.as_bytes());
        assert!(policies.held_bytes() > before + 50, "{name}: {before}, {}", policies.held_bytes());
        drop(check);
        assert_eq!(policies.held_bytes(), 0, "{name}");
    }
}

#[test]
fn configurations_of_one_host_are_counted_together() {
    let (mut one, mut other) =
        (policies(&single(&json!({"require": {"signature": github()}}))), policies(&reasons()));
    let held = Held::default();
    one.count_held_in(&held);
    other.count_held_in(&held);
    let delivery = request("POST /hooks | x-hub-signature-256: sha256=SIG1 || {}");
    let headers = delivery.to_headers();
    let opening = one.open(&delivery.facts(&headers, false), &Lists::default());
    assert!(matches!(opening.step, AfterHeaders::AwaitBody(_)));
    assert!(other.held_bytes() > 0);
    assert_eq!(other.held_bytes(), one.held_bytes());
}

#[test]
fn a_host_is_told_what_it_has_to_ask_for() {
    for (members, expected) in [
        (json!({"require": {"source_ip": source()}}), [true, false, false]),
        (json!({"require": {"client_certificate": certificate()}}), [false, true, false]),
        (json!({"require": {"signature": github()}, "duplicates": {}}), [false, false, true]),
        (json!({"require": "nothing"}), [false, false, false]),
    ] {
        let policies = policies(&single(&members));
        let asks = [policies.needs_source(), policies.needs_client_certificate(), policies.remembers()];
        assert_eq!(asks, expected, "{members}");
    }
}

/// Whom a refused request is said to be of: of a check that held, or else of its signature.
#[test]
fn a_refused_request_is_named_after_what_held_or_its_signature() {
    let gitlab = json!({"provider": "gitlab", "secrets": [{"value": "token-0123456789"}]});
    let both = json!({"all_of": [{"signature": gitlab}, {"signature": github()}]});
    let policies = policies(&single(&json!({ "require": both })));
    for (row, provider) in [
        ("POST /hooks | x-gitlab-token: token-0123456789 | x-hub-signature-256: sha256=SIG2 || {}", "gitlab"),
        ("POST /hooks | x-gitlab-token: another | x-hub-signature-256: sha256=SIG1 || {}", "github"),
    ] {
        let decision = decision(&policies, row).unwrap();
        assert_eq!(
            (decision.verdict.code(), decision.record.provider.as_deref()),
            ("deny", Some(provider)),
            "{row}"
        );
    }
}

#[test]
fn a_question_is_not_answered_while_something_else_is_to_be_proved() {
    let dropbox = json!({"signature": {"provider": "dropbox", "secrets": secrets()}});
    for (beside, verdict, reason) in [
        (json!({"source_ip": {"allow": ["192.0.2.0/24"]}}), "answer", "ok"),
        (json!({"signature": scheme("{body}", json!({}))}), "deny", "handshake_refused"),
    ] {
        let members = json!({"require": {"all_of": [dropbox, beside]}, "handshake": "answer"});
        check(&single(&members), &[("GET /hooks?challenge=abc | @source: 192.0.2.1:1", verdict, reason)]);
    }
}

#[test]
fn two_signatures_over_one_form_are_both_judged() {
    let form = |header: &str| {
        let mut signature = scheme("{form}", json!({}));
        signature["scheme"]["signature"]["header"] = json!(header);
        json!({ "signature": signature })
    };
    let configuration = single(&json!({"require": {"all_of": [form("x-one"), form("x-other")]}}));
    let tag = hmac(KEY_ONE, "a1b2");
    check(
        &configuration,
        &[
            (&format!("POST /hooks | x-one: {tag} | x-other: {tag} || b=2&a=1"), "allow", "ok"),
            (&format!("POST /hooks | x-one: {tag} | x-other: SIG1 || b=2&a=1"), "deny", "signature_mismatch"),
        ],
    );
}

/// What follows the body is kept of each request until it ends.
#[test]
fn what_follows_the_body_is_bounded() {
    let row = |length: usize| {
        let part = "a".repeat(length);
        let tag = hmac(KEY_ONE, &format!("{{}}.{part}.end"));
        format!("POST /hooks | x-part: {part} | x-signature: {tag} || {{}}")
    };
    check(
        &signed(json!("/hooks"), scheme("{body}.{header:x-part}.end", json!({}))),
        &[(&row(1024 - 5), "allow", "ok"), (&row(1024 - 4), "deny", "signature_malformed")],
    );
}

/// For how long a delivery counts as fresh, and of what time: what the command line and the memory of deliveries go by.
#[test]
fn a_scheme_says_for_how_long_it_admits_a_delivery() {
    let provider = |name: &str| json!({"provider": name, "secrets": secrets()});
    let jwt = |required: Value| {
        let mut jwt = json!({"header": "authorization", "body_sha256": {"claim": "h", "encoding": "hex"}});
        if required != Value::Null {
            jwt["required"] = required;
        }
        json!({"scheme": {"algorithm": "hmac-sha256", "jwt": jwt}, "secrets": secrets()})
    };
    let with_tolerance = |mut signature: Value| {
        signature["tolerance_seconds"] = json!(60);
        signature
    };
    for (signature, seconds, bounds) in [
        (provider("slack"), Some(300), Some((300, 60))),
        (with_tolerance(provider("slack")), Some(60), Some((60, 60))),
        (provider("github"), None, None),
        (jwt(json!(["iat"])), Some(300), Some((300, 60))),
        (with_tolerance(jwt(json!(["iat"]))), Some(60), Some((60, 60))),
        (jwt(json!(["exp"])), Some(300), None),
        (jwt(Value::Null), None, None),
    ] {
        let policies = policies(&signed(json!("/hooks"), signature.clone()));
        let Check::Signature(check) = &policies.iter().next().unwrap().leaves[0].check else {
            panic!("{signature}: no signature")
        };
        assert_eq!(
            (check.scheme.admits_seconds(), check.scheme.age_bounds()),
            (seconds, bounds),
            "{signature}"
        );
    }
    let refused = config::parse(
        signed(json!("/hooks"), with_tolerance(jwt(json!(["exp"])))).to_string().as_bytes(),
        &|_| None,
    );
    assert!(refused.unwrap_err().to_string().contains("the scheme signs no time"));
}

/// What names a delivery in the memory, so that a second one like it is found: an id that is signed, else all that is.
#[test]
fn a_delivery_is_named_by_what_its_sender_signed() {
    let remembering = |signature: Value, duplicates: Value| {
        policies(&single(&json!({"require": {"signature": signature}, "duplicates": duplicates})))
    };
    let key = |policies: &PolicySet, row: &str| {
        let decision = decision(policies, row).unwrap();
        assert_eq!(codes(Some(&decision)), ("allow", "ok"), "{row}");
        decision.record.delivery.unwrap().key
    };
    let body = |body: &str| format!("POST /hooks | x-signature: {} || {body}", hmac(KEY_ONE, body));
    let with_id = |id: &str, body: &str| {
        format!(
            "POST /hooks | x-id: {id} | x-signature: {} || {body}",
            hmac(KEY_ONE, &format!("{id}.{body}"))
        )
    };
    let header = json!({"delivery_id": {"header": "x-id"}});
    let by_content = remembering(scheme("{body}", json!({})), json!({}));
    let by_id = remembering(scheme("{id}.{body}", header.clone()), json!({}));
    let unsigned_id = remembering(scheme("{body}", header), json!({}));
    let in_body = remembering(scheme("{body}", json!({})), json!({"id": {"json": "/id"}}));
    for (name, policies, one, other, is_same) in [
        ("the same", &by_content, body("{}"), body("{}"), true),
        ("another body", &by_content, body("{}"), body("[]"), false),
        (
            "a header that is not signed",
            &unsigned_id,
            body("{}").replacen(" |", " | x-id: 1 |", 1),
            body("{}"),
            true,
        ),
        ("one id", &by_id, with_id("1", "{}"), with_id("1", "[]"), true),
        ("another id", &by_id, with_id("1", "{}"), with_id("2", "{}"), false),
        ("one id in the body", &in_body, body(r#"{"id":"1"}"#), body(r#"{"id":"1","a":2}"#), true),
        ("another id in the body", &in_body, body(r#"{"id":"1"}"#), body(r#"{"id":"2"}"#), false),
        ("no id in the body", &in_body, body("{}"), body("[]"), false),
        ("an empty id", &in_body, body(r#"{"id":""}"#), body(r#"{"id":"","a":2}"#), false),
    ] {
        assert_eq!(key(policies, &one) == key(policies, &other), is_same, "{name}");
    }
}
