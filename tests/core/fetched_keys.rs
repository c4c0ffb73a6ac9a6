//! Keys that are fetched: messages of SNS, certificates that headers name, and the key sets of publishers of tokens. Every row
//! has its reason.
//!
//! The certificates in tests/core/certificates are of the key beside them and of the days around `NOW`, but for `long.pem`
//! (2020 to 2060); `weak.pem` is of a key of 1024 bits. Made with Python's cryptography.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken row must fail the test loudly"
)]

use data_encoding::{BASE64, BASE64URL_NOPAD};
use p256::ecdsa::signature::Signer as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::signature::SignatureEncoding as _;
use rsa::traits::PublicKeyParts as _;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::Sha256;
use std::ops::ControlFlow;
use std::sync::Arc;
use webhook_guard_core::config::{self, Configuration};
use webhook_guard_core::decision::{Decision, Verdict};
use webhook_guard_core::feed::{Fault, Intake, List, Lists};
use webhook_guard_core::policy::AfterHeaders;
use webhook_guard_core::request::{Facts, Headers, Millis};
use webhook_guard_core::signature::End;
use webhook_guard_core::signature::key::Algorithm;
use webhook_guard_core::wish::{Purpose, Wish};

const KEY: &[u8] = include_bytes!("certificates/rsa.pkcs8");
const CERTIFICATE: &str = include_str!("certificates/rsa.pem");
const NOW: Millis = Millis(1_700_000_000_000);
const DAY: i64 = 86_400_000;
const HOST: &str = "publisher.example.com";

fn parsed(configuration: &Value) -> Configuration {
    config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap()
}

/// What is decided about a request, its body in two pieces, which ends a moment later.
fn decided(configuration: &Configuration, lists: &Lists, headers: &[(&str, &str)], body: &str) -> Decision {
    decided_at(configuration, lists, headers, body, NOW)
}

fn decided_at(
    configuration: &Configuration,
    lists: &Lists,
    headers: &[(&str, &str)],
    body: &str,
    now: Millis,
) -> Decision {
    let pseudo = [(":method", "POST"), (":path", "/"), (":authority", "hooks.example.com")];
    let pairs = pseudo.iter().chain(headers).map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let headers = Headers::from_pairs(pairs);
    let facts = Facts {
        headers: &headers,
        source: None,
        client_certificate: None,
        route_policy: None,
        now,
        ends_with_headers: false,
    };
    let check = match configuration.policies.open(&facts, lists).step {
        AfterHeaders::Settled(decision) => return decision,
        AfterHeaders::AwaitBody(check) => check,
        AfterHeaders::Leave => panic!("it has a policy"),
    };
    let (one, other) = body.as_bytes().split_at(body.len() / 2);
    let read = [one, other].iter().try_fold(check, |check, piece| check.update(piece));
    match read {
        ControlFlow::Continue(check) => {
            let body = check.needs_body().then(|| body.as_bytes().to_vec());
            check.finish(End { now, body })
        }
        ControlFlow::Break(decision) => decision,
    }
}

fn reason(decision: &Decision) -> &'static str {
    decision.verdict.reason_code()
}

/// The place of the feed that has keys.
fn place(configuration: &Configuration) -> usize {
    configuration.feeds.iter().position(|feed| !feed.name.ends_with("list")).unwrap()
}

/// What an answer is taken for, of that feed.
fn fetched(
    configuration: &Configuration,
    path: &str,
    last: Option<&Arc<List>>,
    body: &str,
    now: Millis,
) -> Result<Arc<List>, Fault> {
    let mut intake =
        Intake::of(&configuration.feeds[place(configuration)], last, Some(path), Some(body.len()))?;
    intake.update(body.as_bytes())?;
    intake.finish(now).map(Arc::new)
}

fn lists(configuration: &Configuration, path: &str, body: &str) -> Lists {
    let mut lists = Lists::new(&configuration.feeds);
    lists.take(place(configuration), fetched(configuration, path, None, body, NOW).unwrap());
    lists
}

