//! A way to verify a delivery: a scheme or a token's place, as a provider or an operator wrote it.
//!
//! Responsible for reading all of them with the core's parser in one go, and for how a secret's text becomes a key.

use crate::catalogue::{Catalogue, Provider, signed};
use crate::output::terminal::Failure;
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use serde_json::{Value, json};
use std::sync::Arc;
use webhook_guard_core::check::token::TokenPlace;
use webhook_guard_core::config;
use webhook_guard_core::policy::Check;
use webhook_guard_core::signature::Scheme;
use webhook_guard_core::signature::key::Algorithm;
use webhook_guard_core::signature::public_key::pem;

/// What a request presents.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// A signature.
    Signed(Scheme),
    /// A token.
    Token(TokenPlace),
}

/// How a secret's text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Utf8,
    Hex,
    Base64,
    Base64Url,
}

impl Reading {
    pub(crate) const ALL: [Self; 4] = [Self::Utf8, Self::Hex, Self::Base64, Self::Base64Url];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "text",
            Self::Hex => "hexadecimal",
            Self::Base64 => "base64",
            Self::Base64Url => "base64url",
        }
    }

    /// The bytes that the text stands for.
    pub(crate) fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        let unpadded = || match text.iter().rposition(|byte| *byte != b'=') {
            Some(last) => text.get(..=last).unwrap_or_default(),
            None => &[],
        };
        match self {
            Self::Utf8 => Some(text.to_vec()),
            Self::Hex => HEXLOWER_PERMISSIVE.decode(text).ok(),
            Self::Base64 => BASE64_NOPAD.decode(unpadded()).ok(),
            Self::Base64Url => BASE64URL_NOPAD.decode(unpadded()).ok(),
        }
    }
}

/// A way to verify, with its names.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The providers of the catalogue that do it this way; none for a scheme of the operator's own.
    pub(crate) names: Vec<String>,
    /// What it checks, in a few words.
    pub(crate) summary: String,
    pub(crate) way: Way,
    /// The scheme or token as it is written.
    pub(crate) json: Value,
    /// How the scheme reads its secrets.
    pub(crate) reading: Reading,
    /// What is taken off a secret, the longest first.
    pub(crate) prefixes: Vec<String>,
    /// Where the provider explains it.
    pub(crate) documentation: Option<String>,
}

impl Layout {
    pub(crate) fn of_scheme(scheme: &Value) -> Result<Arc<Self>, String> {
        let mut layouts = read(vec![unread(scheme.clone(), Vec::new(), None)])?;
        layouts.pop().map(Arc::new).ok_or_else(|| "holds no scheme".to_owned())
    }

    /// Every layout of the catalogue once.
    pub(crate) fn catalogue(catalogue: &Catalogue) -> Result<Vec<Arc<Self>>, Failure> {
        let mut layouts: Vec<Unread> = Vec::new();
        for provider in catalogue.iter() {
            let Some(json) = provider.scheme().or_else(|| provider.token()) else { continue };
            match layouts.iter_mut().find(|layout| layout.json == *json) {
                Some(layout) => layout.names.push(provider.name.to_owned()),
                None => layouts.push(unread_provider(provider, json)),
            }
        }
        let layouts = read(layouts).map_err(|what| Failure::new(format!("the catalogue: {what}")))?;
        Ok(layouts.into_iter().map(Arc::new).collect())
    }

    /// The same as the catalogue's layout of that provider, under that name alone.
    pub(crate) fn of_provider(all: &[Arc<Self>], name: &str) -> Option<Arc<Self>> {
        let layout = all.iter().find(|layout| layout.names.iter().any(|known| known == name))?;
        Some(Arc::new(Self { names: vec![name.to_owned()], ..(**layout).clone() }))
    }

    /// The key that a secret's text stands for, read as the scheme reads it.
    pub(crate) fn key(&self, text: &[u8]) -> Option<Vec<u8>> {
        self.key_read_as(text, self.reading)
    }

