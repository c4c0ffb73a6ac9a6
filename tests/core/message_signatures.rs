//! HTTP message signatures: the vectors of RFC 9421, and what the profile of webhooks asks for beside. Every row has its reason.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a broken row must fail the test loudly"
)]

mod common;

use common::{Framing, Request, codes};
use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};
use std::sync::Arc;
use webhook_guard_core::config;
use webhook_guard_core::decision::{Decision, Reason};
use webhook_guard_core::policy::PolicySet;
use webhook_guard_core::request::{Facts, Headers, Millis};
use webhook_guard_core::secret::{Secret, Validity};
use webhook_guard_core::signature::key::Algorithm;
use webhook_guard_core::signature::{End, Scheme, SignatureCheck};

/// RFC 9421 B.1.5.
const SHARED: &str =
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
/// RFC 9421 B.1.2 to B.1.4, the public halves.
const RSA_PSS: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2
+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+
oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHq
gDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5W
Utzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4
aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI
2wIDAQAB
-----END PUBLIC KEY-----";
const P256: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf
w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==
-----END PUBLIC KEY-----";
const ED25519: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=
-----END PUBLIC KEY-----";

/// The request of RFC 9421 B.2.
const BODY: &str = r#"{"hello": "world"}"#;
const DIGEST: &str =
    "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
const REQUEST: [(&str, &str); 8] = [
    (":method", "POST"),
    (":path", "/foo?param=Value&Pet=dog"),
    (":authority", "example.com"),
    (":scheme", "https"),
    ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
    ("content-type", "application/json"),
    ("content-digest", DIGEST),
    ("content-length", "18"),
];
const CREATED: i64 = 1_618_884_473;

/// A signature of RFC 9421 over some components: label, parameters behind the list, signature.
struct Vector {
    name: &'static str,
    algorithm: &'static str,
    key: &'static str,
    components: &'static [&'static str],
    input: &'static str,
    signature: &'static str,
}

const VECTORS: [Vector; 6] = [
    Vector {
        name: "B.2.1",
        algorithm: "rsa-pss-sha512",
        key: RSA_PSS,
        components: &[],
        input: r#"();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd""#,
        signature: "d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXa\
                    JMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE\
                    +O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8\
                    IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==",
    },
    Vector {
        name: "B.2.2",
        algorithm: "rsa-pss-sha512",
        key: RSA_PSS,
        components: &["@authority", "content-digest"],
        input: r#"("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example""#,
        signature: "LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB\
                    4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQ\
                    h62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0\
                    aaUEb0rQl3/XaVe4bXTugEjHSw==",
    },
    Vector {
        name: "B.2.3",
        algorithm: "rsa-pss-sha512",
        key: RSA_PSS,
        components: &["@method", "@path", "@authority", "content-digest"],
        input: r#"("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#,
        signature: "bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrC\
                    Ub38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE\
                    9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyo\
                    EZAFL2FUo5fTIztsDZKEgM4cUA==",
    },
    Vector {
        name: "4.3",
        algorithm: "ecdsa-p256-sha256",
        key: P256,
        components: &["@method", "@path", "@authority", "content-digest"],
        input: r#"("@method" "@authority" "@path" "content-digest" "content-type" "content-length");created=1618884475;keyid="test-key-ecc-p256""#,
        signature: "X5spyd6CFnAG5QnDyHfqoSNICd+BUP4LYMz2Q0JXlb//4Ijpzp+kve2w4NIyqeAuM7jTDX+sNalzA8ESSaHD3A==",
    },
    Vector {
        name: "B.2.5",
        algorithm: "hmac-sha256",
        key: SHARED,
        components: &["@authority"],
        input: r#"("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#,
        signature: "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=",
    },
    Vector {
        name: "B.2.6",
        algorithm: "ed25519",
        key: ED25519,
        components: &["@method", "@path", "@authority"],
        input: r#"("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#,
        signature: "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==",
    },
];

