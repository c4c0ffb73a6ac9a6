//! Keys that are fetched, and what must be said beside them, as an operator writes it.
//!
//! Responsible for `keys`, `claims` and `topics` of a signature. A publisher's keys sign for all its customers, so that an
//! operator has to say which of them is meant.

use super::{Reader, feeds};
use crate::feed::Format;
use crate::signature::{FetchedKeys, Scheme};
use crate::vocabulary::{ConfigError, Node, Object, Wrong};
use std::sync::Arc;

/// Reads them, and puts into the scheme what must hold; nothing where the feed is one that could not be read.
pub(super) fn read(
    node: &Node<'_>,
    object: &Object<'_>,
    mut scheme: Scheme,
    reader: &mut Reader<'_>,
) -> Result<Option<(Scheme, Option<FetchedKeys>)>, ConfigError> {
    if let (Some(keys), Some(_)) = (object.get("keys"), object.get("secrets")) {
        return Err(
            keys.error(Wrong::Rule("must not stand beside `secrets`: the keys are the one or the other"))
        );
    }
    claims(object, &mut scheme)?;
    match (object.get("topics"), &mut scheme.sns) {
        (Some(node), Some(sns)) => {
            sns.topics = node.list()?.iter().map(topic).collect::<Result<_, _>>()?;
        }
        (Some(node), None) => return Err(node.error(Wrong::Rule("are those of a sender that is SNS"))),
        (None, Some(_)) => {
            let complaint = "needs `topics`: whoever has an account with SNS can have messages signed";
            return Err(node.error(Wrong::Rule(complaint)));
        }
        (None, None) => {}
    }
    let Some(keys) = object.get("keys") else {
        return match scheme.sns.is_some() || scheme.certificate.is_some() {
            true => Err(object.required("keys").err().unwrap_or_else(|| node.error(Wrong::Missing))),
            false => Ok(Some((scheme, None))),
        };
    };
    let wanted = match (&scheme.sns, &scheme.jwt) {
        (Some(_), _) => Format::Certificates,
        (None, None) if scheme.certificate.is_some() => Format::Certificates,
        (None, Some(jwt)) if scheme.algorithm.is_public() => {
            if jwt.claims.is_empty() {
                let complaint =
                    "needs `claims`: whoever is a customer of the publisher can have a token signed";
                return Err(node.error(Wrong::Rule(complaint)));
            }
            Format::KeySet
        }
        _ => {
            let complaint = "are for a sender that names its key: a token (`jwt`) with a public key, SNS, a `certificate`";
            return Err(keys.error(Wrong::Rule(complaint)));
        }
    };
    let Some(feed) = feeds::named(&keys, reader)? else { return Ok(None) };
    let source = reader.feeds.get(feed).and_then(|feed| feed.source.as_ref());
    match source.filter(|source| source.format == wanted) {
        Some(source) => Ok(Some((scheme, Some(FetchedKeys { feed, publisher: source.publisher() })))),
        None if wanted == Format::KeySet => {
            Err(keys.error(Wrong::Rule("names a feed that has no key set (`\"key_set\": true`)")))
        }
        None => Err(keys.error(Wrong::Rule("names a feed of no certificates (`\"certificates\": true`)"))),
    }
}

/// What the claims of a token must be.
fn claims(object: &Object<'_>, scheme: &mut Scheme) -> Result<(), ConfigError> {
    let Some(node) = object.get("claims") else { return Ok(()) };
    let Some(jwt) = &mut scheme.jwt else {
        return Err(node.error(Wrong::Rule("are those of a token, and the scheme has none")));
    };
    for (name, node) in node.members()? {
        jwt.claims.push((Arc::from(name), Arc::from(node.filled_text()?)));
    }
    if jwt.claims.is_empty() { Err(node.error(Wrong::EmptyObject)) } else { Ok(()) }
}

fn topic(node: &Node<'_>) -> Result<Arc<str>, ConfigError> {
    let text = node.filled_text()?;
    match text.starts_with("arn:") && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(Arc::from(text)),
        false => Err(node.error(Wrong::Value(text.to_owned(), "is not the ARN of a topic"))),
    }
}
