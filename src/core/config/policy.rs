//! A policy as an operator writes it.
//!
//! Responsible for `policies[n]` and everything in it but the requirement tree.

use super::{Reader, duplicates, handshake, record, requirement};
use crate::decision::Reason;
use crate::matcher::{HostPattern, Match, PathPattern};
use crate::policy::requirement::Requirement;
use crate::policy::{Check, Duplicates, Forward, Mode, Policy, PolicyCheck};
use crate::signature::form;
use crate::signature::template::Body;
use crate::uri::{authority, path};
use crate::vocabulary::{ConfigError, Node, Object, Wrong, is_header_name, near};
use std::collections::BTreeMap;
use std::sync::Arc;

const KEYS: [&str; 12] = [
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
    "duplicates",
    "record",
];

/// Headers that frame or address the request: without them it is another one.
const KEPT_HEADERS: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "upgrade"];

/// Reads a policy; nothing where all that is wrong with it has been reported.
pub(crate) fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Result<Option<Policy>, ConfigError> {
    let object = node.object(&KEYS)?;
    let name = node.keep(object.required("name").and_then(|node| name(&node)));
    let rule = node.keep(object.get("match").map(|node| read_match(&node)).transpose());
    reader.rule = rule.clone().flatten();
    let mut leaves = Vec::new();
    let first_key = reader.keys.len();
    let before = reader.faults.count();
    let requirement = object.required("require").and_then(|node| requirement(&node, &mut leaves, reader));
    let requirement = node.keep(requirement);
    let handshakes = match object.get("handshake") {
        // A provider that could not be read is no reason to say that there is none.
        Some(node) if reader.faults.count() == before => {
            node.keep(handshake::switch(&node, &leaves, reader).map(Some))
        }
        _ => Some(None),
    };
    if handshakes.as_ref().is_some_and(Option::is_some) {
        for key in reader.keys.iter_mut().skip(first_key) {
            key.is_answering = key.signs_for_strangers;
        }
    }
    let mode = node.keep(object.get("mode").map_or(Ok(Mode::Enforce), |node| mode(&node, reader)));
    let max_body_bytes = node.keep(max_body_bytes(node, &object, &leaves, reader));
    let content_types = node.keep(object.get("content_types").map(|node| media_types(&node)).transpose());
    let identity = Ok(vec![Arc::from("identity")]);
    let content_encodings =
        node.keep(object.get("content_encodings").map_or(identity, |node| codings(&node)));
    let forward = node.keep(object.get("forward").map_or(Ok(Forward::default()), |node| forward(&node)));
    let deny_status =
        node.keep(object.get("deny_status").map_or(Ok(BTreeMap::new()), |node| deny_status(&node)));
    let duplicates = match (object.get("duplicates"), &requirement) {
        (Some(node), Some(requirement)) => {
            let terms = node.keep(duplicates::read(&node, &mut leaves, requirement.as_ref()));
            let policy = duplicates::identity(name.as_deref().unwrap_or_default(), reader.rule.as_ref());
            terms.map(|terms| Some(Duplicates { terms, policy }))
        }
        // A requirement that could not be read is no reason to say that there is none.
        _ => Some(None),
    };
    let record = object.get("record").map(|node| record::read(&node, &leaves, reader)).transpose();
    let record = node.keep(record.map(|terms| terms.map(Arc::new)));
    let policy = || {
        Some(Policy {
            name: name?,
            rule: rule?,
            leaves,
            requirement: requirement?,
            mode: mode?,
            max_body_bytes: max_body_bytes?,
            content_types: content_types?,
            content_encodings: content_encodings?,
            forward: forward?,
            deny_status: deny_status?,
            handshakes: handshakes?,
            duplicates: duplicates?,
            record: record?,
        })
    };
    Ok(policy())
}

/// A form is taken over whole at its end, so it must fit into what may be held.
fn max_body_bytes(
    node: &Node<'_>,
    object: &Object<'_>,
    leaves: &[PolicyCheck],
    reader: &Reader<'_>,
) -> Result<u64, ConfigError> {
    let (node, bytes) = match object.get("max_body_bytes") {
        Some(node) => {
            let complaint = "must be a whole number of bytes, at most 1099511627776 (1 TiB)";
            let bytes = node.whole(0, 1 << 40, complaint)?;
            (node, bytes)
        }
        None => (node.child("max_body_bytes"), 1 << 20),
    };
    let signs_form = |leaf: &PolicyCheck| match &leaf.check {
        Check::Signature(check) => check.scheme.signed.body() == Body::Form,
        Check::Source(_) | Check::Certificate(_) | Check::Token(_) => false,
    };
    match leaves.iter().any(signs_form) && bytes > most_form(reader) {
        true => Err(node.error(Wrong::FormTooLarge(most_form(reader)))),
        false => Ok(bytes),
    }
}

/// The largest form that `held_bytes` can afford.
const fn most_form(reader: &Reader<'_>) -> u64 {
    reader.held_bytes.saturating_sub(form::BESIDE_BODY)
}

