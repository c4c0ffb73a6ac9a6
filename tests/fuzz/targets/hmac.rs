//! What a sender of the catalogue signs by a second implementation passes, at any time and with any secret and body; with one
//! bit of the body, of a signed value or of the signature turned it is refused for that, and so it is by another key.

#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use webhook_guard_core::config;
use webhook_guard_fuzz::sender::{self, Delivery};
use webhook_guard_fuzz::{NOW, judge, words};

const ID: &[u8] = b"abcXYZ0189-_";

/// The senders that sign with a secret key what a template says, by name.
static SENDERS: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
    let catalogue: Map<String, Value> =
        serde_json::from_str(include_str!("../../../src/core/catalogue.json")).unwrap();
    let scheme = |entry: &Value| match entry["same_as"].as_str() {
        Some(other) if entry["scheme"].is_null() => catalogue[other]["scheme"].clone(),
        _ => entry["scheme"].clone(),
    };
    let all = catalogue.iter().map(|(name, entry)| (name.clone(), scheme(entry)));
    let is_keyed = |algorithm: &str| algorithm.starts_with("hmac-") || algorithm == "sha256";
    all.filter(|(_, scheme)| {
        scheme["signed"].is_string() && scheme["algorithm"].as_str().is_some_and(is_keyed)
    })
    .collect()
});

fuzz_target!(|bytes: &[u8]| {
    let _ = run(&mut Unstructured::new(bytes));
});

