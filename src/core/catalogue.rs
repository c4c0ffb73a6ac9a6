//! The catalogue of providers: data in the operator's own vocabulary, in `src/core/catalogue.json`.
//!
//! Responsible for finding a provider and for reading its block: what it signs or sends, its handshakes, and what is known
//! about it beside. A provider is a saved `signature` block, read by the parser that reads an operator's scheme.

use crate::check::token::TokenPlace;
use crate::handshake::Handshake;
use crate::signature::field::Field;
use crate::signature::timestamp::rfc3339;
use crate::signature::{KeyForm, Scheme};
use crate::vocabulary::{ConfigError, Json, Node, Object, Wrong, first_fault, is_word, near};
use std::sync::Arc;

/// A block, and the name of its provider.
type Named = (&'static str, &'static str);

// `BLOCKS`, whole and as written, and `NEEDED`, what of each a check needs: made by build.rs.
include!(concat!(env!("OUT_DIR"), "/blocks.rs"));

/// What a provider's block may say.
const KEYS: [&str; 17] = [
    "title",
    "documentation",
    "addresses",
    "client_certificate",
    "event_type",
    "content_types",
    "checked",
    "deny_status",
    "bare_refusals",
    "timestamp",
    "same_as",
    "handshake",
    "setup",
    "guide",
    "scheme",
    "token",
    "delivery_id",
];

/// A provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The name by which a configuration calls it.
    pub name: &'static str,
    /// The name that people know.
    pub title: String,
    /// Where the provider explains how to verify a delivery.
    pub documentation: String,
    /// The addresses from which it sends, or where it publishes them; empty where none are known.
    pub addresses: Vec<String>,
    /// The TLS certificate with which it sends, where it has one: the names to expect, and who signs it.
    pub client_certificate: Option<String>,
    /// The content types of its deliveries, the usual one first; at least one.
    pub content_types: Vec<String>,
    /// The header in which it names the event.
    pub event_type: Option<String>,
    /// What the block was checked against, and when.
    pub checked: Checked,
    /// The status that it wants where a signature does not hold.
    pub deny_status: Option<u16>,
    /// Whether it demands that a 401 has no body.
    pub wants_bare_refusals: bool,
    /// What it says about the time of a delivery.
    pub timestamp: Timestamp,
    /// What an operator has to know to set it up.
    pub setup: Option<String>,
    /// What is known of its side: where the secret is, what its test sends, how it tries again.
    pub guide: Option<Guide>,
    /// How a delivery is verified.
    pub way: Way,
    /// Where the id of a delivery sits.
    pub delivery_id: Option<Field>,
    /// The requests with which it tests an endpoint.
    pub handshakes: Vec<Arc<Handshake>>,
    block: &'static str,
    way_block: &'static str,
}

/// How a delivery is verified.
#[derive(Clone, Debug)]
pub enum Way {
    /// By a signature of this scheme, with keys made in this form.
    Signed(Box<Scheme>, KeyForm),
    /// By a token that is sent in this place.
    Token(TokenPlace),
}

/// What an operator meets on the provider's side, as far as a source says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guide {
    /// Where the secret is entered or shown.
    pub secret: Option<String>,
    /// What its test button sends, or that there is none.
    pub test: Option<String>,
    /// Which answers count as failed, how often and how long it tries again, and what tells a retry.
    pub retries: Option<String>,
    /// What one stumbles over.
    pub traps: Option<String>,
    /// Where all of it was read: a page, or a file of a repository.
    pub source: String,
}

/// What a provider's block was checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Of what kind it is.
    pub kind: Evidence,
    /// The source: a page, a file of a repository, a library with its version. Nothing where there is none.
    pub source: Option<String>,
    /// The day, as `2026-11-26`. Nothing where there is no source.
    pub date: Option<String>,
}

/// The kinds of sources that a provider's block is checked against, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A delivery that was published with its secret.
    PublishedVector,
    /// The provider's own library signs or verifies in a test.
    VendorLibrary,
    /// The provider's own code was read.
    VendorCode,
    /// The provider's documentation was read.
    Documentation,
    /// The code of somebody who receives the provider's deliveries was read.
    IndependentReceiver,
    /// Nothing.
    Unconfirmed,
}