    /// The key, where the text is read otherwise.
    pub(crate) fn key_read_as(&self, text: &[u8], reading: Reading) -> Option<Vec<u8>> {
        if let Way::Signed(scheme) = &self.way
            && scheme.algorithm.is_public()
            && let Some(der) = std::str::from_utf8(text).ok().and_then(pem)
        {
            return Some(der);
        }
        let bare =
            self.prefixes.iter().find_map(|prefix| text.strip_prefix(prefix.as_bytes())).unwrap_or(text);
        reading.decode(bare).filter(|key| !key.is_empty())
    }

    /// The template of the signed content.
    pub(crate) fn signed(&self) -> &str {
        self.json.get("signed").and_then(Value::as_str).unwrap_or_default()
    }

    /// A few of the names.
    pub(crate) fn listed(&self) -> String {
        let shown: Vec<&str> = self.names.iter().take(6).map(String::as_str).collect();
        let left = self.names.len().saturating_sub(shown.len());
        let more = if left == 0 { String::new() } else { format!(" and {left} more") };
        format!("{}{more}", shown.join(", "))
    }

    /// Whether a stranger who has one delivery can make others without knowing the secret: what is hashed plainly begins
    /// with the secret, so the hash of more can be computed from the hash alone (length extension).
    pub(crate) fn can_be_extended(&self) -> bool {
        let algorithm = self.json.get("algorithm").and_then(Value::as_str);
        algorithm == Some("sha256") && is_extendable(self.signed())
    }

    /// Whether both differ in the delivery's id at most.
    pub(crate) fn is_twin(&self, other: &Self) -> bool {
        let bare = |json: &Value| {
            let mut json = json.clone();
            json.as_object_mut().map(|members| members.remove("delivery_id"));
            json
        };
        bare(&self.json) == bare(&other.json)
    }

    /// Whether both sign the same content in the same way, and differ in the names of headers at most; of one provider
    /// also where the algorithm is another one (GitHub's two headers).
    pub(crate) fn is_sibling(&self, other: &Self) -> bool {
        let same = |key: &str| self.json.get(key).map(nameless) == other.json.get(key).map(nameless);
        let is_one_provider = self.documentation.is_some() && self.documentation == other.documentation;
        same("signed")
            && same("timestamp")
            && (is_one_provider || (same("algorithm") && same("signature") && same("secret")))
    }
}

/// Whether that content can be extended behind its end where a plain hash is taken of it.
pub(crate) fn is_extendable(template: &str) -> bool {
    let place = |part: &str| template.find(part);
    match (place("{secret}"), place("{body}").or_else(|| place("{form}"))) {
        (Some(secret), Some(body)) => secret < body && !template.ends_with("{secret}"),
        (Some(_), None) => !template.ends_with("{secret}"),
        (None, _) => false,
    }
}

/// JSON without the names of headers.
fn nameless(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(key, _)| *key != "header");
            kept.map(|(key, value)| (key.clone(), value.clone())).collect()
        }
        other => other.clone(),
    }
}

/// A layout before the core has read it.
struct Unread {
    names: Vec<String>,
    json: Value,
    documentation: Option<String>,
}

fn unread(json: Value, names: Vec<String>, documentation: Option<String>) -> Unread {
    Unread { names, json, documentation }
}

fn unread_provider(provider: Provider<'_>, json: &Value) -> Unread {
    let documentation = provider.text("documentation").map(str::to_owned);
    unread(json.clone(), vec![provider.name.to_owned()], documentation)
}

