//! What is changed in a request before anyone else sees it.
//!
//! Responsible for headers that claim to be our verdict, for tokens, and for what an operator lets remove; and for the URL
//! that a refused request is logged with. The changes are values: a shell carries them out.

use super::Policy;
use crate::request::{Facts, Headers};
use crate::uri::query;
use std::sync::Arc;

/// What every header that tells the upstream our verdict begins with.
pub const IDENTITY_PREFIX: &str = "x-webhook-guard-";

/// Where an Envoy in front keeps the path that it has rewritten.
const ORIGINAL_PATH: &[u8] = b"x-envoy-original-path";

/// What is changed in a request before anyone else sees it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// The `:path` without the tokens in its query.
    pub target: Option<Vec<u8>>,
    /// Headers that are removed.
    pub remove: Vec<Vec<u8>>,
    /// Headers that are then set: those of our verdict, which are never among the request's own any more.
    pub set: Vec<(&'static str, Arc<str>)>,
}

impl Edits {
    /// Whether there is nothing to change.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.target.is_none() && self.remove.is_empty() && self.set.is_empty()
    }

    /// Takes query parameters out of the target, and the path as it was before a proxy in front rewrote it out of the
    /// headers where it has any of them: Envoy's and Istio's default log formats prefer that one.
    pub(super) fn strip(&mut self, headers: &Headers, without: impl Fn(&[u8]) -> Option<Vec<u8>>) {
        if let Some(target) = headers.first(b":path").and_then(&without) {
            self.target = Some(target);
        }
        let is_there = headers.all(ORIGINAL_PATH).any(|path| without(path).is_some());
        if is_there && !self.remove.iter().any(|name| name == ORIGINAL_PATH) {
            self.remove.push(ORIGINAL_PATH.to_vec());
        }
    }
}

/// Takes out every header that claims to be our verdict, whatever its case and with `_` for `-`: some servers do not
/// tell the two apart.
pub(super) fn identity_edits(facts: &Facts<'_>) -> Edits {
    let remove = facts.headers.iter().map(|(name, _)| name).filter(|name| is_identity(name));
    Edits { remove: remove.map(<[u8]>::to_vec).collect(), ..Edits::default() }
}

/// Whether a header of that name claims to be our verdict.
#[must_use]
pub fn is_identity(name: &[u8]) -> bool {
    name.split_at_checked(IDENTITY_PREFIX.len())
        .is_some_and(|(start, _)| is_same_name(start, IDENTITY_PREFIX.as_bytes()))
}

/// What these policies take out of a request before anyone else sees it.
pub(super) fn edits<'p>(policies: impl Iterator<Item = &'p Policy> + Clone, facts: &Facts<'_>) -> Edits {
    let is_removed =
        |name: &&[u8]| is_identity(name) || policies.clone().any(|policy| policy.removes_header(name));
    let names = facts.headers.iter().map(|(name, _)| name);
    let mut edits =
        Edits { remove: names.filter(is_removed).map(<[u8]>::to_vec).collect(), ..Edits::default() };
    let mut stripping = policies.clone().filter(|policy| policy.forward.strip_token).peekable();
    if stripping.peek().is_some() {
        let is_token = |name: &[u8]| {
            let stripping = policies.clone().filter(|policy| policy.forward.strip_token);
            stripping.flat_map(Policy::token_parameters).any(|one| one.as_bytes() == name)
        };
        edits.strip(facts.headers, |target| query::without(target, is_token));
    }
    edits
}

pub(super) fn is_same_name(given: &[u8], name: &[u8]) -> bool {
    let fold = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    given.len() == name.len() && given.iter().map(fold).eq(name.iter().map(fold))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_change_is_one() {
        assert!(Edits::default().is_empty());
        for edits in [
            Edits { target: Some(Vec::new()), ..Edits::default() },
            Edits { remove: vec![Vec::new()], ..Edits::default() },
            Edits { set: vec![("a", Arc::from("b"))], ..Edits::default() },
        ] {
            assert!(!edits.is_empty(), "{edits:?}");
        }
    }
}
