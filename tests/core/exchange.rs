//! Proves what a host is told to do with a request, event by event.

#![expect(clippy::unwrap_used, reason = "a broken row must fail the test loudly")]

use serde_json::{Value, json};
use std::sync::Arc;
use webhook_guard_core::config;
use webhook_guard_core::exchange::{Acts, Exchange, Next};
use webhook_guard_core::feed::Lists;
use webhook_guard_core::memory::etcd::{Answer, UNAVAILABLE};
use webhook_guard_core::memory::{
    self, Claimed, DOWNSTREAM_CONNECTION_TERMINATION, Delivery, Layout, Response, Settlement,
};
use webhook_guard_core::request::{Facts, Headers, Millis};

const NOW: Millis = Millis(1_700_000_000_000);
/// The HMAC-SHA-256 of `{}` under the key `key-one-0123456789`.
const RIGHT: &str = "sha256=2c28d2e6159b2a07689b4362742cb13bf49f6533f2ae8def4ed5143f0d46be6d";

fn configuration(holds: bool) -> Value {
    let signature = json!({"provider": "github", "secrets": [{"value": "key-one-0123456789", "id": "one"}]});
    let form = json!({"provider": "mandrill", "secrets": [{"value": "key-one-0123456789"}],
        "public_url": "https://hooks.example.com/form"});
    let token = json!({"query": "token", "secrets": [{"value": "token-0123456789"}]});
    json!({"unmatched": "pass", "hold_request_head": holds, "policies": [
        {"name": "signed", "match": {"path": "/signed"}, "require": {"signature": signature}},
        {"name": "form", "match": {"path": "/form"}, "require": {"signature": form}},
        {"name": "token", "match": {"path": "/token"}, "require": {"token": token}},
    ]})
}

struct Host {
    exchange: Exchange,
}

impl Host {
    fn new(holds: bool) -> Self {
        let text = configuration(holds).to_string();
        let configuration = config::parse(text.as_bytes(), &|_| None).unwrap();
        Self { exchange: Exchange::new(Arc::new(configuration)) }
    }

    fn headers(&mut self, target: &str, more: &[(&str, &str)], ends: bool) -> Acts {
        let pseudo = [(":method", "POST"), (":path", target), (":authority", "hooks.example.com")];
        let all = pseudo.iter().chain(more).map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let headers = Headers::from_pairs(all);
        let facts = Facts {
            headers: &headers,
            source: None,
            client_certificate: None,
            route_policy: None,
            now: NOW,
            ends_with_headers: ends,
        };
        self.exchange.headers(&facts, &Lists::default())
    }
}

/// The acts in a line: what comes next, the decision, the headers that are set.
fn said(acts: &Acts) -> String {
    let next = match &acts.next {
        Next::Continue => "continue".to_owned(),
        Next::Pause => "pause".to_owned(),
        Next::Reply(reply) => format!("reply {}", reply.status),
        Next::ReadBody(bytes) => format!("read {bytes}"),
        Next::ReadStart(bytes) => format!("start {bytes}"),
        Next::ConfirmRoute => "confirm".to_owned(),
        Next::Claim(_) => "claim".to_owned(),
        Next::Call(call) => format!("call {}", call.method.name()),
        Next::Redact => "redact".to_owned(),
    };
    let decision = acts.decision.as_ref().map_or("-", |decision| decision.verdict.reason_code());
    let set: Vec<String> = acts.edits.set.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{next} {decision} {}", set.join(" ")).trim_end().to_owned()
}

#[test]
fn a_held_request_goes_on_when_its_body_has_been_judged() {
    let mut host = Host::new(true);
    assert_eq!((host.exchange.record(), host.exchange.policy()), (None, None), "nothing has come");
    let more = [("x-hub-signature-256", RIGHT), ("x-request-id", "id-1")];
    assert_eq!(said(&host.headers("/signed", &more, false)), "pause -");
    assert!(host.exchange.is_reading() && host.exchange.is_held());
    assert_eq!(host.exchange.request_id(), "id-1");
    assert_eq!(host.exchange.policy().map(AsRef::as_ref), Some("signed"));
    assert_eq!(said(&host.exchange.body(b"{")), "pause -");
    assert_eq!(said(&host.exchange.body(b"}")), "pause -");
    assert_eq!(host.exchange.received(), 2);
    let record = host.exchange.record().unwrap();
    assert_eq!(record.provider.as_deref(), Some("github"), "whose delivery it would be");
    assert_eq!(
        (record.policy.as_deref(), record.checks().as_str()),
        (Some("signed"), "path:pass,source_ip:skip,token:skip,signature:skip")
    );
    let identity = "x-webhook-guard-verdict=verified x-webhook-guard-policy=signed \
                    x-webhook-guard-provider=github x-webhook-guard-secret-id=one";
    assert_eq!(said(&host.exchange.end(NOW)), format!("continue ok {identity}"));
    assert_eq!(said(&host.exchange.body(b"more")), "continue -", "an upstream may be read to slowly");
}