/// What a provider says about the time of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamp {
    /// It is signed.
    Signed,
    /// It is sent and not signed.
    Unsigned,
    /// Nothing.
    None,
}

impl Evidence {
    /// The words for it in the catalogue.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("published vector", Self::PublishedVector),
        ("vendor library run in a test", Self::VendorLibrary),
        ("vendor code read", Self::VendorCode),
        ("documentation read", Self::Documentation),
        ("independent receiver read", Self::IndependentReceiver),
        ("unconfirmed", Self::Unconfirmed),
    ];

    /// The word for it in the catalogue.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, one)| *one == self).map_or("", |(name, _)| *name)
    }
}

impl Timestamp {
    const NAMES: [(&'static str, Self); 3] =
        [("signed", Self::Signed), ("unsigned", Self::Unsigned), ("none", Self::None)];
}

/// The names of all providers, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    NEEDED.iter().map(|(name, _)| *name)
}

/// Reads all providers, in the order of their names; an error, with its place, for one that is broken.
pub fn all() -> impl Iterator<Item = Result<Provider, ConfigError>> {
    BLOCKS.iter().map(|(name, block)| provider(name, block))
}

/// Reads the provider of that name; nothing where there is none.
///
/// # Errors
/// The block is broken, which a test excludes: the first thing that is wrong, with its place.
pub fn get(name: &str) -> Result<Option<Provider>, ConfigError> {
    find(BLOCKS, name).map(|(name, block)| provider(name, block)).transpose()
}

/// The name that was probably meant by one that is not there.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    near(name, names())
}

/// The complaint about a name that is not there. It quotes no text that could be a secret in the wrong place.
#[must_use]
pub fn unknown(name: &str) -> Wrong {
    if name.is_empty() {
        return Wrong::EmptyText;
    }
    let meant = nearest(name).map(str::to_owned);
    Wrong::Provider((meant.is_some() || is_word(name)).then(|| name.to_owned()), meant)
}

/// What a check needs of a provider.
#[derive(Debug)]
pub(crate) struct Authentication {
    pub(crate) way: Way,
    pub(crate) delivery_id: Option<Field>,
    pub(crate) handshakes: Vec<Arc<Handshake>>,
    pub(crate) wants_bare_refusals: bool,
    /// The provider whose block holds the `scheme` or `token`.
    of: &'static str,
}

/// What a check needs of the provider of that name; nothing where there is none.
///
/// # Errors
/// As [`get`].
pub(crate) fn authentication(name: &str) -> Result<Option<Authentication>, ConfigError> {
    let found = find(NEEDED, name);
    found.map(|(name, block)| read(name, block, |object| read_authentication(name, object))).transpose()
}

fn find(blocks: &'static [Named], name: &str) -> Option<Named> {
    let place = blocks.binary_search_by_key(&name, |(name, _)| name).ok()?;
    blocks.get(place).copied()
}

fn provider(name: &'static str, block: &'static str) -> Result<Provider, ConfigError> {
    read(name, block, |object| {
        let Authentication { way, delivery_id, handshakes, wants_bare_refusals, of } =
            read_authentication(name, object)?;
        let text = |key: &str| object.get(key).map(|node| node.text().map(str::to_owned)).transpose();
        Ok(Provider {
            name,
            title: object.required("title")?.filled_text()?.to_owned(),
            documentation: object.required("documentation")?.filled_text()?.to_owned(),
            addresses: object.get("addresses").map_or(Ok(Vec::new()), |node| addresses(&node))?,
            client_certificate: text("client_certificate")?,
            content_types: texts(&object.required("content_types")?)?,
            event_type: text("event_type")?,
            checked: checked(&object.required("checked")?)?,
            deny_status: object.get("deny_status").map(|node| status(&node)).transpose()?,
            wants_bare_refusals,
            timestamp: object.required("timestamp")?.choice(&Timestamp::NAMES)?,
            setup: text("setup")?,
            guide: object.get("guide").map(|node| guide(&node)).transpose()?,
            way,
            delivery_id,
            handshakes,
            block,
            way_block: find(BLOCKS, of).map_or(block, |(_, block)| block),
        })
    })
}