fn signature(content: &str) -> Vec<u8> {
    rsa::pkcs1v15::SigningKey::<Sha256>::from_pkcs8_der(KEY).unwrap().sign(content.as_bytes()).to_vec()
}

fn signature_of_version_1(content: &str) -> Vec<u8> {
    rsa::pkcs1v15::SigningKey::<Sha1>::from_pkcs8_der(KEY).unwrap().sign(content.as_bytes()).to_vec()
}

const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:deploys";
const PATH: &str = "/SimpleNotificationService-0123456789abcdef.pem";

/// Beside its feed there is another, before or behind it: a wish says which.
fn sns(algorithm: &str, other: &str, more: &Value) -> Configuration {
    let feed = json!({"cluster": "feeds", "authority": HOST, "path": "/SimpleNotificationService-", "certificates": true});
    let signature =
        json!({"scheme": {"algorithm": algorithm, "sns": {}}, "keys": {"feed": "sns"}, "topics": [TOPIC]});
    let mut policy = json!({"name": "sns", "match": {"path": "/"}, "require": {"signature": signature}});
    policy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let list = json!({"cluster": "feeds", "authority": HOST, "path": "/list", "lines": true});
    let beside = json!({"name": "other", "match": {"path": "/other"}, "require": {"source_ip": {"allow": [{"feed": other}]}}});
    parsed(&json!({"feeds": {other: list, "sns": feed}, "policies": [policy, beside]}))
}

