//! Each delivery once, as an operator writes it: `duplicates` of a policy, and `memory`.
//!
//! Responsible for what a memory may be relied on for: only what is signed names a delivery, so only a policy that lets
//! nothing in without a signature can have one.

use crate::decision::Reason;
use crate::matcher::Match;
use crate::memory::etcd::{Etcd, WhenUnavailable};
use crate::memory::{DEFAULT_DELIVERIES, Layout, MOST_DELIVERIES, Store, Terms, Then};
use crate::policy::requirement::{Requirement, State};
use crate::policy::{Check, PolicyCheck};
use crate::resubmit;
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
            // The operator sends one delivery again as often as is needed: by all that is signed, its time included.
            let is_operator = leaf.provider.as_deref() == Some(resubmit::PROVIDER);
            Arc::make_mut(check).names = Some(Names { field: id.clone().filter(|_| !is_operator) });
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
        Check::Source(_) | Check::Certificate(_) | Check::Token(_) => State::Held,
    };
    let states: Vec<State> = leaves.iter().map(without).collect();
    requirement.state(&states) != State::Held
}

/// Whether two deliveries of the scheme have two names.
fn signs_what_names(node: &Node<'_>, check: &SignatureCheck, is_in_body: bool) -> Result<(), ConfigError> {
    let scheme = &check.scheme;
    let signs_body = scheme.covers_body();
    if is_in_body && scheme.sns.is_some() {
        let complaint = "has no use: `MessageId` names a message of SNS";
        return Err(node.child("id").error(Wrong::Rule(complaint)));
    }
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

/// The bounds of `timeout_ms`, and its default: a request waits so long at most.
const MOST_TIMEOUT: u64 = 10_000;
const TIMEOUT: u32 = 250;
/// The default of `prefix`.
const PREFIX: &str = "webhook-guard/";
/// The longest name of a cluster: the host is told it in a message whose lengths have one byte each.
const MOST_CLUSTER: usize = 123;
const MOST_PREFIX: usize = 128;

/// Reads `memory`.
pub(crate) fn memory(node: &Node<'_>) -> Result<Store, ConfigError> {
    let object = node.object(&["local", "etcd"])?;
    match (object.get("local"), object.get("etcd")) {
        (Some(node), None) => local(&node).map(Store::Local),
        (None, Some(node)) => etcd(&node).map(Store::Etcd),
        _ => Err(node.error(Wrong::Rule(r#"must have exactly one of "local" and "etcd""#))),
    }
}

fn local(node: &Node<'_>) -> Result<Layout, ConfigError> {
    let local = node.object(&["deliveries"])?;
    let complaint = "must be a whole number from 1 to 4194304";
    let deliveries =
        local.get("deliveries").map(|node| node.whole(1, MOST_DELIVERIES, complaint)).transpose()?;
    let deliveries = deliveries.and_then(|number| usize::try_from(number).ok());
    Ok(Layout::new(deliveries.unwrap_or(DEFAULT_DELIVERIES)))
}

fn etcd(node: &Node<'_>) -> Result<Etcd, ConfigError> {
    let object = node.object(&["cluster", "prefix", "timeout_ms", "when_unavailable"])?;
    let name = |node: &Node<'_>, most: usize, complaint: &'static str| {
        let name = node.filled_text()?;
        let is_name = name.len() <= most && name.bytes().all(|byte| byte.is_ascii_graphic());
        if is_name { Ok(name.to_owned()) } else { Err(node.error(Wrong::Rule(complaint))) }
    };
    let complaint = "must be the name of an Envoy cluster: at most 123 visible ASCII characters";
    let cluster = name(&object.required("cluster")?, MOST_CLUSTER, complaint)?;
    let complaint = "must be at most 128 visible ASCII characters";
    let prefix = object.get("prefix").map(|node| name(&node, MOST_PREFIX, complaint)).transpose()?;
    let complaint = "must be a whole number of milliseconds from 1 to 10000";
    let timeout = object.get("timeout_ms").map(|node| node.whole(1, MOST_TIMEOUT, complaint)).transpose()?;
    let words = [("refuse", WhenUnavailable::Refuse), ("accept", WhenUnavailable::Accept)];
    let when_unavailable = object.get("when_unavailable").map(|node| node.choice(&words)).transpose()?;
    Ok(Etcd {
        cluster,
        prefix: prefix.unwrap_or_else(|| PREFIX.to_owned()),
        timeout: timeout.and_then(|number| u32::try_from(number).ok()).unwrap_or(TIMEOUT),
        when_unavailable: when_unavailable.unwrap_or_default(),
    })
}

/// The memory of a configuration that does not say.
pub(crate) fn default() -> Store {
    Store::Local(Layout::new(DEFAULT_DELIVERIES))
}