fn read_authentication(name: &'static str, object: &Object<'_>) -> Result<Authentication, ConfigError> {
    let handshakes = object.get("handshake").map(|node| Handshake::parse(&node)).transpose()?;
    let wants_bare_refusals = object.get("bare_refusals").map_or(Ok(false), |node| node.boolean())?;
    let complaint = "must have exactly one of `scheme`, `token` and `same_as`";
    let (kind, node) = object.exactly_one(&["scheme", "token", "same_as"], complaint)?;
    if kind == "same_as" {
        let model = node.text()?;
        let model = authentication(model)?.ok_or_else(|| node.error(unknown(model)))?;
        let handshakes = handshakes.unwrap_or(model.handshakes);
        return Ok(Authentication { handshakes, wants_bare_refusals, ..model });
    }
    let (way, delivery_id) = way(kind, &node, object)?;
    let handshakes = handshakes.unwrap_or_default();
    Ok(Authentication { way, delivery_id, handshakes, wants_bare_refusals, of: name })
}

/// Reads a block.
fn read<T>(
    name: &str,
    block: &str,
    read: impl FnOnce(&Object<'_>) -> Result<T, ConfigError>,
) -> Result<T, ConfigError> {
    let read = |node: &Node<'_>| node.object(&KEYS).and_then(|object| read(&object)).map(Some);
    first_fault(&format!("providers.{name}"), &Json::read(block.as_bytes())?, read)
}

impl Provider {
    /// Its block of the catalogue, as it is written.
    #[must_use]
    pub const fn block(&self) -> &'static str {
        self.block
    }

    /// The block that holds its `scheme` or `token`, as it is written: its own, or that of the provider whose way it
    /// shares.
    #[must_use]
    pub const fn way_block(&self) -> &'static str {
        self.way_block
    }

    /// The scheme by which it signs; nothing where it sends a token.
    #[must_use]
    pub fn scheme(&self) -> Option<&Scheme> {
        match &self.way {
            Way::Signed(scheme, _) => Some(scheme),
            Way::Token(_) => None,
        }
    }
}

/// Reads `scheme` or `token`, and where the id of a delivery sits.
fn way(kind: &str, node: &Node<'_>, block: &Object<'_>) -> Result<(Way, Option<Field>), ConfigError> {
    if kind == "token" {
        let delivery_id = block.get("delivery_id").map(|node| Field::parse(&node)).transpose()?;
        return Ok((Way::Token(token_place(node)?), delivery_id));
    }
    // Where there is none, what is wrong with it has been reported, and counts before this.
    let (scheme, form) = Scheme::parse(node)?.ok_or_else(|| node.error(Wrong::EmptyObject))?;
    let delivery_id = scheme.delivery_id.clone();
    Ok((Way::Signed(Box::new(scheme), form), delivery_id))
}

/// How a provider sends a token. For Basic credentials the secret is `username:password`, or the password alone where
/// any user name will do.
fn token_place(node: &Node<'_>) -> Result<TokenPlace, ConfigError> {
    let object = node.object(&["header", "bearer", "basic", "json"])?;
    let complaint = "must have exactly one of `header`, `bearer`, `basic` and `json`";
    let (kind, place) = object.exactly_one(&["header", "bearer", "basic", "json"], complaint)?;
    Ok(match kind {
        "header" => TokenPlace::Header(Arc::from(place.header_name()?)),
        "bearer" => TokenPlace::Bearer,
        "json" => TokenPlace::in_body(&place)?,
        _ => TokenPlace::BasicAny,
    })
}

/// What a block was checked against: nothing, which is said, or a source with its day.
fn checked(node: &Node<'_>) -> Result<Checked, ConfigError> {
    let object = node.object(&["kind", "source", "date"])?;
    let kind = object.required("kind")?.choice(&Evidence::NAMES)?;
    let source = object.get("source").map(|node| node.filled_text().map(str::to_owned)).transpose()?;
    let date = object.get("date").map(|node| date(&node)).transpose()?;
    if (source.is_some(), date.is_some()) != (kind != Evidence::Unconfirmed, kind != Evidence::Unconfirmed) {
        let complaint = "must have a `source` and a `date`, and neither where it is unconfirmed";
        return Err(node.error(Wrong::Rule(complaint)));
    }
    Ok(Checked { kind, source, date })
}

