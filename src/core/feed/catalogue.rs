//! The catalogue of feeds: data in the operator's own vocabulary, in `src/core/feeds.json`.
//!
//! Responsible for finding a feed and reading its block, and for the words in which a feed's answer is described, which an
//! operator uses for a feed of their own. A provider that publishes its addresses on a page only has them here, with the day on
//! which the page was read.

use super::{Condition, Format, List, Selection};
use crate::address;
use crate::vocabulary::{ConfigError, Json, Node, Object, Wrong, first_fault, near};
use std::sync::Arc;

/// A block, and the name of its feed.
type Named = (&'static str, &'static str);

// `BLOCKS`, whole and as written, and `NEEDED`, what of each a check needs: made by build.rs.
include!(concat!(env!("OUT_DIR"), "/feeds.rs"));

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
    pub name: &'static str,
    /// Whose addresses they are, and which.
    pub title: String,
    /// Where the provider says so.
    pub documentation: String,
    /// The providers of the catalogue of signatures that send from there.
    pub providers: Vec<String>,
    /// The day on which the page of a provider was read that publishes no list, `YYYY-MM-DD`.
    pub as_of: Option<String>,
    /// The addresses on that page, as they are written.
    pub networks: Vec<String>,
    /// What an operator has to know.
    pub note: Option<String>,
    /// Where the list is, and how it is read.
    pub definition: Definition,
}

/// What a check needs of a feed.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The host that publishes the list; nothing where each customer has its own, or where there is only a page.
    pub authority: Option<String>,
    /// The path of the list there.
    pub path: Option<String>,
    /// How the list is read; nothing where there is only a page.
    pub format: Option<Format>,
    /// The members by which an operator says which part of the list is meant: without them it holds the addresses of the
    /// provider's own customers too.
    pub narrowed_by: Vec<String>,
    /// The addresses on the page.
    pub initial: Option<Arc<List>>,
}

/// Reads all feeds, in the order of their names; an error, with its place, for one that is broken.
pub fn all() -> impl Iterator<Item = Result<Known, ConfigError>> {
    BLOCKS.iter().map(|(name, block)| known(name, block))
}

/// Reads the feed of that name; nothing where there is none.
///
/// # Errors
/// The block is broken, which a test excludes: the first thing that is wrong, with its place.
pub fn get(name: &str) -> Result<Option<Known>, ConfigError> {
    find(BLOCKS, name).map(|(name, block)| known(name, block)).transpose()
}

/// What a check needs of the feed of that name; nothing where there is none.
///
/// # Errors
/// As [`get`].
pub(crate) fn definition(name: &str) -> Result<Option<Definition>, ConfigError> {
    let found = find(NEEDED, name);
    found.map(|(name, block)| read(name, block, define)).transpose()
}

/// The name that was probably meant by one that is not there.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    near(name, NEEDED.iter().map(|(name, _)| *name))
}

fn find(blocks: &'static [Named], name: &str) -> Option<Named> {
    let place = blocks.binary_search_by_key(&name, |(name, _)| name).ok()?;
    blocks.get(place).copied()
}

/// Reads a block.
fn read<T>(
    name: &str,
    block: &str,
    read: impl FnOnce(&Node<'_>, &Object<'_>) -> Result<T, ConfigError>,
) -> Result<T, ConfigError> {
    let read = |node: &Node<'_>| node.object(&KEYS).and_then(|object| read(node, &object)).map(Some);
    first_fault(&format!("feeds.{name}"), &Json::read(block.as_bytes())?, read)
}

fn known(name: &'static str, block: &str) -> Result<Known, ConfigError> {
    read(name, block, |node, object| {
        let text = |key: &str| object.get(key).map(|node| node.filled_text().map(str::to_owned)).transpose();
        let list = |key: &str| object.get(key).map_or(Ok(Vec::new()), |node| texts(&node));
        Ok(Known {
            name,
            title: object.required("title")?.filled_text()?.to_owned(),
            documentation: object.required("documentation")?.filled_text()?.to_owned(),
            providers: list("providers")?,
            as_of: text("as_of")?,
            networks: list("initial")?,
            note: text("note")?,
            definition: define(node, object)?,
        })
    })
}

fn define(node: &Node<'_>, object: &Object<'_>) -> Result<Definition, ConfigError> {
    let text = |key: &str| object.get(key).map(|node| node.filled_text().map(str::to_owned)).transpose();
    Ok(Definition {
        authority: text("authority")?,
        path: text("path")?,
        format: format(node, object)?,
        narrowed_by: object.get("narrowed_by").map_or(Ok(Vec::new()), |node| texts(&node))?,
        initial: object.get("initial").map(|node| networks(&node)).transpose()?,
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

/// Reads how a list is read: `json` with `where`, `lines`, `key_set` or `certificates`; nothing where it is not said.
pub(crate) fn format(node: &Node<'_>, object: &Object<'_>) -> Result<Option<Format>, ConfigError> {
    let words = ["json", "lines", "key_set", "certificates"];
    if words.iter().filter(|word| object.get(word).is_some()).count() > 1 {
        let complaint = "must have only one of `json`, `lines`, `key_set` and `certificates`";
        return Err(node.error(Wrong::Rule(complaint)));
    }
    for (key, format) in [("key_set", Format::KeySet), ("certificates", Format::Certificates)] {
        match object.get(key) {
            None => {}
            Some(node) if node.boolean()? => return Ok(Some(format)),
            Some(node) => return Err(node.error(Wrong::Rule("must be true; leave the key out otherwise"))),
        }
    }
    match (object.get("json"), object.get("lines")) {
        (Some(json), _) => {
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
