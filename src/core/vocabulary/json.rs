//! The two forms in which a configuration arrives, as one tree.
//!
//! Responsible for JSON text, in which duplicate keys must be seen, and for `google.protobuf.Struct`; and for the JSON text
//! of names and values that is handed out. It knows no key.

use super::error::{ConfigError, Wrong};
use prost::Message as _;
use prost_types::{Struct, Value, value::Kind};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A JSON value. An object keeps its members as they came, duplicates included.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Boolean(bool),
    Unsigned(u64),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads JSON text, or a serialized `Struct`.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, ConfigError> {
        let wrong = |wrong| ConfigError { at: String::new(), wrong };
        if bytes.trim_ascii().is_empty() {
            return Err(wrong(Wrong::EmptyText));
        }
        match serde_json::from_slice(bytes) {
            Ok(json) => Ok(json),
            // A Struct begins with the tag of its first field, 0x0a, which JSON text takes for a blank.
            Err(error) => match Struct::decode(bytes) {
                Ok(tree) if bytes.first() == Some(&0x0a) => Ok(Self::from(tree)),
                _ => Err(wrong(Wrong::NotJson(error.to_string()))),
            },
        }
    }

    /// Reads JSON text alone, such as somebody else's; nothing where it is none.
    pub(crate) fn of_text(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The name of its type, with an article.
    pub(crate) const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Unsigned(_) | Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// A JSON object of these members, in order: a text where a member has one value, a list of texts where it has several.
pub(crate) fn object_of_texts(members: &[(&str, Vec<String>)]) -> String {
    let mut text = String::from("{");
    for (name, values) in members {
        if text.len() > 1 {
            text.push(',');
        }
        // Texts are always valid JSON: there is nothing that could fail.
        text.push_str(&serde_json::to_string(name).unwrap_or_default());
        text.push(':');
        text.push_str(
            &match values.as_slice() {
                [value] => serde_json::to_string(value),
                values => serde_json::to_string(values),
            }
            .unwrap_or_default(),
        );
    }
    text.push('}');
    text
}

impl From<Struct> for Json {
    fn from(tree: Struct) -> Self {
        Self::Object(tree.fields.into_iter().map(|(key, value)| (key, Self::from(value))).collect())
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        match value.kind {
            None | Some(Kind::NullValue(_)) => Self::Null,
            Some(Kind::BoolValue(boolean)) => Self::Boolean(boolean),
            Some(Kind::NumberValue(number)) => Self::Number(number),
            Some(Kind::StringValue(text)) => Self::Text(text),
            Some(Kind::ListValue(list)) => Self::List(list.values.into_iter().map(Self::from).collect()),
            Some(Kind::StructValue(tree)) => Self::from(tree),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, boolean: bool) -> Result<Json, E> {
        Ok(Json::Boolean(boolean))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Unsigned(number))
    }

    fn visit_i64<E>(self, _negative: i64) -> Result<Json, E> {
        // serde_json calls this for negative numbers only, and none is valid anywhere.
        Ok(Json::Number(-1.0))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::ListValue;

    fn value(kind: Kind) -> Value {
        Value { kind: Some(kind) }
    }

    #[test]
    fn a_struct_and_json_text_give_the_same_tree() {
        let list = ListValue { values: vec![value(Kind::BoolValue(true)), value(Kind::NullValue(0))] };
        let tree = Struct {
            fields: [
                ("a".to_owned(), value(Kind::StringValue("x".to_owned()))),
                ("b".to_owned(), value(Kind::ListValue(list))),
                ("c".to_owned(), value(Kind::NumberValue(1.5))),
            ]
            .into(),
        };
        let text = br#"{"a": "x", "b": [true, null], "c": 1.5}"#;
        assert_eq!(Json::read(&tree.encode_to_vec()).unwrap(), Json::read(text).unwrap());
    }

    #[test]
    fn json_that_begins_with_a_newline_is_json() {
        assert_eq!(Json::read(b"\n {}\n").unwrap(), Json::Object(Vec::new()));
        assert!(Json::read(b"\n {").unwrap_err().to_string().starts_with("configuration: is not JSON: "));
    }
}