#[test]
fn a_refused_request_stays_refused_whatever_comes_after() {
    let mut host = Host::new(true);
    let _ = host.headers("/signed", &[("x-hub-signature-256", RIGHT)], false);
    let _ = host.exchange.body(b"{1");
    // A URL may hold a token of some policy: it is asked for before the reply.
    assert_eq!(said(&host.exchange.end(NOW)), "redact -");
    let path = (&b":path"[..], &b"/signed?a=1&token=T"[..]);
    let before = (&b"x-envoy-original-path"[..], &b"/edge?token=T"[..]);
    let headers = Headers::from_pairs([path, before]);
    let acts = host.exchange.redact(&headers);
    assert_eq!(said(&acts), "reply 401 signature_mismatch");
    assert_eq!(acts.edits.target.as_deref(), Some(&b"/signed?a=1"[..]));
    // Envoy's default log format prefers the path as it was before a proxy in front rewrote it.
    assert_eq!(acts.edits.remove, [b"x-envoy-original-path".to_vec()]);
    for acts in [host.exchange.body(b"{}"), host.exchange.end(NOW)] {
        assert_eq!(said(&acts), "pause -");
    }
    for acts in [
        host.exchange.route(None),
        host.exchange.redact(&headers),
        host.exchange.whole_body(b"{}".to_vec(), NOW),
        host.exchange.fault(),
    ] {
        assert_eq!(said(&acts), "reply 503 host_fault", "what was not asked for");
    }
}

#[test]
fn a_head_that_is_not_held_goes_on_and_its_route_is_confirmed() {
    for (route, last) in [(None, "continue ok"), (Some(&b"other"[..]), "reply 503 host_fault")] {
        let mut host = Host::new(false);
        assert_eq!(said(&host.headers("/signed", &[("x-hub-signature-256", RIGHT)], false)), "continue -");
        assert_eq!(said(&host.exchange.body(b"{}")), "pause -");
        assert_eq!(said(&host.exchange.end(NOW)), "confirm -");
        assert_eq!(said(&host.exchange.route(route)), last);
    }
    // The head is gone: nothing is left to redact.
    let mut host = Host::new(false);
    let _ = host.headers("/signed", &[("x-hub-signature-256", RIGHT)], false);
    assert_eq!(said(&host.exchange.end(NOW)), "reply 401 signature_mismatch");
}

/// The upstream hears the same of a policy whether a request has a body or not: nothing where the head is gone before the
/// body is judged.
#[test]
fn a_head_that_is_not_held_tells_the_verdict_only_where_no_body_is_judged() {
    const NO_BODY: &str = "sha256=6e29c423682a51cba8938ad52aff308d544d414f9c721e57d6fdf3c4aef82fbd";
    let token = "x-webhook-guard-verdict=verified x-webhook-guard-policy=token";
    for (mode, target, signature, ends, line) in [
        ("enforce", "/token?token=token-0123456789", "", false, format!("continue - {token}")),
        ("enforce", "/token?token=token-0123456789", "", true, format!("confirm - {token}")),
        ("enforce", "/signed", NO_BODY, false, "continue -".to_owned()),
        ("enforce", "/signed", NO_BODY, true, "confirm -".to_owned()),
        // What becomes of it is known when the body has ended, which may be too large.
        ("report", "/token?token=token-0123456789", "", false, "continue -".to_owned()),
        ("report", "/token", "", false, format!("confirm - {}", token.replace("verified", "reported"))),
    ] {
        let mut configuration = configuration(false);
        for policy in configuration["policies"].as_array_mut().unwrap() {
            policy["mode"] = json!(mode);
        }
        let acts = remembering(&configuration).headers(target, &[("x-hub-signature-256", signature)], ends);
        assert_eq!(said(&acts), line, "{mode} {target} {ends}");
    }
}

