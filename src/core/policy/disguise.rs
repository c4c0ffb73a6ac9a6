//! Paths that belong to one policy as they stand, and to somebody else as another reader reads them.
//!
//! Responsible for the one question that path matching, route metadata and `unmatched: "pass"` have in common: does
//! every reading of a path belong to whom the path belongs as it stands? The readings are those of [`path::readings`],
//! and the policies' own paths are compared in all of theirs, so that a policy for `/Hooks/a/` still governs it.

use crate::matcher::{Governing, Match, Table};
use crate::uri::path;
use std::collections::BTreeMap;

/// Whom a path belongs to as it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner<'a> {
    /// The policies that its own text selects: one, or several that are all for other methods.
    Selected(&'a [usize]),
    /// The policy that the route names.
    Named(usize),
    /// No policy: the request would be left alone.
    Nobody,
}

/// The part of a request that selects a policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address<'a> {
    /// The path without query.
    pub(crate) path: &'a [u8],
    /// The host as [`crate::uri::authority::host`] gives it; empty where no policy names any.
    pub(crate) host: &'a [u8],
    /// The method.
    pub(crate) method: &'a [u8],
}

/// The paths of all policies, in all their readings.
#[derive(Debug, Default)]
pub(crate) struct Disguises {
    readings: Table,
    /// The same of each policy that has a `match`, by itself.
    own: BTreeMap<usize, Table>,
    /// Whether any policy has a path that is not plain: then another path that is plain may be a reading of it.
    has_odd_paths: bool,
}

impl Disguises {
    /// Adds a policy's match.
    pub(crate) fn insert(&mut self, policy: usize, rule: &Match) {
        self.readings.insert_readings(policy, rule);
        self.own.entry(policy).or_default().insert_readings(policy, rule);
        self.has_odd_paths |= rule.paths.iter().any(|pattern| !path::is_plain(pattern.text().as_bytes()));
    }

    /// Whether any reading of the path is not its owner's: belongs to a policy that does not govern the path as it
    /// stands, or leaves what the owner governs. A path with too many readings to look through is doubtful.
    ///
    /// `table` selects by the path as it stands. Paths of several policies that differ only in their spelling were all
    /// written down by the operator: each, as it stands, is its own policy's.
    pub(crate) fn is_doubtful(&self, table: &Table, address: Address<'_>, owner: Owner<'_>) -> bool {
        let Address { path, host, method } = address;
        if !self.has_odd_paths && path::is_plain(path) {
            return false;
        }
        let stands = match owner {
            // The text of a malformed path may lie below a prefix all the same: it is nobody's.
            Owner::Nobody => &[],
            Owner::Selected(_) | Owner::Named(_) => table.governing(path, host),
        };
        let twins = self.readings.governing(&path.to_ascii_lowercase(), host);
        let has = |governing: &Governing, policy: usize| governing.iter().any(|(one, _)| *one == policy);
        let are_twins = twins.iter().any(|(policy, _)| has(stands, *policy));
        let is_spelled_out = table.has_exact(path)
            && match owner {
                Owner::Selected(_) => true,
                Owner::Named(policy) => has(stands, policy),
                Owner::Nobody => false,
            };
        let is_known =
            |policy: usize| is_spelled_out || has(stands, policy) || (are_twins && has(twins, policy));
        path::any_reading(path, |reading| {
            let governing = self.readings.governing(reading, host);
            let admits =
                |methods: &[_]| methods.iter().any(|one: &std::sync::Arc<str>| one.as_bytes() == method);
            let is_admitted = governing.iter().any(|(_, methods)| admits(methods));
            let mut meant = governing.iter().filter(|(_, methods)| !is_admitted || admits(methods));
            if meant.any(|(policy, _)| !is_known(*policy)) {
                return true;
            }
            match owner {
                Owner::Selected(policies) => !policies.iter().any(|policy| has(governing, *policy)),
                Owner::Named(policy) => match self.own.get(&policy) {
                    Some(own) => own.governing(reading, host).is_empty(),
                    // How far the route reaches is not known here, so nothing may climb out of it.
                    None => path::has_dot_segment(reading),
                },
                Owner::Nobody => false,
            }
        })
    }
}