/// A message with these fields in the place of the usual ones, signed; one that is `null` is left out.
fn message(kind: &str, changed: &Value) -> Value {
    let mut all = json!({"Type": kind, "MessageId": "id-1", "TopicArn": TOPIC, "Message": "Zoë\npaid", "SignatureVersion": "2",
        "Timestamp": "2023-11-14T22:13:20.000Z", "SigningCertURL": format!("https://{HOST}{PATH}")});
    let members = all.as_object_mut().unwrap();
    if kind != "Notification" {
        members.insert("Token".to_owned(), json!("t0ken"));
        members.insert(
            "SubscribeURL".to_owned(),
            json!(format!("https://{HOST}/?Action=ConfirmSubscription&Token=t0ken")),
        );
    }
    members.extend(changed.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    let fields: &[&str] = match kind {
        "Notification" => &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
        _ => &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"],
    };
    let content: String = fields
        .iter()
        .filter_map(|name| Some(format!("{name}\n{}\n", members.get(*name)?.as_str().unwrap())))
        .collect();
    let tag = match members.get("SignatureVersion") {
        Some(version) if version == "1" => signature_of_version_1(&content),
        _ => signature(&content),
    };
    members.entry("Signature").or_insert_with(|| json!(BASE64.encode(&tag)));
    all
}

fn notification(changed: Value) -> Value {
    message("Notification", &changed)
}

/// The same, changed after it was signed.
fn forged(changed: &Value) -> Value {
    let mut all = notification(json!({}));
    all.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
    all
}

#[test]
fn a_message_of_the_topic_is_delivered_once_its_certificate_is_known() {
    let configuration = sns("rsa-sha256", "a-list", &json!({"duplicates": {}}));
    let body = notification(json!({})).to_string();
    let unknown = decided(&configuration, &Lists::new(&configuration.feeds), &[], &body);
    let wish = unknown.record.wish.clone().unwrap();
    assert_eq!(
        (reason(&unknown), wish.feed, &*wish.path, wish.purpose),
        ("host_fault", 1, PATH, Purpose::Certificate)
    );

    let known = lists(&configuration, PATH, CERTIFICATE);
    assert!(!Lists::new(&configuration.feeds).grants(&wish, NOW) && known.grants(&wish, NOW));
    for (other, now) in [
        (Wish { path: "/another".into(), ..wish.clone() }, NOW),
        (Wish { feed: 0, ..wish.clone() }, NOW),
        (Wish { purpose: Purpose::Confirmation, ..wish.clone() }, NOW),
        (wish, Millis(i64::MAX)),
    ] {
        assert!(!known.grants(&other, now), "{other:?} at {now:?}");
    }
    let decision = decided(&configuration, &known, &[], &body);
    assert_eq!((reason(&decision), decision.record.delivery_id.as_deref()), ("ok", Some("id-1")));
    let delivery = |body: &Value| {
        let decision = decided(&configuration, &known, &[], &body.to_string());
        assert_eq!(reason(&decision), "ok");
        decision.record.delivery.unwrap().key
    };
    let own = decision.record.delivery.unwrap().key;
    assert_eq!(own, delivery(&notification(json!({"Message": "another"}))), "its id is what names it");
    assert_ne!(own, delivery(&notification(json!({"MessageId": "id-2"}))));
    assert_eq!(decision.record.wish, None);

    let first = sns("rsa-sha1", "z-list", &json!({}));
    let body = notification(json!({"SignatureVersion": "1"})).to_string();
    let unknown = decided(&first, &Lists::new(&first.feeds), &[], &body);
    assert_eq!((reason(&unknown), unknown.record.wish.unwrap().feed), ("host_fault", 0));
    let decision = decided(&first, &lists(&first, PATH, CERTIFICATE), &[], &body);
    assert_eq!((reason(&decision), decision.record.delivery), ("ok", None));
}

#[test]
fn what_is_no_message_of_the_topic_is_refused() {
    let configuration = sns("rsa-sha256", "a-list", &json!({}));
    let known = lists(&configuration, PATH, CERTIFICATE);
    let twice = notification(json!({})).to_string().replacen('{', r#"{"Type":"Notification","#, 1);
    let url = |url: String| notification(json!({"SigningCertURL": url})).to_string();
    let question = |changed: Value| message("SubscriptionConfirmation", &changed).to_string();
    for (name, body, expected) in [
        ("a subject", notification(json!({"Subject": "a", "Message": ""})).to_string(), "ok"),
        ("what it does not sign", forged(&json!({"UnsubscribeURL": "x"})).to_string(), "ok"),
        (
            "as old as may be",
            notification(json!({"Timestamp": "2023-11-14T22:08:20.000Z"})).to_string(),
            "ok",
        ),
        (
            "as far ahead as may be",
            notification(json!({"Timestamp": "2023-11-14T22:14:20.000Z"})).to_string(),
            "ok",
        ),
        ("an end", message("UnsubscribeConfirmation", &json!({})).to_string(), "ok"),
        ("a question that is not answered", question(json!({})), "ok"),
        ("another message", forged(&json!({"Message": "x"})).to_string(), "signature_mismatch"),
        ("a subject of another's", forged(&json!({"Subject": "x"})).to_string(), "signature_mismatch"),
        ("another id", forged(&json!({"MessageId": "x"})).to_string(), "signature_mismatch"),
        (
            "another topic",
            notification(json!({"TopicArn": "arn:aws:sns:x"})).to_string(),
            "requirement_not_met",
        ),
        (
            "the first version",
            notification(json!({"SignatureVersion": "1"})).to_string(),
            "signature_malformed",
        ),
        ("no version", notification(json!({"SignatureVersion": null})).to_string(), "signature_malformed"),
        ("another type", forged(&json!({"Type": "Other"})).to_string(), "signature_malformed"),
        ("a type that is none", forged(&json!({"Type": 1})).to_string(), "signature_malformed"),
        ("no signature", forged(&json!({"Signature": null})).to_string(), "signature_malformed"),
        (
            "without one",
            {
                let mut unsigned = notification(json!({}));
                unsigned.as_object_mut().unwrap().remove("Signature");
                unsigned.to_string()
            },
            "signature_missing",
        ),
        ("no base64", forged(&json!({"Signature": "!"})).to_string(), "signature_malformed"),
        ("a short one", forged(&json!({"Signature": "AAAA"})).to_string(), "signature_mismatch"),
        ("no time", notification(json!({"Timestamp": null})).to_string(), "signature_malformed"),
        ("no such time", notification(json!({"Timestamp": "yesterday"})).to_string(), "timestamp_malformed"),
        (
            "too old",
            notification(json!({"Timestamp": "2023-11-14T22:08:19.000Z"})).to_string(),
            "timestamp_stale",
        ),
        (
            "ahead",
            notification(json!({"Timestamp": "2023-11-14T22:15:20.000Z"})).to_string(),
            "timestamp_future",
        ),
        ("no message", notification(json!({"Message": null})).to_string(), "signature_malformed"),
        (
            "a line feed in the subject",
            notification(json!({"Subject": "a\nTimestamp\nb"})).to_string(),
            "signature_malformed",
        ),
        ("a field twice", twice, "signature_malformed"),
        ("no object", "[]".to_owned(), "signature_malformed"),
        ("another host", url(format!("https://example.com{PATH}")), "signature_malformed"),
        ("a host that begins so", url(format!("https://{HOST}.example.com{PATH}")), "signature_malformed"),
        ("without TLS", url(format!("http://{HOST}{PATH}")), "signature_malformed"),
        ("another path", url(format!("https://{HOST}/other.pem")), "signature_malformed"),
        (
            "a path that climbs",
            url(format!("https://{HOST}/SimpleNotificationService-/../x")),
            "signature_malformed",
        ),
        ("a query", url(format!("https://{HOST}{PATH}?x=1")), "signature_malformed"),
        ("no name", url(format!("https://{HOST}/SimpleNotificationService-")), "signature_malformed"),
        (
            "the longest name",
            url(format!("https://{HOST}/SimpleNotificationService-{}", "a".repeat(128))),
            "host_fault",
        ),
        (
            "a longer name",
            url(format!("https://{HOST}/SimpleNotificationService-{}", "a".repeat(129))),
            "signature_malformed",
        ),
        (
            "one that is not known",
            url(format!("https://{HOST}/SimpleNotificationService-1.pem")),
            "host_fault",
        ),
        (
            "a subscription elsewhere",
            question(json!({"SubscribeURL": "https://example.com/?Action=ConfirmSubscription&x"})),
            "signature_malformed",
        ),
        (
            "another action",
            question(json!({"SubscribeURL": format!("https://{HOST}/?Action=DeleteTopic&x")})),
            "signature_malformed",
        ),
        (
            "a blank in it",
            question(json!({"SubscribeURL": format!("https://{HOST}/?Action=ConfirmSubscription& x")})),
            "signature_malformed",
        ),
    ] {
        let decision = decided(&configuration, &known, &[], &body);
        assert_eq!(reason(&decision), expected, "{name}");
        let is_unknown = expected == "host_fault";
        assert_eq!(decision.record.wish.is_some(), is_unknown, "{name}: nothing else is fetched");
    }
    // Of a certificate that has ended meanwhile.
    let tomorrow = Millis(NOW.0 + DAY);
    for (now, expected) in [(tomorrow, "timestamp_stale"), (Millis(tomorrow.0 + 1000), "timestamp_stale")] {
        let body = notification(json!({})).to_string();
        assert_eq!(reason(&decided_at(&configuration, &known, &[], &body, now)), expected);
    }
    for (stamp, now, expected) in [
        ("2023-11-15T22:13:20.000Z", NOW.0 + DAY, "ok"),
        ("2023-11-15T22:13:21.000Z", NOW.0 + DAY + 1000, "host_fault"),
    ] {
        let body = notification(json!({"Timestamp": stamp})).to_string();
        assert_eq!(reason(&decided_at(&configuration, &known, &[], &body, Millis(now))), expected, "{stamp}");
    }
}

#[test]
fn a_subscription_is_confirmed_where_the_operator_says_so() {
    let configuration = sns("rsa-sha256", "a-list", &json!({"handshake": "answer"}));
    let known = lists(&configuration, PATH, CERTIFICATE);
    let body = message("SubscriptionConfirmation", &json!({})).to_string();
    let decision = decided(&configuration, &known, &[], &body);
    let wish = decision.record.wish.clone().unwrap();
    assert!(matches!(decision.verdict, Verdict::Answer(_)));
    assert_eq!(
        (&*wish.path, wish.purpose),
        ("/?Action=ConfirmSubscription&Token=t0ken", Purpose::Confirmation)
    );
    let decision = decided(&configuration, &known, &[], &notification(json!({})).to_string());
    assert!(matches!(decision.verdict, Verdict::Allow(_)));
}

#[test]
fn a_certificate_is_taken_while_it_is_valid_and_the_last_eight_are_kept() {
    let configuration = sns("rsa-sha256", "a-list", &json!({}));
    let (weak, p256) = (include_str!("certificates/weak.pem"), include_str!("certificates/p256.pem"));
    let long = include_str!("certificates/long.pem");
    let unusable = Err(Fault::Keys("the certificate has no key that could be used"));
    let invalid = Err(Fault::Keys("the certificate is not valid now"));
    let none = Err(Fault::Keys("the answer is no certificate in PEM"));
    let (begins, ends) = (Millis(NOW.0 - DAY), Millis(NOW.0 + DAY));
    for (body, now, expected) in [
        (CERTIFICATE, begins, Ok(1)),
        (CERTIFICATE, ends, Ok(1)),
        (CERTIFICATE, Millis(begins.0 - 1), invalid.clone()),
        (CERTIFICATE, Millis(ends.0 + 1000), invalid),
        // Written as a GeneralizedTime, since it ends after 2049.
        (long, Millis(NOW.0 + 10_000 * DAY), Ok(1)),
        (p256, NOW, Ok(1)),
        (weak, NOW, unusable),
        ("<html>", NOW, none.clone()),
        (&CERTIFICATE.replacen("MII", "MIJ", 1), NOW, none),
        (&"x".repeat((256 << 10) + 1), NOW, Err(Fault::Keys("the answer has more than 256 KiB"))),
    ] {
        let taken = fetched(&configuration, PATH, None, body, now);
        assert_eq!(taken.map(|list| list.keys().len()), expected, "{}", body.get(..60).unwrap_or(body));
    }
    assert_eq!(
        Intake::of(&configuration.feeds[place(&configuration)], None, None, None).err(),
        Some(Fault::Keys("no certificate was asked for"))
    );

    let mut last = fetched(&configuration, "/0", None, CERTIFICATE, NOW).unwrap();
    for path in ["/1", "/2", "/3", "/2", "/4", "/5", "/6", "/7", "/8"] {
        last = fetched(&configuration, path, Some(&last), long, NOW).unwrap();
    }
    let ids: Vec<&str> = last.keys().iter().map(|key| key.id.as_str()).collect();
    assert_eq!(ids, ["/8", "/7", "/6", "/5", "/4", "/2", "/3", "/1"]);
    let mixed = fetched(
        &configuration,
        "/long",
        Some(&fetched(&configuration, "/0", None, CERTIFICATE, NOW).unwrap()),
        long,
        NOW,
    );
    let later = fetched(&configuration, "/9", Some(&mixed.unwrap()), long, Millis(ends.0 + 1000)).unwrap();
    let ids: Vec<&str> = later.keys().iter().map(|key| key.id.as_str()).collect();
    assert_eq!(ids, ["/9", "/long"], "one that has ended is forgotten");
}

const CERT: &str = "/v1/notifications/certs/CERT-1";

#[test]
fn a_certificate_that_the_headers_name_verifies_the_checksum_of_the_body() {
    let feed = json!({"cluster": "feeds", "authority": HOST, "path": "/v1/notifications/certs/", "certificates": true});
    let scheme = json!({"algorithm": "rsa-sha256", "signature": {"header": "x-sig", "encoding": "base64"},
        "timestamp": {"header": "x-time", "unit": "rfc3339"}, "delivery_id": {"header": "x-id"},
        "signed": "{id}|{timestamp}|hook|{body_crc32}", "certificate": {"header": "x-cert"}});
    let configuration =
        parsed(&json!({"feeds": {"paypal": feed}, "policies": [{"name": "paypal", "match": {"path": "/"},
        "require": {"signature": {"scheme": scheme, "keys": {"feed": "paypal"}}}, "duplicates": {}}]}));
    let known = lists(&configuration, CERT, CERTIFICATE);
    let (body, time) = ("an event", "2023-11-14T22:13:20Z");
    let content =
        |id: &str, hook: &str, body: &str| format!("{id}|{time}|{hook}|{}", crc32fast::hash(body.as_bytes()));
    let right = BASE64.encode(&signature(&content("id-1", "hook", body)));
    let other_hook = BASE64.encode(&signature(&content("id-1", "another", body)));
    let url = |host: &str, path: &str| format!("https://{host}{path}");
    let own = url(HOST, CERT);
    for (name, sig, id, cert, sent, expected) in [
        ("right", &right, "id-1", own.clone(), body, "ok"),
        ("another body", &right, "id-1", own.clone(), "another", "signature_mismatch"),
        ("another id", &right, "id-2", own.clone(), body, "signature_mismatch"),
        ("another hook", &other_hook, "id-1", own.clone(), body, "signature_mismatch"),
        ("no certificate", &right, "id-1", String::new(), body, "signature_malformed"),
        ("another host", &right, "id-1", url("example.com", CERT), body, "signature_malformed"),
        ("another path", &right, "id-1", url(HOST, "/v1/other/CERT-1"), body, "signature_malformed"),
        (
            "one that is not known",
            &right,
            "id-1",
            url(HOST, "/v1/notifications/certs/CERT-2"),
            body,
            "host_fault",
        ),
    ] {
        let headers = [("x-sig", sig.as_str()), ("x-time", time), ("x-id", id), ("x-cert", &cert)];
        let decision = decided(&configuration, &known, &headers, sent);
        assert_eq!(reason(&decision), expected, "{name}");
        assert_eq!(decision.record.wish.is_some(), expected == "host_fault", "{name}");
        assert_eq!(decision.record.delivery.is_some(), expected == "ok", "{name}");
    }
    let headers = [("x-sig", right.as_str()), ("x-time", time), ("x-id", "id-1")];
    assert_eq!(
        reason(&decided(&configuration, &known, &headers, body)),
        "signature_malformed",
        "no such header"
    );
    let none = decided(
        &configuration,
        &Lists::new(&configuration.feeds),
        &[headers[0], headers[1], headers[2], ("x-cert", &own)],
        body,
    );
    assert_eq!((reason(&none), none.record.wish.unwrap().path.as_ref()), ("host_fault", CERT));
}

const HOOK: &str = "https://hooks.example.com/tokens";

fn part(value: &Value) -> String {
    BASE64URL_NOPAD.encode(value.to_string().as_bytes())
}

fn curve() -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap()
}

/// A token of these headers and claims, signed by the key of that algorithm.
fn token(header: &Value, claims: &Value) -> String {
    let mut all = json!({"iss": "https://accounts.example.com", "aud": HOOK, "email": "push@example.com",
        "iat": 1_700_000_000, "exp": 1_700_003_600});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    let content = format!("{}.{}", part(header), part(&all));
    let tag = match header["alg"] == "ES256" {
        true => {
            let signature: p256::ecdsa::Signature = curve().sign(content.as_bytes());
            signature.to_bytes().to_vec()
        }
        false => signature(&content),
    };
    format!("{content}.{}", BASE64URL_NOPAD.encode(&tag))
}

fn rsa_jwk(kid: &str) -> Value {
    let key = rsa::pkcs1v15::SigningKey::<Sha256>::from_pkcs8_der(KEY).unwrap();
    let key: &rsa::PrivateKey = key.as_ref();
    let number = |number: Box<[u8]>| BASE64URL_NOPAD.encode(&number);
    json!({"kty": "RSA", "use": "sig", "kid": kid, "n": number(key.n().to_be_bytes_trimmed_vartime()),
        "e": number(key.e().to_be_bytes_trimmed_vartime())})
}

fn curve_jwk(kid: &str) -> Value {
    let point = curve().verifying_key().to_sec1_point(false);
    let number = |number: &[u8]| BASE64URL_NOPAD.encode(number);
    json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": number(&point.as_bytes()[1..33]), "y": number(&point.as_bytes()[33..])})
}

fn tokens(algorithm: &str) -> Configuration {
    let feed = json!({"cluster": "feeds", "authority": HOST, "path": "/certs", "key_set": true});
    let jwt = json!({"header": "authorization", "prefix": "Bearer ", "required": ["exp", "iat"], "issuer": "https://accounts.example.com"});
    let signature = json!({"scheme": {"algorithm": algorithm, "jwt": jwt}, "keys": {"feed": "keys"},
        "claims": {"aud": HOOK, "email": "push@example.com"}});
    parsed(
        &json!({"feeds": {"keys": feed}, "policies": [{"name": "p", "match": {"path": "/"}, "require": {"signature": signature}}]}),
    )
}

fn key_set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

#[test]
fn a_token_is_verified_by_the_key_of_the_set_that_it_names() {
    let odd = json!({"kty": "oct", "kid": "odd", "k": "AAAA"});
    let mut encrypts = rsa_jwk("enc");
    encrypts["use"] = json!("enc");
    let set = key_set(&[rsa_jwk("one"), curve_jwk("two"), odd, encrypts]);
    let header = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid});
    let right = header("RS256", "one");
    let mut changed = token(&right, &json!({}));
    changed.replace_range(changed.len() - 3..changed.len() - 2, "_");
    for (name, algorithm, value, expected) in [
        ("right", "rsa-sha256", token(&right, &json!({})), "ok"),
        ("for several", "rsa-sha256", token(&right, &json!({"aud": [HOOK, "another"]})), "ok"),
        ("on the curve", "ecdsa-p256-sha256", token(&header("ES256", "two"), &json!({})), "ok"),
        ("another signature", "rsa-sha256", changed, "signature_mismatch"),
        (
            "a key that is not there",
            "rsa-sha256",
            token(&header("RS256", "three"), &json!({})),
            "signature_mismatch",
        ),
        (
            "a key for something else",
            "rsa-sha256",
            token(&header("RS256", "enc"), &json!({})),
            "signature_mismatch",
        ),
        (
            "a key of another kind",
            "rsa-sha256",
            token(&header("RS256", "two"), &json!({})),
            "signature_mismatch",
        ),
        ("no key", "rsa-sha256", token(&json!({"alg": "RS256"}), &json!({})), "signature_malformed"),
        (
            "another algorithm",
            "rsa-sha256",
            token(&header("ES256", "two"), &json!({})),
            "signature_malformed",
        ),
        (
            "another account",
            "rsa-sha256",
            token(&right, &json!({"email": "a@example.com"})),
            "requirement_not_met",
        ),
        (
            "for another",
            "rsa-sha256",
            token(&right, &json!({"aud": "https://example.com"})),
            "requirement_not_met",
        ),
        (
            "of another",
            "rsa-sha256",
            token(&right, &json!({"iss": "https://accounts.example.org"})),
            "requirement_not_met",
        ),
        ("over", "rsa-sha256", token(&right, &json!({"exp": 1_699_999_999})), "timestamp_stale"),
    ] {
        let configuration = tokens(algorithm);
        let value = format!("Bearer {value}");
        let headers = [("authorization", value.as_str())];
        let known = lists(&configuration, "", &set);
        assert_eq!(reason(&decided(&configuration, &known, &headers, "{}")), expected, "{name}");
        let unknown = decided(&configuration, &Lists::new(&configuration.feeds), &headers, "{}");
        if expected == "ok" {
            assert_eq!((reason(&unknown), unknown.record.wish), ("host_fault", None), "{name}");
        }
    }
}