#[test]
fn a_form_is_asked_for_once_more() {
    let mut host = Host::new(true);
    // Base64 of an HMAC-SHA-1 that is somebody else's.
    let tag = "AAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert_eq!(said(&host.headers("/form", &[("x-mandrill-signature", tag)], false)), "pause -");
    assert_eq!(said(&host.exchange.body(b"b=2&a=1")), "pause -");
    assert_eq!(said(&host.exchange.end(NOW)), "read 7 -");
    assert_eq!(said(&host.exchange.whole_body(b"b=2&a=1".to_vec(), NOW)), "redact -");
    let mut host = Host::new(true);
    let _ = host.headers("/form", &[("x-mandrill-signature", tag)], false);
    let _ = host.exchange.body(b"b=2&a=1");
    let _ = host.exchange.end(NOW);
    let acts = host.exchange.whole_body(b"b=2".to_vec(), NOW);
    assert_eq!(said(&acts), "redact -", "what was handed over is not what came");
    let acts = host.exchange.redact(&Headers::default());
    assert_eq!(said(&acts), "reply 503 host_fault");
}

#[test]
fn what_the_headers_settle_needs_nothing_more() {
    for (target, ends, line) in [
        ("/elsewhere", false, "continue -"),
        ("/elsewhere/../token", false, "reply 404 path_malformed"),
        ("/token", true, "reply 401 token_missing"),
        (
            "/token?token=token-0123456789",
            true,
            "continue ok x-webhook-guard-verdict=verified x-webhook-guard-policy=token",
        ),
    ] {
        assert_eq!(said(&Host::new(true).headers(target, &[], ends)), line, "{target}");
    }
}

/// What the memory says, in a word; a first claim is one that a memory has really made.
fn memory_says(word: &str, delivery: Delivery) -> Claimed {
    match word {
        "first" => memory::claim(&[], Layout::new(1), delivery, NOW).claimed,
        "pending" => Claimed::Pending,
        "duplicate" => Claimed::Duplicate,
        _ => Claimed::Unavailable,
    }
}

fn once(mode: &str, then: &str) -> Host {
    let signature = json!({"provider": "github", "secrets": [{"value": "key-one-0123456789", "id": "one"}]});
    let policy = json!({"name": "signed", "match": {"path": "/signed"}, "require": {"signature": signature},
        "mode": mode, "duplicates": {"then": then}});
    remembering(&json!({"policies": [policy]}))
}

fn remembering(configuration: &Value) -> Host {
    let configuration = config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap();
    Host { exchange: Exchange::new(Arc::new(configuration)) }
}

/// The same where an etcd is asked.
fn once_in_etcd(mode: &str, when_unavailable: &str, held_bytes: usize) -> Arc<config::Configuration> {
    let signature = json!({"provider": "github", "secrets": [{"value": "key-one-0123456789", "id": "one"}]});
    let policy = json!({"name": "signed", "match": {"path": "/signed"}, "require": {"signature": signature},
        "mode": mode, "duplicates": {}});
    let memory = json!({"etcd": {"cluster": "etcd", "when_unavailable": when_unavailable}});
    let text = json!({"policies": [policy], "memory": memory, "held_bytes": held_bytes}).to_string();
    Arc::new(config::parse(text.as_bytes(), &|_| None).unwrap())
}

