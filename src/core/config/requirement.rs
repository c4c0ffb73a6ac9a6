//! The requirement tree as an operator writes it.
//!
//! Responsible for `source_ip`, `token`, `signature`, `any_of` and `all_of`; `client_certificate` is read in a file of its
//! own.

use super::secret::{self, Material};
use super::{Reader, client_certificate, feeds, signature};
use crate::address;
use crate::check::source_ip::{AddressCheck, AddressList};
use crate::check::token::{TokenCheck, TokenPlace};
use crate::policy::requirement::Requirement;
use crate::policy::{Check, PolicyCheck};
use crate::secret::{Fingerprint, Secret};
use crate::vocabulary::{ConfigError, Node, Object, Wrong};
use std::sync::Arc;

const KEYS: [&str; 6] = ["source_ip", "client_certificate", "token", "signature", "any_of", "all_of"];

/// Reads a requirement; its checks are added to `leaves`. What cannot be read is reported and left out.
pub(crate) fn read(
    node: &Node<'_>,
    leaves: &mut Vec<PolicyCheck>,
    reader: &mut Reader<'_>,
) -> Result<Requirement, ConfigError> {
    let object = node.object(&KEYS)?;
    if object.is_empty() {
        return Err(node.error(Wrong::EmptyObject));
    }
    let mut members = Vec::new();
    let plain = |check| PolicyCheck {
        check,
        provider: None,
        delivery_id: None,
        handshakes: Vec::new(),
        wants_bare_refusals: false,
    };
    if let Some(node) = object.get("source_ip") {
        let check = node.keep(source_ip(&node, reader)).map(Check::Source);
        members.extend(check.map(|check| add(leaves, plain(check))));
    }
    if let Some(node) = object.get("client_certificate") {
        let check = node.keep(client_certificate::read(&node)).map(Check::Certificate);
        members.extend(check.map(|check| add(leaves, plain(check))));
    }
    if let Some(node) = object.get("token") {
        let check = node.keep(token(&node, reader)).flatten().map(Check::Token);
        members.extend(check.map(|check| add(leaves, plain(check))));
    }
    if let Some(node) = object.get("signature") {
        let leaf = node.keep(signature::read(&node, reader)).flatten();
        members.extend(leaf.map(|leaf| add(leaves, leaf)));
    }
    if let Some(node) = object.get("all_of") {
        let entries = node.keep(node.list()).unwrap_or_default();
        members.push(Requirement::All(branches(&entries, leaves, reader)));
    }
    if let Some(node) = object.get("any_of") {
        let entries = node.keep(node.list());
        if entries.as_ref().is_some_and(|entries| entries.len() < 2) {
            node.report(node.error(Wrong::Rule("must have two or more entries")));
        }
        members.push(Requirement::Any(branches(&entries.unwrap_or_default(), leaves, reader)));
    }
    Ok(Requirement::All(members))
}

fn add(leaves: &mut Vec<PolicyCheck>, leaf: PolicyCheck) -> Requirement {
    leaves.push(leaf);
    Requirement::Check(leaves.len().saturating_sub(1))
}

fn branches(
    entries: &[Node<'_>],
    leaves: &mut Vec<PolicyCheck>,
    reader: &mut Reader<'_>,
) -> Vec<Requirement> {
    entries.iter().filter_map(|entry| entry.keep(read(entry, leaves, reader))).collect()
}

fn source_ip(node: &Node<'_>, reader: &mut Reader<'_>) -> Result<AddressCheck, ConfigError> {
    let object = node.object(&["allow", "deny"])?;
    if object.is_empty() {
        return Err(node.error(Wrong::EmptyObject));
    }
    let allow = object.get("allow").map(|node| addresses(&node, reader)).transpose()?;
    let deny = object.get("deny").map(|node| addresses(&node, reader)).transpose()?.unwrap_or_default();
    if allow.as_ref().is_some_and(|allow| allow.set.admits_everyone()) {
        reader.warn(node, "address-list-admits-everyone", "the allowlist admits everyone");
    }
    Ok(AddressCheck { allow, deny })
}

fn addresses(node: &Node<'_>, reader: &mut Reader<'_>) -> Result<AddressList, ConfigError> {
    let (mut networks, mut feeds) = (Vec::new(), Vec::new());
    for entry in node.list()? {
        if entry.is_object() {
            feeds.extend(entry.keep(feeds::of_addresses(&entry, reader)).flatten());
        } else {
            networks.extend(entry.keep(address::read(&entry)));
        }
    }
    Ok(AddressList { set: networks.into_iter().collect(), feeds })
}

fn token(node: &Node<'_>, reader: &mut Reader<'_>) -> Result<Option<TokenCheck>, ConfigError> {
    let object = node.object(&["query", "header", "bearer", "basic", "json", "secrets"])?;
    let place = node.keep(token_place(&object));
    let secrets = fingerprints(secret::read_list(&object.required("secrets")?, reader)?);
    Ok(place.map(|place| TokenCheck { place, secrets }))
}

fn token_place(object: &Object<'_>) -> Result<TokenPlace, ConfigError> {
    let (kind, place) = object.exactly_one(
        &["query", "header", "bearer", "basic", "json"],
        "must have exactly one of `query`, `header`, `bearer`, `basic` and `json`",
    )?;
    Ok(match kind {
        "query" => TokenPlace::Query(Arc::from(place.filled_text()?)),
        "header" => TokenPlace::Header(Arc::from(place.header_name()?)),
        "bearer" if place.boolean()? => TokenPlace::Bearer,
        "json" => TokenPlace::in_body(&place)?,
        "bearer" => return Err(place.error(Wrong::Rule("must be true; leave the key out otherwise"))),
        _ => {
            let username = place.object(&["username"])?.required("username")?;
            let text = username.text()?;
            if text.contains(':') {
                return Err(
                    username.error(Wrong::Rule("a user name of the Basic scheme has no colon (RFC 7617)"))
                );
            }
            TokenPlace::Basic { username: Fingerprint::of(text.as_bytes()) }
        }
    })
}

/// The secrets of a token: text, or its hash.
pub(crate) fn fingerprints(secrets: Vec<(Node<'_>, Secret<Material>)>) -> Vec<Secret<Fingerprint>> {
    let fingerprint = |secret: Secret<Material>| Secret {
        id: secret.id,
        validity: secret.validity,
        value: match secret.value {
            Material::Text(text) => Fingerprint::of(text.as_bytes()),
            Material::Sha256(digest) => Fingerprint::from_sha256(digest),
        },
    };
    secrets.into_iter().map(|(_, secret)| fingerprint(secret)).collect()
}