/// A text that is a key in every form that a shared secret has.
const ANY_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Reads all schemes as one configuration. A public key is put in place later, so they are read as if they had none.
fn read(layouts: Vec<Unread>) -> Result<Vec<Layout>, String> {
    let schemes: Vec<&Unread> = layouts.iter().filter(|layout| token_place(&layout.json).is_none()).collect();
    let policies: Vec<Value> = schemes
        .iter()
        .enumerate()
        .map(|(index, layout)| {
            let mut scheme = layout.json.clone();
            if let (Some(algorithm), Some(members)) = (algorithm(&layout.json), scheme.as_object_mut())
                && algorithm.is_public()
            {
                members.insert("algorithm".to_owned(), json!("hmac-sha256"));
            }
            let mut signature = json!({ "scheme": scheme, "secrets": [{ "value": ANY_KEY }] });
            let signed = layout.json.get("signed").and_then(Value::as_str).unwrap_or_default();
            if let Some(members) = signature.as_object_mut().filter(|_| signed.contains("{url")) {
                members.insert("public_url".to_owned(), json!("https://hooks.example.com/hook"));
            }
            json!({ "name": format!("p{index}"), "require": { "signature": signature } })
        })
        .collect();
    let mut read = Vec::new();
    if !policies.is_empty() {
        let text = json!({ "policies": policies }).to_string();
        let configuration = config::parse(text.as_bytes(), &|_| None).map_err(|error| {
            let place = error.at.rsplit_once("scheme").map_or("", |(_, place)| place.trim_start_matches('.'));
            format!("{}{}{}", place, if place.is_empty() { "" } else { ": " }, error.wrong)
        })?;
        for leaf in configuration.policies.iter().flat_map(|policy| &policy.leaves) {
            if let Check::Signature(check) = &leaf.check {
                read.push(check.scheme.clone());
            }
        }
    }
    let mut read = read.into_iter();
    let mut all = Vec::new();
    for Unread { names, json, documentation } in layouts {
        let way = match token_place(&json) {
            Some(place) => Way::Token(place),
            None => {
                let mut scheme = read.next().ok_or("holds no scheme")?;
                scheme.algorithm = algorithm(&json).unwrap_or(scheme.algorithm);
                Way::Signed(scheme)
            }
        };
        let secret = json.get("secret");
        let reading = match secret.and_then(|secret| secret.get("encoding")).and_then(Value::as_str) {
            Some("hex") => Reading::Hex,
            Some("base64") => Reading::Base64,
            _ => Reading::Utf8,
        };
        let mut prefixes: Vec<String> = match secret.and_then(|secret| secret.get("prefix")) {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            one => one.and_then(Value::as_str).map(str::to_owned).into_iter().collect(),
        };
        prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
        let summary = summary(&way, &json);
        all.push(Layout { names, summary, way, json, reading, prefixes, documentation });
    }
    Ok(all)
}

fn summary(way: &Way, json: &Value) -> String {
    match way {
        Way::Signed(_) => {
            let content = json.get("signed").and_then(Value::as_str).unwrap_or_default();
            format!("{}, over {content}", signed(json))
        }
        Way::Token(place) => format!("a token {}", place_name(place)),
    }
}

/// Where a token sits, in words.
pub(crate) fn place_name(place: &TokenPlace) -> String {
    match place {
        TokenPlace::Query(name) => format!("in the query parameter {name}"),
        TokenPlace::Header(name) => format!("in {name}"),
        TokenPlace::Bearer => "in authorization, behind the word Bearer".to_owned(),
        TokenPlace::Basic { .. } | TokenPlace::BasicAny => {
            "in authorization, as the password of Basic".to_owned()
        }
    }
}

fn algorithm(scheme: &Value) -> Option<Algorithm> {
    let name = scheme.get("algorithm").and_then(Value::as_str)?;
    Algorithm::NAMES.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
}

/// The place, where the block is a token's.
fn token_place(json: &Value) -> Option<TokenPlace> {
    if let Some(header) = json.get("header").and_then(Value::as_str) {
        return Some(TokenPlace::Header(Arc::from(header.to_ascii_lowercase())));
    }
    if json.get("bearer").is_some() {
        return Some(TokenPlace::Bearer);
    }
    json.get("basic").map(|_| TokenPlace::BasicAny)
}