#[test]
fn a_request_is_held_until_etcd_has_answered() {
    // As etcd 3.4 answers: a header with a revision, whether the comparison held, and the key that stands there.
    let first = b"\x0a\x02\x18\x05\x10\x01";
    let found = |value: &str| {
        let value_length = u8::try_from(value.len()).unwrap();
        let mut message =
            vec![10, 2, 24, 5, 26, value_length + 8, 10, value_length + 6, 18, value_length + 4];
        message.extend([24, 4, 42, value_length]);
        message.extend(value.as_bytes());
        message
    };
    let (pending, done) = (found("pending 1700000001000"), found("done 1700000001000"));
    let unavailable = Answer::Status(UNAVAILABLE);
    for (row, mode, when, answer, expected) in [
        ("first", "enforce", "refuse", Answer::Message(first), "continue ok"),
        ("pending", "enforce", "refuse", Answer::Message(&pending), "reply 409 duplicate_delivery"),
        ("done", "enforce", "refuse", Answer::Message(&done), "reply 409 duplicate_delivery"),
        ("done, reported", "report", "refuse", Answer::Message(&done), "continue duplicate_delivery"),
        ("down", "enforce", "refuse", unavailable, "reply 503 memory_unavailable"),
        ("down, reported", "report", "refuse", unavailable, "continue memory_unavailable"),
        ("down, accepted", "enforce", "accept", unavailable, "continue ok"),
        ("nonsense", "enforce", "refuse", Answer::Message(b"\xff"), "reply 503 memory_unavailable"),
        ("nonsense, accepted", "enforce", "accept", Answer::Message(b"\xff"), "continue ok"),
        ("done, accepted", "enforce", "accept", Answer::Message(&done), "reply 409 duplicate_delivery"),
    ] {
        let mut host = Host { exchange: Exchange::new(once_in_etcd(mode, when, 1 << 20)) };
        let _ = host.headers("/signed", &[("x-hub-signature-256", RIGHT)], false);
        let _ = host.exchange.body(b"{}");
        assert_eq!(said(&host.exchange.end(NOW)), "call Txn -", "{row}");
        assert!(host.exchange.is_held() && !host.exchange.is_reading(), "{row}");
        assert_eq!(said(&host.exchange.body(b"")), "pause -", "{row}: nothing else lets it go on");
        assert_eq!(said(&host.exchange.end(NOW)), "pause -", "{row}: nothing else lets it go on");
        let acts = host.exchange.answered(answer, NOW);
        assert!(said(&acts).starts_with(expected), "{row}: {}", said(&acts));
        assert!(!host.exchange.is_held(), "{row}");
        assert_eq!(host.exchange.has_claim(), row == "first", "{row}");
        assert_eq!(said(&host.exchange.answered(answer, NOW)), "pause -", "{row}: an answer to nothing");
    }
}

/// One signed delivery can be sent any number of times while etcd is slow.
#[test]
fn so_many_requests_wait_for_etcd_as_may_be_held_and_no_more() {
    for when_unavailable in ["refuse", "accept"] {
        let configuration = once_in_etcd("enforce", when_unavailable, 16_384);
        let wait = || {
            let mut host = Host { exchange: Exchange::new(configuration.clone()) };
            let headers = host.headers("/signed", &[("x-hub-signature-256", RIGHT)], false);
            if matches!(headers.next, Next::Reply(_)) {
                return (host, headers);
            }
            let _ = host.exchange.body(b"{}");
            let acts = host.exchange.end(NOW);
            (host, acts)
        };
        let mut waiting = Vec::new();
        let refused = loop {
            let (host, acts) = wait();
            if said(&acts) != "call Txn -" {
                break said(&acts);
            }
            waiting.push(host);
            assert!(waiting.len() < 32, "they are without number");
        };
        assert_eq!(refused, "reply 503 overloaded", "{when_unavailable}");
        assert!(waiting.len() >= 8, "{when_unavailable}: only {}", waiting.len());
        // Who has been answered, or is gone, leaves room. While its body is awaited a request takes somewhat more.
        for host in &mut waiting[..2] {
            let _ = host.exchange.answered(Answer::Status(UNAVAILABLE), NOW);
        }
        let (host, acts) = wait();
        assert_eq!(said(&acts), "call Txn -", "{when_unavailable}: some were answered");
        drop(host);
        waiting.truncate(waiting.len() - 2);
        assert_eq!(said(&wait().1), "call Txn -", "{when_unavailable}: some are gone");
    }
}

#[test]
fn an_entry_that_has_run_out_and_a_lease_that_is_gone_take_another_call() {
    let mut host = Host { exchange: Exchange::new(once_in_etcd("enforce", "refuse", 1 << 20)) };
    let _ = host.headers("/signed", &[("x-hub-signature-256", RIGHT)], false);
    let _ = host.exchange.body(b"{}");
    assert_eq!(said(&host.exchange.end(NOW)), "call Txn -");
    let over = b"\x0a\x02\x18\x05\x1a\x1a\x0a\x18\x12\x16\x18\x04\x2a\x12done 1699999999999";
    assert_eq!(said(&host.exchange.answered(Answer::Message(over), NOW)), "call Txn -");
    assert_eq!(said(&host.exchange.answered(Answer::Status(5), NOW)), "call LeaseGrant -");
    assert_eq!(said(&host.exchange.answered(Answer::Status(9), NOW)), "call Txn -", "another had granted it");
    let acts = host.exchange.answered(Answer::Message(b"\x0a\x02\x18\x05\x10\x01"), NOW);
    assert!(said(&acts).starts_with("continue ok"), "{}", said(&acts));
}