/// A check of the components that a vector covers, though a configuration would have to ask for more.
fn check(vector: &Vector) -> Arc<SignatureCheck> {
    let all = json!(["@method", "@authority", "@path", "content-digest"]);
    let mut block = json!({"algorithm": vector.algorithm, "message_signature": {"components": all}});
    if vector.algorithm == "hmac-sha256" {
        block["secret"] = json!({"encoding": "base64"});
    }
    let (mut scheme, form) = Scheme::from_json(block.to_string().as_bytes()).unwrap();
    let message = scheme.message.as_mut().unwrap();
    message.components = vector.components.iter().map(|name| Arc::from(*name)).collect();
    let key = form.key(vector.key, scheme.algorithm).unwrap();
    let secrets = vec![Secret { id: None, validity: Validity::default(), value: key }];
    Arc::new(SignatureCheck {
        scheme,
        secrets,
        fetched: None,
        public_url: None,
        has_exact_paths: true,
        names: None,
    })
}

fn judge(check: &Arc<SignatureCheck>, pairs: &[(&str, String)], body: &str) -> Result<(), Reason> {
    let headers = Headers::from_pairs(pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let now = Millis(CREATED * 1000);
    let facts = Facts {
        headers: &headers,
        source: None,
        client_certificate: None,
        route_policy: None,
        now,
        ends_with_headers: false,
    };
    let mut running = check.begin(&facts, None).map_err(|refusal| refusal.reason)?;
    running.update(body.as_bytes());
    running.finish(End { now, body: None }).map(|_| ()).map_err(|refusal| refusal.reason)
}

fn pairs(vector: &Vector) -> Vec<(&'static str, String)> {
    let own = [
        ("signature-input", format!("sig={}", vector.input)),
        ("signature", format!("sig=:{}:", vector.signature)),
    ];
    REQUEST.iter().map(|(name, value)| (*name, (*value).to_owned())).chain(own).collect()
}

#[test]
fn the_vectors_of_the_rfc_hold_and_nothing_that_differs_by_a_byte() {
    for vector in &VECTORS {
        let check = check(vector);
        let good = pairs(vector);
        assert_eq!(judge(&check, &good, BODY), Ok(()), "{}", vector.name);
        assert_eq!(
            judge(&check, &good, "{}"),
            Err(Reason::SignatureMismatch),
            "{}: another body",
            vector.name
        );
        let covered = |name: &str| match name {
            ":path" => ["\"@path\"", "\"@query", "\"@target"].iter().any(|one| vector.input.contains(one)),
            _ => vector.input.contains(&format!("\"{}\"", name.replace(':', "@"))),
        };
        for (index, (name, _)) in REQUEST.iter().enumerate().filter(|(_, (name, _))| covered(name)) {
            let mut bad = good.clone();
            bad[index].1 = match *name {
                "content-digest" => format!("sha-512=:{}:", BASE64.encode(&Sha512::digest("{}"))),
                ":path" => "/fop?param=Value&Pet=cat".to_owned(),
                _ => format!("{}x", bad[index].1),
            };
            let body = if *name == "content-digest" { "{}" } else { BODY };
            assert_eq!(judge(&check, &bad, body), Err(Reason::SignatureMismatch), "{}: {name}", vector.name);
        }
        let mut bad = good.clone();
        bad[REQUEST.len()].1 = bad[REQUEST.len()].1.replace("keyid=\"test", "keyid=\"tess");
        assert_eq!(judge(&check, &bad, BODY), Err(Reason::SignatureMismatch), "{}: keyid", vector.name);
    }
}

const KEY: &str = "key-of-message-signatures-0123456789";
const NOW: i64 = 1_700_000_000;
const COMPONENTS: &str = r#""@method" "@authority" "@path" "content-digest""#;

fn policies(message: &Value, more: &Value) -> PolicySet {
    let mut scheme = json!({"algorithm": "hmac-sha256", "message_signature": message});
    for (key, value) in more.as_object().into_iter().flatten() {
        scheme[key] = value.clone();
    }
    let mut signature = json!({"scheme": scheme, "secrets": [{"value": KEY}]});
    if let Some(url) = message.get("public_url") {
        signature["public_url"] = url.clone();
        signature["scheme"]["message_signature"].as_object_mut().unwrap().remove("public_url");
    }
    let mut policy = json!({"name": "p", "match": {"path": "/hook"}});
    if let Some(duplicates) = signature["scheme"].as_object_mut().unwrap().remove("duplicates") {
        policy["duplicates"] = duplicates;
    }
    policy["require"] = json!({ "signature": signature });
    let text = json!({"policies": [policy]}).to_string();
    config::parse(text.as_bytes(), &|_| None).unwrap_or_else(|error| panic!("{error}")).policies
}

fn profile() -> Value {
    json!({"components": ["@method", "@authority", "@path", "content-digest"]})
}

fn mac(base: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
    mac.update(base.as_bytes());
    BASE64.encode(&mac.finalize().into_bytes())
}

fn digest(body: &str) -> String {
    format!("sha-256=:{}:", BASE64.encode(&Sha256::digest(body)))
}

/// The lines of the components that [`COMPONENTS`] names, for a request to `/hook` with that digest.
fn lines(digest: &str) -> String {
    format!(
        "\"@method\": POST\n\"@authority\": hooks.example.com\n\"@path\": /hook\n\"content-digest\": {digest}\n"
    )
}

/// The two headers of a signature over these components with these parameters, over a base that begins with these lines.
fn signed(label: &str, components: &str, parameters: &str, lines: &str) -> [(&'static str, String); 2] {
    let input = format!("({components}){parameters}");
    let base = format!("{lines}\"@signature-params\": {input}");
    [("signature-input", format!("{label}={input}")), ("signature", format!("{label}=:{}:", mac(&base)))]
}

fn reason(policies: &PolicySet, headers: &[(&str, String)], body: &str) -> &'static str {
    reason_at(policies, headers, body, NOW)
}

fn reason_at(policies: &PolicySet, headers: &[(&str, String)], body: &str, ended: i64) -> &'static str {
    codes(decision(policies, headers, body, ended).as_ref()).1
}

