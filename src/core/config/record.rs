//! What is kept of a policy's requests, as an operator writes it.
//!
//! Responsible for `policies[n].record`.

use super::Reader;
use super::policy::distinct;
use crate::policy::{Check, PolicyCheck};
use crate::record::{Bodies, DEFAULT_BODY_BYTES, MOST_BODY_BYTES, RecordTerms, is_secret_header};
use crate::vocabulary::{ConfigError, Node, Wrong};
use std::sync::Arc;

/// Reads `record` of a policy with these checks.
pub(crate) fn read(
    node: &Node<'_>,
    leaves: &[PolicyCheck],
    reader: &mut Reader<'_>,
) -> Result<RecordTerms, ConfigError> {
    let object = node.object(&["body", "max_body_bytes", "headers"])?;
    if object.is_empty() {
        return Err(node.error(Wrong::EmptyObject));
    }
    let words = [
        ("none", Bodies::None),
        ("refused", Bodies::Refused),
        ("accepted", Bodies::Accepted),
        ("all", Bodies::All),
    ];
    let bodies = object.get("body").map_or(Ok(Bodies::None), |node| node.choice(&words))?;
    let is_token = |leaf: &PolicyCheck| matches!(&leaf.check, Check::Token(check) if check.is_in_body());
    if bodies != Bodies::None && leaves.iter().any(is_token) {
        let complaint =
            "the policy's token stands in the body, and a token is never recorded: leave the body out";
        return Err(node.child("body").error(Wrong::Rule(complaint)));
    }
    let complaint = "must be a whole number of bytes from 1 to 2097152 (2 MiB)";
    let bytes =
        object.get("max_body_bytes").map(|node| node.whole(1, MOST_BODY_BYTES, complaint)).transpose()?;
    let max_body_bytes = usize::try_from(bytes.unwrap_or(DEFAULT_BODY_BYTES)).unwrap_or(usize::MAX);
    let mut headers: Vec<Arc<str>> = Vec::new();
    if let Some(node) = object.get("headers") {
        let entries = node.list()?;
        for entry in &entries {
            if entry.header_name().is_ok_and(|name| is_secret_header(&name)) {
                let text = "is never recorded: it carries what lets its bearer in";
                reader.warn(entry, "header-never-recorded", text);
            }
        }
        headers = distinct(&entries, |entry| entry.header_name().map(Arc::from));
    }
    Ok(RecordTerms { bodies, max_body_bytes, headers })
}