#[test]
fn each_delivery_passes_as_the_memory_says() {
    for (mode, then, word, expected) in [
        ("enforce", "refuse", "first", "continue ok"),
        ("enforce", "refuse", "pending", "reply 409 duplicate_delivery"),
        ("enforce", "refuse", "duplicate", "reply 409 duplicate_delivery"),
        ("enforce", "refuse", "unavailable", "reply 503 memory_unavailable"),
        ("enforce", "acknowledge", "pending", "reply 409 duplicate_delivery"),
        ("enforce", "acknowledge", "duplicate", "reply 200 duplicate_delivery"),
        ("enforce", "acknowledge", "unavailable", "reply 503 memory_unavailable"),
        ("report", "refuse", "first", "continue ok"),
        ("report", "refuse", "pending", "continue duplicate_delivery"),
        ("report", "acknowledge", "duplicate", "continue duplicate_delivery"),
        ("report", "refuse", "unavailable", "continue memory_unavailable"),
    ] {
        let row = format!("{mode} {then} {word}");
        let mut host = once(mode, then);
        assert_eq!(
            said(&host.headers("/signed", &[("x-hub-signature-256", RIGHT)], false)),
            "pause -",
            "{row}"
        );
        let _ = host.exchange.body(b"{}");
        let Next::Claim(delivery) = host.exchange.end(NOW).next else { panic!("{row}: no claim") };
        let acts = host.exchange.claimed(memory_says(word, delivery));
        assert!(said(&acts).starts_with(expected), "{row}: {}", said(&acts));
        let verdict = if expected.starts_with("continue") {
            Some(if word == "first" { "verified" } else { "reported" })
        } else {
            None
        };
        let told = acts.edits.set.iter().find(|(name, _)| *name == "x-webhook-guard-verdict");
        assert_eq!(told.map(|(_, value)| value.as_ref()), verdict, "{row}");
        assert_eq!(host.exchange.has_claim(), word == "first", "{row}");
        let Next::Reply(reply) = &acts.next else { continue };
        let waits = reply.headers.iter().any(|(name, value)| name == "retry-after" && value == "1");
        assert_eq!(waits, word != "duplicate", "{row}");
    }
}

#[test]
fn a_delivery_is_settled_once_by_what_became_of_it() {
    let upstream =
        |status| Response { status: Some(status), details: b"via_upstream", has_upstream: true, flags: 0 };
    for (name, response, expected) in [
        ("taken", upstream(200), Some(Settlement::Done)),
        ("found elsewhere", upstream(399), Some(Settlement::Done)),
        ("refused", upstream(400), Some(Settlement::Forgotten)),
        ("failed", upstream(503), Some(Settlement::Forgotten)),
        (
            "cut",
            Response {
                details: b"upstream_reset_after_response_started{connection_termination}",
                ..upstream(200)
            },
            Some(Settlement::Done),
        ),
        (
            "never reached",
            Response {
                details: b"upstream_reset_before_response_started{connection_failure}",
                ..upstream(503)
            },
            Some(Settlement::Forgotten),
        ),
        (
            "answered on the way",
            Response { details: b"direct_response", has_upstream: false, ..upstream(200) },
            Some(Settlement::Forgotten),
        ),
        ("taken, without details", Response { details: b"", ..upstream(200) }, Some(Settlement::Done)),
        ("failed, without details", Response { details: b"", ..upstream(502) }, Some(Settlement::Forgotten)),
        (
            "answered on the way, without details",
            Response { details: b"", has_upstream: false, ..upstream(200) },
            Some(Settlement::Forgotten),
        ),
        (
            "left in the middle",
            Response {
                details: b"downstream_remote_disconnect",
                flags: DOWNSTREAM_CONNECTION_TERMINATION,
                ..upstream(200)
            },
            Some(Settlement::Done),
        ),
        (
            "left before",
            Response {
                status: None,
                details: b"downstream_remote_disconnect",
                flags: DOWNSTREAM_CONNECTION_TERMINATION,
                ..upstream(0)
            },
            None,
        ),
        (
            "answered after one was chosen",
            Response { details: b"direct_response", ..upstream(200) },
            Some(Settlement::Forgotten),
        ),
        ("no status", Response { status: Some(0), ..upstream(0) }, None),
    ] {
        let mut host = once("enforce", "refuse");
        let _ = host.headers("/signed", &[("x-hub-signature-256", RIGHT)], false);
        let _ = host.exchange.body(b"{}");
        let Next::Claim(delivery) = host.exchange.end(NOW).next else { panic!("{name}: no claim") };
        assert_eq!(host.exchange.responded(&response), None, "{name}: nothing to settle yet");
        let _ = host.exchange.claimed(memory_says("first", delivery));
        let settled = host.exchange.responded(&response);
        assert_eq!(settled.map(|(_, settlement)| settlement), expected, "{name}");
        assert_eq!(host.exchange.responded(&response), None, "{name}: once");
    }
}

