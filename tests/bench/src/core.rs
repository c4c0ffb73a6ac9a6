//! A micro benchmark of the core: the same code natively (`rig core`) and inside V8 (`filters/core.rs`).
//!
//! Responsible for what one decision costs, and how that grows with what it has to choose from. Every decision that is
//! timed is looked at first: a benchmark of refusals would be a fast one.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt::Write as _;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use webhook_guard_core::signature::hmac::HmacKind;
use webhook_guard_core::config::{self, Configuration};
use webhook_guard_core::policy::AfterHeaders;
use webhook_guard_core::request::{Facts, Headers, Millis};
use webhook_guard_core::decision::Decision;

const SECRET: &str = "bench-signing-secret-of-the-sender";
const TOKEN: &str = "bench-url-token-of-the-sender";
const NOW: Millis = Millis(1_795_000_000_000);
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

    /// From the host's bytes to the ruling, which must have this reason: nanoseconds.
    fn decided(&self, reason: &str) -> f64 {
        let configuration = read(&self.configuration());
        let map = self.headers().to_abi();
        let decide = || {
            let headers = Headers::from_abi(map.clone()).unwrap();
            let facts = Facts {
                headers: &headers,
                source: Some(self.source.as_bytes()),
                route_policy: None,
                now: NOW,
                ends_with_headers: true,
            };
            match configuration.policies.open(&facts).step {
                AfterHeaders::Settled(ruling) => Some(ruling),
                AfterHeaders::Leave | AfterHeaders::AwaitBody(_) => None,
            }
        };
        let found = decide().map(|ruling: Decision| ruling.verdict.reason_code());
        assert_eq!(found, Some(reason));
        best(|| drop(black_box(decide())))
    }
}
