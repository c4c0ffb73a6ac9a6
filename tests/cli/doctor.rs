//! The doctor: one test a near miss, made of a published vector by changing the request, the secret or the claimed
//! scheme. Where no published signature is of the kind, a published delivery is signed anew, by the core's own HMAC.

use crate::program::{Run, file, run};
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use webhook_guard_core::signature::hmac::{BodyDigest, HmacKind};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A delivery as the gateway would see it, and how the gateway is told to verify it.
#[derive(Clone)]
pub(crate) struct Delivery {
    provider: String,
    scheme: Option<Value>,
    secrets: Vec<Vec<u8>>,
    host: String,
    pub(crate) target: String,
    public_url: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    now: Option<String>,
}

fn json_of(path: &str) -> Value {
    serde_json::from_slice(&fs::read(format!("{ROOT}/{path}")).unwrap()).unwrap()
}

/// A vector that the provider or its library published.
pub(crate) fn published(provider: &str, name: &str) -> Delivery {
    let checked = &json_of("src/core/catalogue.json")[provider]["checked"]["kind"];
    assert_eq!(checked, "published vector", "{provider}");
    let vectors = json_of(&format!("tests/vectors/{provider}.json"));
    let vector = vectors["vectors"].as_array().unwrap().iter().find(|vector| vector["name"] == name).unwrap();
    assert_eq!(vector["expect"], "ok", "{name}");
    let repeated = &vector["body_repeat"];
    let body = vector["body"].as_str().map_or_else(
        || {
            let count = usize::try_from(repeated["count"].as_u64().unwrap()).unwrap();
            repeated["unit"].as_str().unwrap().repeat(count)
        },
        str::to_owned,
    );
    let (base, target) = match vector["url"].as_str() {
        Some(url) => {
            let path = url.match_indices('/').nth(2).unwrap().0;
            let (base, target) = url.split_at(path);
            (Some(base.to_owned()), target.to_owned())
        }
        None => (None, "/hook".to_owned()),
    };
    let headers = vector["headers"].as_object().unwrap().iter();
    Delivery {
        provider: provider.to_owned(),
        scheme: None,
        secrets: vec![vector["secret"].as_str().unwrap().as_bytes().to_vec()],
        host: "hooks.example.com".to_owned(),
        target,
        public_url: base,
        headers: headers.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect(),
        body: body.into_bytes(),
        now: vector["now"].as_i64().map(|now| now.to_string()),
    }
}

/// GitHub's own example.
pub(crate) fn github() -> Delivery {
    published("github", "github-docs")
}

/// Its signature in hexadecimal.
fn tag_of_github() -> String {
    github().get("X-Hub-Signature-256").strip_prefix("sha256=").unwrap().to_owned()
}

/// A published delivery with this body, signed as GitHub signs by whoever holds the secret and signs this content.
fn signed_by(secret: &[u8], content: &[u8], body: &[u8]) -> Delivery {
    let mut delivery = github();
    delivery.body = body.to_vec();
    delivery.set("X-Hub-Signature-256", &format!("sha256={}", HEXLOWER.encode(&hmac(secret, content))));
    delivery
}

/// The same, where the sender has the very secret.
pub(crate) fn signed(content: &[u8], body: &[u8]) -> Delivery {
    signed_by(&github().secrets[0], content, body)
}