#[test]
fn a_trailer_that_claims_to_be_our_verdict_is_named() {
    let pairs = ["grpc-status", "X-Webhook_Guard-Verdict", "x-webhook-guard"]
        .map(|name| (name.as_bytes(), &b"1"[..]));
    let trailers = Headers::from_pairs(pairs);
    let host = Host::new(true);
    let named: Vec<&[u8]> = host.exchange.trailers(&trailers).collect();
    assert_eq!(named, [b"X-Webhook_Guard-Verdict"]);
}

#[test]
fn what_is_claimed_without_being_asked_for_is_a_fault() {
    let mut host = Host::new(true);
    assert!(said(&host.exchange.claimed(Claimed::Pending)).starts_with("reply 503 host_fault"));
}

/// A request under a policy that records; what is told of it beside the decision.
fn recording(record: &Value, require: &Value) -> Host {
    let configuration = json!({"policies": [
        {"name": "recorded", "match": {"path": "/signed"}, "max_body_bytes": 8, "require": require, "record": record},
        {"name": "token", "match": {"path": "/token"}, "require": {"token": {"query": "token",
            "secrets": [{"value": "token-0123456789"}]}}},
        {"name": "header", "match": {"path": "/header"}, "require": {"token": {"header": "x-token",
            "secrets": [{"value": "token-0123456789"}]}}},
    ]});
    let configuration = config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap();
    Host { exchange: Exchange::new(Arc::new(configuration)) }
}

fn signed() -> Value {
    json!({"signature": {"provider": "github", "secrets": [{"value": "key-one-0123456789"}]}})
}

/// What is told, without `wasm.webhook_` before the names.
fn told(acts: &Acts) -> Vec<(&str, &str)> {
    let short = |name: &'static str| name.strip_prefix("wasm.webhook_").unwrap();
    acts.record.iter().map(|(name, value)| (short(name), value.as_str())).collect()
}

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const BRACES: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

#[test]
fn a_body_is_recorded_once_it_is_judged_and_before_anything_becomes_of_it() {
    let mut host = recording(&json!({"body": "all"}), &signed());
    assert_eq!(said(&host.headers("/signed", &[("x-hub-signature-256", RIGHT)], false)), "pause -");
    let _ = host.exchange.body(b"{");
    let _ = host.exchange.body(b"}");
    assert_eq!(said(&host.exchange.end(NOW)), "start 2 -");
    assert!(!host.exchange.is_reading(), "no more of the body is awaited");
    assert_eq!(said(&host.exchange.body(b"")), "pause -");
    let mut host = recording(&json!({"body": "all"}), &signed());
    let _ = host.headers("/signed", &[("x-hub-signature-256", RIGHT)], false);
    let _ = host.exchange.body(b"{}");
    let _ = host.exchange.end(NOW);
    let acts = host.exchange.recorded(b"{}".to_vec());
    assert!(said(&acts).starts_with("continue ok"), "{acts:?}");
    let body = [("body_bytes", "2"), ("body_sha256", BRACES), ("body", "{}"), ("body_encoding", "text")];
    assert_eq!(told(&acts), body);
    assert_eq!(said(&host.exchange.recorded(Vec::new())), "reply 503 host_fault", "what was not asked for");
}

#[test]
fn whose_body_is_recorded_is_said_by_the_verdict() {
    for (which, good, bad) in [
        ("none", "continue ok", "redact -"),
        ("refused", "continue ok", "start 2 -"),
        ("accepted", "start 2 -", "redact -"),
        ("all", "start 2 -", "start 2 -"),
    ] {
        for (body, next) in [(b"{}", good), (b"[]", bad)] {
            let mut host = recording(&json!({"body": which}), &signed());
            let _ = host.headers("/signed", &[("x-hub-signature-256", RIGHT)], false);
            let _ = host.exchange.body(body);
            let acts = host.exchange.end(NOW);
            assert!(said(&acts).starts_with(next), "{which} {body:?}: {acts:?}");
            let digests = if next.starts_with("start") || which == "none" { 0 } else { 2 };
            assert_eq!(told(&acts).len(), digests, "{which} {body:?}");
        }
    }
}

