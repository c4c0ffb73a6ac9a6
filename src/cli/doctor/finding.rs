//! Findings that need no guess: what the request has, lacks, or has twice.
//!
//! Responsible for what can be said from the headers and the scheme alone.

use super::delivery::Delivery;
use std::sync::Arc;
use webhook_guard_core::catalogue::Way;
use webhook_guard_core::handshake::Handshake;
use webhook_guard_core::request::Occurrence;
use webhook_guard_core::signature::field::{Field, Place};
use webhook_guard_core::signature::hmac::Encoding;
use webhook_guard_core::signature::template::Part;
use webhook_guard_core::signature::{Expected, Scheme};

/// Something seen, in a sentence and in a stable word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) code: &'static str,
    pub(crate) text: String,
}

impl Finding {
    pub(crate) fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// What a header is called that could hold a signature or a token.
const TELLING: [&str; 8] = ["sig", "hmac", "hash", "digest", "-mac", "token", "secret", "authorization"];

/// All that the headers and the body's length tell.
pub(crate) fn all(delivery: &Delivery, behind: &[u8], handshakes: &[Arc<Handshake>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &delivery.way {
        Way::Signed(scheme, _) => signed(delivery, scheme, &mut findings),
        Way::Token(place) => {
            if let Some(name) = place.header() {
                present(delivery, name, "the token", &mut findings);
            }
        }
    }
    if findings.iter().any(|finding| finding.code == "header-missing") {
        findings.extend(look_alikes(delivery));
    }
    findings.extend(length(delivery, behind));
    if let Some(encoding) = delivery.request.field("content-encoding") {
        let text = format!(
            "content-encoding is {}: a signature is over the bytes as they were sent",
            String::from_utf8_lossy(encoding)
        );
        findings.push(Finding::new("content-encoding", text));
    }
    findings.extend(handshake(delivery, handshakes));
    findings
}

fn signed(delivery: &Delivery, scheme: &Scheme, findings: &mut Vec<Finding>) {
    let names: Vec<Arc<str>> = scheme.signature.iter().filter_map(Delivery::header_of).collect();
    let is_there = |name: &Arc<str>| delivery.header(name) != Occurrence::Absent;
    match names.iter().find(|name| is_there(name)).or(names.first()) {
        Some(name) if present(delivery, name, "the signature", findings) => {
            let items = |field: &Field| delivery.items(field).into_iter();
            let mut claims = scheme.signature.iter().flat_map(items);
            // The signature of a token is a part of it, and that of a message one of several.
            let stands_alone = scheme.jwt.is_none() && scheme.message.is_none();
            if stands_alone && !claims.any(|claim| scheme.encoding.decode(&claim).is_some()) {
                findings.push(Finding::new("signature-unreadable", unreadable(scheme, name)));
            }
        }
        _ => {}
    }
    let time = scheme.freshness.as_ref().map(|freshness| &freshness.field);
    let id = scheme.delivery_id.as_ref().filter(|_| scheme.signed.has(&Part::Id));
    for (field, what) in [(time, "the signed time"), (id, "the signed id")] {
        if let Some(name) = field.and_then(Delivery::header_of).filter(|name| !names.contains(name)) {
            present(delivery, &name, what, findings);
        }
    }
    for name in scheme.signed.headers() {
        present(delivery, name, "a signed header", findings);
    }
    for equality in &scheme.require {
        let (Place::Header(name), Expected::Text(expected)) = (&equality.place, &equality.expected) else {
            continue;
        };
        if present(delivery, name, "a header that the scheme requires", findings)
            && delivery.header(name) != Occurrence::Once(expected.as_bytes().to_vec())
        {
            findings.push(Finding::new(
                "requirement",
                format!("{name} is not {expected:?}, as the scheme requires"),
            ));
        }
    }
}

/// Says so where the header is not there once.
fn present(delivery: &Delivery, name: &str, what: &str, findings: &mut Vec<Finding>) -> bool {
    match delivery.header(name) {
        Occurrence::Once(_) => return true,
        Occurrence::Absent => {
            findings.push(Finding::new("header-missing", format!("{name} ({what}) is not there")))
        }
        Occurrence::Many => {
            findings.push(Finding::new("header-twice", format!("{name} ({what}) is there more than once")));
        }
    }
    false
}

fn unreadable(scheme: &Scheme, name: &str) -> String {
    let form = match scheme.encoding {
        Encoding::Hex => "hexadecimal",
        Encoding::Base64 => "base64",
        Encoding::Base64Url => "base64url without padding",
    };
    let prefix = scheme.signature.first().and_then(|field| field.prefix.as_deref());
    let behind = prefix.map(|prefix| format!(" behind `{prefix}`")).unwrap_or_default();
    format!("{name} holds no signature in {form}{behind}")
}

fn look_alikes(delivery: &Delivery) -> Option<Finding> {
    let own = delivery.scheme().map(|scheme| scheme.signature.clone()).unwrap_or_default();
    let own: Vec<Arc<str>> = own.iter().filter_map(Delivery::header_of).collect();
    let mut found: Vec<String> = Vec::new();
    for (name, _) in &delivery.request.fields {
        let name = name.to_ascii_lowercase();
        let is_telling = TELLING.iter().any(|word| name.contains(word));
        if is_telling && !own.iter().any(|own| **own == *name) && !found.contains(&name) {
            found.push(name);
        }
    }
    if found.is_empty() {
        return Some(Finding::new(
            "no-signature-header",
            "no header of the request looks like a signature or a token",
        ));
    }
    let own = match &delivery.way {
        Way::Signed(..) => own.join(" or "),
        Way::Token(place) => place.header().unwrap_or_default().to_owned(),
    };
    let text = format!("found {}, expected {own}", found.join(", "));
    Some(Finding::new("signature-like-header", text))
}

/// `behind` is what the capture has beyond the body; a newline there is an editor's.
fn length(delivery: &Delivery, behind: &[u8]) -> Option<Finding> {
    let declared = delivery.request.field("content-length")?;
    let declared: usize = std::str::from_utf8(declared).ok()?.trim().parse().ok()?;
    let behind = if behind == b"\n" || behind == b"\r\n" { 0 } else { behind.len() };
    let length = delivery.body.len().saturating_add(behind);
    (declared != length).then(|| {
        let text = format!(
            "content-length is {declared}, and the body here has {length} bytes: it was changed or cut"
        );
        Finding::new("content-length", text)
    })
}

/// The requests with which a provider tests an endpoint are mostly not signed.
fn handshake(delivery: &Delivery, handshakes: &[Arc<Handshake>]) -> Option<Finding> {
    let found = handshakes.iter().find(|handshake| {
        let candidate = delivery.with_facts(delivery.now, |facts| handshake.recognise(facts));
        candidate.is_some_and(|mut candidate| {
            candidate.update(&delivery.body);
            candidate.answer(None).is_some()
        })
    })?;
    let signed = if found.is_signed { "signed like a delivery" } else { "which nothing signs" };
    let text = format!(
        "this is the request with which the provider tests an endpoint, {signed}: the gateway answers it with \
         `\"handshake\"` in the policy"
    );
    Some(Finding::new("handshake", text))
}
