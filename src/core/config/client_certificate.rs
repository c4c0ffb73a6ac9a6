//! The certificates that may send, as an operator writes them.
//!
//! Responsible for `client_certificate`: names, URIs, subjects and digests that a certificate can have in the form in which
//! the host shows it, so that none stands there that could never match.

use super::policy::distinct;
use crate::check::client_certificate::{CertificateCheck, NamePattern, UriPattern};
use crate::uri::authority;
use crate::vocabulary::{ConfigError, Node, Wrong};
use std::net::Ipv4Addr;
use std::sync::Arc;

const KEYS: [&str; 4] = ["dns", "uri", "subject", "sha256"];

/// Reads `client_certificate`.
pub(crate) fn read(node: &Node<'_>) -> Result<CertificateCheck, ConfigError> {
    let object = node.object(&KEYS)?;
    if object.is_empty() {
        return Err(node.error(Wrong::EmptyObject));
    }
    let entries = |key: &str| object.get(key).and_then(|node| node.keep(node.list()));
    Ok(CertificateCheck {
        dns: entries("dns").map(|entries| distinct(&entries, name)),
        uri: entries("uri").map(|entries| distinct(&entries, uri)),
        subject: entries("subject").map(|entries| distinct(&entries, subject)),
        sha256: entries("sha256").map(|entries| distinct(&entries, sha256)),
    })
}

fn name(node: &Node<'_>) -> Result<NamePattern, ConfigError> {
    let text = node.filled_text()?;
    let complaint = "is not the name of a host, such as hooks.example.com or *.example.com";
    pattern(text).ok_or_else(|| node.error(Wrong::Value(text.to_owned(), complaint)))
}

/// A name as a certificate has it: no port, no final dot, no address, which would stand in a certificate as one.
fn pattern(text: &str) -> Option<NamePattern> {
    let (is_below, bare) = match text.strip_prefix("*.") {
        Some(bare) => (true, bare),
        None => (false, text),
    };
    let host = authority::host(bare.as_bytes())?;
    let is_name = host.eq_ignore_ascii_case(bare.as_bytes())
        && !bare.starts_with('[')
        && bare.parse::<Ipv4Addr>().is_err();
    let name = String::from_utf8(host.into_owned()).ok().filter(|_| is_name)?;
    Some(match is_below {
        true => NamePattern::Below(Arc::from(format!(".{name}"))),
        false => NamePattern::Exact(Arc::from(name)),
    })
}

fn uri(node: &Node<'_>) -> Result<UriPattern, ConfigError> {
    let text = node.filled_text()?;
    if text.starts_with("*.") {
        return name(node).map(UriPattern::Host);
    }
    let wrong = |complaint| Err(node.error(Wrong::Value(text.to_owned(), complaint)));
    let (scheme, rest) = text.split_once(':').unwrap_or_default();
    let is_of_a_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let has_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(is_of_a_scheme)
        && !rest.is_empty();
    match () {
        () if !has_scheme || !text.bytes().all(|byte| byte.is_ascii_graphic()) => wrong(
            "is neither a URI, such as spiffe://example.com/hooks, nor *.example.com for the host of one",
        ),
        () if text.contains('*') => {
            wrong("has a `*`, and a URI is compared whole; only *.example.com stands for many")
        }
        () => Ok(UriPattern::Exact(Arc::from(text))),
    }
}

/// A subject as Envoy writes it (RFC 2253): the last part of the name first, no blank after a comma.
fn subject(node: &Node<'_>) -> Result<Arc<str>, ConfigError> {
    let text = node.filled_text()?;
    let is_of_a_type = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    let is_part = |part: &str| {
        part.split_once('=').is_some_and(|(kind, value)| {
            !kind.is_empty() && kind.bytes().all(is_of_a_type) && !value.starts_with(' ')
        })
    };
    if parts(text).is_some_and(|parts| parts.iter().all(|part| is_part(part))) {
        return Ok(Arc::from(text));
    }
    let complaint = "is not a subject as RFC 2253 writes it, such as CN=hooks.example.com,O=Example";
    Err(node.error(Wrong::Value(text.to_owned(), complaint)))
}

/// What stands between the commas and plus signs that no backslash stands before; nothing where a backslash is the last.
fn parts(subject: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut is_escaped = false;
    for one in subject.chars() {
        match (is_escaped, one, parts.last_mut()) {
            (false, ',' | '+', _) => parts.push(String::new()),
            (_, _, Some(part)) => part.push(one),
            (_, _, None) => {}
        }
        is_escaped = !is_escaped && one == '\\';
    }
    (!is_escaped).then_some(parts)
}

fn sha256(node: &Node<'_>) -> Result<Arc<str>, ConfigError> {
    let text = node.filled_text()?;
    match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(Arc::from(text.to_ascii_lowercase())),
        false => {
            let complaint = "is not a SHA-256 in 64 hexadecimal digits, without colons";
            Err(node.error(Wrong::Value(text.to_owned(), complaint)))
        }
    }
}
