//! Where a value sits in a request: a header, a query parameter or a JSON body, with an optional split and prefix.
//!
//! Responsible for the one idea that makes providers data: Stripe's `t=1,v1=ab` and Slack's `v0=ab` are the same thing
//! with other letters.

use crate::request::{Facts, Occurrence};
use crate::signature::json_pointer::{self, Pointer, Search};
use crate::signature::key::MAX_CANDIDATES;
use crate::uri::query;
use crate::vocabulary::{ConfigError, Node, Object, Wrong};
use std::borrow::Cow;
use std::sync::Arc;

/// A header, a query parameter, or a place in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The header of this name.
    Header(Arc<str>),
    /// The query parameter of this name, decoded once.
    Query(Arc<str>),
    /// The value in a JSON body that these parts of a pointer lead to.
    Json(Pointer),
}

impl Place {
    /// The place that one of `header`, `query` and `json` names.
    pub(crate) fn parse(object: &Object<'_>) -> Result<Self, ConfigError> {
        let complaint = "must have exactly one of `header`, `query` and `json`";
        let (kind, node) = object.exactly_one(&["header", "query", "json"], complaint)?;
        Ok(match kind {
            "header" => Self::Header(Arc::from(node.header_name()?)),
            "query" => Self::Query(Arc::from(node.filled_text()?)),
            _ => Self::Json(pointer(&node)?),
        })
    }

    /// The value there, as it came; of a place in the body nothing is known yet.
    #[must_use]
    pub fn read<'a>(&self, facts: &Facts<'a>) -> Occurrence<Cow<'a, [u8]>> {
        match self {
            Self::Header(name) => facts.headers.one(name.as_bytes()).map(Cow::Borrowed),
            Self::Query(name) => query::one(facts.query(), name.as_bytes()),
            Self::Json(_) => Occurrence::Absent,
        }
    }
}

/// Where a value sits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The header or parameter.
    pub place: Place,
    /// The character that separates items; blanks around them are trimmed.
    pub split: Option<u8>,
    /// The place of the one item that counts, from 0, empty ones counted too; nothing where every item does.
    pub index: Option<usize>,
    /// What an item must begin with to count; it is not part of the value.
    pub prefix: Option<Arc<str>>,
    /// Whether the header may come more than once, each with items of its own.
    pub is_repeated: bool,
}

/// What is found there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// It sits in the body.
    Later,
    /// No such header or parameter.
    Absent,
    /// The header or parameter more than once.
    Ambiguous,
    /// The items that count, in order, no more than are looked at: none where it is there but no item has the prefix.
    Items(Vec<Cow<'a, [u8]>>),
}

impl Field {
    /// The whole value in a place.
    #[must_use]
    pub const fn whole(place: Place) -> Self {
        Self { place, split: None, index: None, prefix: None, is_repeated: false }
    }

    /// Reads a field that stands alone.
    pub(crate) fn parse(node: &Node<'_>) -> Result<Self, ConfigError> {
        Self::parse_object(&node.object(&["header", "query", "json", "split", "index", "prefix"])?)
    }

    /// Reads a field of an object that may say more.
    pub(crate) fn parse_object(object: &Object<'_>) -> Result<Self, ConfigError> {
        let place = Place::parse(object)?;
        let split = match object.get("split") {
            Some(node) => match node.text()?.as_bytes() {
                // A character that is one byte is ASCII.
                [byte] => Some(*byte),
                _ => return Err(node.error(Wrong::Rule("must be one ASCII character"))),
            },
            None => None,
        };
        let index = match object.get("index") {
            Some(node) if split.is_none() => {
                return Err(node.error(Wrong::Rule("is the place of an item, so the Field needs `split`")));
            }
            Some(node) => Some(index(&node)?),
            None => None,
        };
        let prefix = object.get("prefix").map(|node| node.filled_text().map(Arc::from)).transpose()?;
        let is_repeated = match object.get("repeated") {
            Some(node) if !matches!(place, Place::Header(_)) => {
                return Err(node.error(Wrong::Rule("is for a `header`, which alone can come more than once")));
            }
            Some(node) => node.boolean()?,
            None => false,
        };
        Ok(Self { place, split, index, prefix, is_repeated })
    }