fn decision(policies: &PolicySet, headers: &[(&str, String)], body: &str, ended: i64) -> Option<Decision> {
    let pseudo =
        [(":method", "POST"), (":path", "/hook"), (":authority", "hooks.example.com"), (":scheme", "https")];
    let own = |name: &str| headers.iter().any(|(given, _)| *given == name);
    let pseudo =
        pseudo.iter().filter(|(name, _)| !own(name)).map(|(name, value)| (*name, (*value).to_owned()));
    let all = pseudo.chain(headers.iter().cloned());
    let request = Request {
        headers: all.map(|(name, value)| (name.to_owned(), value.into_bytes())).collect(),
        source: None,
        client_certificate: None,
        route_policy: None,
        now: Millis(NOW * 1000),
        ended: Some(Millis(ended * 1000)),
        body: body.as_bytes().to_vec(),
    };
    request.judge(policies, Framing::Undeclared, 3).1
}

fn good(parameters: &str, body: &str) -> Vec<(&'static str, String)> {
    let digest = digest(body);
    let mut headers = signed("sig1", COMPONENTS, parameters, &lines(&digest)).to_vec();
    headers.push(("content-digest", digest));
    headers
}

#[test]
fn what_a_signature_says_of_itself_is_judged() {
    let policies = policies(&profile(), &json!({}));
    for (parameters, expected) in [
        (";created=1700000000", "ok"),
        (r#";created=1700000000;keyid="a";alg="hmac-sha256";nonce="n";tag="t";x=1"#, "ok"),
        (";created=1699999700", "ok"),
        (";created=1699999699", "timestamp_stale"),
        (";created=1700000060", "ok"),
        (";created=1700000061", "timestamp_future"),
        (";created=1700000000;expires=1700000001", "ok"),
        (";created=1700000000;expires=1700000000", "timestamp_stale"),
        ("", "timestamp_missing"),
        (";expires=1700000001", "timestamp_missing"),
        (";created=\"1700000000\"", "timestamp_malformed"),
        (";created=1700000000.5", "timestamp_malformed"),
        (";created=-1", "timestamp_malformed"),
        (";created=1700000000;expires=a", "timestamp_malformed"),
        (r#";created=1700000000;alg="ed25519""#, "signature_malformed"),
        (r#";created=1700000000;alg="HMAC-SHA256""#, "signature_malformed"),
        (";created=1700000000;alg=hmac-sha256", "signature_malformed"),
        (";created=1;created=1700000000", "signature_malformed"),
    ] {
        assert_eq!(reason(&policies, &good(parameters, "an event"), "an event"), expected, "{parameters}");
    }
    let headers = good(";created=1700000000;expires=1700000010", "an event");
    assert_eq!(reason_at(&policies, &headers, "an event", NOW + 9), "ok");
    assert_eq!(reason_at(&policies, &headers, "an event", NOW + 10), "timestamp_stale", "the body was slow");
    assert_eq!(reason(&policies, &good(";created=1700000000", ""), ""), "ok", "no body");
}

#[test]
fn a_label_a_tag_a_key_and_a_nonce_are_asked_for() {
    for (more, parameters, expected) in [
        (json!({"label": "sig1"}), ";created=1700000000", "ok"),
        (json!({"label": "sig2"}), ";created=1700000000", "signature_missing"),
        (json!({"tag": "t"}), r#";created=1700000000;tag="t""#, "ok"),
        (json!({"tag": "t"}), r#";created=1700000000;tag="u""#, "requirement_not_met"),
        (json!({"tag": "t"}), ";created=1700000000", "requirement_not_met"),
        (json!({"key_id": "k"}), r#";created=1700000000;keyid="k""#, "ok"),
        (json!({"key_id": "k"}), r#";created=1700000000;keyid="l""#, "requirement_not_met"),
        (json!({"nonce": true}), r#";created=1700000000;nonce="n""#, "ok"),
        (json!({"nonce": true}), r#";created=1700000000;nonce="""#, "signature_malformed"),
        (json!({"nonce": true}), ";created=1700000000", "signature_malformed"),
        (json!({"nonce": false}), ";created=1700000000", "ok"),
    ] {
        let mut message = profile();
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let policies = policies(&message, &json!({}));
        assert_eq!(
            reason(&policies, &good(parameters, "an event"), "an event"),
            expected,
            "{more} {parameters}"
        );
    }
}

#[test]
fn what_must_be_covered_must_be() {
    let policies = policies(&profile(), &json!({}));
    let own = digest("an event");
    let created = ";created=1700000000";
    for (components, lines, expected) in [
        (COMPONENTS.to_owned(), lines(&own), "ok"),
        (
            r#""content-digest" "@path" "@method" "@authority""#.to_owned(),
            format!(
                "\"content-digest\": {own}\n\"@path\": /hook\n\"@method\": POST\n\"@authority\": hooks.example.com\n"
            ),
            "ok",
        ),
        (
            format!(r#"{COMPONENTS} "x-a" "x-b""#),
            format!("{}\"x-a\": one, two\n\"x-b\": \n", lines(&own)),
            "ok",
        ),
        (
            format!(r#"{COMPONENTS} "@request-target" "@query""#),
            format!("{}\"@request-target\": /hook\n\"@query\": ?\n", lines(&own)),
            "ok",
        ),
        (format!(r#"{COMPONENTS} "x-c""#), format!("{}\"x-c\": \n", lines(&own)), "signature_malformed"),
        (
            format!(r#"{COMPONENTS} "X-A""#),
            format!("{}\"X-A\": one, two\n", lines(&own)),
            "signature_malformed",
        ),
        (
            format!(r#"{COMPONENTS} "x-a";sf"#),
            format!("{}\"x-a\";sf: one, two\n", lines(&own)),
            "signature_malformed",
        ),
        (
            format!(r#"{COMPONENTS} "@status""#),
            format!("{}\"@status\": 200\n", lines(&own)),
            "signature_malformed",
        ),
        (
            format!(r#"{COMPONENTS} "@method";req"#),
            format!("{}\"@method\";req: POST\n", lines(&own)),
            "signature_malformed",
        ),
        (
            format!(r#"{COMPONENTS} "@target-uri""#),
            format!("{}\"@target-uri\": https://hooks.example.com/hook\n", lines(&own)),
            "signature_malformed",
        ),
        (
            format!(r#"{COMPONENTS} "@path""#),
            format!("{}\"@path\": /hook\n", lines(&own)),
            "signature_malformed",
        ),
        (format!("{COMPONENTS} token"), format!("{}token: \n", lines(&own)), "signature_malformed"),
        (
            r#""@method" "@authority" "@path""#.to_owned(),
            "\"@method\": POST\n\"@authority\": hooks.example.com\n\"@path\": /hook\n".to_owned(),
            "signature_malformed",
        ),
        (
            r#""@authority" "@path" "content-digest""#.to_owned(),
            format!("\"@authority\": hooks.example.com\n\"@path\": /hook\n\"content-digest\": {own}\n"),
            "signature_malformed",
        ),
        (String::new(), String::new(), "signature_malformed"),
    ] {
        let mut headers = signed("sig1", &components, created, &lines).to_vec();
        headers.extend([
            ("content-digest", own.clone()),
            ("x-a", "one".into()),
            ("x-a", " two ".into()),
            ("x-b", String::new()),
        ]);
        assert_eq!(reason(&policies, &headers, "an event"), expected, "{components}");
    }
}

#[test]
fn the_digest_of_the_body_is_one_that_we_know_and_right() {
    let policies = policies(&profile(), &json!({}));
    let sha512 = |body: &str| format!("sha-512=:{}:", BASE64.encode(&Sha512::digest(body)));
    let both = |one: &str, other: &str| format!("{}, {}", digest(one), sha512(other));
    for (field, expected) in [
        (digest("an event"), "ok"),
        (sha512("an event"), "ok"),
        (both("an event", "an event"), "ok"),
        (format!("{}, md5=:AAAA:", digest("an event")), "ok"),
        (both("an event", "another"), "signature_mismatch"),
        (both("another", "an event"), "signature_mismatch"),
        (digest("another"), "signature_mismatch"),
        ("md5=:AAAA:".to_owned(), "signature_malformed"),
        (String::new(), "signature_malformed"),
        ("sha-256=:AAAA:".to_owned(), "signature_mismatch"),
        ("sha-256=AAAA".to_owned(), "signature_malformed"),
        ("sha-256".to_owned(), "signature_malformed"),
        (format!("{}, {}", digest("another"), digest("an event")), "signature_ambiguous"),
        (digest("an event").replace("=:", ":"), "signature_malformed"),
    ] {
        let mut headers = signed("sig1", COMPONENTS, ";created=1700000000", &lines(&field)).to_vec();
        headers.push(("content-digest", field.clone()));
        assert_eq!(reason(&policies, &headers, "an event"), expected, "{field}");
    }
    let twice = format!("{0}, {0}", digest("an event"));
    let mut headers = signed("sig1", COMPONENTS, ";created=1700000000", &lines(&twice)).to_vec();
    headers.extend([("content-digest", digest("an event")), ("content-digest", digest("an event"))]);
    assert_eq!(reason(&policies, &headers, "an event"), "signature_ambiguous", "two lines");
}

#[test]
fn of_several_signatures_one_must_be_right_and_a_broken_field_is_none() {
    let policies = policies(&profile(), &json!({}));
    let [input, signature] = signed("ours", COMPONENTS, ";created=1700000000", &lines(&digest("an event")));
    let join = |inputs: &[&str], signatures: &[&str]| {
        let own = |field: &str, own: &str| field.replace("OURS", own);
        vec![
            ("signature-input", own(&inputs.join(", "), &input.1)),
            ("signature", own(&signatures.join(", "), &signature.1)),
            ("content-digest", digest("an event")),
        ]
    };
    let zeros = format!("zero=:{}:", BASE64.encode(&[0; 32]));
    let zero = format!("zero=({COMPONENTS});created=1700000000");
    for (headers, expected) in [
        (join(&["OURS"], &["OURS"]), "ok"),
        (join(&[&zero, "OURS"], &["OURS", &zeros]), "ok"),
        (join(&["OURS", &zero], &["OURS"]), "ok"),
        (join(&["x=(\"@method\")", "y=1", "OURS"], &["x=:AAAA:", "y=1", "OURS"]), "ok"),
        (join(&[&zero], &[&zeros]), "signature_mismatch"),
        (join(&["OURS"], &["ours=:AAAA:"]), "signature_mismatch"),
        (join(&["OURS"], &["other=:AAAA:"]), "signature_malformed"),
        (join(&["OURS"], &["ours=\"text\""]), "signature_malformed"),
        (join(&["OURS"], &["ours=(1)"]), "signature_malformed"),
        (join(&["ours=1"], &["OURS"]), "signature_malformed"),
        (join(&["OURS", "OURS"], &["OURS"]), "signature_ambiguous"),
        (join(&["OURS"], &["OURS", &zeros, &zeros]), "signature_ambiguous"),
        (join(&["OURS,"], &["OURS"]), "signature_malformed"),
        (join(&["OURS"], &["OURS", "&"]), "signature_malformed"),
        (join(&[""], &["OURS"]), "signature_missing"),
        (join(&["OURS"], &["OURS"]).split_off(1), "signature_missing"),
        (vec![join(&["OURS"], &["OURS"]).remove(0)], "signature_missing"),
    ] {
        assert_eq!(reason(&policies, &headers, "an event"), expected, "{headers:?}");
    }
    let mut lines_of_two = join(&[&zero], &[&zeros]);
    lines_of_two.extend([input, signature]);
    assert_eq!(reason(&policies, &lines_of_two, "an event"), "ok", "each in a line of its own");
}

#[test]
fn the_url_is_the_one_that_the_operator_knows() {
    let message =
        |url: &str| json!({"components": ["@method", "@target-uri", "content-digest"], "public_url": url});
    let own = digest("an event");
    let components = r#""@method" "@target-uri" "content-digest" "@scheme" "@query-param";name="a%20b""#;
    let lines = format!(
        "\"@method\": POST\n\"@target-uri\": https://hooks.example.com/hook?a+b=%7e*+c\n\"content-digest\": {own}\n\"@scheme\": https\n\
         \"@query-param\";name=\"a%20b\": %7E*%20c\n"
    );
    let mut headers = signed("sig1", components, ";created=1700000000", &lines).to_vec();
    headers.extend([("content-digest", own), (":path", "/hook?a+b=%7e*+c".to_owned())]);
    assert_eq!(
        reason(&policies(&message("https://hooks.example.com"), &json!({})), &headers, "an event"),
        "ok"
    );
    assert_eq!(
        reason(&policies(&message("https://other.example.com"), &json!({})), &headers, "an event"),
        "signature_mismatch"
    );
    // Another parameter says nothing of which one it is.
    let unnamed = |text: &str| text.replace(r#"";name=""#, r#"";key=""#);
    let mut headers = signed("sig1", &unnamed(components), ";created=1700000000", &unnamed(&lines)).to_vec();
    headers.extend([("content-digest", digest("an event")), (":path", "/hook?a+b=%7e*+c".to_owned())]);
    assert_eq!(
        reason(&policies(&message("https://hooks.example.com"), &json!({})), &headers, "an event"),
        "signature_malformed"
    );
    for (authority, scheme, expected) in [
        ("HOOKS.example.com:443", "https", "ok"),
        ("hooks.example.com:80", "http", "ok"),
        ("hooks.example.com:443", "http", "signature_mismatch"),
        ("hooks.example.com:8443", "https", "signature_mismatch"),
        ("evil.example.com", "https", "signature_mismatch"),
    ] {
        let mut headers = good(";created=1700000000", "an event");
        headers.extend([(":authority", authority.to_owned()), (":scheme", scheme.to_owned())]);
        assert_eq!(
            reason(&policies(&profile(), &json!({})), &headers, "an event"),
            expected,
            "{authority} {scheme}"
        );
    }
}

#[test]
fn an_algorithm_that_message_signatures_do_not_have_is_no_configuration() {
    for (name, _) in Algorithm::NAMES {
        let block = json!({"algorithm": name, "message_signature": profile()});
        let has =
            ["hmac-sha256", "ed25519", "ecdsa-p256-sha256", "rsa-sha256", "rsa-pss-sha512"].contains(&name);
        assert_eq!(Scheme::from_json(block.to_string().as_bytes()).is_ok(), has, "{name}");
    }
}

/// What names a delivery in the memory: its nonce where the operator asks for one, an id in its body, or else what it says of
/// the components that the operator asks for, whatever else is covered.
#[test]
fn a_delivery_is_named_by_what_is_covered() {
    let by_content = policies(&profile(), &json!({"duplicates": {}}));
    let with_id = json!({"duplicates": {"id": {"json": "/id"}}});
    let in_body = policies(&profile(), &with_id);
    let mut nonce = profile();
    nonce["nonce"] = json!(true);
    let by_nonce = policies(&nonce, &json!({"duplicates": {}}));
    let more = |body: &str| {
        let components = format!(r#"{COMPONENTS} "x-more""#);
        let lines = format!("{}\"x-more\": 1\n", lines(&digest(body)));
        let mut headers = signed("sig1", &components, ";created=1700000000", &lines).to_vec();
        headers.extend([("content-digest", digest(body)), ("x-more", "1".to_owned())]);
        headers
    };
    let (plain, later) = (";created=1700000000", ";created=1700000001");
    let (one, two) = (r#";created=1700000000;nonce="1""#, r#";created=1700000000;nonce="2""#);
    let (id, same_id, other_id) = (r#"{"id":"1"}"#, r#"{"id":"1","a":2}"#, r#"{"id":"2"}"#);
    for (name, policies, first, second, is_same) in [
        ("the same", &by_content, (good(plain, id), id), (good(plain, id), id), true),
        ("more is covered", &by_content, (good(plain, id), id), (more(id), id), true),
        ("another body", &by_content, (good(plain, id), id), (good(plain, same_id), same_id), false),
        ("another time", &by_content, (good(plain, id), id), (good(later, id), id), false),
        ("one nonce", &by_nonce, (good(one, id), id), (good(one, other_id), other_id), true),
        ("another nonce", &by_nonce, (good(one, id), id), (good(two, id), id), false),
        ("one id", &in_body, (good(plain, id), id), (good(later, same_id), same_id), true),
        ("another id", &in_body, (good(plain, id), id), (good(plain, other_id), other_id), false),
    ] {
        let key = |(headers, body): (Vec<(&str, String)>, &str)| {
            let decision = decision(policies, &headers, body, NOW).unwrap();
            assert_eq!(codes(Some(&decision)), ("allow", "ok"), "{name}");
            decision.record.delivery.unwrap().key
        };
        assert_eq!(key(first) == key(second), is_same, "{name}");
    }
}