fn hmac(secret: &[u8], content: &[u8]) -> Vec<u8> {
    let mut mac = HmacKind::Sha256.key(secret).unwrap();
    mac.update(content);
    mac.finish()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

impl Delivery {
    pub(crate) fn get(&self, name: &str) -> &str {
        let mut named = self.headers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
        &named.next().unwrap_or_else(|| panic!("{name} is not there")).1
    }

    fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    fn remove(&mut self, name: &str) {
        self.headers.retain(|(given, _)| !given.eq_ignore_ascii_case(name));
    }

    fn rename(mut self, name: &str, other: &str) -> Self {
        let value = self.get(name).to_owned();
        self.remove(name);
        self.with(other, &value)
    }

    fn claimed(mut self, provider: &str) -> Self {
        self.provider = provider.to_owned();
        self
    }

    /// Claims the catalogue's scheme of the provider, with one member changed.
    fn scheme(mut self, key: &str, value: Value) -> Self {
        let catalogue = json_of("src/core/catalogue.json");
        let mut scheme = self.scheme.take().unwrap_or_else(|| catalogue[&self.provider]["scheme"].clone());
        scheme[key] = value;
        self.scheme = Some(scheme);
        self
    }

    fn secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.secrets = vec![secret.as_ref().to_vec()];
        self
    }

    fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    fn url(mut self, base: &str, target: &str) -> Self {
        self.public_url = Some(base.to_owned());
        self.target = target.to_owned();
        self
    }

    /// Without `--now`.
    pub(crate) fn without_now(self) -> Self {
        Self { now: None, ..self }
    }

    /// As raw HTTP.
    pub(crate) fn raw(&self) -> Vec<u8> {
        let mut raw = format!("POST {} HTTP/1.1\r\nHost: {}\r\n", self.target, self.host).into_bytes();
        for (name, value) in &self.headers {
            raw.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            raw.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        }
        raw.extend_from_slice(b"\r\n");
        raw.extend_from_slice(&self.body);
        raw
    }

    /// Runs the doctor over this capture, and looks for secrets in what it says.
    pub(crate) fn diagnose(&self, test: &str, capture: &[u8], more: &[&str]) -> Run {
        let request = file(test, "request", capture);
        let mut arguments = vec!["doctor".to_owned(), "--request".to_owned(), request];
        match &self.scheme {
            Some(scheme) => {
                arguments.extend(["--scheme".to_owned(), file(test, "scheme.json", scheme.to_string())]);
            }
            None => arguments.extend(["--provider".to_owned(), self.provider.clone()]),
        }
        for (index, secret) in self.secrets.iter().enumerate() {
            arguments.extend(["--secret-file".to_owned(), file(test, &format!("secret-{index}"), secret)]);
        }
        for (option, value) in [("--public-url", &self.public_url), ("--now", &self.now)] {
            arguments.extend(value.iter().flat_map(|value| [option.to_owned(), value.clone()]));
        }
        arguments.extend(more.iter().map(|word| (*word).to_owned()));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let run = run(&arguments, &[], b"");
        self.is_discreet(&run);
        run
    }

    /// No secret, no form of one, and nothing that the request claims or that would have been right.
    fn is_discreet(&self, run: &Run) {
        let said = format!("{}{}", run.stdout, run.stderr);
        // Short values are words that may stand in any sentence, and a path is no secret.
        let values = self.headers.iter().map(|(_, value)| value.clone());
        let mut hidden: Vec<String> =
            values.filter(|value| value.len() >= 16 && !value.starts_with('/')).collect();
        for secret in self.secrets.iter().map(|secret| secret.trim_ascii()).filter(|secret| secret.len() >= 8)
        {
            hidden.extend([text(secret), HEXLOWER.encode(secret), BASE64.encode(secret)]);
            let right = hmac(secret, &self.body);
            hidden.extend([HEXLOWER.encode(&right), BASE64.encode(&right), BASE64URL_NOPAD.encode(&right)]);
        }
        for secret in hidden {
            assert!(!said.contains(&secret), "{secret:?} is said:\n{said}");
        }
    }

    fn diagnosis(&self, test: &str) -> (i32, Value) {
        let run = self.diagnose(test, &self.raw(), &["--format", "json"]);
        assert_eq!(run.stderr, "", "{test}");
        (run.status, serde_json::from_str(&run.stdout).unwrap())
    }

    fn holds(&self, test: &str) {
        let (status, diagnosis) = self.diagnosis(test);
        assert_eq!((status, &diagnosis["outcome"]), (0, &json!("holds")), "{test}: {diagnosis:#}");
    }

    /// The doctor names these causes, and no other; each word stands in the cause or in one of its remedies.
    #[track_caller]
    fn is_named(&self, test: &str, codes: &[&str], words: &[&str]) -> Value {
        let (status, diagnosis) = self.diagnosis(test);
        let named: Vec<&str> = diagnosis["causes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|cause| cause["code"].as_str().unwrap())
            .collect();
        assert_eq!((status, named.as_slice()), (1, codes), "{test}: {diagnosis:#}");
        let said = diagnosis["causes"].to_string().replace("\\\"", "\"").replace("\\\\", "\\");
        for word in words {
            assert!(said.contains(word), "{test}: {word:?} is not said: {said}");
        }
        let shown = self.diagnose(test, &self.raw(), &[]);
        let headline = format!("Cause: {}", codes[0]);
        assert!(shown.status == 1 && shown.stdout.contains(&headline), "{test}: {}", shown.stdout);
        diagnosis
    }

    #[track_caller]
    fn found(&self, test: &str, code: &str, words: &str) {
        let (_, diagnosis) = self.diagnosis(test);
        let findings = diagnosis["findings"].as_array().unwrap();
        let mut named = findings.iter().filter(|finding| finding["code"] == code);
        let said = named.next().unwrap_or_else(|| panic!("{test}: no {code}: {diagnosis:#}"));
        assert!(said["text"].as_str().unwrap().contains(words), "{test}: {said}");
    }
}

// What holds, and what nothing explains.

#[test]
fn what_the_gateway_would_take_is_said_to_hold() {
    for (provider, name) in [
        ("github", "github-docs"),
        ("stripe", "stripe-valid"),
        ("slack", "slack-docs"),
        ("adyen_platforms", "adyen-payload"),
        ("hubspot_v2", "hubspot-v2"),
        ("sendgrid", "sendgrid-valid"),
        ("standard_webhooks_ed25519", "standard-webhooks-v1a-ed25519"),
        ("twilio", "twilio-form-duplicates"),
        ("twilio_json", "twilio-json-body"),
        ("svix", "svix-large-262144"),
        ("circleci", "circleci-docs-1"),
    ] {
        published(provider, name).holds(&format!("doctor holds {provider}"));
    }
    // The filter forgives a newline.
    github().secret(b"It's a Secret to Everybody\n").holds("doctor holds newline");
}

#[test]
fn where_nothing_fits_it_says_what_was_tried_and_what_remains() {
    let delivery = github().body("Hello, World?");
    let run = delivery.diagnose("doctor nothing", &delivery.raw(), &[]);
    assert_eq!(run.status, 1, "{run:?}");
    for words in [
        "no near miss fits",
        "signature_mismatch",
        "Tried: secret 8, signature ",
        "another secret",
        "capture the request before any proxy",
    ] {
        assert!(run.stdout.contains(words), "{words}: {}", run.stdout);
    }
    let (status, diagnosis) = delivery.diagnosis("doctor nothing json");
    assert_eq!(
        (status, &diagnosis["outcome"], &diagnosis["causes"]),
        (1, &json!("nothing_fits"), &json!([]))
    );
}

// The secret.

#[test]
fn one_of_several_secrets() {
    let mut delivery = github();
    delivery.secrets.insert(0, b"the new secret of 2027".to_vec());
    delivery.is_named(
        "doctor other secret",
        &["other-secret"],
        &["secret-1, not with that of", "until the sender has changed over"],
    );
}

#[test]
fn blanks_in_the_secret() {
    for (number, (before, behind, words)) in [
        ("", "\n\n", "a newline at its end"),
        ("", "\r\n\r\n", "a newline at its end"),
        ("", "  ", "blanks at its end"),
        (" ", "", "blanks at its start"),
        ("\t", " ", "blanks around it"),
        ("", "\\n", "a backslash and an n at its end"),
        ("\u{feff}", "", "a byte order mark at its start"),
    ]
    .into_iter()
    .enumerate()
    {
        let secret = [before.as_bytes(), &github().secrets[0], behind.as_bytes()].concat();
        let words = [words, "that the sender does not have", "printf %s"];
        github().secret(secret).is_named(
            &format!("doctor secret blanks {number}"),
            &["secret-blanks"],
            &words,
        );
    }
}

#[test]
fn blanks_in_the_senders_secret() {
    for (number, (end, words)) in [
        ("\n", "with a newline at its end"),
        ("\r\n", "with a carriage return and a newline"),
        (" ", "with a blank"),
        ("\\n", "with a backslash and an n"),
    ]
    .into_iter()
    .enumerate()
    {
        let delivery = signed_by(&[&github().secrets[0], end.as_bytes()].concat(), b"body", b"body");
        let test = format!("doctor secret newline at sender {number}");
        delivery.is_named(&test, &["secret-newline-at-sender"], &[words, "off the end of its secret"]);
    }
}

#[test]
fn quotes_around_the_secret() {
    let quoted = github().secret("\"It's a Secret to Everybody\"");
    quoted.is_named(
        "doctor quotes",
        &["secret-quotes"],
        &["that the sender does not have", "take the quotes out of"],
    );
    let sender = signed_by(b"'It's a Secret to Everybody'", b"body", b"body");
    sender.is_named(
        "doctor quotes sender",
        &["secret-quotes"],
        &["The sender uses the secret with quotes", "take the quotes off"],
    );
}

#[test]
fn a_secret_decoded_or_not() {
    let adyen = published("adyen_platforms", "adyen-payload").scheme("secret", json!({"encoding": "utf8"}));
    adyen.is_named(
        "doctor secret hex",
        &["secret-encoding"],
        &["takes the secret for hexadecimal", "\"secret\": {\"encoding\": \"hex\"}"],
    );
    let slack = published("slack", "slack-docs").scheme("secret", json!({"encoding": "hex"}));
    slack.is_named(
        "doctor secret text",
        &["secret-encoding"],
        &[
            "takes the secret for text, and the scheme of the gateway for hexadecimal",
            "{\"encoding\": \"utf8\"}",
        ],
    );
    let key: Vec<u8> = (0..33).map(|byte| byte * 7).collect();
    let base64 = signed_by(&key, b"body", b"body").secret(BASE64.encode(&key));
    base64.is_named("doctor secret base64", &["secret-encoding"], &["takes the secret for base64,"]);
    let key = [0xfb, 0xff, 0xbf].repeat(11);
    let url = signed_by(&key, b"body", b"body").secret(BASE64URL_NOPAD.encode(&key));
    url.is_named(
        "doctor secret base64url",
        &["secret-encoding"],
        &["takes the secret for base64url", "(`+` and `/`)"],
    );
}

#[test]
fn a_prefix_of_the_secret_taken_off_or_not() {
    let without = published("standard_webhooks", "standard-webhooks-prefix")
        .scheme("secret", json!({"encoding": "utf8"}));
    without.is_named(
        "doctor prefix off",
        &["secret-prefix"],
        &["without `whsec_`, as base64", "configure the secret without `whsec_`"],
    );
    let whole = signed_by(b"whsec_c2VjcmV0LW9mLXNvbWVvbmU=", b"body", b"body")
        .scheme("secret", json!({"encoding": "base64", "prefix": "whsec_"}))
        .secret("whsec_c2VjcmV0LW9mLXNvbWVvbmU=");
    whole.is_named("doctor prefix kept", &["secret-prefix"], &["uses the secret with its prefix, as text"]);
    let other = signed_by(b"c2VjcmV0LW9mLXNvbWVvbmU", b"body", b"body").secret("shh_c2VjcmV0LW9mLXNvbWVvbmU");
    other.is_named("doctor prefix other", &["secret-prefix"], &["before its first underscore, as text"]);
}

#[test]
fn a_secret_that_the_gateway_refuses() {
    let delivery = published("circleci", "circleci-docs-1").secret("secret");
    delivery.is_named("doctor refused", &["secret-refused"], &["the secret is a placeholder"]);
    let undecodable = published("adyen_platforms", "adyen-payload").secret("not hexadecimal!");
    undecodable.found("doctor undecodable", "secret-refused", "is not hexadecimal");
}

// The signature.

#[test]
fn another_algorithm() {
    let sha512 = published("convoy_sha512", "convoy-sha512-base64").scheme("algorithm", json!("hmac-sha256"));
    sha512.is_named(
        "doctor sha512",
        &["algorithm"],
        &["signs with hmac-sha512", "\"algorithm\": \"hmac-sha512\""],
    );
    let legacy = published("github_sha1", "gidgethub-http-sha1");
    let value = legacy.get("X-Hub-Signature").to_owned();
    let sha1 = legacy.claimed("github").with("X-Hub-Signature-256", &value);
    sha1.is_named(
        "doctor sha1",
        &["algorithm"],
        &["signs with hmac-sha1, labelled `sha1=`", "expects hmac-sha256"],
    );
    let mut mac = HmacKind::Sha384.key(&github().secrets[0]).unwrap();
    mac.update(b"Hello, World!");
    let sha384 = github().with("X-Hub-Signature-256", &format!("sha256={}", HEXLOWER.encode(&mac.finish())));
    sha384.is_named("doctor sha384", &["algorithm"], &["signs with hmac-sha384"]);
}

#[test]
fn a_plain_hash_instead_of_an_hmac() {
    let form = json!({"header": "x-hubspot-signature", "encoding": "hex"});
    let hubspot = published("hubspot_v1", "hubspot-v1").claimed("github").scheme("signature", form);
    hubspot.is_named(
        "doctor hash",
        &["plain-hash"],
        &["SHA-256 of the secret and the content", "nothing", "without knowing the secret"],
    );
    let mut digest = BodyDigest::default();
    digest.update(b"Hello, World!");
    let keyless =
        github().with("X-Hub-Signature-256", &format!("sha256={}", HEXLOWER.encode(&digest.finish())));
    keyless.is_named(
        "doctor keyless",
        &["plain-hash"],
        &["in which the secret has no part", "anyone can make such a signature"],
    );
}

/// Whoever has one delivery of such a scheme can make others (length extension): it may be named, never recommended.
#[test]
fn a_scheme_that_can_be_extended_is_not_recommended() {
    let known = |provider, name| published(provider, name);
    for (number, (delivery, code)) in [
        (known("hubspot_v1", "hubspot-v1").claimed("hubspot_v3"), "other-provider"),
        (known("hubspot_v2", "hubspot-v2").claimed("hubspot_v3"), "other-provider"),
        (known("hubspot_v1", "hubspot-v1").claimed("github"), "other-provider"),
    ]
    .into_iter()
    .enumerate()
    {
        let (_, diagnosis) = delivery.diagnosis(&format!("doctor extended {number}"));
        let cause = &diagnosis["causes"][0];
        assert!(
            ["other-provider", "sibling-header"].contains(&cause["code"].as_str().unwrap()),
            "{code}: {diagnosis:#}"
        );
        let gateway = cause["gateway"].as_str().unwrap();
        assert!(
            gateway.starts_with("nothing: ") && gateway.contains("without knowing the secret"),
            "{gateway}"
        );
        assert!(!gateway.contains("hubspot_v1") && !gateway.contains("hubspot_v2"), "{gateway}");
        assert!(cause["sender"].as_str().unwrap().contains("hubspot_v3"), "{diagnosis:#}");
    }
}

#[test]
fn the_signature_in_another_encoding() {
    let tag = HEXLOWER.decode(tag_of_github().as_bytes()).unwrap();
    for (name, value) in [
        ("in base64,", BASE64.encode(&tag)),
        ("in base64 without padding,", BASE64_NOPAD.encode(&tag)),
        ("in base64url,", BASE64URL_NOPAD.encode(&tag)),
        ("in base64url with padding,", BASE64URL.encode(&tag)),
        ("in base64 of its hexadecimal text,", BASE64.encode(HEXLOWER.encode(&tag).as_bytes())),
    ] {
        let delivery = github().with("X-Hub-Signature-256", &format!("sha256={value}"));
        // Where the text is the same in both, the first one is named.
        let same = value == BASE64_NOPAD.encode(&tag) && name == "in base64url,";
        let words = if same { "in base64 without padding," } else { name };
        let test = format!("doctor encoding {}", name.replace(' ', "-"));
        delivery.is_named(&test, &["signature-encoding"], &[words, "the scheme expects hexadecimal"]);
    }
    let shopify = published("shopify", "convoy-shopify");
    let tag = BASE64.decode(shopify.get("X-Shopify-Hmac-SHA256").as_bytes()).unwrap();
    let hex = shopify.with("X-Shopify-Hmac-SHA256", &HEXLOWER.encode(&tag));
    let words = ["written in hexadecimal, and the scheme expects base64", "\"encoding\": \"hex\""];
    hex.is_named("doctor encoding hex", &["signature-encoding"], &words);
    // The filter reads capitals.
    let capitals = format!("sha256={}", tag_of_github().to_ascii_uppercase());
    github().with("X-Hub-Signature-256", &capitals).holds("doctor encoding capitals");
}

#[test]
fn the_signatures_prefix() {
    let tag = tag_of_github();
    let missing = github().with("X-Hub-Signature-256", &tag);
    missing.is_named(
        "doctor prefix missing",
        &["signature-prefix"],
        &["lacks the prefix `sha256=`", "without `prefix`"],
    );
    let capitals = github().with("X-Hub-Signature-256", &format!("SHA256={tag}"));
    capitals.is_named(
        "doctor prefix other",
        &["signature-prefix"],
        &["has `SHA256=` before it, and the scheme expects `sha256=`"],
    );
    let coinbase = published("coinbase_commerce", "coinbase-valid");
    let value = format!("sha256={}", coinbase.get("X-CC-Webhook-Signature"));
    let extra = coinbase.with("X-CC-Webhook-Signature", &value);
    extra.is_named(
        "doctor prefix extra",
        &["signature-prefix"],
        &["which the scheme does not expect", "\"prefix\": \"sha256=\""],
    );
    let stripe = published("stripe", "stripe-valid");
    let value = stripe.get("Stripe-Signature").replace("v1=", "v2=");
    let listed = stripe.with("Stripe-Signature", &value);
    listed.is_named(
        "doctor prefix in a list",
        &["signature-prefix"],
        &["has `v2=` before it, and the scheme expects `v1=`"],
    );
}

#[test]
fn quotes_around_the_signature() {
    let value = format!("\"{}\"", github().get("X-Hub-Signature-256"));
    let delivery = github().with("X-Hub-Signature-256", &value);
    delivery.is_named("doctor signature quotes", &["signature-quotes"], &["has quotes or blanks around it"]);
}

// The body.

/// Bodies of published vectors.
fn body_of(provider: &str, name: &str) -> Vec<u8> {
    published(provider, name).body
}

fn pretty(body: &[u8]) -> Vec<u8> {
    let value: Value = serde_json::from_slice(body).unwrap();
    serde_json::to_vec_pretty(&value).unwrap()
}

const REWRITTEN: &str = "forward the bytes as they came";

#[test]
fn a_body_that_was_signed_minified() {
    // One key each, so that no order can be lost.
    let delivery = published("mux", "mux-valid");
    let body = pretty(&delivery.body);
    delivery.body(body).is_named(
        "doctor minified",
        &["body-minified"],
        &["the JSON without blanks", REWRITTEN],
    );
}

#[test]
fn a_body_that_was_signed_over_several_lines() {
    let delivery = published("razorpay", "razorpay-valid");
    let lines: Vec<&str> = std::str::from_utf8(&delivery.body).unwrap().lines().map(str::trim).collect();
    let minified = lines.concat().replace("\": ", "\":");
    let found = delivery.body(minified);
    found.is_named(
        "doctor pretty",
        &["body-pretty"],
        &["indented by 2, with a newline at its end", REWRITTEN],
    );
    for (number, (indent, words)) in
        [("  ", "indented by 2;"), ("    ", "indented by 4"), ("\t", "indented by tabs")]
            .into_iter()
            .enumerate()
    {
        let delivery =
            signed(format!("{{\n{indent}\"test\": \"body\"\n}}").as_bytes(), b"{\"test\":\"body\"}");
        delivery.is_named(&format!("doctor pretty {number}"), &["body-pretty"], &[words]);
    }
}

#[test]
fn a_body_that_python_signed() {
    let delivery = published("paddle", "paddle-valid");
    let minified = text(&delivery.body).replace(' ', "");
    delivery.body(minified).is_named(
        "doctor python",
        &["body-python-separators"],
        &["json.dumps", "20 bytes were signed and 18 are here, which differ from byte 9 on", REWRITTEN],
    );
}

#[test]
fn a_body_that_was_signed_with_its_keys_sorted() {
    let body = body_of("viber", "viber-valid");
    let value: Value = serde_json::from_slice(&body).unwrap();
    let sorted = serde_json::to_vec(&value).unwrap();
    assert_ne!(body, sorted);
    signed(&sorted, &body).is_named("doctor sorted", &["body-sorted-keys"], &["its keys sorted", REWRITTEN]);
}

#[test]
fn a_body_that_was_signed_with_other_escapes() {
    let plain = |words: &str| text(&body_of("box", "box-emoji")).replace("\\ud83d\\ude00", words);
    let escaped = published("box", "box-emoji").body(plain("😀"));
    escaped.is_named(
        "doctor ascii",
        &["body-unicode-escapes"],
        &["with \\u escapes for all but ASCII", REWRITTEN],
    );
    let unescaped = signed(plain("é😀").as_bytes(), plain("\\u00e9\\ud83d\\ude00").as_bytes());
    unescaped.is_named("doctor unescaped", &["body-unicode-escapes"], &["with characters for \\u escapes"]);
    let slashes = plain("a/b").replace('/', "\\/");
    signed(slashes.as_bytes(), plain("a/b").as_bytes()).is_named(
        "doctor slashes",
        &["body-slash-escapes"],
        &["`\\/` for each slash"],
    );
    let php = plain("a/b\\u00e9").replace('/', "\\/");
    signed(php.as_bytes(), plain("a/bé").as_bytes()).is_named(
        "doctor php",
        &["body-slash-escapes"],
        &["as PHP writes it"],
    );
    let go = plain("\\u003ca\\u003e \\u0026");
    signed(go.as_bytes(), plain("<a> &").as_bytes()).is_named(
        "doctor go",
        &["body-html-escapes"],
        &["as Go writes them"],
    );
}

#[test]
fn a_body_that_is_a_json_text() {
    let body = body_of("mux", "mux-valid");
    let twice = serde_json::to_vec(&text(&body)).unwrap();
    signed(&twice, &body).is_named(
        "doctor json text",
        &["body-json-text"],
        &["once more encoded as a JSON text"],
    );
    signed(&body, &twice).is_named("doctor json inner", &["body-json-text"], &["inside the JSON text"]);
}

#[test]
fn a_newline_at_the_end_of_the_body() {
    let missing = published("sendgrid", "sendgrid-valid");
    let body = missing.body.strip_suffix(b"\r\n").unwrap().to_vec();
    missing.body(body).is_named(
        "doctor newline missing",
        &["body-newline-missing"],
        &["that is missing here", "keep the newline"],
    );
    for end in ["\n", "\r\n"] {
        let added = github().body(format!("Hello, World!{end}"));
        let test = format!("doctor newline added {}", end.len());
        added.is_named(
            &test,
            &["body-newline-added"],
            &["that the sender did not sign", "take it off the capture"],
        );
    }
    github().body("  Hello, World!\n\n").is_named(
        "doctor blanks",
        &["body-blanks"],
        &["blanks or newlines around it"],
    );
}

#[test]
fn other_line_endings() {
    let razorpay = published("razorpay", "razorpay-valid");
    let crlf = text(&razorpay.body).replace('\n', "\r\n");
    let words = ["line ends of LF, and the body has CRLF", "keep the line ends"];
    razorpay.clone().body(&crlf).is_named("doctor crlf", &["body-line-endings"], &words);
    // Not JSON, so that nothing but the line ends explains it.
    let delivery = signed(b"one\r\ntwo\r\nthree", b"one\ntwo\nthree");
    delivery.is_named("doctor lf", &["body-line-endings"], &["line ends of CRLF, and the body has LF"]);
}

#[test]
fn a_byte_order_mark() {
    github().body("\u{feff}Hello, World!").is_named(
        "doctor bom",
        &["body-bom"],
        &["has a byte order mark", "did not sign"],
    );
    let missing = signed("\u{feff}Hello, World!".as_bytes(), b"Hello, World!");
    missing.is_named("doctor bom missing", &["body-bom"], &["lacks a byte order mark"]);
}

#[test]
fn a_body_that_was_signed_unpacked() {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(b"Hello, World!").unwrap();
    let packed = github().body(packer.finish().unwrap()).with("Content-Encoding", "gzip");
    packed.is_named(
        "doctor gzip",
        &["body-encoded"],
        &["packed with gzip", "the filter judges the bytes as they come"],
    );
    packed.found("doctor gzip", "content-encoding", "content-encoding is gzip");
}

#[test]
fn a_form_that_was_decoded() {
    let slack = published("slack", "slack-docs");
    let decoded = text(&slack.body).replace("%3A", ":").replace("%2F", "/");
    let form = signed(decoded.as_bytes(), &slack.body);
    form.is_named("doctor form decoded", &["body-form-decoded"], &["signed the form decoded", REWRITTEN]);
    let payload = signed(b"{\"a\": \"b c\"}", b"x=1&payload=%7B%22a%22%3A+%22b+c%22%7D");
    payload.is_named("doctor form payload", &["body-form-decoded"], &["its parameter `payload` holds"]);
    let small = text(&slack.body).replace("%3A", "%3a").replace("%2F", "%2f");
    slack.body(small).is_named(
        "doctor form escapes",
        &["body-form-escapes"],
        &["with its escapes in capitals"],
    );
}

#[test]
fn blanks_in_a_form() {
    let plus = signed(b"text=a+b&x=1", b"text=a%20b&x=1");
    plus.is_named("doctor form plus", &["body-form-blanks"], &["with `+` for blanks, and it has `%20` here"]);
    let escaped = signed(b"text=a%20b&x=1", b"text=a+b&x=1");
    escaped.is_named(
        "doctor form blanks",
        &["body-form-blanks"],
        &["with `%20` for blanks, and it has `+` here"],
    );
}

#[test]
fn an_empty_body_was_signed() {
    signed(b"", b"Hello, World!").is_named(
        "doctor empty",
        &["body-empty"],
        &["signed an empty body", "a stream that was read once"],
    );
}

#[test]
fn another_charset() {
    let latin = signed(b"na\xefve", "naïve".as_bytes());
    latin.is_named("doctor latin", &["body-charset"], &["in ISO 8859-1, and it is here in UTF-8"]);
    let unicode = signed("naïve".as_bytes(), b"na\xefve");
    unicode.is_named("doctor unicode", &["body-charset"], &["in UTF-8, and it is here in ISO 8859-1"]);
}

#[test]
fn a_body_that_goes_on_behind_its_length() {
    let cut = github().with("Content-Length", "5");
    cut.is_named(
        "doctor length",
        &["body-length"],
        &["content-length names less", "capture the request anew"],
    );
    cut.found("doctor length found", "content-length", "content-length is 5, and the body here has 13 bytes");
}

// The time.

#[test]
fn milliseconds_and_seconds() {
    let unit = |provider: &str, unit: &str| {
        let mut field = json_of("src/core/catalogue.json")[provider]["scheme"]["timestamp"].clone();
        field["unit"] = json!(unit);
        field
    };
    let sanity = published("sanity", "sanity-valid").scheme("timestamp", unit("sanity", "s"));
    sanity.is_named(
        "doctor ms",
        &["milliseconds-for-seconds"],
        &["in milliseconds, and the scheme expects seconds", "\"unit\": \"ms\""],
    );
    let stripe = published("stripe", "stripe-valid").scheme("timestamp", unit("stripe", "ms"));
    stripe.is_named(
        "doctor s",
        &["seconds-for-milliseconds"],
        &["in seconds, and the scheme expects milliseconds"],
    );
    let sent = published("slack", "slack-docs").with("X-Slack-Request-Timestamp", "1531420618000");
    sent.is_named(
        "doctor ms sent",
        &["milliseconds-for-seconds"],
        &["in milliseconds and signs it in seconds"],
    );
    let date = published("box", "box-emoji")
        .scheme("timestamp", json!({"header": "box-delivery-timestamp", "unit": "s"}));
    date.is_named("doctor unit", &["time-unit"], &["as a date in RFC 3339", "\"unit\": \"rfc3339\""]);
}

#[test]
fn a_delivery_that_is_too_old_or_too_new() {
    let at = |now: &str| Delivery { now: Some(now.to_owned()), ..published("slack", "slack-docs") };
    let late = at("1531424218");
    late.is_named(
        "doctor stale",
        &["stale"],
        &["The signature holds", "60 min before the time of --now", "admits 300 s", "tolerance_seconds"],
    );
    let early = at("2018-07-12T18:35:00Z");
    early.is_named("doctor future", &["future"], &["118 s after the time of --now", "admits 60 s"]);
    let clock = Delivery { now: None, ..late.clone() };
    clock.is_named(
        "doctor clock",
        &["stale"],
        &["days before this machine's clock", "give the time of the refusal with --now"],
    );
    // Beside another cause it is a finding.
    let both = late.secret(format!("{}\n\n", text(&at("0").secrets[0])));
    both.is_named("doctor stale too", &["secret-blanks"], &[]);
    both.found("doctor stale finding", "stale", "With that its time lies 60 min before");
}

// The signed content.

/// Slack's published delivery, whose sender signs what is made of its time and body.
fn slack_signs(content: impl Fn(&[u8], &[u8]) -> Vec<u8>) -> Delivery {
    let slack = published("slack", "slack-docs");
    let content = content(slack.get("X-Slack-Request-Timestamp").as_bytes(), &slack.body);
    let signature = format!("v0={}", HEXLOWER.encode(&hmac(&slack.secrets[0], &content)));
    slack.with("X-Slack-Signature", &signature)
}

#[test]
fn signed_without_the_time() {
    let bare = slack_signs(|_, body| body.to_vec());
    bare.is_named(
        "doctor timeless",
        &["signed-without-time"],
        &["without the time: {body} instead of", "nothing stops a replay"],
    );
    let versioned = slack_signs(|_, body| [b"v0:", body].concat());
    versioned.is_named("doctor timeless v0", &["signed-without-time"], &["without the time: v0:{body}"]);
}

#[test]
fn signed_with_another_separator() {
    for (number, (before, between, words)) in [
        ("v0:", ".", "with `.` between the parts: v0:{timestamp}.{body} instead of v0:{timestamp}:{body}"),
        ("", ".", "\"signed\": \"{timestamp}.{body}\""),
        ("", "", "with nothing between the parts"),
        ("", "\n", "with a newline between the parts: {timestamp}\\n{body}"),
    ]
    .into_iter()
    .enumerate()
    {
        let slack = slack_signs(|time, body| [before.as_bytes(), time, between.as_bytes(), body].concat());
        slack.is_named(&format!("doctor separator {number}"), &["separator"], &[words]);
    }
}

#[test]
fn signed_in_another_order_or_without_the_id() {
    let slack = slack_signs(|time, body| [body, time].concat());
    slack.is_named("doctor order", &["signed-content"], &["in another order: {body}{timestamp}"]);
    let standard = published("standard_webhooks", "standard-webhooks-prefix");
    let key = BASE64.decode(&standard.secrets[0][6..]).unwrap();
    let content = [standard.get("webhook-timestamp").as_bytes(), b".", &standard.body].concat();
    let signature = format!("v1,{}", BASE64.encode(&hmac(&key, &content)));
    let idless = standard.with("webhook-signature", &signature);
    idless.is_named("doctor idless", &["signed-content"], &["without the id: {timestamp}.{body}"]);
}

#[test]
fn signed_with_a_time_that_the_scheme_does_not_know() {
    let delivery = signed(b"1700000000.Hello, World!", b"Hello, World!").with("X-Sent-At", "1700000000");
    let words = ["together with the time in x-sent-at", "\"signed\": \"{header:x-sent-at}.{body}\""];
    delivery.is_named("doctor timed", &["signed-with-time"], &words);
}

// The place.

#[test]
fn the_header_of_a_sibling() {
    let mut legacy = published("github", "gidgethub-http");
    legacy.remove("X-Hub-Signature-256");
    legacy.is_named(
        "doctor sibling",
        &["sibling-header"],
        &["in the headers of github_sha1", "\"provider\": \"github_sha1\""],
    );
    legacy.found(
        "doctor sibling found",
        "signature-like-header",
        "found x-hub-signature, expected x-hub-signature-256",
    );
    let svix = published("svix", "svix-large-262143").claimed("standard_webhooks");
    svix.is_named("doctor svix", &["sibling-header"], &["in the headers of", "svix"]);
    let bitbucket =
        published("bitbucket_cloud", "bitbucket-cloud-docs").claimed("github").with("X-Request-UUID", "1");
    bitbucket.is_named("doctor bitbucket", &["sibling-header"], &["\"provider\": \"bitbucket_cloud\""]);
}

#[test]
fn a_header_that_was_renamed() {
    let delivery = github().rename("X-Hub-Signature-256", "X-Forwarded-Sig");
    delivery.is_named(
        "doctor renamed",
        &["other-header"],
        &["is in x-forwarded-sig", "the proxy that renames it"],
    );
}

#[test]
fn another_provider() {
    let stripe = published("stripe", "stripe-valid").claimed("slack");
    stripe.is_named(
        "doctor provider",
        &["other-provider"],
        &["is signed as stripe", "not as slack", "\"provider\": \"stripe\""],
    );
    let key = published("standard_webhooks_ed25519", "standard-webhooks-v1a-ed25519").claimed("github");
    key.is_named("doctor provider key", &["other-provider"], &["is signed as standard_webhooks_ed25519"]);
}

#[test]
fn a_token_instead_of_a_signature() {
    let bearer = |value: &str| {
        let mut delivery = github().with("Authorization", value);
        delivery.remove("X-Hub-Signature-256");
        delivery
    };
    let secret = text(&github().secrets[0]);
    let token = bearer(&format!("Bearer {secret}"));
    token.is_named(
        "doctor token",
        &["token-not-signature"],
        &["the secret itself in authorization", "\"token\": {\"bearer\": true"],
    );
    let basic = bearer(&format!("Basic {}", BASE64.encode(format!("hook:{secret}").as_bytes())));
    basic.is_named("doctor basic", &["token-not-signature"], &["as the password of Basic"]);
    let header = bearer("none").with("X-Gitlab-Token", &secret);
    header.is_named(
        "doctor token header",
        &["token-not-signature"],
        &["in x-gitlab-token, as gitlab sends it"],
    );
    let mut query = bearer("none");
    query.secrets = vec![b"0123456789abcdef".to_vec()];
    query.target = "/hook?token=0123456789abcdef".to_owned();
    query.is_named("doctor token query", &["token-not-signature"], &["in the query parameter token"]);
}

#[test]
fn a_token_in_another_place() {
    let secret = text(&github().secrets[0]);
    let mut renamed = github().claimed("gitlab").with("X-Token", &secret);
    renamed.remove("X-Hub-Signature-256");
    renamed.is_named(
        "doctor token place",
        &["token-place"],
        &["The token is in x-token", "\"header\": \"x-token\""],
    );
    let right = github().claimed("gitlab").with("X-Gitlab-Token", &secret);
    right.holds("doctor token holds");
    right.secret(format!("{secret}\n\n")).is_named(
        "doctor token newline",
        &["secret-blanks"],
        &["a newline at its end"],
    );
    let signed = github().claimed("gitlab").with("X-GitHub-Delivery", "1");
    signed.is_named("doctor token signed", &["other-provider"], &["is signed as github", "not as gitlab"]);
}

// The URL.

#[test]
fn another_scheme_port_or_host_in_the_url() {
    let twilio = || published("twilio", "twilio-https-443");
    let target = twilio().target;
    for (code, base, words) in [
        ("url-scheme", "http://mycompany.com:443", "its scheme (http or https) differs"),
        ("url-port", "https://mycompany.com", "its port differs"),
        ("url-port", "https://mycompany.com:8443", "set `public_url` to https://mycompany.com:443"),
        ("url-host", "https://www.mycompany.com:443", "its host differs"),
    ] {
        let test = format!("doctor {code} {}", base.len());
        twilio().url(base, &target).is_named(&test, &[code], &[words]);
    }
    let mut asked = twilio().url("https://gateway.internal", &target);
    asked.host = "mycompany.com:443".to_owned();
    asked.is_named(
        "doctor url host asked",
        &["url-host"],
        &["https://mycompany.com:443/myapp.php?…", "its host and its port"],
    );
    let forwarded =
        twilio().url("https://gateway.internal:443", &target).with("X-Forwarded-Host", "mycompany.com");
    forwarded.is_named("doctor url host forwarded", &["url-host"], &["its host differs"]);
}

#[test]
fn another_path_in_the_url() {
    let square = || published("square", "square-valid");
    let (base, target) = (square().public_url.unwrap(), square().target);
    let slash = square().url(&base, &format!("{target}/"));
    slash.is_named("doctor url slash", &["url-trailing-slash"], &["the slash at its end differs"]);
    let prefixed = square().url(&base, &format!("/edge{target}"));
    prefixed.is_named("doctor url prefix", &["url-path"], &["its path differs", "rewrite the path"]);
    let stripped = square().url(&base, "/").with("X-Envoy-Original-Path", &target);
    stripped.is_named("doctor url stripped", &["url-path"], &["its path differs"]);
    let doubled = square().url(&format!("{base}/edge"), &target);
    doubled.is_named("doctor url base", &["url-path"], &["its path differs"]);
}

#[test]
fn another_query_in_the_url() {
    let twilio = || published("twilio", "twilio-https-443");
    let base = twilio().public_url.unwrap();
    let words = ["its query differs", "enter the URL with the query"];
    twilio().url(&base, "/myapp.php?bar=2&foo=1").is_named("doctor query order", &["url-query"], &words);
    twilio().url(&base, "/myapp.php?foo=1&bar=2&edge=3").is_named(
        "doctor query more",
        &["url-query"],
        &words,
    );
    let json = published("square", "square-valid");
    let (base, target) = (json.public_url.clone().unwrap(), json.target.clone());
    json.url(&base, &format!("{target}?utm=1")).is_named("doctor query none", &["url-query"], &words);
}

#[test]
fn a_url_that_nobody_gave() {
    let mut twilio = published("twilio", "twilio-https-443");
    twilio.public_url = None;
    twilio.host = "mycompany.com".to_owned();
    twilio.is_named("doctor url assumed", &["url-port"], &["set `public_url` to https://mycompany.com:443"]);
    twilio.found("doctor url assumed found", "public-url-assumed", "https://mycompany.com is assumed");
    let run = twilio.diagnose("doctor url wrong", &twilio.raw(), &["--public-url", "mycompany.com"]);
    assert_eq!(run.status, 2, "{run:?}");
    assert!(run.stderr.contains("--public-url: is not an absolute URL"), "{run:?}");
}

// Two at once.

#[test]
fn a_secret_and_something_else() {
    let delivery = published("stripe", "stripe-valid").claimed("slack").secret("webhook_secret\n\n");
    delivery.is_named(
        "doctor pair provider",
        &["other-provider", "secret-blanks"],
        &["is signed as stripe", "a newline at its end"],
    );
    let body = github().body("Hello, World!\n").secret("\"It's a Secret to Everybody\"");
    body.is_named("doctor pair body", &["body-newline-added", "secret-quotes"], &[]);
    let mut other =
        published("twilio", "twilio-https-443").url("https://mycompany.com", "/myapp.php?foo=1&bar=2");
    other.secrets.insert(0, b"the new secret of 2027".to_vec());
    other.is_named("doctor pair url", &["url-port", "other-secret"], &[]);
}

// Findings.

#[test]
fn what_the_headers_tell_is_said() {
    let mut none = github();
    none.remove("X-Hub-Signature-256");
    none.found("doctor none", "header-missing", "x-hub-signature-256 (the signature) is not there");
    none.found("doctor none at all", "no-signature-header", "no header of the request looks like");
    let mut twice = github();
    twice.headers.push(("x-hub-signature-256".to_owned(), "sha256=00".to_owned()));
    twice.found(
        "doctor twice",
        "header-twice",
        "x-hub-signature-256 (the signature) is there more than once",
    );
    let odd = github().with("X-Hub-Signature-256", "sha256=not hexadecimal");
    odd.found("doctor unreadable", "signature-unreadable", "in hexadecimal behind `sha256=`");
    let slack = published("slack", "slack-docs");
    let mut timeless = slack.clone();
    timeless.remove("X-Slack-Request-Timestamp");
    timeless.found("doctor no time", "header-missing", "x-slack-request-timestamp (the signed time)");
    let hubspot = published("hubspot_v1", "hubspot-v1").with("X-HubSpot-Signature-Version", "v2");
    hubspot.found("doctor requirement", "requirement", "x-hubspot-signature-version is not \"v1\"");
    let challenge = slack.body("{\"type\":\"url_verification\",\"challenge\":\"abc\"}");
    challenge.found(
        "doctor handshake",
        "handshake",
        "with which the provider tests an endpoint, signed like a delivery",
    );
    let mut dropbox = github().claimed("dropbox");
    dropbox.target = "/hook?challenge=abc".to_owned();
    dropbox.body.clear();
    let get = text(&dropbox.raw()).replacen("POST", "GET", 1);
    let run = dropbox.diagnose("doctor handshake get", get.as_bytes(), &[]);
    assert!(run.stdout.contains("which nothing signs: the gateway answers it"), "{run:?}");
}

#[test]
fn a_question_that_cannot_be_asked() {
    let request = file("doctor usage", "request", github().raw());
    let broken = file("doctor usage", "broken.json", "{\"algorithm\": \"hmac-sha257\"}");
    let secret = file("doctor usage", "secret", "0123456789abcdef");
    let with = |more: &[&str]| {
        let all = [&["doctor", "--request", &request], more].concat();
        let run = run(&all, &[("HOOK_SECRET", "0123456789abcdef")], b"");
        assert_eq!(run.status, 2, "{run:?}");
        run.stderr
    };
    for (arguments, words) in [
        (&["--provider", "githb", "--secret-env", "HOOK_SECRET"][..], "did you mean \"github\"?"),
        (&["--provider", "github", "--secret-env", "NO_SUCH"], "NO_SUCH is not set"),
        (&["--provider", "github"], "--secret-env"),
        (&["--secret-file", &secret], "--provider"),
        (&["--scheme", &broken, "--secret-file", &secret], "broken.json: signed: is required"),
        (&["--provider", "github", "--secret-file", &secret, "--now", "noon"], "neither RFC 3339"),
    ] {
        let said = with(arguments);
        assert!(said.contains(words), "{arguments:?}: {words:?} is not in {said}");
    }
}

/// A small generator of numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn pick<'l>(&mut self, list: &[&'l str]) -> &'l str {
        list[usize::try_from(self.next()).unwrap() % list.len()]
    }

    fn bytes(&mut self) -> Vec<u8> {
        let count = self.next() % 64;
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

#[test]
fn garbage_never_fits_and_never_breaks_it() {
    let mut dice = Dice(0x5eed);
    let providers =
        ["github", "stripe", "twilio", "svix", "linear", "discord", "gitlab", "hubspot_v2", "wise"];
    let names = [
        "X-Hub-Signature-256",
        "Stripe-Signature",
        "svix-signature",
        "svix-id",
        "X-Twilio-Signature",
        "Date",
    ];
    let values = [
        "sha256=",
        "t=1,v1=",
        "====",
        "v1,",
        "%%%",
        "\"\"",
        "t=99999999999999999999,v1=00",
        "v1,AAAA v1,BBBB",
        "sha256=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
    ];
    let bodies = [
        "",
        "{",
        "[[[[",
        "{\"a\":\"\\ud800\"}",
        "%",
        "a=%zz&=",
        "\u{feff}",
        "\"\\\"",
        "{\"a\":1e999,\"a\":2}",
    ];
    for round in 0..40 {
        let mut delivery =
            github().claimed(dice.pick(&providers)).secret(format!("s{:x}-padding", dice.next()));
        delivery.headers.clear();
        for _ in 0..3 {
            let (name, value) = (dice.pick(&names), dice.pick(&values));
            delivery.headers.push((name.to_owned(), value.to_owned()));
        }
        delivery.target = dice.pick(&["/", "/?", "/a//b?&&=", "/%zz?x=%"]).to_owned();
        delivery.body = if round % 3 == 0 { dice.bytes() } else { dice.pick(&bodies).as_bytes().to_vec() };
        let run = delivery.diagnose("doctor garbage", &delivery.raw(), &["--format", "json"]);
        assert_eq!(run.status, 1, "{round}: {run:?}");
        assert!(run.stdout.contains("\"outcome\": \"nothing_fits\""), "{round}: {run:?}");
        let noise = dice.bytes();
        let run = delivery.diagnose("doctor noise", &noise, &[]);
        assert!(run.status == 1 || run.status == 2, "{round}: {run:?}");
    }
}