#[test]
fn a_body_that_nobody_judges_is_held_where_it_is_recorded() {
    let source = json!({"source_ip": {"allow": ["192.0.2.1"]}});
    for (which, next) in [("refused", "reply 403 source_ip_unknown"), ("all", "reply 403 source_ip_unknown")]
    {
        let mut host = recording(&json!({"body": which}), &source);
        let acts = host.headers("/signed", &[("content-length", "2")], false);
        assert_eq!((said(&acts).as_str(), told(&acts).len()), (next, 0), "nothing of it was read");
    }
    let open = json!("nothing");
    for (which, next) in [("none", "continue ok"), ("refused", "continue ok"), ("accepted", "pause -")] {
        let mut host = recording(&json!({"body": which, "max_body_bytes": 1}), &open);
        let acts = host.headers("/signed", &[("content-length", "2")], false);
        assert!(said(&acts).starts_with(next), "{which}: {acts:?}");
        if which == "accepted" {
            let _ = host.exchange.body(b"{}");
            assert_eq!(said(&host.exchange.end(NOW)), "start 1 -");
            let acts = host.exchange.recorded(b"{".to_vec());
            assert_eq!(told(&acts).last(), Some(&("body_encoding", "text+truncated")));
        }
    }
    let mut host = recording(&json!({"body": "all"}), &open);
    let acts = host.headers("/signed", &[], true);
    let body = [("body_bytes", "0"), ("body_sha256", EMPTY), ("body", ""), ("body_encoding", "text")];
    assert_eq!(told(&acts), body);
}

#[test]
fn a_request_that_is_refused_in_the_middle_of_its_body_is_recorded_as_far_as_it_was_read() {
    let mut host = recording(&json!({"body": "refused"}), &signed());
    let _ = host.headers("/signed", &[("x-hub-signature-256", RIGHT)], false);
    let _ = host.exchange.body(b"01234");
    assert_eq!(said(&host.exchange.body(b"5678")), "start 9 -");
    let acts = host.exchange.recorded(b"012345678".to_vec());
    assert_eq!(told(&acts), [("body", "012345678"), ("body_encoding", "text+truncated")]);
    assert_eq!(said(&acts), "redact -");
}

