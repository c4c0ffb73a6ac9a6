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
            _ => {
                let text = node.text()?;
                let complaint = "is not a JSON pointer (RFC 6901), such as /event/time";
                let wrong = || node.error(Wrong::Value(text.to_owned(), complaint));
                Self::Json(json_pointer::pointer(text).ok_or_else(wrong)?)
            }
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
    /// What an item must begin with to count; it is not part of the value.
    pub prefix: Option<Arc<str>>,
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
    /// Reads a field that stands alone.
    pub(crate) fn parse(node: &Node<'_>) -> Result<Self, ConfigError> {
        Self::parse_object(&node.object(&["header", "query", "json", "split", "prefix"])?)
    }

    /// Reads a field of an object that may say more.
    pub(crate) fn parse_object(object: &Object<'_>) -> Result<Self, ConfigError> {
        let place = Place::parse(object)?;
        let split = match object.get("split") {
            Some(node) => match node.text()?.as_bytes() {
                [byte] if byte.is_ascii() => Some(*byte),
                _ => return Err(node.error(Wrong::Rule("must be one ASCII character"))),
            },
            None => None,
        };
        let prefix = object.get("prefix").map(|node| node.filled_text().map(Arc::from)).transpose()?;
        Ok(Self { place, split, prefix })
    }

    /// Reads the field.
    #[must_use]
    pub fn read<'a>(&self, facts: &Facts<'a>) -> Found<'a> {
        if matches!(self.place, Place::Json(_)) {
            return Found::Later;
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
                .filter(|item| !item.is_empty())
                .filter_map(|item| item.strip_prefix(prefix))
                .take(MAX_CANDIDATES)
                .collect(),
        }
    }
}

/// Text that may stand in a log line and a header: printable ASCII, at most 256 bytes, not empty.
#[must_use]
pub fn printable(bytes: &[u8]) -> Option<Arc<str>> {
    let fits = !bytes.is_empty() && bytes.len() <= 256 && bytes.iter().all(u8::is_ascii_graphic);
    if fits { std::str::from_utf8(bytes).ok().map(Arc::from) } else { None }
}
