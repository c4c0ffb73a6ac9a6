//! Each delivery once, as an operator writes it: `duplicates` of a policy, and `memory`.
//!
//! Responsible for what a memory may be relied on for: only what is signed names a delivery, so only a policy that lets
//! nothing in without a signature can have one.

use crate::decision::Reason;
use crate::matcher::Match;
use crate::memory::{DEFAULT_DELIVERIES, Layout, MOST_DELIVERIES, Terms, Then};
use crate::policy::requirement::{Requirement, State};
use crate::policy::{Check, PolicyCheck};
use crate::signature::field::{Field, Place};
use crate::signature::hmac::BodyDigest;
use crate::signature::template::Part;
use crate::signature::{Names, SignatureCheck};
use crate::vocabulary::{ConfigError, Node, Wrong};
use std::sync::Arc;

/// The defaults, in seconds: a day, within which senders try again, and a minute, within which an application answers.
const WINDOW: u64 = 86_400;
const PENDING: u64 = 60;
const MOST_WINDOW: u64 = 366 * 86_400;
const MOST_PENDING: u64 = 3600;

/// Reads `duplicates` of a policy, and has its signatures name their deliveries.
pub(crate) fn read(
    node: &Node<'_>,
    leaves: &mut [PolicyCheck],
    requirement: Option<&Requirement>,
) -> Result<Terms, ConfigError> {
    let object = node.object(&["window_seconds", "pending_seconds", "then", "id"])?;
    let seconds = |key: &str, default: u64, most: u64, complaint: &'static str| {
        object.get(key).map_or(Ok(default), |node| node.whole(1, most, complaint))
    };
    let complaint = "must be a whole number of seconds from 1 to 31622400 (366 days)";
    let window = seconds("window_seconds", WINDOW, MOST_WINDOW, complaint)?;
    let complaint = "must be a whole number of seconds from 1 to 3600";
    let pending = seconds("pending_seconds", PENDING, MOST_PENDING, complaint)?;
    let words = [("refuse", Then::Refuse), ("acknowledge", Then::Acknowledge)];
    let then = object.get("then").map_or(Ok(Then::Refuse), |node| node.choice(&words))?;
    let id = object.get("id").map(|node| id(&node)).transpose()?;
    if !requirement.is_some_and(|requirement| needs_signature(requirement, leaves)) {
        let complaint =
            "the policy can be passed without a signature, and what nobody signed names no delivery";
        return Err(node.error(Wrong::Rule(complaint)));
    }
    for leaf in leaves {
        if let Check::Signature(check) = &mut leaf.check {
            signs_what_names(node, check, id.is_some())?;
            Arc::make_mut(check).names = Some(Names { field: id.clone() });
        }
    }
    let milliseconds = |seconds: u64| i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
    Ok(Terms { window: milliseconds(window), pending: milliseconds(pending), then })
}

/// What tells a policy from others: its name, and the paths and hosts that it governs.
pub(crate) fn identity(name: &str, rule: Option<&Match>) -> [u8; 32] {
    let mut digest = BodyDigest::default();
    digest.update(name.as_bytes());
    if let Some(rule) = rule {
        digest.update(format!("\0{:?}\0{:?}", rule.paths, rule.hosts).as_bytes());
    }
    digest.finish()
}

/// Whether a policy holds for nobody whose signatures all fail.
fn needs_signature(requirement: &Requirement, leaves: &[PolicyCheck]) -> bool {
    let without = |leaf: &PolicyCheck| match leaf.check {
        Check::Signature(_) => State::Failed(Reason::SignatureMissing),
        Check::Source(_) | Check::Token(_) => State::Held,
    };
    let states: Vec<State> = leaves.iter().map(without).collect();
    requirement.state(&states) != State::Held
}

/// Whether two deliveries of the scheme have two names.
fn signs_what_names(node: &Node<'_>, check: &SignatureCheck, is_in_body: bool) -> Result<(), ConfigError> {
    let scheme = &check.scheme;
    let signs_body = scheme.covers_body();
    match (is_in_body, signs_body) {
        (true, false) => {
            Err(node.child("id").error(Wrong::Rule("a signature of the policy does not cover the body")))
        }
        (false, false) if !scheme.signed.has(&Part::Id) => {
            let complaint = "a signature of the policy covers neither the body nor an id: two deliveries would have one name";
            Err(node.error(Wrong::Rule(complaint)))
        }
        _ => Ok(()),
    }
}

/// Where the name sits: in the body, which is signed. A header may be, but nothing here says so.
fn id(node: &Node<'_>) -> Result<Field, ConfigError> {
    let field = Field::parse(node)?;
    match (&field.place, field.split, &field.prefix) {
        (Place::Json(_), None, None) => Ok(field),
        _ => {
            Err(node
                .error(Wrong::Rule(r#"must be a place in the signed body, such as {"json": "/event_id"}"#)))
        }
    }
}

/// Reads `memory`.
pub(crate) fn memory(node: &Node<'_>) -> Result<Layout, ConfigError> {
    let object = node.object(&["local"])?;
    let local = object.required("local")?;
    let local = local.object(&["deliveries"])?;
    let complaint = "must be a whole number from 1 to 4194304";
    let deliveries =
        local.get("deliveries").map(|node| node.whole(1, MOST_DELIVERIES, complaint)).transpose()?;
    let deliveries = deliveries.and_then(|number| usize::try_from(number).ok());
    Ok(Layout::new(deliveries.unwrap_or(DEFAULT_DELIVERIES)))
}

/// The memory of a configuration that does not say.
pub(crate) fn default() -> Layout {
    Layout::new(DEFAULT_DELIVERIES)
}