    /// Reads the field.
    #[must_use]
    pub fn read<'a>(&self, facts: &Facts<'a>) -> Found<'a> {
        if matches!(self.place, Place::Json(_)) {
            return Found::Later;
        }
        if let (true, Place::Header(name)) = (self.is_repeated, &self.place) {
            let mut values = facts.headers.all(name.as_bytes()).peekable();
            if values.peek().is_none() {
                return Found::Absent;
            }
            let items = values.flat_map(|value| self.items(value)).take(MAX_CANDIDATES);
            return Found::Items(items.map(Cow::Borrowed).collect());
        }
        match self.place.read(facts) {
            Occurrence::Absent => Found::Absent,
            Occurrence::Many => Found::Ambiguous,
            Occurrence::Once(Cow::Borrowed(value)) => {
                Found::Items(self.items(value).into_iter().map(Cow::Borrowed).collect())
            }
            Occurrence::Once(Cow::Owned(value)) => {
                Found::Items(self.items(&value).into_iter().map(|item| Cow::Owned(item.to_vec())).collect())
            }
        }
    }

    /// The value for a log: the one item that counts, if it is printable ASCII of at most 256 bytes.
    #[must_use]
    pub fn printable(&self, facts: &Facts<'_>) -> Option<Arc<str>> {
        let Found::Items(items) = self.read(facts) else { return None };
        let [item] = items.as_slice() else { return None };
        printable(item)
    }

    /// The search through the body, where the value sits there.
    #[must_use]
    pub fn search(&self) -> Option<Search> {
        match &self.place {
            Place::Json(path) => Some(Search::new(path.clone())),
            Place::Header(_) | Place::Query(_) => None,
        }
    }

    /// The items of a value that count, without their prefix; no more than are looked at.
    #[must_use]
    pub fn items<'v>(&self, value: &'v [u8]) -> Vec<&'v [u8]> {
        let prefix = self.prefix.as_deref().unwrap_or_default().as_bytes();
        match self.split {
            None => value.strip_prefix(prefix).into_iter().collect(),
            Some(split) => value
                .split(|byte| *byte == split)
                .map(<[u8]>::trim_ascii)
                .enumerate()
                .filter(|(place, item)| self.index.map_or(!item.is_empty(), |index| index == *place))
                .map(|(_, item)| item)
                .filter_map(|item| item.strip_prefix(prefix))
                .take(MAX_CANDIDATES)
                .collect(),
        }
    }
}

/// A JSON pointer.
pub(crate) fn pointer(node: &Node<'_>) -> Result<Pointer, ConfigError> {
    let text = node.text()?;
    let complaint = "is not a JSON pointer (RFC 6901), such as /event/time";
    json_pointer::pointer(text).ok_or_else(|| node.error(Wrong::Value(text.to_owned(), complaint)))
}

fn index(node: &Node<'_>) -> Result<usize, ConfigError> {
    let complaint = "must be the place of an item, from 0 to 15";
    let index = node.whole(0, 15, complaint)?;
    usize::try_from(index).map_err(|_| node.error(Wrong::Rule(complaint)))
}

/// Text that may stand in a log line and a header: printable ASCII, at most 256 bytes, not empty.
#[must_use]
pub fn printable(bytes: &[u8]) -> Option<Arc<str>> {
    let fits = !bytes.is_empty() && bytes.len() <= 256 && bytes.iter().all(u8::is_ascii_graphic);
    if fits { std::str::from_utf8(bytes).ok().map(Arc::from) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Headers, Millis};

    fn field(json: &str) -> Result<Field, ConfigError> {
        let json = crate::vocabulary::Json::read(json.as_bytes())?;
        crate::vocabulary::first_fault("", &json, |node| {
            let keys = ["header", "query", "json", "split", "index", "prefix", "repeated", "encoding"];
            Field::parse_object(&node.object(&keys)?).map(Some)
        })
    }

    fn found(field: &Field, values: &[&str]) -> Option<Vec<String>> {
        let headers = Headers::from_pairs(values.iter().map(|value| (&b"x-a"[..], value.as_bytes())));
        let facts = Facts {
            headers: &headers,
            source: None,
            client_certificate: None,
            route_policy: None,
            now: Millis(0),
            ends_with_headers: true,
        };
        let text = |item: &Cow<'_, [u8]>| String::from_utf8(item.to_vec()).unwrap();
        match field.read(&facts) {
            Found::Items(items) => Some(items.iter().map(text).collect()),
            Found::Absent => Some(vec!["absent".to_owned()]),
            Found::Ambiguous | Found::Later => None,
        }
    }

    #[test]
    fn an_index_names_one_item_by_its_place() {
        let second = field(r#"{"header": "x-a", "split": ".", "index": 1}"#).unwrap();
        for (value, items) in [
            ("1.ab", &["ab"][..]),
            ("1. ab ", &["ab"]),
            ("1.ab.cd", &["ab"]),
            ("1.", &[""]),
            (".ab", &["ab"]),
            ("1", &[]),
        ] {
            assert_eq!(found(&second, &[value]).unwrap(), items, "{value}");
        }
        for (json, complaint) in [
            (r#"{"header": "x-a", "index": 1}"#, "so the Field needs `split`"),
            (r#"{"header": "x-a", "split": ",", "index": 16}"#, "from 0 to 15"),
            (r#"{"header": "x-a", "split": ",", "index": -1}"#, "from 0 to 15"),
        ] {
            let said = field(json).unwrap_err().to_string();
            assert!(said.starts_with("index: ") && said.contains(complaint), "{json}: {said}");
        }
    }

    #[test]
    fn a_repeated_header_gives_all_its_items_and_no_more_than_are_looked_at() {
        let once = field(r#"{"header": "x-a", "prefix": "v="}"#).unwrap();
        let repeated = field(r#"{"header": "x-a", "split": ",", "prefix": "v=", "repeated": true}"#).unwrap();
        assert_eq!(found(&once, &["v=1", "v=2"]), None);
        assert_eq!(found(&repeated, &["v=1", "w=0, v=2", "v=3"]).unwrap(), ["1", "2", "3"]);
        assert_eq!(found(&repeated, &[]).unwrap(), ["absent"]);
        assert_eq!(found(&repeated, &["v=1"; 99]).unwrap().len(), MAX_CANDIDATES);
        let said = field(r#"{"query": "a", "repeated": true}"#).unwrap_err().to_string();
        assert!(said.starts_with("repeated: ") && said.contains("is for a `header`"), "{said}");
    }
}