#[test]
fn headers_are_recorded_when_they_come_and_tokens_never() {
    let record = json!({"headers": ["X-Event", "authorization", "x-token", "referer"]});
    let mut host = recording(&record, &signed());
    let headers = [
        ("x-event", "push"),
        ("authorization", "Bearer s3cret"),
        ("x-token", "s3cret"),
        ("referer", "/a?token=s3cret"),
        ("x-hub-signature-256", RIGHT),
    ];
    let acts = host.headers("/signed", &headers, false);
    assert_eq!(told(&acts), [("headers", r#"{"x-event":"push","referer":"/a?token=REDACTED"}"#)]);
    let _ = host.exchange.body(b"{}");
    assert_eq!(told(&host.exchange.end(NOW)), [], "once, and nothing of the body");
}

/// `v1\n1700000000\nid-1\nanna\nPOST\n/signed\n{}` under `operator-key-0123456789`, by Python's hmac.
const AGAIN: &str = "v1=6751ac106a8cefcbc4e80023735136ed8fa3b3af966f3a791aa50238d376da5c";

/// The same but for its last bits.
const WRONG: &str = "v1=6751ac106a8cefcbc4e80023735136ed8fa3b3af966f3a791aa50238d376da50";

/// What the operator's tool sends, with one header's value changed.
fn again(changed: (&str, &str)) -> Vec<(String, String)> {
    [("of", "id-1"), ("by", "anna"), ("time", "1700000000"), ("signature", AGAIN)]
        .map(|(name, value)| {
            let value = if name == changed.0 { changed.1 } else { value };
            (format!("x-webhook-guard-resubmit-{name}"), value.to_owned())
        })
        .to_vec()
}

fn resubmit(changed: (&str, &str)) -> (Host, Acts) {
    let operator =
        json!({"signature": {"provider": "operator", "secrets": [{"value": "operator-key-0123456789"}]}});
    let mut host = recording(&json!({"body": "none"}), &json!({"any_of": [signed(), operator]}));
    let pairs = again(changed);
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let acts = host.headers("/signed", &pairs, false);
    (host, acts)
}

#[test]
fn the_application_is_told_who_sends_what_again() {
    let (mut host, acts) = resubmit(("", ""));
    // What the sender wrote is taken out first, whoever it is.
    assert_eq!(acts.edits.remove.len(), 4, "{acts:?}");
    let _ = host.exchange.body(b"{}");
    let told = "continue ok x-webhook-guard-verdict=verified x-webhook-guard-policy=recorded \
                x-webhook-guard-provider=operator x-webhook-guard-delivery-id=id-1 \
                x-webhook-guard-resubmit-of=id-1 x-webhook-guard-resubmit-by=anna";
    assert_eq!(said(&host.exchange.end(NOW)), told);
}

#[test]
fn nothing_of_what_the_operator_signed_can_be_changed() {
    for changed in [("of", "id-2"), ("by", "bob"), ("time", "1700000001"), ("signature", WRONG)] {
        let (mut host, _) = resubmit(changed);
        let _ = host.exchange.body(b"{}");
        let acts = host.exchange.end(NOW);
        assert_eq!(said(&acts), "redact -", "{changed:?}");
    }
    let (mut host, _) = resubmit(("", ""));
    let _ = host.exchange.body(b"[]");
    assert_eq!(said(&host.exchange.end(NOW)), "redact -", "another body");
}

#[test]
fn who_is_not_verified_as_the_operator_is_not_told_as_one() {
    let (mut host, _) = resubmit(("", ""));
    let mut pairs = again(("signature", "v1=00"));
    pairs.push(("x-hub-signature-256".to_owned(), RIGHT.to_owned()));
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let acts = host.headers("/signed", &pairs, false);
    assert_eq!(acts.edits.remove.len(), 4);
    let _ = host.exchange.body(b"{}");
    let told = said(&host.exchange.end(NOW));
    assert!(told.contains("x-webhook-guard-provider=github") && !told.contains("resubmit"), "{told}");
}

#[test]
fn what_is_sent_again_counts_as_the_operators_though_its_senders_signature_holds_as_well() {
    let (mut host, _) = resubmit(("", ""));
    let mut pairs = again(("", ""));
    pairs.insert(0, ("x-hub-signature-256".to_owned(), RIGHT.to_owned()));
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let _ = host.headers("/signed", &pairs, false);
    let _ = host.exchange.body(b"{}");
    let told = said(&host.exchange.end(NOW));
    assert!(told.ends_with("x-webhook-guard-resubmit-by=anna"), "{told}");
}

#[test]
fn a_duplicate_is_no_obstacle_to_a_resubmit() {
    let operator =
        json!({"signature": {"provider": "operator", "secrets": [{"value": "operator-key-0123456789"}]}});
    let configuration = json!({"policies": [{"name": "recorded", "match": {"path": "/signed"},
        "require": {"any_of": [signed(), operator]}, "duplicates": {"id": {"json": "/id"}}}]});
    let configuration = Arc::new(config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap());
    let body = br#"{"id": "evt-1"}"#;
    // By Python's hmac, as above.
    let signatures = [
        (1_700_000_000, "v1=64f7993e4ecebe0c96b358d634a0ca718113ce029d168e3403d12365b934108d"),
        (1_699_999_999, "v1=32aa20988638dc21e9df117323d8a381274962b189ef7c402013ba1489b583e2"),
    ];
    let claimed = |(time, signature): (i64, &str)| {
        let mut host = Host { exchange: Exchange::new(configuration.clone()) };
        let time = time.to_string();
        let pairs = [
            ("x-webhook-guard-resubmit-of", "id-1"),
            ("x-webhook-guard-resubmit-by", "anna"),
            ("x-webhook-guard-resubmit-time", &time),
            ("x-webhook-guard-resubmit-signature", signature),
        ];
        let _ = host.headers("/signed", &pairs, false);
        let _ = host.exchange.body(body);
        match host.exchange.end(NOW).next {
            Next::Claim(delivery) => delivery.key,
            other => panic!("{other:?}"),
        }
    };
    let [first, second] = signatures;
    assert_ne!(claimed(first), claimed(second), "the same message is sent again a second time");
    assert_eq!(claimed(first), claimed(first), "a resubmit that is played again is a duplicate");
}
