//! Proves what holds for any input, with a small seeded generator: chunking never changes a verdict, nothing panics, and
//! a token is taken out of a query without touching the rest. A failure names its seed.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    reason = "a generator works within bounds that it chose"
)]

mod common;

use common::{Framing, Request, codes};
use std::fs;
use std::path::Path;
use webhook_guard_core::config::{self, Configuration};
use webhook_guard_core::feed::Lists;
use webhook_guard_core::request::{ClientCertificate, Facts, Headers, Millis};
use webhook_guard_core::signature::End;
use webhook_guard_core::uri::percent;
use webhook_guard_core::uri::query;

/// A linear congruential generator (Knuth's MMIX constants); its high bits are good enough for tests.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    /// Up to `most` pieces of an alphabet, one after the other.
    fn text(&mut self, alphabet: &[&str], most: usize) -> String {
        (0..self.below(most + 1)).map(|_| self.one(alphabet)).collect()
    }
}

fn good_configurations() -> Vec<Vec<u8>> {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("tests/configs/good");
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Any secret will do: one that fits every encoding.
fn environment(name: &str) -> Option<String> {
    let text =
        if name == "JSON_KEYS" { r#"{"github": "00112233445566778899"}"# } else { "00112233445566778899" };
    Some(text.to_owned())
}

#[test]
fn a_mutated_configuration_never_panics() {
    let good = good_configurations();
    let mut random = Random(1);
    let mut accepted = 0;
    for round in 0..10_000 {
        let mut bytes = good[random.below(good.len())].clone();
        for _ in 0..=random.below(3) {
            let (at, to) = (random.below(bytes.len()), random.below(bytes.len()));
            let (first, last) = (at.min(to), at.max(to));
            match random.below(6) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = random.byte(),
                2 => bytes.truncate(at.max(1)),
                3 => drop(bytes.drain(first..last.min(first + 40))),
                4 => bytes
                    .splice(at..at, random.one(&["null", "[]", "{}", "\"\"", "-1", "1e999", ","]).bytes())
                    .for_each(drop),
                _ => {
                    let other = &good[random.below(good.len())];
                    let from = random.below(other.len());
                    let piece = other[from..].iter().take(60).copied().collect::<Vec<_>>();
                    bytes.splice(first..last.min(first + 60), piece).for_each(drop);
                }
            }
            if bytes.is_empty() {
                bytes.push(b' ');
            }
        }
        match config::parse(&bytes, &environment) {
            Ok(_) => accepted += 1,
            Err(error) => {
                let text = error.to_string();
                assert!(!text.is_empty() && !text.contains('\n'), "round {round}: {text:?} is not one line");
            }
        }
    }
    assert!(accepted > 30, "only {accepted} mutants parse: the mutations are too coarse to be worth much");
}

#[test]
fn a_mutated_struct_never_panics() {
    // {"policies": [{"name": "a", "require": "nothing"}]} as a google.protobuf.Struct, encoded by hand.
    let field = |tag: u8, bytes: &[u8]| [&[tag, u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let text = |text: &str| field(0x1a, text.as_bytes());
    let entry =
        |key: &str, value: &[u8]| field(0x0a, &[field(0x0a, key.as_bytes()), field(0x12, value)].concat());
    let policy = [entry("name", &text("a")), entry("require", &text("nothing"))].concat();
    let list = field(0x32, &field(0x0a, &field(0x2a, &policy)));
    let whole = entry("policies", &list);
    assert!(config::parse(&whole, &environment).is_ok());
    let mut random = Random(2);
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            bytes[at] = random.byte();
        }
        bytes.truncate(1 + random.below(bytes.len() * 2));
        drop(config::parse(&bytes, &environment));
    }
}

#[test]
fn random_bytes_are_headers_or_none_and_never_panic() {
    let mut random = Random(3);
    let mut read = 0;
    for _ in 0..50_000 {
        let count = random.below(4);
        let mut buffer: Vec<u8> = u32::try_from(count).unwrap().to_le_bytes().into();
        for _ in 0..count * 2 {
            let length =
                if random.below(40) == 0 { u32::MAX } else { u32::try_from(random.below(5)).unwrap() };
            buffer.extend(length.to_le_bytes());
        }
        buffer.extend((0..random.below(60)).map(|_| random.byte()));
        if random.below(4) == 0 {
            let at = random.below(buffer.len());
            buffer[at] = random.byte();
        }
        if let Some(headers) = Headers::from_abi(buffer.clone()) {
            read += usize::from(headers.iter().count() > 0);
            for (name, _) in headers.iter() {
                drop(headers.one(name));
            }
        }
        buffer.truncate(random.below(buffer.len()));
        drop(Headers::from_abi(buffer));
    }
    assert!(read > 5000, "only {read} buffers were header maps");
}

const NASTY_PATHS: &[&str] = &[
    "/", "/hooks", "/v1", "/open", "/nested", "/github", "/stripe", "/url", "%2f", "%2e", "%5C", "%00",
    "%25", "%", "..", ".", "//", "\\", ";a=b", "?", "&", "token=", "=", "%74oken", "#", "ä", "\u{0}", " ",
    "a", "*",
];
const NASTY_NAMES: &[&str] = &[
    "authorization",
    "x-token",
    "X-Token",
    "x-hub-signature-256",
    "stripe-signature",
    "webhook-signature",
    "webhook-id",
    "webhook-timestamp",
    "svix-signature",
    "x-slack-signature",
    "x-slack-request-timestamp",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "upgrade",
    "x_webhook-guard-a",
    "",
    ":path",
    ":authority",
    "x-gitlab-token",
];
const NASTY_VALUES: &[&str] = &[
    "",
    "sha256=",
    "v0=",
    "v1=",
    "v1,",
    "t=",
    "t=1700000000",
    ",",
    " ",
    "1700000000",
    "18446744073709551616",
    "-1",
    "00",
    "AA==",
    "Basic ",
    "Bearer ",
    "basic Og==",
    "=",
    "gzip",
    "application/json",
    ";",
    "\u{0}",
    "é",
    ".",
    "msg_1",
    "1",
    "hooks.example.com",
    "[::1]:",
    ":",
    "*.",
];

#[test]
fn no_request_panics_and_none_gets_through_by_accident() {
    let good: Vec<Configuration> =
        good_configurations().iter().map(|bytes| config::parse(bytes, &environment).unwrap()).collect();
    let mut random = Random(4);
    for round in 0..40_000 {
        let mut request = random_request(&mut random);
        let policies = &good[random.below(good.len())].policies;
        let framing = match request.body.is_empty() {
            true => random.one(&[&Framing::HeadersOnly, &Framing::Declared, &Framing::Undeclared]),
            false => random.one(&[&Framing::Declared, &Framing::Undeclared]),
        };
        let chunk = 1 + random.below(9);
        let (_, decision) = request.judge(policies, *framing, chunk);
        let whole = request.judge(policies, *framing, usize::MAX).1;
        assert_eq!(
            codes(whole.as_ref()),
            codes(decision.as_ref()),
            "round {round}, chunks of {chunk}: {request:?}"
        );
        // Nothing here knows a secret: what is let through is let through by its address or certificate, or by a policy
        // that asks nothing.
        if let Some(decision) = decision.filter(|decision| decision.verdict.code() == "allow") {
            (request.source, request.client_certificate) = (None, None);
            assert!(decision.record.secret_ids.is_empty(), "round {round}: {request:?}");
            let (_, again) = request.judge(policies, *framing, chunk);
            let policy = decision.record.policy.unwrap();
            let is_open = ["open", "a"].contains(&policy.as_ref());
            assert_eq!(codes(again.as_ref()).0 == "allow", is_open, "round {round}: {policy}: {request:?}");
        }
    }
}

fn random_certificate(random: &mut Random) -> ClientCertificate {
    let mut text = |known: &[u8]| match random.below(2) {
        0 => known.to_vec(),
        _ => (0..random.below(9)).map(|_| random.byte()).collect(),
    };
    ClientCertificate {
        sha256: text(&[b'a'; 64]),
        subject: text(b"CN=hooks,O=Example"),
        dns: text(b"hooks.example.com"),
        uri: text(b"spiffe://mesh.example.com/hooks"),
    }
}

fn random_request(random: &mut Random) -> Request {
    let mut headers: Vec<(String, Vec<u8>)> =
        vec![(":method".into(), random.one(&["POST", "GET", "CONNECT", ""]).into())];
    headers.push((":path".into(), random.text(NASTY_PATHS, 6).into()));
    headers.push((":authority".into(), random.text(NASTY_VALUES, 2).into()));
    for _ in 0..random.below(6) {
        let mut value = random.text(NASTY_VALUES, 5).into_bytes();
        if random.below(8) == 0 {
            value.extend((0..random.below(9)).map(|_| random.byte()));
        }
        headers.push((random.one(NASTY_NAMES).to_owned(), value));
    }
    let sources = [
        "192.0.2.1:1",
        "10.0.0.1:1",
        "[2a0a:a440::1]:9",
        "[::ffff:198.51.100.7]:1",
        "]",
        "%",
        "[%]",
        "[::1%x",
        "",
    ];
    let names = ["open", "nested", "every_key-1", "route-only", "github", "", "\u{0}"];
    Request {
        headers,
        source: (random.below(3) > 0).then(|| random.one(&sources).to_owned()),
        client_certificate: (random.below(3) == 0).then(|| random_certificate(random)),
        route_policy: (random.below(4) == 0).then(|| random.one(&names).to_owned()),
        now: Millis(*random.one(&[&0, &1_700_000_000_000, &i64::MAX, &i64::MIN])),
        ended: (random.below(3) == 0).then(|| Millis(*random.one(&[&0, &1_700_000_301_000, &i64::MAX]))),
        body: (0..random.below(40)).map(|_| random.byte()).collect(),
    }
}

#[test]
fn chunking_never_changes_the_verdict_of_a_signed_body() {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let text = br#"{"policies": [{"name": "a", "match": {"path": "/a"}, "max_body_bytes": 400, "require":
        {"signature": {"provider": "gitea", "secrets": [{"value": "key-one-0123456789"}]}}}]}"#;
    let policies = config::parse(text, &environment).unwrap().policies;
    let mut random = Random(5);
    for round in 0..400 {
        let body: Vec<u8> = (0..random.below(500)).map(|_| random.byte()).collect();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"key-one-0123456789").unwrap();
        mac.update(&body);
        let is_good = random.below(2) == 0;
        mac.update(if is_good { b"" } else { b"more" });
        let tag = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
        let expected = match (body.len(), is_good) {
            (401.., _) => "body_too_large",
            (_, true) => "ok",
            (_, false) => "signature_mismatch",
        };
        let headers = Headers::from_pairs([
            (&b":method"[..], &b"POST"[..]),
            (b":path", b"/a"),
            (b"x-gitea-signature", tag.as_bytes()),
        ]);
        for _ in 0..5 {
            let facts = Facts {
                headers: &headers,
                source: None,
                client_certificate: None,
                route_policy: None,
                now: Millis(0),
                ends_with_headers: false,
            };
            let webhook_guard_core::policy::AfterHeaders::AwaitBody(mut check) =
                policies.open(&facts, &Lists::default()).step
            else {
                panic!("round {round}: the body was not waited for")
            };
            let mut rest = body.as_slice();
            let reason = loop {
                if rest.is_empty() {
                    break check.finish(End { now: Millis(0), body: None }).verdict.reason_code();
                }
                // Chunks of no byte are chunks too.
                let (chunk, tail) = rest.split_at(random.below(rest.len() + 1));
                rest = tail;
                match check.update(chunk) {
                    std::ops::ControlFlow::Continue(next) => check = next,
                    std::ops::ControlFlow::Break(decision) => break decision.verdict.reason_code(),
                }
            };
            assert_eq!(reason, expected, "round {round}, {} bytes", body.len());
        }
    }
}

