//! Address feeds as an operator writes them: `feeds`.
//!
//! Responsible for filling in what the catalogue knows of a feed, and for naming what is missing of one that it does not know.

use super::Reader;
use crate::feed::catalogue::{self, Definition};
use crate::feed::{Condition, Feed, Format, Source};
use crate::signature::hmac::BodyDigest;
use crate::vocabulary::{ConfigError, Node, Object, Wrong, near};
use std::sync::Arc;

const KEYS: [&str; 12] = [
    "catalogue",
    "cluster",
    "authority",
    "path",
    "json",
    "lines",
    "key_set",
    "certificates",
    "where",
    "refresh_seconds",
    "max_age_seconds",
    "initial",
];

const REFRESH: u64 = 3600;
const MOST_REFRESH: u64 = 7 * 86_400;
/// Whatever strangers write into their messages, a certificate is fetched no more often than that.
const BETWEEN_WISHES: u64 = 5;
const MAX_AGE: u64 = 7 * 86_400;
const MOST_MAX_AGE: u64 = 366 * 86_400;

/// More feeds than that are no configuration but a mistake: each costs requests, and memory in every worker.
const MOST_FEEDS: usize = 64;

/// Reads `feeds` for the policies that name them. What cannot be read is reported and left out.
pub(crate) fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Result<(), ConfigError> {
    let before = reader.faults.count();
    let members = node.members()?;
    if members.len() > MOST_FEEDS {
        return Err(node.error(Wrong::Rule("must have at most 64 members")));
    }
    for (name, node) in members {
        let feed = node.keep(feed(name, &node, reader));
        reader.feeds.extend(feed);
    }
    reader.has_all_feeds = reader.faults.count() == before;
    Ok(())
}

/// The place of the feed of addresses that an entry of an address list names; nothing where it may be one that could not be
/// read.
pub(crate) fn of_addresses(node: &Node<'_>, reader: &mut Reader<'_>) -> Result<Option<usize>, ConfigError> {
    let place = named(node, reader)?;
    let feed = place.and_then(|place| reader.feeds.get(place));
    let has_keys =
        feed.and_then(|feed| feed.source.as_ref()).is_some_and(|source| source.format.is_of_keys());
    match has_keys {
        true => Err(node.error(Wrong::Rule("names a feed of keys, which has no addresses"))),
        false => Ok(place),
    }
}

/// The place of the feed that an object names; nothing where it may be one that could not be read.
pub(crate) fn named(node: &Node<'_>, reader: &mut Reader<'_>) -> Result<Option<usize>, ConfigError> {
    let name = node.object(&["feed"])?.required("feed")?;
    let text = name.text()?;
    let Some(place) = reader.feeds.iter().position(|feed| &*feed.name == text) else {
        if !reader.has_all_feeds {
            return Ok(None);
        }
        let names = reader.feeds.iter().map(|feed| &*feed.name);
        let meant = near(text, names).map(str::to_owned);
        return Err(name.error(Wrong::Feed(text.to_owned(), meant)));
    };
    reader.used_feeds.insert(place);
    Ok(Some(place))
}

/// Warns of feeds that no policy uses.
pub(crate) fn warn_of_unused(node: &Node<'_>, reader: &mut Reader<'_>) {
    for place in 0..reader.feeds.len() {
        if let (false, Some(feed)) = (reader.used_feeds.contains(&place), reader.feeds.get(place)) {
            let name = feed.name.clone();
            reader.warn_at(&format!("{}.{name}", node.at()), "feed-unused", "no policy uses the feed");
        }
    }
}

