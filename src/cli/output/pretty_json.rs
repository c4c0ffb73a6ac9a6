//! JSON in the order in which people write it.
//!
//! Responsible for line breaks and the order of keys, in blocks that are printed for reading and pasting.

use serde_json::{Map, Value};

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