/// What is known of the provider's side: plain sentences, and where they were read.
fn guide(node: &Node<'_>) -> Result<Guide, ConfigError> {
    let object = node.object(&["secret", "test", "retries", "traps", "source"])?;
    let text = |key: &str| object.get(key).map(|node| sentences(&node)).transpose();
    let (secret, test, retries, traps) = (text("secret")?, text("test")?, text("retries")?, text("traps")?);
    if [&secret, &test, &retries, &traps].iter().all(|one| one.is_none()) {
        let complaint = "must have at least one of `secret`, `test`, `retries` and `traps`";
        return Err(node.error(Wrong::Rule(complaint)));
    }
    let source = object.required("source")?.filled_text()?.to_owned();
    Ok(Guide { secret, test, retries, traps, source })
}

/// Sentences that can stand in a terminal and in a page of Markdown alike.
fn sentences(node: &Node<'_>) -> Result<String, ConfigError> {
    let text = node.filled_text()?;
    let is_plain = text.bytes().all(|byte| (b' '..0x7f).contains(&byte));
    if is_plain && text.ends_with(['.', ')']) {
        return Ok(text.to_owned());
    }
    Err(node.error(Wrong::Rule("must be sentences in printable ASCII, the last with its full stop")))
}

fn date(node: &Node<'_>) -> Result<String, ConfigError> {
    let text = node.text()?;
    match rfc3339(&format!("{text}T00:00:00Z")) {
        Some(_) => Ok(text.to_owned()),
        None => Err(node.error(Wrong::Rule("must be a day, such as 2026-11-26"))),
    }
}

fn addresses(node: &Node<'_>) -> Result<Vec<String>, ConfigError> {
    node.one_or_list()?.iter().map(|entry| entry.filled_text().map(str::to_owned)).collect()
}

fn texts(node: &Node<'_>) -> Result<Vec<String>, ConfigError> {
    node.list()?.iter().map(|entry| entry.filled_text().map(str::to_owned)).collect()
}

