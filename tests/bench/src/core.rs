//! A micro benchmark of the core: the same code natively (`rig core`) and inside V8 (`filters/core.rs`).
//!
//! Responsible for what one decision costs, and how that grows with what it has to choose from. Every decision that is
//! timed is looked at first: a benchmark of refusals would be a fast one.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt::Write as _;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use webhook_guard_core::config::{self, Configuration};
use webhook_guard_core::decision::Decision;
use webhook_guard_core::feed::Lists;
use webhook_guard_core::policy::AfterHeaders;
use webhook_guard_core::request::{Facts, Headers, Millis};
use webhook_guard_core::signature::End;
use webhook_guard_core::signature::hmac::HmacKind;

const SECRET: &str = "bench-signing-secret-of-the-sender";
const TOKEN: &str = "bench-url-token-of-the-sender";
const NOW: Millis = Millis(1_795_000_000_000);
/// Keys that were made for this, and a signature by each of them over something else.
const ED25519_KEY: &str = "851ea25ab49b30a7fb34cbf2a33807fd06ae2859dd40ee04673d4bee5e3f8dd8";
const ED25519_SIGNATURE: &str = "98b549572c3ba98a8e1bf0b8cf2e233f2f7fbca3729d27b599e3e9657258d981174b738164549cade5544467f2f2db56ddbe\
    293422febb54b2ff631d82c13f06";
const P256_KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEi+rBbdBFPjMVa/7wvkcSjPNC2RoMZ7gynvvdZgzbL/uJVgG8Jm5sBVCjZSPh/fe7\
    k0JhzL5OnZUeIhTmjGSpjw==";
const P256_SIGNATURE: &str =
    "MEYCIQCturYklhrirXTtV//YoYaZBFoWy/1vL9PI7dkBOywjFgIhAPR7IWPW/DEzyUyulIAn8Y88wDn0RWnAIixjlemJNWZi";
const RSA_KEY: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAmhTUoGxv0ZLi1OQGwbrQ213Kg/tXcai6y+OketjcK/PEcFr2gjBznY3M\
    AIULCyUs1jnObOWsAMEI0GbsgNvp93iK9B7u85C5LF3/L832M+RP1id7VYDgNIcJ217b+3Sd6xR4m/xt0J02go+tjAwK+ENLy7U1\
    +aBMl/CcAoVnbN1gxKyAZKTrmUcxjZspVv9Vt+85IZkI6q5tbcnaoorpGzH6Bj1xGUy515FNe6qmpwX7Tl/p7McHduUlkpmcKntN\
    Cq6gN2ClyEkAf1s+h3UF80Lc/pgYgfZyDnHhRbcRJoLZUuj5lFN1mLtE624NBjxpaSpgVggkDuMGSkA0PDrBqwIDAQAB";
const RSA_SIGNATURE: &str = "ifLZp3Ufj/lmSsb7sL7O3dDOhcDQYnLqo5ZDEyAmoOZ4YFeoNEkZFxvseelsHQtv6SgBPb8UnPCRx6JNKbhEnNyPbdghufsm65uV\
    OXy1TGTcXQPe0vzrFJaNvd398TWs8r3JfIyZZ3dckiMD3ffP/5bXzi11FALf3dn4eClXFwwOFmqXeze+nXK8mu/JJnr1zCojrvXi\
    JCw1uvc20fTZSgVsiJqTWCmY2BQ+i4vp182se5JJg4G7N3l6NnkBMQud+sTNWLJsapUw5l4W6nE2ON2zN+dZaGD0lcrpS6MwNE8O\
    UcQ+fmDUZO4kUbLDkFAyFioG29LPDsQHzpXuJNit2g==";
/// How long each of the repetitions runs.
const TURN: Duration = Duration::from_millis(4);
const TURNS: usize = 7;

/// Runs everything and reports one row after another: its group, its name, nanoseconds.
pub fn run(report: &mut dyn FnMut(&str, &str, f64)) {
    let everything = Case::default();
    report("a decision", "address, token and signature; no body", everything.accepted());
    report(
        "a decision",
        "refused: no policy",
        Case { path: "/elsewhere", ..Case::default() }.decided("no_policy"),
    );
    report(
        "a decision",
        "refused: address",
        Case { source: "192.0.2.1:1", ..Case::default() }.decided("source_ip_not_allowed"),
    );
    report(
        "a decision",
        "refused: token",
        Case { token: "another", ..Case::default() }.decided("token_mismatch"),
    );
    for policies in [1, 100, 10_000] {
        report("policies", &count(policies), Case { policies, prefixes: 1, ..Case::default() }.accepted());
    }
    for prefixes in [1, 1_000, 100_000, 1_000_000] {
        report("prefixes", &count(prefixes), Case { prefixes, ..Case::default() }.accepted());
    }
    for secrets in [1, 2, 4, 16] {
        report("secrets", &count(secrets), Case { secrets, prefixes: 1, ..Case::default() }.accepted());
    }
    for candidates in [1, 4, 16, 1_000] {
        report(
            "signatures that the sender lists",
            &count(candidates),
            Case { candidates, prefixes: 1, ..Case::default() }.accepted(),
        );
    }
    let body = vec![0_u8; 64 << 10];
    for (name, kind) in
        [("SHA-1", HmacKind::Sha1), ("SHA-256", HmacKind::Sha256), ("SHA-512", HmacKind::Sha512)]
    {
        let Some(key) = kind.key(b"key") else { continue };
        let time = best(|| {
            let mut mac = key.clone();
            mac.update(&body);
            black_box(mac.finish());
        });
        report("HMAC, a KiB", name, time / 64.0);
    }
    for dearest in Dearest::all() {
        report("the dearest request that nobody signed, 1 MiB", dearest.name, dearest.refused());
    }
    let text = Case::default().configuration();
    report("configuration with 100,000 prefixes", "read", best(|| drop(black_box(read(&text)))));
}