fn requirement(
    node: &Node<'_>,
    leaves: &mut Vec<PolicyCheck>,
    reader: &mut Reader<'_>,
) -> Result<Option<Requirement>, ConfigError> {
    if !node.is_text() {
        return requirement::read(node, leaves, reader).map(Some);
    }
    if node.text()? != "nothing" {
        return Err(node.error(Wrong::Rule(r#"must be an object, or the word "nothing""#)));
    }
    reader.warn(node, "nothing-required", "nothing is required: whoever knows the path gets through");
    Ok(None)
}

fn mode(node: &Node<'_>, reader: &mut Reader<'_>) -> Result<Mode, ConfigError> {
    let mode = node.choice(&[("enforce", Mode::Enforce), ("report", Mode::Report)])?;
    if mode == Mode::Report {
        reader.warn(node, "report-mode", "the policy refuses nothing, it only reports");
    }
    Ok(mode)
}

fn name(node: &Node<'_>) -> Result<Arc<str>, ConfigError> {
    let text = node.text()?;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        Ok(Arc::from(text))
    } else {
        let complaint = "is not the name of a policy: 1 to 64 of a-z 0-9 _ -";
        Err(node.error(Wrong::Value(text.to_owned(), complaint)))
    }
}

fn read_match(node: &Node<'_>) -> Result<Match, ConfigError> {
    let object = node.object(&["path", "methods", "hosts"])?;
    let paths = object.required("path").and_then(|node| node.one_or_list());
    let paths = paths.map(|entries| distinct(&entries, path_pattern));
    let methods = object
        .get("methods")
        .map_or(Ok(vec![Arc::from("POST")]), |node| node.list().map(|entries| distinct(&entries, method)));
    let hosts = object.get("hosts").map_or(Ok(vec![HostPattern::Any]), |node| {
        node.list().map(|entries| distinct(&entries, host_pattern))
    });
    let (paths, methods) = (node.keep(paths), node.keep(methods));
    Ok(Match { hosts: hosts?, paths: paths.unwrap_or_default(), methods: methods.unwrap_or_default() })
}

/// Reads every entry; one that stands there twice is a slip. What is wrong with an entry is reported.
pub(super) fn distinct<T: PartialEq>(
    entries: &[Node<'_>],
    read: impl Fn(&Node<'_>) -> Result<T, ConfigError>,
) -> Vec<T> {
    let mut values = Vec::with_capacity(entries.len());
    for entry in entries {
        match entry.keep(read(entry)) {
            Some(value) if values.contains(&value) => {
                entry.report(entry.error(Wrong::Rule("is in the list twice")));
            }
            value => values.extend(value),
        }
    }
    values
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

fn path_text(node: &Node<'_>) -> Result<Arc<str>, ConfigError> {
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
    if path::readings(text.as_bytes()).is_none() {
        return value(
            "has too many readings (escapes, dots, slashes): every request for it is refused (path_malformed)",
        );
    }
    Ok(Arc::from(text))
}

fn method(node: &Node<'_>) -> Result<Arc<str>, ConfigError> {
    let text = node.filled_text()?;
    if text == "CONNECT" {
        return Err(node.error(Wrong::Rule("CONNECT is always refused")));
    }
    if text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
        Ok(Arc::from(text))
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
    // What has a port, or more than one reading, is none.
    let is_host = !(bare.ends_with('.') || suffix && bare.starts_with('['));
    let has_port = bare.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let host = authority::host(bare.as_bytes()).filter(|_| is_host && !has_port);
    let Some(host) = host.and_then(|host| String::from_utf8(host.into_owned()).ok()) else {
        let complaint = "is not a host, such as hooks.example.com or *.example.com (no port, no path)";
        return Err(node.error(Wrong::Value(node.text()?.to_owned(), complaint)));
    };
    Ok(if suffix {
        let dotted = format!(".{host}");
        HostPattern::Suffix(dotted.len(), Arc::from(dotted))
    } else {
        HostPattern::Exact(Arc::from(host))
    })
}

fn media_types(node: &Node<'_>) -> Result<Vec<Arc<str>>, ConfigError> {
    let media_type = |entry: &Node<'_>| {
        let text = entry.filled_text()?;
        let is_token = |part: &str| is_header_name(part);
        match text.split_once('/') {
            Some((kind, subtype)) if is_token(kind) && is_token(subtype) => {
                Ok(Arc::from(text.to_ascii_lowercase()))
            }
            _ => {
                let complaint = "is not a media type without parameters, such as application/json";
                Err(entry.error(Wrong::Value(text.to_owned(), complaint)))
            }
        }
    };
    Ok(distinct(&node.list()?, media_type))
}

fn codings(node: &Node<'_>) -> Result<Vec<Arc<str>>, ConfigError> {
    let coding = |entry: &Node<'_>| {
        let text = entry.filled_text()?;
        if is_header_name(text) {
            Ok(Arc::from(text.to_ascii_lowercase()))
        } else {
            let complaint = "is not a content coding, such as identity or gzip";
            Err(entry.error(Wrong::Value(text.to_owned(), complaint)))
        }
    };
    Ok(distinct(&node.list()?, coding))
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
        Some(node) => distinct(&node.list()?, removable),
        None => Vec::new(),
    };
    Ok(Forward { strip_token, identity, remove_headers })
}

fn removable(node: &Node<'_>) -> Result<Arc<str>, ConfigError> {
    let name = node.header_name()?;
    if KEPT_HEADERS.contains(&name.as_str()) {
        return Err(node.error(Wrong::Value(name, "cannot be removed: it frames or addresses the request")));
    }
    Ok(Arc::from(name))
}

fn deny_status(node: &Node<'_>) -> Result<BTreeMap<Reason, u16>, ConfigError> {
    let mut statuses = BTreeMap::new();
    for (code, node) in node.members()? {
        let Some(reason) = Reason::from_code(code) else {
            node.report(node.error(Wrong::UnknownKey(near_reason(code))));
            continue;
        };
        let complaint = "must be a status from 400 to 599";
        if let Some(status) = node.keep(node.whole(400, 599, complaint)) {
            statuses.insert(reason, u16::try_from(status).map_err(|_| node.error(Wrong::Rule(complaint)))?);
        }
    }
    Ok(statuses)
}

fn near_reason(code: &str) -> Option<&'static str> {
    near(code, Reason::ALL.iter().map(|reason| reason.code()))
}
