//! A policy as an operator writes it.
//!
//! Responsible for `policies[n]` and everything in it but the requirement tree. Refuses to know other policies.

use super::error::{ConfigError, Wrong};
use super::node::Node;
use super::{Reader, handshake, requirement};
use crate::path;
use crate::policy::{Forward, Mode, Policy};
use crate::route::{HostPattern, Match, PathPattern};
use crate::verdict::Reason;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::rc::Rc;

const KEYS: [&str; 10] = [
    "name",
    "match",
    "require",
    "mode",
    "max_body_bytes",
    "content_types",
    "content_encodings",
    "forward",
    "deny_status",
    "handshake",
];

/// Headers that frame or address the request: without them it is another one.
const KEPT_HEADERS: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "upgrade"];

pub(crate) fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Result<Policy, ConfigError> {
    let object = node.object(&KEYS)?;
    let name = name(&object.required("name")?)?;
    let rule = object.get("match").map(|node| read_match(&node)).transpose()?;
    let mut leaves = Vec::new();
    let node = object.required("require")?;
    let requirement = if node.is_text() {
        if node.text()? != "nothing" {
            return Err(node.error(Wrong::Rule(r#"must be an object, or the word "nothing""#)));
        }
        reader.warn(&node, "nothing is required: whoever knows the path gets through");
        None
    } else {
        Some(requirement::read(&node, &mut leaves, reader)?)
    };
    let handshakes =
        object.get("handshake").map(|node| handshake::switch(&node, &leaves, reader)).transpose()?;
    let mode = match object.get("mode") {
        Some(node) => {
            let mode = node.choice(&[("enforce", Mode::Enforce), ("report", Mode::Report)])?;
            if mode == Mode::Report {
                reader.warn(&node, "the policy refuses nothing, it only reports");
            }
            mode
        }
        None => Mode::Enforce,
    };
    let max_body_bytes = object.get("max_body_bytes").map_or(Ok(1 << 20), |node| {
        node.whole(0, 1 << 40, "must be a whole number of bytes, at most 1099511627776 (1 TiB)")
    })?;
    Ok(Policy {
        name,
        rule,
        leaves,
        requirement,
        mode,
        max_body_bytes,
        content_types: object.get("content_types").map(|node| media_types(&node)).transpose()?,
        content_encodings: match object.get("content_encodings") {
            Some(node) => codings(&node)?,
            None => vec![Rc::from("identity")],
        },
        forward: object.get("forward").map_or(Ok(Forward::default()), |node| forward(&node))?,
        deny_status: object.get("deny_status").map_or(Ok(BTreeMap::new()), |node| deny_status(&node))?,
        handshakes,
    })
}

fn name(node: &Node<'_>) -> Result<Rc<str>, ConfigError> {
    let text = node.text()?;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        Ok(Rc::from(text))
    } else {
        let complaint = "is not the name of a policy: 1 to 64 of a-z 0-9 _ -";
        Err(node.error(Wrong::Value(text.to_owned(), complaint)))
    }
}

fn read_match(node: &Node<'_>) -> Result<Match, ConfigError> {
    let object = node.object(&["path", "methods", "hosts"])?;
    let paths = distinct(&object.required("path")?.one_or_list()?, path_pattern)?;
    let methods = match object.get("methods") {
        Some(node) => distinct(&node.list()?, method)?,
        None => vec![Rc::from("POST")],
    };
    let hosts = match object.get("hosts") {
        Some(node) => distinct(&node.list()?, host_pattern)?,
        None => vec![HostPattern::Any],
    };
    Ok(Match { paths, methods, hosts })
}

/// Reads every entry; one that stands there twice is a slip.
fn distinct<T: PartialEq>(
    entries: &[Node<'_>],
    read: impl Fn(&Node<'_>) -> Result<T, ConfigError>,
) -> Result<Vec<T>, ConfigError> {
    let mut values = Vec::with_capacity(entries.len());
    for entry in entries {
        let value = read(entry)?;
        if values.contains(&value) {
            return Err(entry.error(Wrong::Rule("is in the list twice")));
        }
        values.push(value);
    }
    Ok(values)
}

fn path_pattern(node: &Node<'_>) -> Result<PathPattern, ConfigError> {
    if node.is_text() {
        return path_text(node).map(PathPattern::Exact);
    }
    if !node.is_object() {
        return Err(node.type_error("a string, an object with `exact` or `prefix`, or a list of these"));
    }
    let object = node.object(&["exact", "prefix"])?;
    let (kind, text) =
        object.exactly_one(&["exact", "prefix"], "must have exactly one of `exact` and `prefix`")?;
    let path = path_text(&text)?;
    Ok(if kind == "exact" { PathPattern::Exact(path) } else { PathPattern::Prefix(path) })
}

fn path_text(node: &Node<'_>) -> Result<Rc<str>, ConfigError> {
    let text = node.filled_text()?;
    let value = |complaint| Err(node.error(Wrong::Value(text.to_owned(), complaint)));
    if !text.starts_with('/') {
        return value("is not a path: it must begin with /");
    }
    if text.contains(['?', '#']) {
        return value("must be a path alone, without query or fragment");
    }
    if path::is_malformed(text.as_bytes()) {
        return value(
            "has a segment, escape or character for which every request is refused (path_malformed)",
        );
    }
    Ok(Rc::from(text))
}

fn method(node: &Node<'_>) -> Result<Rc<str>, ConfigError> {
    let text = node.filled_text()?;
    if text == "CONNECT" {
        return Err(node.error(Wrong::Rule("CONNECT is always refused")));
    }
    if text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
        Ok(Rc::from(text))
    } else {
        Err(node.error(Wrong::Value(text.to_owned(), "is not a method in capital letters, such as POST")))
    }
}

fn host_pattern(node: &Node<'_>) -> Result<HostPattern, ConfigError> {
    let text = node.filled_text()?.to_ascii_lowercase();
    let (suffix, bare) = match text.strip_prefix("*.") {
        Some(bare) => (true, bare),
        None => (false, text.as_str()),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let in_brackets = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_address = !suffix && in_brackets.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    if bare.is_empty()
        || !(bare.bytes().all(is_name) || is_address)
        || bare.starts_with('.')
        || bare.ends_with('.')
    {
        let complaint = "is not a host, such as hooks.example.com or *.example.com (no port, no path)";
        return Err(node.error(Wrong::Value(node.text()?.to_owned(), complaint)));
    }
    Ok(if suffix {
        let dotted = format!(".{bare}");
        HostPattern::Suffix(dotted.len(), Rc::from(dotted))
    } else {
        HostPattern::Exact(Rc::from(bare))
    })
}

fn media_types(node: &Node<'_>) -> Result<Vec<Rc<str>>, ConfigError> {
    distinct(&node.list()?, |entry| {
        let text = entry.filled_text()?;
        let is_token = |part: &str| super::node::is_header_name(part);
        match text.split_once('/') {
            Some((kind, subtype)) if is_token(kind) && is_token(subtype) => {
                Ok(Rc::from(text.to_ascii_lowercase()))
            }
            _ => {
                let complaint = "is not a media type without parameters, such as application/json";
                Err(entry.error(Wrong::Value(text.to_owned(), complaint)))
            }
        }
    })
}

fn codings(node: &Node<'_>) -> Result<Vec<Rc<str>>, ConfigError> {
    distinct(&node.list()?, |entry| {
        let text = entry.filled_text()?;
        if super::node::is_header_name(text) {
            Ok(Rc::from(text.to_ascii_lowercase()))
        } else {
            Err(entry
                .error(Wrong::Value(text.to_owned(), "is not a content coding, such as identity or gzip")))
        }
    })
}

impl Default for Forward {
    fn default() -> Self {
        Self { strip_token: true, identity: true, remove_headers: Vec::new() }
    }
}

fn forward(node: &Node<'_>) -> Result<Forward, ConfigError> {
    let object = node.object(&["token", "identity", "remove_headers"])?;
    if object.is_empty() {
        return Err(node.error(Wrong::EmptyObject));
    }
    let strip_token = match object.get("token") {
        Some(node) => node.choice(&[("strip", true), ("keep", false)])?,
        None => true,
    };
    let identity = object.get("identity").map_or(Ok(true), |node| node.boolean())?;
    let remove_headers = match object.get("remove_headers") {
        Some(node) => distinct(&node.list()?, removable)?,
        None => Vec::new(),
    };
    Ok(Forward { strip_token, identity, remove_headers })
}

fn removable(node: &Node<'_>) -> Result<Rc<str>, ConfigError> {
    let name = node.header_name()?;
    if KEPT_HEADERS.contains(&name.as_str()) {
        return Err(node.error(Wrong::Value(name, "cannot be removed: it frames or addresses the request")));
    }
    Ok(Rc::from(name))
}

fn deny_status(node: &Node<'_>) -> Result<BTreeMap<Reason, u16>, ConfigError> {
    let mut statuses = BTreeMap::new();
    for (code, node) in node.members()? {
        let reason =
            Reason::from_code(code).ok_or_else(|| node.error(Wrong::UnknownKey(near_reason(code))))?;
        let complaint = "must be a status from 400 to 599";
        let status = node.whole(400, 599, complaint)?;
        statuses.insert(reason, u16::try_from(status).map_err(|_| node.error(Wrong::Rule(complaint)))?);
    }
    Ok(statuses)
}

fn near_reason(code: &str) -> Option<&'static str> {
    super::node::near(code, Reason::ALL.iter().map(|reason| reason.code()))
}