fn count(number: usize) -> String {
    number.to_string()
}

/// The shortest mean of some turns, in nanoseconds: everything else is somebody else's work.
fn best(mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    work();
    let runs = (TURN.as_nanos() / start.elapsed().as_nanos().max(1)).clamp(1, 100_000) as u32;
    let turn = |_| {
        let start = Instant::now();
        (0..runs).for_each(|_| work());
        start.elapsed().as_nanos() as f64 / f64::from(runs)
    };
    (0..TURNS).map(turn).fold(f64::INFINITY, f64::min)
}

fn read(text: &str) -> Configuration {
    config::parse(text.as_bytes(), &|_| None).unwrap()
}

/// A request and the configuration that judges it.
struct Case {
    policies: usize,
    prefixes: usize,
    secrets: usize,
    candidates: usize,
    path: &'static str,
    source: &'static str,
    token: &'static str,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            policies: 1,
            prefixes: 100_000,
            secrets: 1,
            candidates: 1,
            path: "/hooks/0",
            source: "127.0.0.1:40000",
            token: TOKEN,
        }
    }
}

impl Case {
    /// The configuration: so many policies, and in each so many prefixes and secrets. The secret that signs is the last.
    fn configuration(&self) -> String {
        // Every other /30, so that none merges with its neighbour.
        let first = u32::from(Ipv4Addr::new(128, 0, 0, 0));
        let mut prefixes: Vec<String> =
            (1..self.prefixes as u32).map(|n| format!("\"{}/30\"", Ipv4Addr::from(first + n * 8))).collect();
        prefixes.push("\"127.0.0.1\"".to_owned());
        let mut secrets: Vec<String> =
            (1..self.secrets).map(|n| format!("{{\"value\": \"another-signing-secret-{n}\"}}")).collect();
        secrets.push(format!("{{\"value\": \"{SECRET}\", \"id\": \"2026\"}}"));
        let (prefixes, secrets) = (prefixes.join(","), secrets.join(","));
        let policies: Vec<String> = (0..self.policies)
            .map(|n| {
                format!(
                    r#"{{"name": "p{n}", "match": {{"path": {{"prefix": "/hooks/{n}"}}, "hosts": ["hooks.example.com"]}},
                    "require": {{"source_ip": {{"allow": [{prefixes}]}},
                    "token": {{"query": "token", "secrets": [{{"value": "{TOKEN}", "id": "token"}}]}},
                    "signature": {{"scheme": {{"algorithm": "hmac-sha256", "signed": "{{body}}",
                    "signature": {{"header": "x-hub-signature-256", "prefix": "sha256=", "split": ",", "encoding": "hex"}},
                    "delivery_id": {{"header": "x-github-delivery"}}}}, "secrets": [{secrets}]}}}}}}"#
                )
            })
            .collect();
        format!(r#"{{"policies": [{}]}}"#, policies.join(","))
    }

    fn headers(&self) -> Headers {
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(b"");
        let tag: String = mac.finalize().into_bytes().iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        });
        // The last one that is looked at is the right one.
        let mut tags = vec![format!("sha256={}", "0".repeat(64)); self.candidates];
        tags[self.candidates.min(16) - 1] = format!("sha256={tag}");
        let (tags, target) = (tags.join(","), format!("{}?token={}", self.path, self.token));
        let pairs = [
            (":authority", "hooks.example.com"),
            (":path", &*target),
            (":method", "POST"),
            (":scheme", "https"),
            ("content-type", "application/json"),
            ("content-length", "0"),
            ("x-hub-signature-256", &*tags),
            ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            ("x-github-event", "push"),
            ("user-agent", "GitHub-Hookshot/1"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-request-id", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ];
        Headers::from_pairs(pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    fn accepted(&self) -> f64 {
        self.decided("ok")
    }

    /// From the host's bytes to the decision, which must have this reason: nanoseconds.
    fn decided(&self, reason: &str) -> f64 {
        let configuration = read(&self.configuration());
        let map = self.headers().to_abi();
        let decide = || {
            let headers = Headers::from_abi(map.clone()).unwrap();
            let facts = Facts {
                headers: &headers,
                source: Some(self.source.as_bytes()),
                client_certificate: None,
                route_policy: None,
                now: NOW,
                ends_with_headers: true,
            };
            match configuration.policies.open(&facts, &Lists::default()).step {
                AfterHeaders::Settled(decision) => Some(decision),
                AfterHeaders::Leave | AfterHeaders::AwaitBody(_) => None,
            }
        };
        let found = decide().map(|decision: Decision| decision.verdict.reason_code());
        assert_eq!(found, Some(reason));
        best(|| drop(black_box(decide())))
    }
}

/// What a stranger can make the guard compute with one request: a body of 1 MiB, as many claims as are looked at where
/// each costs an operation, and nothing in the head that is wrong.
struct Dearest {
    name: &'static str,
    algorithm: &'static str,
    signed: &'static str,
    /// How signature and key are written.
    encoding: &'static str,
    secret: &'static str,
    signature: String,
    body: Vec<u8>,
}

impl Dearest {
    fn all() -> Vec<Self> {
        let four = |signature: &str| [signature; 4].join(",");
        let zeros = |bytes: usize| "0".repeat(2 * bytes);
        let of = |name, algorithm, encoding, secret, signature| Self {
            name,
            algorithm,
            signed: "{body}",
            encoding,
            secret,
            signature,
            body: vec![b'x'; 1 << 20],
        };
        vec![
            of("HMAC-SHA1, one secret", "hmac-sha1", "hex", SECRET, zeros(20)),
            of("HMAC-SHA256, one secret", "hmac-sha256", "hex", SECRET, zeros(32)),
            of("HMAC-SHA512, one secret", "hmac-sha512", "hex", SECRET, zeros(64)),
            of("Ed25519, four claims", "ed25519", "hex", ED25519_KEY, four(ED25519_SIGNATURE)),
            of("ECDSA P-256, four claims", "ecdsa-p256-sha256", "base64", P256_KEY, four(P256_SIGNATURE)),
            of("RSA-2048, four claims", "rsa-sha256", "base64", RSA_KEY, four(RSA_SIGNATURE)),
            Self {
                signed: "{secret}{body}",
                ..of("sha256 over secret and body", "sha256", "hex", SECRET, zeros(32))
            },
            Self {
                signed: "{form}",
                body: form(),
                ..of("HMAC-SHA1 of a form, 1,000 parameters", "hmac-sha1", "hex", SECRET, zeros(20))
            },
        ]
    }

    fn configuration(&self) -> String {
        let Self { algorithm, signed, encoding, secret, .. } = self;
        let key = if algorithm.starts_with("hmac") || *algorithm == "sha256" {
            String::new()
        } else {
            format!(r#", "secret": {{"encoding": "{encoding}"}}"#)
        };
        format!(
            r#"{{"policies": [{{"name": "dearest", "match": {{"path": "/hooks"}}, "require": {{"signature": {{
            "scheme": {{"algorithm": "{algorithm}", "signed": "{signed}"{key},
            "signature": {{"header": "x-signature", "split": ",", "encoding": "{encoding}"}}}},
            "secrets": [{{"value": "{secret}"}}]}}}}}}]}}"#
        )
    }

    /// From the host's bytes to the refusal, without the host's copies of the body but one of a form: nanoseconds.
    fn refused(&self) -> f64 {
        let configuration = read(&self.configuration());
        let length = self.body.len().to_string();
        let pairs = [
            (":authority", "hooks.example.com"),
            (":path", "/hooks"),
            (":method", "POST"),
            (":scheme", "https"),
            ("content-type", "application/x-www-form-urlencoded"),
            ("content-length", &*length),
            ("x-signature", &*self.signature),
        ];
        let map =
            Headers::from_pairs(pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes()))).to_abi();
        let decide = || {
            let headers = Headers::from_abi(map.clone()).unwrap();
            let facts = Facts {
                headers: &headers,
                source: None,
                client_certificate: None,
                route_policy: None,
                now: NOW,
                ends_with_headers: false,
            };
            let AfterHeaders::AwaitBody(mut check) =
                configuration.policies.open(&facts, &Lists::default()).step
            else {
                return None;
            };
            for slice in self.body.chunks(64 << 10) {
                check = match check.update(slice) {
                    ControlFlow::Continue(check) => check,
                    ControlFlow::Break(_) => return None,
                };
            }
            let ControlFlow::Continue(check) = check.close() else { return None };
            let body = check.needs_body().then(|| self.body.clone());
            Some(check.finish(End { now: NOW, body }))
        };
        let found = decide().map(|decision: Decision| decision.verdict.reason_code());
        assert_eq!(found, Some("signature_mismatch"), "{}", self.name);
        best(|| drop(black_box(decide())))
    }
}

/// A form that is long to sort: as many parameters as are looked at, whose names differ at their ends, in no order.
fn form() -> Vec<u8> {
    let beginning = "x".repeat((1 << 20) / 1000 - 8);
    let parameter = |index: usize| format!("{beginning}{:05}=1", index * 7919 % 100_003);
    (0..1000).map(parameter).collect::<Vec<_>>().join("&").into_bytes()
}
