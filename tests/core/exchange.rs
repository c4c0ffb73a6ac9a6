//! Proves what a host is told to do with a request, event by event.

#![expect(clippy::unwrap_used, reason = "a broken row must fail the test loudly")]

use serde_json::{Value, json};
use std::sync::Arc;
use webhook_guard_core::config;
use webhook_guard_core::exchange::{Acts, Exchange, Next};
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
        self.exchange.headers(&Facts {
            headers: &headers,
            source: None,
            route_policy: None,
            now: NOW,
            ends_with_headers: ends,
        })
    }
}

/// The acts in a line: what comes next, the decision, the headers that are set.
fn said(acts: &Acts) -> String {
    let next = match &acts.next {
        Next::Continue => "continue".to_owned(),
        Next::Pause => "pause".to_owned(),
        Next::Reply(reply) => format!("reply {}", reply.status),
        Next::ReadBody(bytes) => format!("read {bytes}"),
        Next::ConfirmRoute => "confirm".to_owned(),
        Next::Redact => "redact".to_owned(),
    };
    let decision = acts.decision.as_ref().map_or("-", |decision| decision.verdict.reason_code());
    let set: Vec<String> = acts.edits.set.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{next} {decision} {}", set.join(" ")).trim_end().to_owned()
}

#[test]
fn a_held_request_goes_on_when_its_body_has_been_judged() {
    let mut host = Host::new(true);
    assert_eq!(said(&host.headers("/signed", &[("x-hub-signature-256", RIGHT)], false)), "pause -");
    assert!(host.exchange.is_reading());
    assert_eq!(said(&host.exchange.body(b"{")), "pause -");
    assert_eq!(said(&host.exchange.body(b"}")), "pause -");
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
    let headers = Headers::from_pairs([(&b":path"[..], &b"/signed?a=1&token=T"[..])]);
    let acts = host.exchange.redact(&headers);
    assert_eq!(said(&acts), "reply 401 signature_mismatch");
    assert_eq!(acts.edits.target.as_deref(), Some(&b"/signed?a=1"[..]));
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
