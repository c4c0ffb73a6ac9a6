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
use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use webhook_guard_core::config::{self, Configuration};
use webhook_guard_core::feed::Lists;
use webhook_guard_core::request::Millis;

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors");

/// A time for schemes that have none.
const SOME_TIME: i64 = 1_700_000_000;

fn catalogue() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../src/core/catalogue.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Where the provider's block says that values sit.
struct Field {
    header: String,
    prefix: String,
    split: Option<char>,
    /// The place of the one item that counts.
    index: Option<usize>,
    /// The place of an item that is the time beside claims of any place.
    not: Option<usize>,
    is_repeated: bool,
}

impl Field {
    /// One Field, or a list of them.
    fn read_all(block: &Value) -> Vec<Self> {
        block.as_array().map_or_else(
            || Self::read(block).into_iter().collect(),
            |list| list.iter().filter_map(Self::read).collect(),
        )
    }

    fn read(block: &Value) -> Option<Self> {
        let text = |key: &str| block[key].as_str().unwrap_or_default().to_owned();
        block["header"].is_string().then(|| Self {
            header: text("header"),
            prefix: text("prefix"),
            split: text("split").chars().next(),
            index: block["index"].as_u64().map(|index| usize::try_from(index).unwrap()),
            not: None,
            is_repeated: block["repeated"] == true,
        })
    }

    /// Whether the item in this place is the field's, its prefix aside.
    fn counts(&self, place: usize) -> bool {
        self.index.is_none_or(|index| index == place) && self.not != Some(place)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Signed,
    Token,
    /// Credentials behind the word `Basic` or `Bearer`.
    Credentials,
}

/// How the body is covered, which says what a changed one is refused for.
#[derive(Clone, Copy, PartialEq)]
enum Cover {
    Signed,
    /// By a digest that `require` compares.
    Digest,
    /// It holds the time, so a broken one is refused for that; the vectors' other rows are enough.
    HoldsValue,
    Nothing,
}

/// What a mutation has to know about a provider.
struct Shape {
    kind: Kind,
    claims: Vec<Field>,
    time: Option<Field>,
    unit: String,
    tolerance: i64,
    id: Option<Field>,
    has_dot_behind_id: bool,
    /// Whether nothing stands between the signed time and what is signed beside it.
    time_touches: bool,
    encoding: String,
    cover: Cover,
    is_public_key: bool,
    key_prefixes: Vec<String>,
}

impl Shape {
    fn of(catalogue: &Value, block: &Value) -> Self {
        let block = block["same_as"].as_str().map_or(block, |name| &catalogue[name]);
        let scheme = &block["scheme"];
        let signed = scheme["signed"].as_str().unwrap_or_default();
        let word = |prefix: &str| Field {
            header: "authorization".into(),
            prefix: prefix.into(),
            split: None,
            index: None,
            not: None,
            is_repeated: false,
        };
        let time = Field::read(&scheme["timestamp"]);
        let (kind, mut claims) = match (&scheme["signature"], &block["token"]) {
            // A token's parts are no text to be rewritten: tests/core/jwt.rs changes them.
            _ if scheme["jwt"].is_object() => (Kind::Signed, Vec::new()),
            // Nor are those of a message signature: tests/core/message_signatures.rs.
            _ if scheme["message_signature"].is_object() => (Kind::Signed, Vec::new()),
            (Value::Null, token) if token["json"].is_string() => (Kind::Token, Vec::new()),
            (Value::Null, token) if token["header"].is_string() => (Kind::Token, Field::read_all(token)),
            (Value::Null, token) if token["bearer"] == true => (Kind::Credentials, vec![word("Bearer ")]),
            (Value::Null, _) => (Kind::Credentials, vec![word("Basic ")]),
            (signature, _) => (Kind::Signed, Field::read_all(signature)),
        };
        for claim in claims.iter_mut().filter(|claim| claim.index.is_none()) {
            let shared = time.as_ref().filter(|time| time.header == claim.header);
            claim.not = shared.and_then(|time| time.index);
        }
        let one = |value: &Value| value.as_array().map_or_else(|| value.clone(), |list| list[0].clone());
        let prefixes = &scheme["secret"]["prefix"];
        let listed = prefixes.as_array().cloned().unwrap_or_else(|| vec![prefixes.clone()]);
        Self {
            kind,
            claims,
            time,
            time_touches: signed.contains("}{timestamp}") || signed.contains("{timestamp}{"),
            unit: scheme["timestamp"]["unit"].as_str().unwrap_or_default().to_owned(),
            tolerance: scheme["tolerance_seconds"].as_i64().unwrap_or(300),
            id: Field::read(&scheme["delivery_id"]).filter(|_| signed.contains("{id}")),
            has_dot_behind_id: signed.contains("{id}."),
            encoding: one(&scheme["signature"])["encoding"].as_str().unwrap_or_default().to_owned(),
            cover: match signed {
                _ if scheme["timestamp"]["json"].is_string() || block["token"]["json"].is_string() => {
                    Cover::HoldsValue
                }
                _ if scheme["jwt"]["body_sha256"].is_object() || scheme["message_signature"].is_object() => {
                    Cover::Signed
                }
                _ if ["{body}", "{form}", "{body_sha256}"].iter().any(|part| signed.contains(part)) => {
                    Cover::Signed
                }
                _ if scheme["require"].is_array() => Cover::Digest,
                _ => Cover::Nothing,
            },
            is_public_key: ["ed25519", "ecdsa-p256-sha256", "rsa-sha256"]
                .map(Value::from)
                .contains(&scheme["algorithm"]),
            key_prefixes: listed.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }

    /// Whether the time is a number in a header.
    fn is_stamped(&self) -> bool {
        self.time.is_some() && (self.unit == "s" || self.unit == "ms")
    }
}

#[derive(Clone)]
struct Delivery {
    provider: String,
    secret: String,
    public_url: Option<String>,
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
        let (public_url, target) = vector["url"].as_str().map_or((None, "/hook"), |url| {
            let host = url.find("://").unwrap() + 3;
            // As it is entered at the sender: whole.
            (Some(url.to_owned()), &url[host + url[host..].find('/').unwrap()..])
        });
        let target = vector["target"].as_str().unwrap_or(target);
        let method = vector["method"].as_str().unwrap_or("POST");
        let pseudo = [(":method", method), (":path", target), (":authority", "hooks.example.com")];
        let given = vector["headers"].as_object().unwrap().iter();
        let given = given.map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
        let headers = pseudo.into_iter().chain(given);
        Self {
            provider: provider.to_owned(),
            secret: vector["secret"].as_str().unwrap().to_owned(),
            public_url,
            request: Request {
                headers: headers.map(|(name, value)| (name.to_owned(), value.into())).collect(),
                source: None,
                client_certificate: None,
                route_policy: None,
                now: Millis(vector["now"].as_i64().unwrap_or(SOME_TIME) * 1000),
                ended: None,
                body: body.into_bytes(),
            },
        }
    }

