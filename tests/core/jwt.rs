//! Tokens that carry the digest of the body: what the vectors of the catalogue do not show. Every row has its reason.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a broken row must fail the test loudly"
)]

mod common;

use common::{Framing, Request, codes};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use webhook_guard_core::config;
use webhook_guard_core::request::Millis;

const KEY: &str = "key-of-the-tokens-0123456789";
/// The key of the vectors that MessageBird published.
const MESSAGEBIRD: &str = "36efdd1aace2e26cd490f0d951138253bef2f7c6d34d18981da781555cc4cebb";
const NOW: i64 = 1_700_000_000;

fn part(text: &str) -> String {
    BASE64URL_NOPAD.encode(text.as_bytes())
}

/// A token of these two parts, signed with HMAC-SHA256.
fn signed(header: &str, payload: &str) -> String {
    let content = format!("{}.{}", part(header), part(payload));
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
    mac.update(content.as_bytes());
    format!("{content}.{}", BASE64URL_NOPAD.encode(&mac.finalize().into_bytes()))
}

fn token(payload: &Value) -> String {
    signed(r#"{"alg":"HS256","typ":"JWT"}"#, &payload.to_string())
}

fn hex(body: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(body))
}

/// The reason for which a request with this header is refused under a scheme, or `ok`.
fn reason_at(scheme: &Value, secret: &str, value: &str, body: &str, now: i64, ended: i64) -> &'static str {
    let signature = json!({"scheme": scheme, "secrets": [{"value": secret}]});
    let policy = json!({"name": "p", "match": {"path": "/"}, "require": {"signature": signature}});
    let text = json!({"policies": [policy]}).to_string();
    let policies =
        config::parse(text.as_bytes(), &|_| None).unwrap_or_else(|error| panic!("{error}")).policies;
    let pseudo =
        [(":method", "POST"), (":path", "/"), (":authority", "hooks.example.com"), ("authorization", value)];
    let request = Request {
        headers: pseudo.map(|(name, value)| (name.to_owned(), value.into())).to_vec(),
        source: None,
        client_certificate: None,
        route_policy: None,
        now: Millis(now * 1000),
        ended: Some(Millis(ended * 1000)),
        body: body.as_bytes().to_vec(),
    };
    codes(request.judge(&policies, Framing::Undeclared, 3).1.as_ref()).1
}

fn scheme(jwt: &Value) -> Value {
    let mut jwt = jwt.clone();
    jwt["header"] = json!("authorization");
    json!({"algorithm": "hmac-sha256", "jwt": jwt})
}

fn reason(jwt: &Value, value: &str, body: &str) -> &'static str {
    reason_at(&scheme(jwt), KEY, value, body, NOW, NOW)
}

