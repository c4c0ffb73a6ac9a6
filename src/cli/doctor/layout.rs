//! A way to verify a delivery: a scheme or a token's place, as a provider or an operator wrote it.
//!
//! Responsible for each of them once, under the names of all providers that share it, and for how a secret's text becomes
//! a key.

use crate::catalogue;
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use serde_json::Value;
use std::sync::Arc;
use webhook_guard_core::catalogue::{Provider, Way};
use webhook_guard_core::check::token::TokenPlace;
use webhook_guard_core::signature::json_pointer;
use webhook_guard_core::signature::public_key::pem;
use webhook_guard_core::signature::{KeyEncoding, Scheme};

/// How a secret's text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Utf8,
    Hex,
    Base64,
    Base64Url,
}

impl From<KeyEncoding> for Reading {
    fn from(encoding: KeyEncoding) -> Self {
        match encoding {
            KeyEncoding::Utf8 => Self::Utf8,
            KeyEncoding::Hex => Self::Hex,
            KeyEncoding::Base64 => Self::Base64,
        }
    }
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
    /// Where the provider explains it.
    pub(crate) documentation: Option<String>,
}

impl Layout {
    /// The layout of an operator's own scheme; a complaint where it is none.
    pub(crate) fn of_scheme(scheme: &Value) -> Result<Arc<Self>, String> {
        let (read, form) = Scheme::from_json(scheme.to_string().as_bytes()).map_err(|error| {
            let separator = if error.at.is_empty() { "" } else { ": " };
            format!("{}{separator}{}", error.at, error.wrong)
        })?;
        let way = Way::Signed(Box::new(read), form);
        Ok(Arc::new(Self::new(Vec::new(), way, scheme.clone(), None)))
    }

    /// Every layout of these providers once.
    pub(crate) fn all(providers: Vec<Provider>) -> Vec<Arc<Self>> {
        let mut layouts: Vec<Self> = Vec::new();
        for provider in providers {
            let json = catalogue::written_way(&provider);
            let name = provider.name.to_owned();
            match layouts.iter_mut().find(|layout| layout.json == json) {
                Some(layout) => layout.names.push(name),
                None => {
                    let documentation = Some(provider.documentation);
                    layouts.push(Self::new(vec![name], provider.way, json, documentation));
                }
            }
        }
        layouts.into_iter().map(Arc::new).collect()
    }

    fn new(names: Vec<String>, way: Way, json: Value, documentation: Option<String>) -> Self {
        Self { names, summary: summary(&way, &json), way, json, documentation }
    }

    /// The same as the catalogue's layout of that provider, under that name alone.
    pub(crate) fn of_provider(all: &[Arc<Self>], name: &str) -> Option<Arc<Self>> {
        let layout = all.iter().find(|layout| layout.names.iter().any(|known| known == name))?;
        Some(Arc::new(Self { names: vec![name.to_owned()], ..(**layout).clone() }))
    }

    /// The key that a secret's text stands for, read as the scheme reads it.
    pub(crate) fn key(&self, text: &[u8]) -> Option<Vec<u8>> {
        self.key_read_as(text, self.reading())
    }

    /// How the scheme reads its secrets.
    pub(crate) fn reading(&self) -> Reading {
        match &self.way {
            Way::Signed(_, form) => Reading::from(form.encoding),
            Way::Token(_) => Reading::Utf8,
        }
    }

    /// The key, where the text is read otherwise.
    pub(crate) fn key_read_as(&self, text: &[u8], reading: Reading) -> Option<Vec<u8>> {
        let bare = match &self.way {
            Way::Signed(scheme, form) => {
                let der = || std::str::from_utf8(text).ok().and_then(pem);
                if let Some(der) = scheme.algorithm.is_public().then(der).flatten() {
                    return Some(der);
                }
                form.prefixes.iter().find_map(|prefix| text.strip_prefix(prefix.as_bytes())).unwrap_or(text)
            }
            Way::Token(_) => text,
        };
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

/// Whether that content can be extended after its end where a plain hash is taken of it.
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

fn summary(way: &Way, json: &Value) -> String {
    match way {
        Way::Signed(..) => match json.get("signed").and_then(Value::as_str) {
            Some(content) => format!("{}, over {content}", catalogue::signed(json)),
            None => catalogue::signed(json),
        },
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
        TokenPlace::Json(path) => format!("in the body, at {}", json_pointer::text(path)),
    }
}