    fn configuration(&self) -> Configuration {
        let mut signature = json!({"provider": self.provider, "secrets": [{"value": self.secret}]});
        if let Some(url) = &self.public_url {
            signature["public_url"] = json!(url);
        }
        let target = String::from_utf8(self.request.headers[1].1.clone()).unwrap();
        let path = target.split('?').next().unwrap();
        let method = String::from_utf8(self.request.headers[0].1.clone()).unwrap();
        let rule = json!({"path": path, "methods": [method]});
        let policy = json!({"name": "p", "match": rule, "require": {"signature": signature}});
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
    fn rewrite(&mut self, field: &Field, mut form: impl FnMut(&str) -> Option<String>) -> bool {
        let Some(at) = self.position(field) else { return false };
        let text = String::from_utf8(self.request.headers[at].1.clone()).unwrap();
        let separator = field.split.map(String::from).unwrap_or_default();
        let items: Vec<&str> =
            field.split.map_or_else(|| vec![&*text], |split| text.split(split).map(str::trim).collect());
        let rewritten = items.into_iter().enumerate().filter_map(|(place, item)| {
            match item.strip_prefix(&field.prefix).filter(|_| field.counts(place)) {
                Some(value) => form(value),
                None => Some(item.to_owned()),
            }
        });
        self.request.headers[at].1 = rewritten.collect::<Vec<_>>().join(&separator).into_bytes();
        true
    }

    /// Rewrites every claim that is there, whatever header it sits in.
    fn claim(&mut self, shape: &Shape, form: impl Fn(&str) -> String) -> bool {
        for field in &shape.claims {
            self.rewrite(field, |value| Some(format!("{}{}", field.prefix, form(value))));
        }
        true
    }

    /// As `claim`, with something else in place of the prefix.
    fn label(&mut self, shape: &Shape, label: &str) -> bool {
        for field in &shape.claims {
            self.rewrite(field, |value| Some(format!("{label}{value}")));
        }
        shape.claims.iter().any(|field| !field.prefix.is_empty())
    }

    fn time(&mut self, shape: &Shape, form: impl Fn(i64) -> String) -> bool {
        let Some(field) = shape.time.as_ref().filter(|_| shape.is_stamped()) else { return false };
        self.rewrite(field, |value| Some(format!("{}{}", field.prefix, form(value.parse().unwrap()))))
    }

    /// Sets the clock so that the delivery is that old.
    fn age(&mut self, shape: &Shape, seconds: i64) -> bool {
        let Some(field) = shape.time.as_ref().filter(|_| shape.is_stamped()) else { return false };
        let at = self.position(field).unwrap();
        let text = String::from_utf8(self.request.headers[at].1.clone()).unwrap();
        let mut items = text.split(field.split.unwrap_or('\0')).map(str::trim).enumerate();
        let sent = items.find_map(|(place, item)| {
            let value = item.strip_prefix(&field.prefix).filter(|_| field.counts(place));
            value.map(|value| value.parse::<i64>().unwrap())
        });
        let millis = if shape.unit == "s" { sent.unwrap() * 1000 } else { sent.unwrap() };
        self.request.now = Millis(millis + seconds * 1000);
        true
    }

    fn remove(&mut self, field: Option<&Field>) -> bool {
        let Some(field) = field else { return false };
        self.request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(&field.header));
        true
    }

