//! The catalogue of providers as data, for the commands that print it or try all of it.
//!
//! Responsible for finding a provider's block, for what `same_as` stands for, and for JSON in the order in which people
//! write it.

use crate::output::terminal::Failure;
use serde_json::{Map, Value, json};
use webhook_guard_core::config::{self, Wrong};

/// Keys in the order in which the README and the catalogue write them; all others follow by name.
const ORDER: [&str; 26] = [
    "name",
    "match",
    "path",
    "require",
    "provider",
    "scheme",
    "algorithm",
    "signature",
    "token",
    "timestamp",
    "tolerance_seconds",
    "future_seconds",
    "delivery_id",
    "header",
    "query",
    "json",
    "split",
    "prefix",
    "encoding",
    "unit",
    "signed",
    "secret",
    "equals",
    "equals_body_sha256",
    "public_url",
    "secrets",
];

/// All providers.
#[derive(Debug)]
pub(crate) struct Catalogue(Map<String, Value>);

/// One provider.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Provider<'c> {
    pub(crate) name: &'c str,
    block: &'c Map<String, Value>,
    /// The block that `same_as` leads to, or the same one.
    layout: &'c Map<String, Value>,
}

impl Catalogue {
    pub(crate) fn read() -> Result<Self, Failure> {
        serde_json::from_str(webhook_guard_core::catalogue::DATA)
            .map(Self)
            .map_err(|error| Failure::new(format!("the catalogue: {error}")))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Provider<'_>> {
        self.0.keys().filter_map(|name| self.find(name))
    }

    fn find(&self, name: &str) -> Option<Provider<'_>> {
        let (name, block) = self.0.get_key_value(name)?;
        let block = block.as_object()?;
        let mut layout = block;
        while let Some(next) = layout.get("same_as").and_then(Value::as_str) {
            layout = self.0.get(next)?.as_object()?;
        }
        Some(Provider { name, block, layout })
    }

    /// The provider of that name; the core's own words where there is none.
    pub(crate) fn get(&self, name: &str) -> Result<Provider<'_>, Failure> {
        self.find(name).ok_or_else(|| {
            let signature = json!({"provider": name, "secrets": [{"value": "0123456789abcdef"}]});
            let policies = json!([{"name": "p", "require": {"signature": signature}}]);
            let text = json!({ "policies": policies }).to_string();
            let wrong = match config::parse(text.as_bytes(), &|_| None) {
                Err(error) => error.wrong,
                Ok(_) => Wrong::Provider(Some(name.to_owned()), None),
            };
            Failure::new(format!("{wrong} (`webhook-guard providers` lists them)"))
        })
    }
}

impl<'c> Provider<'c> {
    /// A text about the provider itself.
    pub(crate) fn text(&self, key: &str) -> Option<&'c str> {
        self.block.get(key).and_then(Value::as_str)
    }

    /// A fact about the provider itself.
    pub(crate) fn fact(&self, key: &str) -> Option<&'c Value> {
        self.block.get(key)
    }

    /// How it signs.
    pub(crate) fn scheme(&self) -> Option<&'c Value> {
        self.layout.get("scheme")
    }

    /// How it sends a token, where it signs nothing.
    pub(crate) fn token(&self) -> Option<&'c Value> {
        self.layout.get("token")
    }

    /// The requests with which it tests an endpoint.
    pub(crate) fn handshakes(&self) -> Vec<&'c Value> {
        match self.block.get("handshake").or_else(|| self.layout.get("handshake")) {
            Some(Value::Array(list)) => list.iter().collect(),
            Some(one) => vec![one],
            None => Vec::new(),
        }
    }

    /// What is checked, in a few words.
    pub(crate) fn way(&self) -> String {
        if let Some(scheme) = self.scheme() {
            return signed(scheme);
        }
        match self.token().and_then(|token| token.get("header")).and_then(Value::as_str) {
            Some(header) => format!("token in {header}"),
            None if self.token().is_some_and(|token| token.get("bearer").is_some()) => {
                "token, Bearer".to_owned()
            }
            None => "token, Basic".to_owned(),
        }
    }
}

/// What a scheme checks, in a few words.
pub(crate) fn signed(scheme: &Value) -> String {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let fields = match scheme.get("signature") {
        Some(Value::Array(list)) => list.first(),
        other => other,
    };
    let place = ["header", "query", "json"].iter().find_map(|key| text(fields?, key));
    let algorithm = text(scheme, "algorithm").unwrap_or_default();
    format!("{algorithm} in {}", place.unwrap_or_default())
}

/// JSON in the order in which people write it; what fits into a line stands in one.
pub(crate) fn pretty(value: &Value) -> String {
    let mut text = String::new();
    write(value, 0, 0, &mut text);
    text
}

const WIDTH: usize = 100;

fn write(value: &Value, indent: usize, column: usize, text: &mut String) {
    let line = inline(value);
    if column.saturating_add(line.chars().count()) <= WIDTH {
        text.push_str(&line);
        return;
    }
    let inner = indent.saturating_add(2);
    let margin = " ".repeat(inner);
    let open = |text: &mut String, is_first: bool, bracket: char| {
        text.push(if is_first { bracket } else { ',' });
        text.push('\n');
        text.push_str(&margin);
    };
    let close = match value {
        Value::Object(members) => {
            for (index, (key, value)) in ordered(members).into_iter().enumerate() {
                open(text, index == 0, '{');
                let key = format!("{}: ", Value::from(key));
                text.push_str(&key);
                write(value, inner, inner.saturating_add(key.chars().count()), text);
            }
            '}'
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                open(text, index == 0, '[');
                write(item, inner, inner, text);
            }
            ']'
        }
        _ => return text.push_str(&line),
    };
    text.push('\n');
    text.push_str(&" ".repeat(indent));
    text.push(close);
}

fn inline(value: &Value) -> String {
    match value {
        Value::Object(members) if !members.is_empty() => {
            let member = |(key, value): (&str, &Value)| format!("{}: {}", Value::from(key), inline(value));
            let members: Vec<String> = ordered(members).into_iter().map(member).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

fn ordered(members: &Map<String, Value>) -> Vec<(&str, &Value)> {
    let mut members: Vec<(&str, &Value)> = members.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let place = |key: &str| ORDER.iter().position(|known| *known == key).unwrap_or(ORDER.len());
    members.sort_by_key(|(key, _)| place(key));
    members
}