fn status(node: &Node<'_>) -> Result<u16, ConfigError> {
    let complaint = "must be a status from 400 to 599";
    let status = node.whole(400, 599, complaint)?;
    u16::try_from(status).map_err(|_| node.error(Wrong::Rule(complaint)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_is_read_and_stands_there_once() {
        for provider in all() {
            let provider = provider.unwrap_or_else(|error| panic!("{error}"));
            let relies_on_time = provider.scheme().is_some_and(|scheme| scheme.freshness.is_some());
            assert!(!relies_on_time || provider.timestamp == Timestamp::Signed, "{}", provider.name);
            let needed = authentication(provider.name).unwrap().unwrap();
            assert_eq!(format!("{:?}", needed.way), format!("{:?}", provider.way), "{}", provider.name);
            assert_eq!(needed.delivery_id, provider.delivery_id, "{}", provider.name);
            assert_eq!(needed.wants_bare_refusals, provider.wants_bare_refusals, "{}", provider.name);
            let shakes = |shakes: &[Arc<Handshake>]| format!("{shakes:?}");
            assert_eq!(shakes(&needed.handshakes), shakes(&provider.handshakes), "{}", provider.name);
        }
        let text = include_bytes!("catalogue.json");
        let Json::Object(members) = Json::read(text).unwrap() else { panic!("no object") };
        assert_eq!(members.len(), names().count());
    }

    #[test]
    fn the_same_as_another_is_verified_alike_and_keeps_its_own_facts() {
        let [clerk, svix] = ["clerk", "svix"].map(|name| get(name).unwrap().unwrap());
        assert_eq!(clerk.title, "Clerk");
        assert_eq!(format!("{:?}", clerk.way), format!("{:?}", svix.way));
        assert_eq!(clerk.way_block(), svix.block());
        assert_ne!(clerk.block(), svix.block());
    }

    #[test]
    fn a_broken_block_is_told_with_its_place() {
        let said = |block| provider("x", block).unwrap_err().to_string();
        let header = said(r#"{"title": "T", "token": {"header": "no header"}}"#);
        assert!(header.starts_with("providers.x.token.header: "), "{header}");
        let model = said(r#"{"same_as": "z"}"#);
        assert!(model.starts_with("providers.x.same_as: "), "{model}");
    }

    #[test]
    fn no_block_is_without_what_it_was_checked_against() {
        for provider in all() {
            let Provider { name, checked, .. } = provider.unwrap();
            let has_source = checked.source.is_some() && checked.date.is_some();
            assert!(has_source || checked.kind == Evidence::Unconfirmed, "{name}");
        }
        let rule = "must have a `source` and a `date`, and neither where it is unconfirmed";
        for (checked, complaint) in [
            (r#"{"kind": "documentation read"}"#, rule),
            (r#"{"kind": "vendor code read", "source": "a"}"#, rule),
            (r#"{"kind": "unconfirmed", "source": "a", "date": "2026-11-26"}"#, rule),
            (r#"{"kind": "hearsay", "source": "a", "date": "2026-11-26"}"#, "hearsay"),
            (r#"{"kind": "vendor code read", "source": "a", "date": "2026-02-30"}"#, "must be a day"),
        ] {
            let block = format!(
                r#"{{"title": "T", "documentation": "D", "content_types": ["a/b"], "timestamp": "none",
                    "token": {{"bearer": true}}, "checked": {checked}}}"#
            );
            let said = provider("x", block.leak()).unwrap_err().to_string();
            assert!(said.starts_with("providers.x.checked") && said.contains(complaint), "{checked}: {said}");
        }
        let none =
            r#"{"title": "T", "documentation": "D", "content_types": ["a/b"], "token": {"bearer": true}}"#;
        assert!(provider("x", none).unwrap_err().to_string().starts_with("providers.x.checked"));
    }

    #[test]
    fn a_broken_guide_is_told_with_its_place() {
        let rule = "must have at least one of `secret`, `test`, `retries` and `traps`";
        let plain = "must be sentences in printable ASCII, the last with its full stop";
        for (guide, place, complaint) in [
            (r#"{"source": "S"}"#, "", rule),
            (r#"{"secret": "In its settings."}"#, ".source", "is required"),
            (r#"{"secret": "In its settings.", "source": ""}"#, ".source", "must not be empty"),
            (r#"{"secret": "In its settings", "source": "S"}"#, ".secret", plain),
            (r#"{"retries": "After 5\n10 minutes.", "source": "S"}"#, ".retries", plain),
            (r#"{"traps": "caf\u00e9.", "source": "S"}"#, ".traps", plain),
            (r#"{"test": 1, "source": "S"}"#, ".test", "must be a string"),
            (r#"{"retry": "Never.", "source": "S"}"#, ".retry", "is not a key that is known here"),
            (r#""In its settings.""#, "", "must be an object"),
        ] {
            let block = format!(
                r#"{{"title": "T", "documentation": "D", "content_types": ["a/b"], "timestamp": "none",
                    "token": {{"bearer": true}}, "checked": {{"kind": "unconfirmed"}}, "guide": {guide}}}"#
            );
            let said = provider("x", block.leak()).unwrap_err().to_string();
            let at = format!("providers.x.guide{place}: ");
            assert!(said.starts_with(&at) && said.contains(complaint), "{guide}: {said}");
        }
    }

    #[test]
    fn what_only_people_read_is_not_in_what_a_check_needs() {
        let is_people_s = |(_, block): &&Named| block.contains("\"guide\"") || block.contains("\"setup\"");
        assert!(BLOCKS.iter().any(|block| is_people_s(&block)));
        assert_eq!(NEEDED.iter().find(is_people_s), None);
    }

    #[test]
    fn a_name_that_is_not_there_has_a_nearest_one() {
        assert!(get("githb").unwrap().is_none());
        assert_eq!(nearest("githb"), Some("github"));
        let secret = unknown("whsec_0123456789abcdef0123456789abcdef");
        assert_eq!(secret, Wrong::Provider(None, None));
    }
}