    /// Another id, or none: Checkbook's stands in the header of the signature.
    fn id(&mut self, shape: &Shape, id: Option<&str>) -> bool {
        let Some(field) = &shape.id else { return false };
        if field.split.is_none() && id.is_none() {
            return self.remove(Some(field));
        }
        self.rewrite(field, |_| id.map(|id| format!("{}{id}", field.prefix)))
    }

    fn repeat(&mut self, field: Option<&Field>) -> bool {
        let Some(at) = field.and_then(|field| self.position(field)) else { return false };
        let again = self.request.headers[at].clone();
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
    shape.time.as_ref().filter(|time| shape.claims.iter().all(|claim| time.header != claim.header))
}

/// In the table: the reason for a changed body, which is the provider's.
const BODY: &str = "body";

/// Says whether it applies to the provider.
type Mutation = fn(&mut Delivery, &Shape) -> bool;

/// The name of a mutation, the mutation, and its reason for a signature, a token in a header, and credentials.
const MUTATIONS: &[(&str, Mutation, [&str; 3])] = &[
    ("nothing changed", |_, _| true, ["ok", "ok", "ok"]),
    (
        "one bit of the body flipped",
        |it, shape| {
            let is_there = it.request.body.first_mut().map(|byte| *byte ^= 1).is_some();
            is_there && shape.cover != Cover::HoldsValue
        },
        [BODY, "ok", "ok"],
    ),
    (
        "a byte more at the end of the body",
        |it, _| {
            it.request.body.push(b'\n');
            true
        },
        [BODY, "ok", "ok"],
    ),
    (
        "the last byte of the body cut off",
        |it, shape| it.request.body.pop().is_some() && shape.cover != Cover::HoldsValue,
        [BODY, "ok", "ok"],
    ),
    (
        "the claim changed in one place",
        |it, shape| it.claim(shape, turn_first),
        ["signature_mismatch", "token_mismatch", "token_mismatch"],
    ),
    (
        "the claim in capitals, where they mean the same",
        |it, shape| shape.encoding == "hex" && it.claim(shape, str::to_ascii_uppercase),
        ["ok", "", ""],
    ),
    (
        "the claim cut by a character",
        |it, shape| {
            shape.encoding != "base64url" && it.claim(shape, |value| value[..value.len() - 1].to_owned())
        },
        ["signature_malformed", "token_mismatch", "token_mismatch"],
    ),
    (
        "the claim cut by four characters, which leaves it decodable",
        |it, shape| {
            shape.encoding != "base64url" && it.claim(shape, |value| value[..value.len() - 4].to_owned())
        },
        ["signature_mismatch", "token_mismatch", "token_mismatch"],
    ),
    (
        "the claim longer by a character",
        |it, shape| shape.encoding != "base64url" && it.claim(shape, |value| format!("{value}0")),
        ["signature_malformed", "token_mismatch", "token_mismatch"],
    ),
    (
        "the claim's prefix alone",
        |it, shape| it.claim(shape, |_| String::new()),
        ["signature_malformed", "token_mismatch", "token_mismatch"],
    ),
    (
        "the claim's prefix removed",
        |it, shape| it.label(shape, ""),
        ["signature_malformed", "", "token_missing"],
    ),
    ("another prefix", |it, shape| it.label(shape, "x="), ["signature_malformed", "", "token_missing"]),
    (
        "another provider's prefix",
        |it, shape| {
            let is_sha256 = shape.claims.iter().any(|claim| claim.prefix == "sha256=");
            it.label(shape, if is_sha256 { "v0=" } else { "sha256=" });
            shape.kind == Kind::Signed
        },
        ["signature_malformed", "", ""],
    ),
    (
        "the claim in base64 instead of hex",
        |it, shape| {
            let form = |value: &str| BASE64.encode(&HEXLOWER_PERMISSIVE.decode(value.as_bytes()).unwrap());
            shape.encoding == "hex" && it.claim(shape, form)
        },
        ["signature_malformed", "", ""],
    ),
    (
        "the claim in hex instead of base64, which is base64 as well",
        |it, shape| {
            let form = |value: &str| {
                BASE64.decode(value.as_bytes()).map_or(String::new(), |tag| HEXLOWER.encode(&tag))
            };
            let mut fits = shape.encoding == "base64";
            for claim in &shape.claims {
                it.clone().rewrite(claim, |value| {
                    fits &= form(value).len() % 4 == 0;
                    None
                });
            }
            fits && it.claim(shape, form)
        },
        ["signature_mismatch", "", ""],
    ),
    (
        "the claim's header missing",
        |it, shape| shape.claims.iter().all(|claim| it.remove(Some(claim))),
        ["signature_missing", "token_missing", "token_missing"],
    ),
    (
        "the claim's header empty",
        |it, shape| {
            shape.claims.iter().map(|claim| it.set(Some(claim), "")).filter(|found| *found).count() > 0
        },
        ["signature_malformed", "token_mismatch", "token_missing"],
    ),
    (
        "the claim's header twice",
        |it, shape| shape.claims.iter().any(|claim| !claim.is_repeated && it.repeat(Some(claim))),
        ["signature_ambiguous", "token_ambiguous", "token_ambiguous"],
    ),
    (
        "the claim's header twice, as its sender documents it",
        |it, shape| shape.claims.iter().any(|claim| claim.is_repeated && it.repeat(Some(claim))),
        ["ok", "", ""],
    ),
    (
        "another secret",
        |it, shape| {
            let prefix = shape.key_prefixes.iter().find(|prefix| it.secret.starts_with(prefix.as_str()));
            let prefix = prefix.cloned().unwrap_or_default();
            it.secret = format!("{prefix}{}", turn_first(&it.secret[prefix.len()..]));
            !shape.is_public_key
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
        |it, shape| !shape.time_touches && it.time(shape, |sent| format!("0{sent}")),
        ["signature_mismatch", "", ""],
    ),
    (
        "the same time with a leading zero, where it touches the body",
        |it, shape| shape.time_touches && it.time(shape, |sent| format!("0{sent}")),
        ["timestamp_malformed", "", ""],
    ),
    (
        "a time with a sign",
        |it, shape| it.time(shape, |sent| format!("+{sent}")),
        ["timestamp_malformed", "", ""],
    ),
    (
        "a time with a fraction",
        |it, shape| {
            let is_cut_at_dots = shape.time.as_ref().is_some_and(|time| time.split == Some('.'));
            !is_cut_at_dots && it.time(shape, |sent| format!("{sent}.0"))
        },
        ["timestamp_malformed", "", ""],
    ),
    ("a time of no digits", |it, shape| it.time(shape, |_| String::new()), ["timestamp_malformed", "", ""]),
    (
        "the time missing",
        |it, shape| match &shape.time {
            // Without it the others have other places.
            Some(field) if field.index.is_some() => false,
            Some(field) if own_header(shape).is_none() => it.rewrite(field, |_| None),
            field => it.remove(field.as_ref()),
        },
        ["timestamp_missing", "", ""],
    ),
    ("the time's header twice", |it, shape| it.repeat(own_header(shape)), ["signature_ambiguous", "", ""]),
    ("as old as is admitted", |it, shape| it.age(shape, shape.tolerance), ["ok", "", ""]),
    ("a second older", |it, shape| it.age(shape, shape.tolerance + 1), ["timestamp_stale", "", ""]),
    ("60 seconds ahead", |it, shape| it.age(shape, -60), ["ok", "", ""]),
    ("61 seconds ahead", |it, shape| it.age(shape, -61), ["timestamp_future", "", ""]),
    ("the id missing", |it, shape| it.id(shape, None), ["signature_malformed", "", ""]),
    ("the id empty", |it, shape| it.id(shape, Some("")), ["signature_malformed", "", ""]),
    ("the id twice", |it, shape| it.repeat(shape.id.as_ref()), ["signature_ambiguous", "", ""]),
    ("another id", |it, shape| it.id(shape, Some("msg_0")), ["signature_mismatch", "", ""]),
    (
        "an id with the separator",
        |it, shape| shape.has_dot_behind_id && it.id(shape, Some("msg.0")),
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
            all.push((Shape::of(&catalogue, block), vector.clone(), Delivery::read(provider, vector)));
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
        let published = catalogue[&delivery.provider]["checked"]["kind"] == "published vector";
        assert_eq!(vector["source"].is_string(), published, "{}: `checked` is not so", delivery.provider);
    }
    assert_eq!(valid.len(), named.len(), "a provider has no valid vector");
}

#[test]
fn every_vector_has_its_verdict_under_every_chunking() {
    let mut counts: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for (_, vector, delivery) in vectors() {
        counts.entry(delivery.provider.clone()).or_default()[usize::from(vector["expect"] != "ok")] += 1;
        let policies = delivery.configuration().policies;
        let length = delivery.request.body.len();
        let chunks: Vec<usize> = match length {
            0..=300 => (1..=length.max(1)).collect(),
            _ => vec![1, 63, 64, 65, 4096, 65536, length],
        };
        for chunk in chunks {
            let (_, decision) = delivery.request.judge(&policies, Framing::Undeclared, chunk);
            let (_, reason) = codes(decision.as_ref());
            assert_eq!(
                reason, vector["expect"],
                "{}: {} in chunks of {chunk}",
                delivery.provider, vector["name"]
            );
        }
        let (_, decision) = delivery.request.judge(&policies, Framing::Declared, 64);
        let (_, reason) = codes(decision.as_ref());
        assert_eq!(reason, vector["expect"], "{}: {} of declared length", delivery.provider, vector["name"]);
    }
    let catalogue = catalogue();
    for (provider, [accepted, refused]) in counts {
        // Shown by `make catalogue`.
        let checked = catalogue[&provider]["checked"]["kind"].as_str().unwrap();
        println!("{provider:<28} {accepted:>2} accepted  {refused:>2} refused  {checked}");
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
                Kind::Signed if reasons[0] != BODY => reasons[0],
                Kind::Signed => match shape.cover {
                    Cover::Signed | Cover::HoldsValue => "signature_mismatch",
                    Cover::Digest => "requirement_not_met",
                    Cover::Nothing => "ok",
                },
                Kind::Token => reasons[1],
                Kind::Credentials => reasons[2],
            };
            // A claim in the query is not found by these mutations.
            let lacks_claim = shape.claims.is_empty() && (name.contains("claim") || name.contains("prefix"));
            if lacks_claim || !mutate(&mut mutated, &shape) || expected.is_empty() {
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

/// What a stranger can make us keep by way of headers: a vector of each provider with one of its headers grown to 50 kB,
/// and with a long query.
#[test]
fn what_is_kept_of_a_delivery_does_not_grow_with_what_its_headers_hold() {
    let mut providers = BTreeSet::new();
    for (_, vector, delivery) in vectors() {
        if vector["expect"] != "ok" || !providers.insert(delivery.provider.clone()) {
            continue;
        }
        let policies = delivery.configuration().policies;
        let kept = |request: &Request| {
            let headers = request.to_headers();
            let opening = policies.open(&request.facts(&headers, false), &Lists::default());
            let held = policies.held_bytes();
            drop(opening);
            held
        };
        // Sixteen claims, two values in the body that are searched for, an id, what follows the body.
        let most = kept(&delivery.request) + 4096;
        for at in 0..delivery.request.headers.len() {
            let mut grown = delivery.request.clone();
            let (name, value) = &mut grown.headers[at];
            match name.as_str() {
                ":path" => value.extend(if value.contains(&b'?') { b"&a=" } else { b"?a=" }),
                ":method" => continue,
                _ => {}
            }
            let unit = if value.is_empty() { b"0".to_vec() } else { value.clone() };
            for separator in [&b""[..], b",", b" ", b", v1="] {
                let mut grown = grown.clone();
                while grown.headers[at].1.len() < 50_000 {
                    grown.headers[at].1.extend_from_slice(separator);
                    grown.headers[at].1.extend_from_slice(&unit);
                }
                let row = format!("{}: {}: {}", delivery.provider, vector["name"], grown.headers[at].0);
                assert!(kept(&grown) <= most, "{row} by {separator:?}: {} bytes", kept(&grown));
            }
        }
        assert_eq!(policies.held_bytes(), 0, "{}", delivery.provider);
    }
}
