//! The catalogue of feeds: data in the operator's own vocabulary, in `src/core/feeds.json`.
//!
//! Responsible for finding a feed and reading its block, and for the words in which a feed's answer is described, which an
//! operator uses for a feed of their own. A provider that publishes its addresses on a page only has them here, with the day on
//! which the page was read.

use super::{Condition, Format, List, Selection};
use crate::address;
use crate::vocabulary::{ConfigError, Json, Node, Object, Wrong, first_fault, near};
use std::sync::Arc;

const FEEDS: &str = include_str!("../feeds.json");

const KEYS: [&str; 12] = [
    "title",
    "documentation",
    "providers",
    "authority",
    "path",
    "json",
    "lines",
    "where",
    "narrowed_by",
    "initial",
    "as_of",
    "note",
];

/// A feed of the catalogue.
#[derive(Clone, Debug)]
pub struct Known {
    /// The name by which a configuration calls it.
    pub name: String,
    /// Whose addresses they are, and which.
    pub title: String,
    /// Where the provider says so.
    pub documentation: String,
    /// The providers of the catalogue of signatures that send from there.
    pub providers: Vec<String>,
    /// The host that publishes the list; nothing where each customer has its own, or where there is only a page.
    pub authority: Option<String>,
    /// The path of the list there.
    pub path: Option<String>,
    /// How the list is read; nothing where there is only a page.
    pub format: Option<Format>,
    /// The members by which an operator says which part of the list is meant: without them it holds the addresses of the
    /// provider's own customers too.
    pub narrowed_by: Vec<String>,
    /// The addresses on the provider's page, as they stood there on the day `as_of`.
    pub initial: Option<Page>,
    /// What an operator has to know.
    pub note: Option<String>,
}

/// The addresses that a provider publishes on a page only.
#[derive(Clone, Debug)]
pub struct Page {
    /// The list.
    pub list: Arc<List>,
    /// The same as it is written.
    pub networks: Vec<String>,
    /// The day on which the page was read, `YYYY-MM-DD`.
    pub as_of: String,
}

/// Reads all feeds, in the order of their names.
///
/// # Errors
/// The catalogue is broken, which a test excludes: the first thing that is wrong, with its place.
pub fn all() -> Result<Vec<Known>, ConfigError> {
    let json = Json::read(FEEDS.as_bytes())?;
    first_fault("feeds", &json, |node| {
        let known = node.members()?.into_iter().map(|(name, node)| read(name, &node));
        known.collect::<Result<Vec<_>, _>>().map(Some)
    })
}

/// The feed of that name; nothing where there is none.
///
/// # Errors
/// As [`all`].
pub fn get(name: &str) -> Result<Option<Known>, ConfigError> {
    let json = Json::read(FEEDS.as_bytes())?;
    first_fault("feeds", &json, |node| {
        let found = node.members()?.into_iter().find(|(one, _)| *one == name);
        found.map(|(name, node)| read(name, &node)).transpose().map(Some)
    })
}

/// The name that was probably meant by one that is not there.
///
/// # Errors
/// As [`all`].
pub fn nearest(name: &str) -> Result<Option<String>, ConfigError> {
    let all = all()?;
    Ok(near(name, all.iter().map(|known| known.name.as_str())).map(str::to_owned))
}

fn read(name: &str, node: &Node<'_>) -> Result<Known, ConfigError> {
    let object = node.object(&KEYS)?;
    let text = |key: &str| object.get(key).map(|node| node.filled_text().map(str::to_owned)).transpose();
    let page = |node: Node<'_>| {
        Ok(Page {
            list: networks(&node)?,
            networks: texts(&node)?,
            as_of: object.required("as_of")?.filled_text()?.to_owned(),
        })
    };
    Ok(Known {
        name: name.to_owned(),
        title: object.required("title")?.filled_text()?.to_owned(),
        documentation: object.required("documentation")?.filled_text()?.to_owned(),
        providers: object.get("providers").map_or(Ok(Vec::new()), |node| texts(&node))?,
        authority: text("authority")?,
        path: text("path")?,
        format: format(node, &object)?,
        narrowed_by: object.get("narrowed_by").map_or(Ok(Vec::new()), |node| texts(&node))?,
        initial: object.get("initial").map(page).transpose()?,
        note: text("note")?,
    })
}

fn texts(node: &Node<'_>) -> Result<Vec<String>, ConfigError> {
    node.list()?.iter().map(|entry| entry.filled_text().map(str::to_owned)).collect()
}

/// Reads a list of networks.
pub(crate) fn networks(node: &Node<'_>) -> Result<Arc<List>, ConfigError> {
    let networks: Vec<_> = node.list()?.iter().filter_map(|entry| entry.keep(address::read(entry))).collect();
    Ok(Arc::new(networks.into_iter().collect()))
}

/// Reads how a list is read: `json` with `where`, or `lines`; nothing where it is not said.
pub(crate) fn format(node: &Node<'_>, object: &Object<'_>) -> Result<Option<Format>, ConfigError> {
    match (object.get("json"), object.get("lines")) {
        (Some(_), Some(_)) => Err(node.error(Wrong::Rule("must not have both `json` and `lines`"))),
        (Some(json), None) => {
            let pointers = json.list()?;
            if pointers.len() > Selection::MOST_POINTERS {
                return Err(json.error(Wrong::Rule("must have at most 16 pointers")));
            }
            let pointers = pointers.iter().map(pointer).collect::<Result<_, _>>()?;
            let conditions = object.get("where").map_or(Ok(Vec::new()), |node| conditions(&node))?;
            Ok(Some(Format::Json(Selection { pointers, conditions })))
        }
        (None, Some(lines)) if lines.boolean()? => Ok(Some(Format::Lines)),
        (None, Some(lines)) => Err(lines.error(Wrong::Rule("must be true; leave the key out otherwise"))),
        (None, None) => Ok(None),
    }
}

fn pointer(node: &Node<'_>) -> Result<Vec<super::Part>, ConfigError> {
    let text = node.text()?;
    let complaint = "is not a JSON pointer, such as \"/hooks/*\"";
    Selection::pointer(text).ok_or_else(|| node.error(Wrong::Value(text.to_owned(), complaint)))
}

/// Reads `where`: members and the texts that each may be.
pub(crate) fn conditions(node: &Node<'_>) -> Result<Vec<Condition>, ConfigError> {
    let members = node.members()?;
    if members.len() > Selection::MOST_CONDITIONS {
        return Err(node.error(Wrong::Rule("must have at most 8 members")));
    }
    let condition = |(member, node): (&str, Node<'_>)| {
        let texts = node.one_or_list()?;
        let any_of = texts.iter().map(|text| text.filled_text().map(str::to_owned));
        Ok(Condition { member: member.to_owned(), any_of: any_of.collect::<Result<_, ConfigError>>()? })
    };
    members.into_iter().map(condition).collect()
}