#[test]
fn what_is_no_token_of_the_configured_algorithm_is_malformed() {
    let jwt = json!({"body_sha256": {"claim": "h", "encoding": "hex"}});
    let body = "an event";
    let payload = json!({"h": hex(body)}).to_string();
    let good = signed(r#"{"alg":"HS256"}"#, &payload);
    assert_eq!(reason(&jwt, &good, body), "ok");
    let unsigned = format!("{}.{payload}.", part(r#"{"alg":"none"}"#), payload = part(&payload));
    let tag = good.rsplit('.').next().unwrap();
    let with = |header: &str| signed(header, &payload);
    for (value, expected) in [
        (unsigned.clone(), "signature_malformed"),
        (format!("{unsigned}{tag}"), "signature_malformed"),
        (with(r#"{"alg":"none"}"#), "signature_malformed"),
        (with(r#"{"alg":"hs256"}"#), "signature_malformed"),
        (with(r#"{"alg":"HS512"}"#), "signature_malformed"),
        (with(r#"{"alg":"RS256"}"#), "signature_malformed"),
        (with(r#"{"alg":["HS256"]}"#), "signature_malformed"),
        (with(r#"{"typ":"JWT"}"#), "signature_malformed"),
        (with(r#"{"alg":"HS256","alg":"none"}"#), "signature_malformed"),
        (with(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#), "signature_malformed"),
        (with(r#"["HS256"]"#), "signature_malformed"),
        (with(""), "signature_malformed"),
        (
            signed(r#"{"alg":"HS256"}"#, &format!(r#"{{"h":"{0}","h":"{0}"}}"#, hex(body))),
            "signature_malformed",
        ),
        (signed(r#"{"alg":"HS256"}"#, "[]"), "signature_malformed"),
        (signed(r#"{"alg":"HS256"}"#, "{"), "signature_malformed"),
        (format!("{good}="), "signature_malformed"),
        (format!("{good}.{tag}"), "signature_malformed"),
        (good.rsplit_once('.').unwrap().0.to_owned(), "signature_malformed"),
        (format!("{}.", good.rsplit_once('.').unwrap().0), "signature_malformed"),
        (format!("Bearer {good}"), "signature_malformed"),
        (good.replace(tag, "AAAA"), "signature_mismatch"),
        (good.replace(tag, &BASE64URL_NOPAD.encode(&[0; 32])), "signature_mismatch"),
        (
            signed(r#"{"alg":"HS256"}"#, &json!({"h": hex(body), "pad": "x".repeat(8192)}).to_string()),
            "signature_malformed",
        ),
        (String::new(), "signature_malformed"),
    ] {
        assert_eq!(reason(&jwt, &value, body), expected, "{value}");
    }
    let bearer = json!({"prefix": "Bearer ", "body_sha256": {"claim": "h", "encoding": "hex"}});
    assert_eq!(reason(&bearer, &format!("Bearer {good}"), body), "ok");
    assert_eq!(reason(&bearer, &good, body), "signature_malformed");
}

#[test]
fn the_digest_is_that_of_the_body_and_a_token_without_one_says_that_there_is_none() {
    let body = "an event";
    let digest = Sha256::digest(body);
    let hex = json!({"body_sha256": {"claim": "h", "encoding": "hex"}});
    assert_eq!(
        reason(&hex, &token(&json!({ "h": "ab" })), ""),
        "signature_mismatch",
        "a digest of another length"
    );
    for (encoding, text) in [
        ("hex", HEXLOWER.encode(&digest)),
        ("base64", BASE64.encode(&digest)),
        ("base64url", BASE64URL_NOPAD.encode(&digest)),
        ("base64url", format!("{}=", BASE64URL_NOPAD.encode(&digest))),
    ] {
        let jwt = json!({"body_sha256": {"claim": "h", "encoding": encoding}});
        let value = token(&json!({ "h": text }));
        assert_eq!(reason(&jwt, &value, body), "ok", "{text}");
        assert_eq!(reason(&jwt, &value, "another"), "signature_mismatch", "{text}");
        assert_eq!(reason(&jwt, &value, ""), "signature_mismatch", "{text}");
        assert_eq!(reason(&jwt, &token(&json!({})), body), "signature_mismatch");
        assert_eq!(reason(&jwt, &token(&json!({})), ""), "ok");
        assert_eq!(reason(&jwt, &token(&json!({ "h": 1 })), ""), "signature_malformed");
        assert_eq!(reason(&jwt, &token(&json!({ "h": null })), ""), "signature_malformed");
        assert_eq!(reason(&jwt, &token(&json!({ "h": "*" })), ""), "signature_malformed");
    }
}

#[test]
fn times_are_judged_to_the_second_and_again_when_the_body_ends() {
    let all = json!({"required": ["exp", "nbf", "iat"]});
    let times = |exp: Value, nbf: Value, iat: Value| token(&json!({"exp": exp, "nbf": nbf, "iat": iat}));
    let at = |offset: i64| json!(NOW + offset);
    for (value, expected) in [
        (times(at(1), at(0), at(0)), "ok"),
        (times(at(0), at(0), at(0)), "timestamp_stale"),
        (times(at(-1), at(0), at(0)), "timestamp_stale"),
        (times(at(99), at(60), at(60)), "ok"),
        (times(at(99), at(61), at(0)), "timestamp_future"),
        (times(at(99), at(0), at(61)), "timestamp_future"),
        (times(at(99), at(0), at(-300)), "ok"),
        (times(at(99), at(0), at(-301)), "timestamp_stale"),
        (times(json!("1700000099"), at(0), at(0)), "timestamp_malformed"),
        (times(json!(1_700_000_099.5), at(0), at(0)), "timestamp_malformed"),
        (times(json!(-1), at(0), at(0)), "timestamp_malformed"),
        (times(json!(u64::MAX), at(0), at(0)), "timestamp_malformed"),
        (times(json!(null), at(0), at(0)), "timestamp_malformed"),
        (token(&json!({"exp": NOW + 9, "nbf": NOW})), "timestamp_missing"),
        (token(&json!({"iat": NOW, "nbf": NOW})), "timestamp_missing"),
    ] {
        assert_eq!(reason(&all, &value, ""), expected, "{value}");
    }
    let lives = times(at(2), at(0), at(0));
    assert_eq!(reason_at(&scheme(&all), KEY, &lives, "x", NOW, NOW + 1), "ok");
    assert_eq!(reason_at(&scheme(&all), KEY, &lives, "x", NOW, NOW + 2), "timestamp_stale");
    // What is there is judged, the age of `iat` aside; what need not be may lack.
    let none = json!({});
    assert_eq!(reason(&none, &token(&json!({})), ""), "ok");
    assert_eq!(reason(&none, &token(&json!({"exp": NOW})), ""), "timestamp_stale");
    assert_eq!(reason(&none, &token(&json!({"iat": 1})), ""), "ok");
}

#[test]
fn issuer_audience_and_required_claims_are_compared() {
    let jwt = json!({"issuer": "them", "audience": "us", "required": ["jti"]});
    for (payload, expected) in [
        (json!({"iss": "them", "aud": "us", "jti": "1"}), "ok"),
        (json!({"iss": "them", "aud": ["others", "us"], "jti": "1"}), "ok"),
        (json!({"iss": "they", "aud": "us", "jti": "1"}), "requirement_not_met"),
        (json!({"iss": ["them"], "aud": "us", "jti": "1"}), "requirement_not_met"),
        (json!({"aud": "us", "jti": "1"}), "requirement_not_met"),
        (json!({"iss": "them", "aud": ["others"], "jti": "1"}), "requirement_not_met"),
        (json!({"iss": "them", "jti": "1"}), "requirement_not_met"),
        (json!({"iss": "them", "aud": "us"}), "signature_malformed"),
    ] {
        assert_eq!(reason(&jwt, &token(&payload), ""), expected, "{payload}");
    }
}

#[test]
fn every_algorithm_that_tokens_have_verifies_its_own_and_no_other() {
    let jwt = json!({"header": "authorization"});
    let key = SigningKey::from_bytes(&[7; 32]);
    let content = format!("{}.{}", part(r#"{"alg":"EdDSA"}"#), part("{}"));
    let eddsa = format!("{content}.{}", BASE64URL_NOPAD.encode(&key.sign(content.as_bytes()).to_bytes()));
    let public = HEXLOWER.encode(key.verifying_key().as_bytes());
    // Python's cryptography package made the one for RSA, and RFC 7515 A.3 has the one for ECDSA.
    let rsa = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAyVCV1ijFtY5Osp5PrVa2\nlP+nzTFXDIzYoxcao7ZfmpsTmiUv9kUpRoXIxFy5qyd+dOC2oMjqqwp0IyYQpMI/\nwCfc27A56Wb74SLmHQmjpyLYx2Fl+QVxJhJylnxtXrd9IofezO5vvj6twjOmjKTb\n+hLcWNlvaP8zs3hzdnm/NwJvIJcVPhuQTkgWuhD4zzB8crDOF6t6AEOIs+5N221E\nV9R91GcdavtVLYG/Ngl96bogjr8kK7lf8DI9TJF69j03lX0CpLjU37GIw1BUMXY4\n5GzZxJyVIfO9tnR68VCJEQmwzgis+8NgWkWKPrv1pxp9bSZKbPf0vtj6xcTH79z4\nkwIDAQAB\n-----END PUBLIC KEY-----\n".replace("\\n", "\n");
    let rs256 = "eyJhbGciOiJSUzI1NiJ9.eyJpYXQiOjE3NjcyMjU2MDB9.IWI71ivD68wo46eNQRr88LwqBWOBRKJrhAomqjRtnuGA2kijta2m7iLaM30LQK_yNytC_ec0lcFaFVfJJ6aHAtbRg81qyo0rhZHCuOoazQzbdduvIf8YhDFw3QF5dYirpvvHYyly5mD65YS8XqohNgBqh2sYewgFJWoGSi7K__abVXaVUTCzoN7gt9m31d2pLHyGaejc8MzbsbBCr_lK0kg-ce2T-D_ZBiyj3GX3y-Lj2UCJ_H2ARwIKdYOhFpEQJUxEX5Jtk2nx4YOuEvEyEEMEqSchqyzQeoBu-kk-FvFzK5V6qQ7GrBtqiyC8x9-aNeZboIS_gPCxU6AahRRmsA";
    let es256 = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
                 DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let point = [
        &[4][..],
        &BASE64URL_NOPAD.decode(b"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU").unwrap(),
        &BASE64URL_NOPAD.decode(b"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0").unwrap(),
    ]
    .concat();
    let point = HEXLOWER.encode(&point);
    let rows = [
        ("hmac-sha256", "utf8", KEY, token(&json!({})), NOW),
        ("hmac-sha384", "utf8", MESSAGEBIRD, published("messagebird-jwt-42"), 1_625_479_200),
        ("hmac-sha512", "utf8", MESSAGEBIRD, published("messagebird-jwt-43"), 1_625_479_200),
        ("ed25519", "hex", &public, eddsa, NOW),
        ("rsa-sha256", "utf8", &rsa, rs256.to_owned(), 1_767_225_600),
        ("ecdsa-p256-sha256", "hex", &point, es256.to_owned(), 1_300_819_379),
    ];
    for (algorithm, encoding, secret, value, now) in &rows {
        let scheme = json!({"algorithm": algorithm, "jwt": jwt, "secret": {"encoding": encoding}});
        assert_eq!(reason_at(&scheme, secret, value, "", *now, *now), "ok", "{algorithm}");
        let (content, tag) = value.rsplit_once('.').unwrap();
        let mut tag = BASE64URL_NOPAD.decode(tag.as_bytes()).unwrap();
        *tag.last_mut().unwrap() ^= 1;
        let turned = format!("{content}.{}", BASE64URL_NOPAD.encode(&tag));
        assert_eq!(reason_at(&scheme, secret, &turned, "", *now, *now), "signature_mismatch", "{algorithm}");
        let other = if *algorithm == "hmac-sha256" { "hmac-sha512" } else { "hmac-sha256" };
        let scheme = json!({"algorithm": other, "jwt": jwt});
        assert_eq!(reason_at(&scheme, KEY, value, "", *now, *now), "signature_malformed", "{algorithm}");
    }
}

/// A vector of MessageBird's that names another algorithm than the others.
fn published(name: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/messagebird.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let all = file["vectors"].as_array().unwrap();
    let vector = all.iter().find(|vector| vector["name"] == name).unwrap();
    vector["headers"]["MessageBird-Signature-JWT"].as_str().unwrap().to_owned()
}

#[test]
fn a_token_has_so_many_bytes_and_no_more() {
    const MOST: usize = 8192;
    let jwt = json!({"body_sha256": {"claim": "h", "encoding": "hex"}});
    let body = "an event";
    // The lengths of base64 leave gaps: header and payload are padded each.
    let of_length = |length: usize| {
        let padded = |header: usize, payload: usize| {
            let header = json!({"alg": "HS256", "typ": "J".repeat(header)}).to_string();
            signed(&header, &json!({"h": hex(body), "pad": "x".repeat(payload)}).to_string())
        };
        let all = (5950..6050).flat_map(|payload| (1..4).map(move |header| (header, payload)));
        all.map(|(header, payload)| padded(header, payload)).find(|token| token.len() == length).unwrap()
    };
    for (length, expected) in [(MOST, "ok"), (MOST + 1, "signature_malformed")] {
        assert_eq!(reason(&jwt, &of_length(length), body), expected, "{length}");
    }
}

#[test]
fn the_token_that_vonage_published_holds() {
    // github.com/Vonage/vonage-python-sdk@b308cb1e9419:jwt/tests/test_verify_jwt.py; it covers no body.
    let value = "Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJPbmxpbmUgSldUIEJ1aWxkZXIiLCJpYXQiOjE2OTc2MzQ2ODAsImV4cCI6\
                 MzMyNTQ1NDA4MjgsImF1ZCI6IiIsInN1YiI6IiJ9.88vJc3I2HhuqEDixHXVhc9R30tA6U_HQHZTC29y6CGM";
    let jwt = scheme(&json!({"prefix": "Bearer ", "required": ["iat"]}));
    let at = |secret: &str, now: i64| reason_at(&jwt, secret, value, "", now, now);
    assert_eq!(at("qwertyuiopasdfghjklzxcvbnm123456", 1_697_634_681), "ok");
    assert_eq!(at("qwertyuiopasdfghjklzxcvbnm123456", 1_697_634_981), "timestamp_stale");
    assert_eq!(at("asdf", 1_697_634_681), "signature_mismatch");
}