#[test]
fn taking_a_token_out_keeps_the_rest() {
    let alphabet = ["token", "=", "&", "a", "%74oken", "%2", "?", "b=1", "token=x", "Token", "+"];
    let named = |piece: &&str| *percent::decode(piece.split('=').next().unwrap().as_bytes()) == *b"token";
    let mut random = Random(6);
    for _ in 0..20_000 {
        let query = random.text(&alphabet, 12);
        let target = format!("/p?{query}");
        let stripped = query::without(target.as_bytes(), |name| name == b"token")
            .map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(stripped.is_some(), query.split('&').any(|piece| named(&piece)), "{target}");
        let Some(stripped) = stripped else { continue };
        let rest = stripped.strip_prefix("/p").unwrap();
        assert!(!rest.ends_with('?') || rest.len() > 1, "{target} became {stripped}: dangling ?");
        // Empty pieces aside, the same pieces in the same order.
        let pieces = |text: &str| {
            text.split('&').filter(|piece| !piece.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let mut expected = pieces(&query);
        expected.retain(|piece| !named(&piece.as_str()));
        assert_eq!(pieces(rest.strip_prefix('?').unwrap_or(rest)), expected, "{target} became {stripped}");
        assert_eq!(
            query::without(stripped.as_bytes(), |name| name == b"token"),
            None,
            "{target} became {stripped}"
        );
    }
}

/// The same place to some reader: one step away from how it is written.
fn disguised(random: &mut Random, path: &str) -> String {
    let at = random.below(path.len());
    let slash = path.match_indices('/').map(|(at, _)| at).nth(random.below(path.matches('/').count()));
    let (before, behind) = path.split_at(slash.unwrap_or(0));
    match random.below(9) {
        0 => {
            let byte = path.as_bytes()[at];
            format!("{}%{byte:02x}{}", &path[..at], &path[at + 1..])
        }
        1 => {
            let letter = path[at..=at].to_ascii_uppercase();
            format!("{}{letter}{}", &path[..at], &path[at + 1..])
        }
        2 => format!("{path}/"),
        3 => format!("{before}%20{behind}"),
        4 => format!("{path}."),
        5 => format!("{before}/x/%2e%2e{behind}"),
        6 => format!("{path}%23a"),
        7 => format!("{before}%c0%af{}", behind.get(1..).unwrap_or_default()),
        _ => format!("{path}%3bv"),
    }
}

#[test]
fn no_disguise_of_a_strict_path_reaches_the_laxer_policy_around_it() {
    let configuration = |lax: &str| {
        let text = format!(
            r#"{{"policies": [{{"name": "lax", "match": {{"path": {{"prefix": "{lax}"}}}}, "require": "nothing"}},
            {{"name": "strict", "match": {{"path": "/hooks/admin"}}, "require": {{"source_ip": {{"allow": ["192.0.2.1"]}}}}}}]}}"#
        );
        config::parse(text.as_bytes(), &environment).unwrap().policies
    };
    let sets = [configuration("/"), configuration("/hooks")];
    let mut random = Random(7);
    for round in 0..10_000 {
        let mut path = "/hooks/admin".to_owned();
        for _ in 0..=random.below(2) {
            path = disguised(&mut random, &path);
        }
        let request = Request {
            headers: vec![(":method".into(), "POST".into()), (":path".into(), path.into())],
            source: None,
            client_certificate: None,
            route_policy: None,
            now: Millis(0),
            ended: None,
            body: Vec::new(),
        };
        for policies in &sets {
            let (_, decision) = request.judge(policies, Framing::HeadersOnly, 1);
            assert_eq!(codes(decision.as_ref()).0, "deny", "round {round}: {request:?}");
        }
    }
}
