//! Proves the catalogue: every vector of every provider gets its verdict under every chunking, and each of a table of
//! mutations of a valid one gets its named reason. Published vectors name their source, the others how they were made.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    reason = "a broken vector must fail the test loudly"
)]

mod common;

use common::{Framing, Request, codes};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use webhook_guard::config::{self, Configuration};
use webhook_guard::request::Millis;

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");

/// A time for schemes that have none.
const SOME_TIME: i64 = 1_700_000_000;

fn catalogue() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/providers.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Where the provider's block says that values sit.
struct Field {
    header: String,
    prefix: String,
    split: Option<char>,
}

impl Field {
    fn read(block: &Value) -> Option<Self> {
        let text = |key: &str| block[key].as_str().unwrap_or_default().to_owned();
        block["header"].is_string().then(|| Self {
            header: text("header"),
            prefix: text("prefix"),
            split: text("split").chars().next(),
        })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Signed,
    Token,
    Basic,
}

/// What a mutation has to know about a provider.
struct Shape {
    kind: Kind,
    claim: Field,
    time: Option<Field>,
    id: Option<Field>,
    is_hex: bool,
    key_prefix: String,
}

impl Shape {
    fn of(block: &Value) -> Self {
        let basic = || Field { header: "authorization".into(), prefix: "Basic ".into(), split: None };
        let scheme = &block["scheme"];
        let is_id_signed = scheme["signed"].as_str().unwrap_or_default().contains("{id}");
        let (kind, claim) = match (Field::read(&scheme["signature"]), Field::read(&block["token"])) {
            (Some(field), _) => (Kind::Signed, field),
            (_, Some(field)) => (Kind::Token, field),
            _ => (Kind::Basic, basic()),
        };
        Self {
            kind,
            claim,
            time: Field::read(&scheme["timestamp"]),
            id: Field::read(&scheme["delivery_id"]).filter(|_| is_id_signed),
            is_hex: scheme["signature"]["encoding"] == "hex",
            key_prefix: scheme["secret"]["prefix"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

#[derive(Clone)]
struct Delivery {
    provider: String,
    secret: String,
    request: Request,
}

impl Delivery {
    fn read(provider: &str, vector: &Value) -> Self {
        let body = match &vector["body_repeat"] {
            Value::Null => vector["body"].as_str().unwrap().to_owned(),
            repeat => {
                let count = usize::try_from(repeat["count"].as_u64().unwrap()).unwrap();
                repeat["unit"].as_str().unwrap().repeat(count)
            }
        };
        let pseudo = [(":method", "POST"), (":path", "/hook"), (":authority", "hooks.example.com")];
        let given = vector["headers"].as_object().unwrap().iter();
        let given = given.map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
        let headers = pseudo.into_iter().chain(given);
        Self {
            provider: provider.to_owned(),
            secret: vector["secret"].as_str().unwrap().to_owned(),
            request: Request {
                headers: headers.map(|(name, value)| (name.to_owned(), value.into())).collect(),
                source: None,
                route_policy: None,
                now: Millis(vector["now"].as_i64().unwrap_or(SOME_TIME) * 1000),
                body: body.into_bytes(),
            },
        }
    }

    fn configuration(&self) -> Configuration {
        let signature = json!({"provider": self.provider, "secrets": [{"value": self.secret}]});
        let policy = json!({"name": "p", "match": {"path": "/hook"}, "require": {"signature": signature}});
        let text = json!({ "policies": [policy] }).to_string();
        config::parse(text.as_bytes(), &|_| None).unwrap()
    }

    fn reason(&self, chunk: usize) -> &'static str {
        codes(self.request.judge(&self.configuration().policies, Framing::Undeclared, chunk).1.as_ref()).1
    }

    fn position(&self, field: &Field) -> Option<usize> {
        self.request.headers.iter().position(|(name, _)| name.eq_ignore_ascii_case(&field.header))
    }

    /// Rewrites every item of the field that counts; nothing in place of an item takes it out.
    fn rewrite(&mut self, field: &Field, form: impl Fn(&str) -> Option<String>) -> bool {
        let at = self.position(field).unwrap();
        let text = String::from_utf8(self.request.headers[at].1.clone()).unwrap();
        let separator = field.split.map(String::from).unwrap_or_default();
        let items: Vec<&str> = field.split.map_or_else(|| vec![&*text], |split| text.split(split).collect());
        let rewritten = items.into_iter().filter_map(|item| match item.strip_prefix(&field.prefix) {
            Some(value) => form(value),
            None => Some(item.to_owned()),
        });
        self.request.headers[at].1 = rewritten.collect::<Vec<_>>().join(&separator).into_bytes();
        true
    }

    fn claim(&mut self, shape: &Shape, form: impl Fn(&str) -> String) -> bool {
        self.rewrite(&shape.claim, |value| Some(format!("{}{}", shape.claim.prefix, form(value))))
    }

    fn time(&mut self, shape: &Shape, form: impl Fn(i64) -> String) -> bool {
        let Some(field) = &shape.time else { return false };
        self.rewrite(field, |value| Some(format!("{}{}", field.prefix, form(value.parse().unwrap()))))
    }

    /// Sets the clock so that the delivery is that old.
    fn age(&mut self, shape: &Shape, seconds: i64) -> bool {
        let mut sent = None;
        let Some(field) = &shape.time else { return false };
        let at = self.position(field).unwrap();
        let text = String::from_utf8(self.request.headers[at].1.clone()).unwrap();
        for item in text.split(field.split.unwrap_or('\0')) {
            sent = sent.or(item.strip_prefix(&field.prefix).map(|value| value.parse::<i64>().unwrap()));
        }
        self.request.now = Millis((sent.unwrap() + seconds) * 1000);
        true
    }

    fn remove(&mut self, field: Option<&Field>) -> bool {
        let Some(field) = field else { return false };
        self.request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(&field.header));
        true
    }

    fn repeat(&mut self, field: Option<&Field>) -> bool {
        let Some(field) = field else { return false };
        let again = self.request.headers[self.position(field).unwrap()].clone();
        self.request.headers.push(again);
        true
    }

    fn set(&mut self, field: Option<&Field>, value: &str) -> bool {
        let Some(at) = field.and_then(|field| self.position(field)) else { return false };
        self.request.headers[at].1 = value.into();
        true
    }
}

/// The next digit of the alphabet: decodable where the first was.
fn turn_first(text: &str) -> String {
    let turned = match text.as_bytes().first() {
        Some(b'A' | b'a') => 'b',
        Some(b'0') => '1',
        Some(_) => 'a',
        None => return "a".to_owned(),
    };
    format!("{turned}{}", &text[1..])
}

/// Its own header, not one that it shares with the signature as Stripe's does.
fn own_header(shape: &Shape) -> Option<&Field> {
    shape.time.as_ref().filter(|time| time.header != shape.claim.header)
}

/// Says whether it applies to the provider.
type Mutation = fn(&mut Delivery, &Shape) -> bool;

/// The name of a mutation, the mutation, and its reason for a signature, a token in a header, and Basic credentials.
const MUTATIONS: &[(&str, Mutation, [&str; 3])] = &[
    ("nothing changed", |_, _| true, ["ok", "ok", "ok"]),
    (
        "one bit of the body flipped",
        |it, _| it.request.body.first_mut().map(|byte| *byte ^= 1).is_some(),
        ["signature_mismatch", "ok", "ok"],
    ),
    (
        "a byte more at the end of the body",
        |it, _| {
            it.request.body.push(b'\n');
            true
        },
        ["signature_mismatch", "ok", "ok"],
    ),
    (
        "the last byte of the body cut off",
        |it, _| it.request.body.pop().is_some(),
        ["signature_mismatch", "ok", "ok"],
    ),
    (
        "the claim changed in one place",
        |it, shape| it.claim(shape, turn_first),
        ["signature_mismatch", "token_mismatch", "token_mismatch"],
    ),
    (
        "the claim in capitals, where they mean the same",
        |it, shape| shape.is_hex && it.claim(shape, str::to_ascii_uppercase),
        ["ok", "", ""],
    ),
    (
        "the claim cut by a character",
        |it, shape| it.claim(shape, |value| value[..value.len() - 1].to_owned()),
        ["signature_malformed", "token_mismatch", "token_mismatch"],
    ),
    (
        "the claim cut by four characters, which leaves it decodable",
        |it, shape| it.claim(shape, |value| value[..value.len() - 4].to_owned()),
        ["signature_mismatch", "token_mismatch", "token_mismatch"],
    ),
    (
        "the claim longer by a character",
        |it, shape| it.claim(shape, |value| format!("{value}0")),
        ["signature_malformed", "token_mismatch", "token_mismatch"],
    ),
    (
        "the claim's prefix alone",
        |it, shape| it.claim(shape, |_| String::new()),
        ["signature_malformed", "token_mismatch", "token_mismatch"],
    ),
    (
        "the claim's prefix removed",
        |it, shape| {
            !shape.claim.prefix.is_empty() && it.rewrite(&shape.claim, |value| Some(value.to_owned()))
        },
        ["signature_malformed", "", "token_missing"],
    ),
    (
        "another prefix",
        |it, shape| {
            !shape.claim.prefix.is_empty() && it.rewrite(&shape.claim, |value| Some(format!("x={value}")))
        },
        ["signature_malformed", "", "token_missing"],
    ),
    (
        "the claim's header missing",
        |it, shape| it.remove(Some(&shape.claim)),
        ["signature_missing", "token_missing", "token_missing"],
    ),
    (
        "the claim's header empty",
        |it, shape| it.set(Some(&shape.claim), ""),
        ["signature_malformed", "token_mismatch", "token_missing"],
    ),
    (
        "the claim's header twice",
        |it, shape| it.repeat(Some(&shape.claim)),
        ["signature_ambiguous", "token_ambiguous", "token_ambiguous"],
    ),
    (
        "another secret",
        |it, shape| {
            let bare = it.secret.strip_prefix(&shape.key_prefix).unwrap_or(&it.secret);
            it.secret = format!("{}{}", shape.key_prefix, turn_first(bare));
            true
        },
        ["signature_mismatch", "token_mismatch", "token_mismatch"],
    ),
    (
        "another time",
        |it, shape| it.time(shape, |sent| (sent + 1).to_string()),
        ["signature_mismatch", "", ""],
    ),
    (
        "the same time with a leading zero",
        |it, shape| it.time(shape, |sent| format!("0{sent}")),
        ["signature_mismatch", "", ""],
    ),
    (
        "a time with a sign",
        |it, shape| it.time(shape, |sent| format!("+{sent}")),
        ["timestamp_malformed", "", ""],
    ),
    (
        "a time with a fraction",
        |it, shape| it.time(shape, |sent| format!("{sent}.0")),
        ["timestamp_malformed", "", ""],
    ),
    ("a time of no digits", |it, shape| it.time(shape, |_| String::new()), ["timestamp_malformed", "", ""]),
    (
        "the time missing",
        |it, shape| match &shape.time {
            Some(field) if own_header(shape).is_none() => it.rewrite(field, |_| None),
            field => it.remove(field.as_ref()),
        },
        ["timestamp_missing", "", ""],
    ),
    ("the time's header twice", |it, shape| it.repeat(own_header(shape)), ["signature_ambiguous", "", ""]),
    ("300 seconds old", |it, shape| it.age(shape, 300), ["ok", "", ""]),
    ("301 seconds old", |it, shape| it.age(shape, 301), ["timestamp_stale", "", ""]),
    ("60 seconds ahead", |it, shape| it.age(shape, -60), ["ok", "", ""]),
    ("61 seconds ahead", |it, shape| it.age(shape, -61), ["timestamp_future", "", ""]),
    ("the id missing", |it, shape| it.remove(shape.id.as_ref()), ["signature_malformed", "", ""]),
    ("the id empty", |it, shape| it.set(shape.id.as_ref(), ""), ["signature_malformed", "", ""]),
    ("the id twice", |it, shape| it.repeat(shape.id.as_ref()), ["signature_ambiguous", "", ""]),
    ("another id", |it, shape| it.set(shape.id.as_ref(), "msg_0"), ["signature_mismatch", "", ""]),
    (
        "an id with the separator",
        |it, shape| it.set(shape.id.as_ref(), "msg.0"),
        ["signature_malformed", "", ""],
    ),
];

/// Every vector: the provider's block, the vector, its delivery.
fn vectors() -> Vec<(Shape, Value, Delivery)> {
    let catalogue = catalogue();
    let mut all = Vec::new();
    for (provider, block) in catalogue.as_object().unwrap() {
        let text = fs::read(format!("{DIRECTORY}/{provider}.json"));
        let file: Value =
            serde_json::from_slice(&text.unwrap_or_else(|error| panic!("{provider}: {error}"))).unwrap();
        assert_eq!(file["provider"], **provider);
        for vector in file["vectors"].as_array().unwrap() {
            all.push((Shape::of(block), vector.clone(), Delivery::read(provider, vector)));
        }
    }
    all
}

#[test]
fn every_provider_has_its_vectors_and_every_vector_its_provider() {
    let catalogue = catalogue();
    let named: BTreeSet<String> =
        catalogue.as_object().unwrap().keys().map(|name| format!("{name}.json")).collect();
    let files = fs::read_dir(DIRECTORY).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let vectors_of: BTreeSet<String> = files.filter(|name| name.ends_with(".json")).collect();
    assert_eq!(vectors_of, named);
    let mut valid = BTreeSet::new();
    let mut names = BTreeSet::new();
    for (_, vector, delivery) in vectors() {
        assert!(vector["source"].is_string() != vector["made"].is_string(), "{vector}: where is it from?");
        assert!(names.insert(vector["name"].as_str().unwrap().to_owned()), "{}: name taken", vector["name"]);
        if vector["expect"] == "ok" {
            valid.insert(delivery.provider.clone());
        }
        let published = catalogue[&delivery.provider]["verified"] == "published vector";
        assert_eq!(vector["source"].is_string(), published, "{}: `verified` is not so", delivery.provider);
    }
    assert_eq!(valid.len(), named.len(), "a provider has no valid vector");
}

#[test]
fn every_vector_has_its_verdict_under_every_chunking() {
    for (_, vector, delivery) in vectors() {
        let policies = delivery.configuration().policies;
        let length = delivery.request.body.len();
        let chunks: Vec<usize> = match length {
            0..=300 => (1..=length.max(1)).collect(),
            _ => vec![1, 63, 64, 65, 4096, 65536, length],
        };
        for chunk in chunks {
            let (_, ruling) = delivery.request.judge(&policies, Framing::Undeclared, chunk);
            let (_, reason) = codes(ruling.as_ref());
            assert_eq!(
                reason, vector["expect"],
                "{}: {} in chunks of {chunk}",
                delivery.provider, vector["name"]
            );
        }
        let (_, ruling) = delivery.request.judge(&policies, Framing::Declared, 64);
        let (_, reason) = codes(ruling.as_ref());
        assert_eq!(reason, vector["expect"], "{}: {} of declared length", delivery.provider, vector["name"]);
    }
}

#[test]
fn every_mutation_of_a_valid_vector_has_its_reason() {
    let mut used = BTreeSet::new();
    for (shape, vector, delivery) in vectors() {
        if vector["expect"] != "ok" {
            continue;
        }
        for (name, mutate, reasons) in MUTATIONS {
            let mut mutated = delivery.clone();
            let expected = match shape.kind {
                Kind::Signed => reasons[0],
                Kind::Token => reasons[1],
                Kind::Basic => reasons[2],
            };
            if !mutate(&mut mutated, &shape) || expected.is_empty() {
                continue;
            }
            used.insert(name);
            for chunk in [64, usize::MAX] {
                let row = format!("{}: {}: {name}", delivery.provider, vector["name"]);
                assert_eq!(mutated.reason(chunk), expected, "{row}");
            }
        }
    }
    assert_eq!(used.len(), MUTATIONS.len(), "a mutation applies to no provider");
}