fn run(input: &mut Unstructured<'_>) -> Result<()> {
    let (provider, scheme) = &SENDERS[input.arbitrary::<u16>()? as usize % SENDERS.len()];
    let (place, chunk, bit): (u8, u8, u16) = input.arbitrary()?;
    let (place, chunk, bit) = (usize::from(place), usize::from(chunk).max(1), usize::from(bit));
    let length = input.int_in_range(1..=150)?;
    let key = input.bytes(length)?;
    let (secret, key) = sender::secret(scheme, key);

    let tolerance = scheme["tolerance_seconds"].as_i64().unwrap_or(300);
    let future = scheme["future_seconds"].as_i64().unwrap_or(60);
    let age = input.int_in_range(-future - 2..=tolerance + 2)?;
    let sent = NOW.0 / 1000 - age;
    let time = sender::time(scheme["timestamp"]["unit"].as_str().unwrap_or("s"), sent);
    let names = sender::signed_headers(scheme);
    let headers: BTreeMap<_, _> =
        names.iter().map(|name| Ok((name.clone(), sender::text(input, ID, 40)?))).collect::<Result<_>>()?;
    let id = sender::text(input, ID, 40)?;
    let body = input.bytes(input.len())?;
    let mut delivery =
        Delivery { target: b"/hooks".to_vec(), headers, time: time.into(), id, body: Vec::new() };

    let template = scheme["signed"].as_str().unwrap();
    // What touches the body is told from it by the body's first and last byte.
    let touches = template.contains("}{body}") || template.contains("{body}{");
    let has_nul = scheme["algorithm"] == "sha256";
    let is_timed_inside = !scheme["timestamp"]["json"].is_null();
    delivery.body = if is_timed_inside {
        let name = scheme["timestamp"]["json"].as_str().unwrap().trim_start_matches('/');
        json!({ name: sent * 1000, "text": String::from_utf8_lossy(body) }).to_string().into_bytes()
    } else if touches {
        [b"{", body, b"}"].concat()
    } else {
        body.to_vec()
    };
    if has_nul {
        delivery.body.retain(|byte| *byte != 0);
    }
    let wants_digest = template == "{url}" || scheme["require"].to_string().contains("equals_body_sha256");
    if wants_digest {
        delivery.target = format!("/hooks?bodySHA256={}", sender::sha256_hex(&delivery.body)).into_bytes();
    }

    let mut signature = json!({ "provider": provider, "secrets": [{ "env": "KEY" }] });
    if template.contains("{url") {
        let whole = if wants_digest { sender::BASE.to_owned() } else { format!("{}/hooks", sender::BASE) };
        signature["public_url"] = Value::from(whole);
    }
    let policy = json!({ "name": "p", "match": { "path": { "exact": "/hooks" } }, "require": { "signature": signature } });
    let text = json!({ "policies": [policy] }).to_string();
    let Ok(configuration) = config::parse(text.as_bytes(), &|_| Some(secret.clone())) else {
        assert!(!key.iter().all(u8::is_ascii_alphanumeric), "{text}");
        return Ok(());
    };

    let verdict = |delivery: &Delivery, signature: &[u8]| {
        let pairs = sender::request(scheme, delivery, signature, place);
        let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let pieces = judge(&configuration, &pairs, &delivery.body, chunk);
        assert_eq!(pieces, judge(&configuration, &pairs, &delivery.body, usize::MAX));
        words(pieces.as_ref())
    };
    let content = sender::content(scheme, &key, &delivery);
    let tag = sender::tag(scheme, &key, &content);
    let signature = sender::encode(scheme, &tag).into_bytes();
    let is_timed = !scheme["timestamp"].is_null();
    // What X signs for whoever asks is no delivery of X's.
    let is_answer = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let could_be_answer = (1..=128).contains(&delivery.body.len()) && delivery.body.iter().all(is_answer);
    let expected = match age {
        _ if provider == "x" && could_be_answer => ("deny", "signature_mismatch"),
        _ if !is_timed => ("allow", "ok"),
        age if age > tolerance => ("deny", "timestamp_stale"),
        age if age < -future => ("deny", "timestamp_future"),
        _ => ("allow", "ok"),
    };
    assert_eq!(verdict(&delivery, &signature), expected, "{provider} {delivery:?}");
    if expected.0 == "deny" {
        return Ok(());
    }

    let refused = |delivery: &Delivery, signature: &[u8], reasons: &[&str]| {
        let (verdict, reason) = verdict(delivery, signature);
        assert_eq!(verdict, "deny", "{provider} {delivery:?}");
        assert!(reasons.contains(&reason), "{provider} {reason} {delivery:?}");
    };
    // Another key, and another tag.
    let other = sender::tag(scheme, b"another key", &sender::content(scheme, b"another key", &delivery));
    refused(&delivery, sender::encode(scheme, &other).as_bytes(), &["signature_mismatch"]);
    let turned = sender::flipped(&tag, bit);
    refused(&delivery, sender::encode(scheme, &turned).as_bytes(), &["signature_mismatch"]);

    let turned = sender::flipped(&signature, bit);
    match sender::decode(scheme, &turned) == Some(tag) {
        true => assert_eq!(verdict(&delivery, &turned).0, "allow", "hexadecimal digits have two cases"),
        false => refused(&delivery, &turned, &["signature_mismatch", "signature_malformed"]),
    }

    let changed = Delivery { body: sender::flipped(&delivery.body, bit), ..delivery.clone() };
    let reasons: &[&str] = match is_timed_inside {
        _ if wants_digest => &["requirement_not_met"],
        _ if touches || has_nul => &["signature_mismatch", "signature_malformed"],
        _ => &["signature_mismatch"],
    };
    if sender::content(scheme, &key, &changed) != content || wants_digest && changed != delivery {
        refused(&changed, &signature, reasons);
    } else {
        assert_eq!(verdict(&changed, &signature).0, "allow", "it is the same form, or not signed");
    }
    if sender::signs(scheme, "timestamp") {
        let changed = Delivery { time: sender::flipped(&delivery.time, bit), ..delivery.clone() };
        let reasons = [
            "timestamp_malformed",
            "timestamp_stale",
            "timestamp_future",
            "timestamp_missing",
            "signature_mismatch",
            "signature_ambiguous",
        ];
        refused(&changed, &signature, &reasons);
    }
    if sender::signs(scheme, "id") {
        let changed = Delivery { id: sender::flipped(&delivery.id, bit), ..delivery.clone() };
        refused(&changed, &signature, &["signature_mismatch", "signature_malformed"]);
    }
    for name in names {
        let mut changed = delivery.clone();
        changed.headers.insert(name.clone(), sender::flipped(&delivery.headers[&name], bit));
        refused(&changed, &signature, &["signature_mismatch", "signature_malformed"]);
    }
    Ok(())
}