fn feed(name: &str, node: &Node<'_>, reader: &mut Reader<'_>) -> Result<Feed, ConfigError> {
    let is_of_a_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_of_a_name) {
        return Err(node.error(Wrong::Rule("the name of a feed must match [a-z0-9_-]{1,64}")));
    }
    let object = node.object(&KEYS)?;
    let known = known(name, &object)?;
    let initial = object.get("initial").map(|node| catalogue::networks(&node)).transpose()?;
    let source = source(name, node, &object, known.as_ref())?;
    if source.is_none() && object.get("cluster").is_some() {
        let complaint = "has no use: the provider publishes a page only, and the catalogue has its addresses";
        return Err(node.child("cluster").error(Wrong::Rule(complaint)));
    }
    let initial = initial.or_else(|| known.as_ref().filter(|_| source.is_none())?.initial.clone());
    if initial.as_ref().is_some_and(|list| list.admits_everyone()) {
        reader.warn(node, "address-list-admits-everyone", "the feed's initial list admits everyone");
    }
    let complaint = "must be a whole number of seconds from 1 to 604800 (7 days)";
    let waits = source.as_ref().is_some_and(Source::waits_for_wishes);
    if let (true, Some(node)) = (waits, object.get("refresh_seconds")) {
        return Err(node.error(Wrong::Rule("has no use: a certificate is fetched when a message names it")));
    }
    if let (true, Some(node)) =
        (source.as_ref().is_some_and(|source| source.format.is_of_keys()), object.get("initial"))
    {
        return Err(node.error(Wrong::Rule("has addresses, and the feed has keys")));
    }
    let seconds = |key: &str, default: u64, most: u64, complaint: &'static str| {
        let seconds = object.get(key).map_or(Ok(default), |node| node.whole(1, most, complaint))?;
        Ok::<i64, ConfigError>(i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX))
    };
    let refresh = if waits { BETWEEN_WISHES } else { REFRESH };
    let refresh = seconds("refresh_seconds", refresh, MOST_REFRESH, complaint)?;
    let complaint = "must be a whole number of seconds from 1 to 31622400 (366 days)";
    // A certificate says itself for how long it may be used.
    let max_age = if waits { MOST_MAX_AGE } else { MAX_AGE };
    let max_age = seconds("max_age_seconds", max_age, MOST_MAX_AGE, complaint)?;
    if max_age <= refresh {
        let text =
            "max_age_seconds is no longer than refresh_seconds: the list ends before it is fetched again";
        reader.warn(node, "feed-ends-before-refresh", text);
    }
    if let (Some(known), Some(source)) = (&known, &source) {
        let is_narrowed = |wanted: &String| match &source.format {
            Format::Json(selection) => selection.conditions.iter().any(|one| &one.member == wanted),
            Format::Lines | Format::KeySet | Format::Certificates => false,
        };
        if !known.narrowed_by.is_empty() && !known.narrowed_by.iter().any(is_narrowed) {
            let text = "the whole list holds addresses that the provider's own customers send from: say which part with `where`";
            reader.warn(node, "feed-holds-customers", text);
        }
    }
    let identity = identity(source.as_ref(), initial.as_ref().map(|list| list.bytes()));
    Ok(Feed { name: Arc::from(name), source, refresh, max_age, initial, identity })
}

/// What the catalogue knows of the feed.
fn known(name: &str, object: &Object<'_>) -> Result<Option<Definition>, ConfigError> {
    let Some(node) = object.get("catalogue") else { return catalogue::definition(name) };
    let name = node.text()?;
    match catalogue::definition(name)? {
        Some(known) => Ok(Some(known)),
        None => Err(node.error(Wrong::CatalogueFeed(name.to_owned(), catalogue::nearest(name)))),
    }
}

/// Where the feed is fetched from; nothing where its provider publishes a page only.
fn source(
    name: &str,
    node: &Node<'_>,
    object: &Object<'_>,
    known: Option<&Definition>,
) -> Result<Option<Source>, ConfigError> {
    let is_own = ["authority", "path", "json", "lines", "key_set", "certificates"]
        .iter()
        .any(|key| object.get(key).is_some());
    if known.is_some_and(|known| known.format.is_none()) && !is_own {
        return Ok(None);
    }
    if known.is_none() && !is_own {
        return Err(node.error(Wrong::CatalogueFeed(name.to_owned(), catalogue::nearest(name))));
    }
    let text = |key: &str, known: Option<&String>| match (object.get(key), known) {
        (Some(node), _) => line(&node),
        (None, Some(known)) => Ok(known.clone()),
        (None, None) => object.required(key).and_then(|node| line(&node)),
    };
    let authority = text("authority", known.and_then(|known| known.authority.as_ref()))?;
    let path = text("path", known.and_then(|known| known.path.as_ref()))?;
    if !path.starts_with('/') {
        return Err(node.child("path").error(Wrong::Rule("must begin with a slash")));
    }
    let cluster = line(&object.required("cluster")?)?;
    let own = catalogue::format(node, object)?;
    let format = own.or_else(|| known.and_then(|known| known.format.clone()));
    let complaint = "must have `json`, `lines`, `key_set` or `certificates`: how the list is read";
    let mut format = format.ok_or_else(|| node.error(Wrong::Rule(complaint)))?;
    if let Some(node) = object.get("where") {
        match &mut format {
            Format::Json(selection) => narrow(&mut selection.conditions, catalogue::conditions(&node)?),
            _ => return Err(node.error(Wrong::Rule("has a meaning for a list of addresses in JSON only"))),
        }
    }
    Ok(Some(Source { cluster, authority, path, format }))
}

/// Adds conditions, each in the place of one on the same member.
fn narrow(conditions: &mut Vec<Condition>, own: Vec<Condition>) {
    conditions.retain(|known| own.iter().all(|one| one.member != known.member));
    conditions.extend(own);
}

/// A text that can stand in a header.
fn line(node: &Node<'_>) -> Result<String, ConfigError> {
    let text = node.filled_text()?;
    match text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err(node.error(Wrong::Rule("must be of visible ASCII characters"))),
    }
}

/// A digest of all that decides which list a feed has.
fn identity(source: Option<&Source>, initial: Option<&[u8]>) -> [u8; 32] {
    let mut digest = BodyDigest::default();
    digest.update(format!("{source:?}\0").as_bytes());
    digest.update(initial.unwrap_or_default());
    digest.finish()
}