#[test]
fn a_key_set_is_one_or_is_not_taken() {
    let configuration = tokens("rsa-sha256");
    let (none, useless) =
        ("the answer is no set of keys (RFC 7517 5)", "there is no key in it that could be used");
    let with = |name: &str, value: Value| {
        let mut key = rsa_jwk("one");
        key[name] = value;
        key_set(&[key])
    };
    let ed25519 = json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let many = |count: usize| {
        let keys = (0..count).map(|index| if index == 0 { rsa_jwk("one") } else { json!({"kty": "oct"}) });
        key_set(&keys.collect::<Vec<_>>())
    };
    for (name, body, expected) in [
        ("one", key_set(&[rsa_jwk("one")]), Ok(1)),
        ("three kinds", key_set(&[rsa_jwk("one"), curve_jwk("two"), ed25519]), Ok(3)),
        ("of no said use", with("use", Value::Null).replace(r#","use":null"#, ""), Ok(1)),
        ("the longest id", with("kid", json!("k".repeat(256))), Ok(1)),
        ("a longer id", with("kid", json!("k".repeat(257))), Err(useless)),
        ("no id", with("kid", json!("")), Err(useless)),
        ("an id that is none", with("kid", json!(1)), Err(useless)),
        ("another use", with("use", json!("enc")), Err(useless)),
        ("another kind", with("kty", json!("oct")), Err(useless)),
        ("of a curve", with("crv", json!("P-256")), Err(useless)),
        ("no number", with("n", json!("!")), Err(useless)),
        ("a weak one", with("n", json!(BASE64URL_NOPAD.encode(&[0xff; 128]))), Err(useless)),
        ("twins", key_set(&[rsa_jwk("one"), curve_jwk("one")]), Err("two of its keys have the same id")),
        ("as many as may be", many(64), Ok(1)),
        ("too many", many(65), Err("there are more than 64 keys in it")),
        ("empty", key_set(&[]), Err(useless)),
        ("no list", r#"{"keys": {}}"#.to_owned(), Err(none)),
        ("two lists", r#"{"keys": [], "keys": []}"#.to_owned(), Err(none)),
        ("no object", "[]".to_owned(), Err(none)),
        ("no JSON", "<html>".to_owned(), Err(none)),
    ] {
        let taken = fetched(&configuration, "", None, &body, NOW);
        assert_eq!(taken.map(|list| list.keys().len()), expected.map_err(Fault::Keys), "{name}");
    }
}

/// Workers hand each other what one of them has fetched.
#[test]
fn keys_are_shared_as_they_are_and_broken_bytes_are_none() {
    let configuration = sns("rsa-sha256", "a-list", &json!({}));
    let key_set = key_set(&[
        rsa_jwk("one"),
        curve_jwk("two"),
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
    ]);
    let tokens = tokens("rsa-sha256");
    for list in [
        fetched(&configuration, PATH, None, CERTIFICATE, NOW).unwrap(),
        fetched(&tokens, "", None, &key_set, NOW).unwrap(),
    ] {
        let bytes = list.bytes().to_vec();
        let mut lists = Lists::new(&configuration.feeds);
        assert!(lists.take_shared(0, &bytes));
        let taken = lists.current(0, NOW).unwrap();
        assert_eq!((taken.keys(), taken.fetched()), (list.keys(), NOW));
        for cut in 0..bytes.len() {
            assert!(!Lists::new(&configuration.feeds).take_shared(0, &bytes[..cut]), "cut at {cut}");
        }
        assert!(!lists.take_shared(2, &bytes), "there is no such feed");
    }
}

#[test]
fn a_key_serves_the_algorithm_that_it_is_made_for() {
    let list = fetched(&sns("rsa-sha256", "a-list", &json!({})), PATH, None, CERTIFICATE, NOW).unwrap();
    let of_certificate = |algorithm| list.keys()[0].public_key(algorithm).is_some();
    assert_eq!(
        [Algorithm::RsaSha256, Algorithm::RsaSha1, Algorithm::EcdsaP256Sha256, Algorithm::Ed25519]
            .map(of_certificate),
        [true, true, false, false]
    );
}
