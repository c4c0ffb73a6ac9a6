//! All policies of a configuration, and which of them governs a request.
//!
//! Responsible for choosing by route, path, host and method, for refusing what could be read in two ways, and for what is
//! said of a request that no policy governs.

use super::disguise::{Address, Disguises, Owner};
use super::edits::{Edits, edits, identity_edits};
use super::evaluation::Evaluation;
use super::{AfterHeaders, Check, HeadersOutcome, Mode, Policy, PolicyCheck, is_tunnel};
use crate::budget::{Budget, Held};
use crate::decision::{CheckStep, Decision, Denial, Outcome, Reason, Record, Verdict};
use crate::feed::Lists;
use crate::matcher::{Selection, Table};
use crate::record::{self, RecordTerms};
use crate::request::{Facts, Headers, Occurrence};
use crate::uri::{authority, path, query};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// All policies of a configuration.
#[derive(Debug, Default)]
pub struct PolicySet {
    policies: Vec<Arc<Policy>>,
    by_name: BTreeMap<Arc<str>, usize>,
    table: Table,
    disguises: Disguises,
    /// Whether any policy names a host: then an authority must leave no doubt about it.
    names_hosts: bool,
    /// Every query parameter that carries a token in any policy, in lower case: no refused request is logged with one.
    token_parameters: BTreeSet<Vec<u8>>,
    /// Every header that carries a token in any policy, in lower case: none is recorded.
    token_headers: BTreeSet<String>,
    leave_unmatched: bool,
    /// What may be kept for requests whose body is awaited.
    budget: Budget,
}

impl PolicySet {
    /// An empty set; `leave_unmatched` for a gateway that serves other things too.
    #[must_use]
    pub fn new(leave_unmatched: bool, budget: Budget) -> Self {
        Self { leave_unmatched, budget, ..Self::default() }
    }

    /// Counts what is held for requests together with every other configuration that counts there.
    pub fn count_held_in(&mut self, held: &Held) {
        self.budget.count_in(held);
    }

    /// The bytes that are held for requests whose body is awaited.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.budget.held_bytes()
    }

    /// Adds a policy.
    ///
    /// # Errors
    /// The name of the policy that already governs the same requests, or has the same name.
    pub fn insert(&mut self, policy: Policy) -> Result<(), Arc<str>> {
        let index = self.policies.len();
        if self.by_name.insert(policy.name.clone(), index).is_some() {
            return Err(policy.name);
        }
        if let Some(rule) = &policy.rule {
            if let Some(rival) = self.table.rival(rule).and_then(|rival| self.policies.get(rival)) {
                return Err(rival.name.clone());
            }
            self.table.insert(index, rule);
            self.disguises.insert(index, rule);
            self.names_hosts |= rule.names_hosts();
        }
        let names = policy.token_parameters().map(|name| name.trim().to_ascii_lowercase().into_bytes());
        self.token_parameters.extend(names);
        self.token_headers.extend(policy.token_headers().map(str::to_ascii_lowercase));
        self.policies.push(Arc::new(policy));
        Ok(())
    }

    /// The policies, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.policies.iter().map(Arc::as_ref)
    }

    /// Whether any policy looks at the source address.
    #[must_use]
    pub fn needs_source(&self) -> bool {
        let sources = |leaf: &PolicyCheck| matches!(leaf.check, Check::Source(_));
        self.iter().any(|policy| policy.leaves.iter().any(sources))
    }

    /// Whether any policy looks at the client certificate.
    #[must_use]
    pub fn needs_client_certificate(&self) -> bool {
        let certificates = |leaf: &PolicyCheck| matches!(leaf.check, Check::Certificate(_));
        self.iter().any(|policy| policy.leaves.iter().any(certificates))
    }

    /// Whether any policy remembers its deliveries.
    #[must_use]
    pub fn remembers(&self) -> bool {
        self.iter().any(|policy| policy.duplicates.is_some())
    }

    /// Judges a request by its headers, and by the lists of the configuration's feeds as they are now.
    pub fn open(&self, facts: &Facts<'_>, lists: &Lists) -> HeadersOutcome {
        let mut opening = self.judge(facts, lists);
        if let AfterHeaders::Settled(decision) = &opening.step
            && matches!(decision.verdict, Verdict::Deny(_) | Verdict::Answer(_) | Verdict::Acknowledge(_))
        {
            self.redact(facts.headers, &mut opening.edits);
        }
        opening
    }

    /// Whether a token of any policy may stand in a query.
    #[must_use]
    pub fn knows_tokens_in_queries(&self) -> bool {
        !self.token_parameters.is_empty()
    }

    /// What is told of a request's headers by these terms, as JSON.
    #[must_use]
    pub fn recorded_headers(&self, terms: &RecordTerms, headers: &Headers) -> Option<String> {
        let is_token = |name: &str| self.token_headers.contains(name);
        terms.headers(headers, is_token, |value| self.redact_text(value))
    }

    /// Takes what may be a token of any policy out of a text that is recorded.
    pub(crate) fn redact_text(&self, text: &mut Vec<u8>) {
        if !self.token_parameters.is_empty() {
            record::redact(text, self.token_parameters.iter().map(Vec::as_slice));
        }
    }

    /// What may be kept of requests.
    pub(crate) const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What is changed in these headers before a refused request is logged: its URL is without what anyone could take for
    /// a token of any policy.
    pub fn redact(&self, headers: &Headers, edits: &mut Edits) {
        let names = &self.token_parameters;
        if !names.is_empty() {
            edits.strip(headers, |target| query::redacted(target, |name| names.contains(name)));
        }
    }

    fn judge(&self, facts: &Facts<'_>, lists: &Lists) -> HeadersOutcome {
        match self.choose(facts) {
            Choice::Policy(policy) => policy.open(facts, lists, &self.budget),
            Choice::WrongMethod(policies) => {
                let has_method =
                    |policy: &&&Arc<Policy>| policy.has_handshake_method(facts) && !is_tunnel(facts);
                let mut opening = match policies.iter().find(has_method) {
                    Some(policy) => policy.answer_handshake(facts, lists),
                    None => wrong_method(&policies, facts),
                };
                // One policy in report mode does not open what another closes.
                if let AfterHeaders::Settled(decision) = &mut opening.step
                    && let Verdict::Report(reason) = decision.verdict
                    && policies.iter().any(|policy| policy.mode == Mode::Enforce)
                {
                    decision.verdict = Verdict::Deny(Denial::from(reason));
                }
                opening.edits = edits(policies.iter().map(|policy| &***policy), facts);
                opening
            }
            Choice::Leave => {
                HeadersOutcome { edits: identity_edits(facts), step: AfterHeaders::Leave, policy: None }
            }
            Choice::Refuse(reason) => {
                let edits = identity_edits(facts);
                let record = Record { trail: vec![CheckStep::path(Outcome::Fail)], ..Record::default() };
                let decision = Decision { verdict: Verdict::Deny(Denial::from(reason)), record };
                HeadersOutcome { edits, step: AfterHeaders::Settled(decision), policy: None }
            }
        }
    }

    fn choose(&self, facts: &Facts<'_>) -> Choice<'_> {
        let path = facts.path();
        if facts.method() == b"CONNECT" && path.is_empty() {
            // What flows through a tunnel cannot be judged.
            return Choice::Refuse(Reason::UpgradeNotAllowed);
        }
        let Some(host) = self.host(facts) else { return Choice::Refuse(Reason::PathMalformed) };
        let address = Address { path, host: &host, method: facts.method() };
        let is_doubtful = |owner: Owner<'_>| self.disguises.is_doubtful(&self.table, address, owner);
        let malformed = path::is_malformed(path);
        if let Some(name) = facts.route_policy {
            return if malformed {
                Choice::Refuse(Reason::PathMalformed)
            } else {
                self.named(name, facts, is_doubtful)
            };
        }
        let selection =
            if malformed { Selection::Nothing } else { self.table.select(path, &host, facts.method()) };
        match selection {
            Selection::Policy(index) if is_doubtful(Owner::Selected(&[index])) => {
                Choice::Refuse(Reason::PathMalformed)
            }
            Selection::WrongMethod(indices) if is_doubtful(Owner::Selected(&indices)) => {
                Choice::Refuse(Reason::PathMalformed)
            }
            Selection::Policy(index) => match self.policies.get(index) {
                Some(policy) => Choice::Policy(policy),
                None => Choice::Refuse(Reason::HostFault),
            },
            Selection::WrongMethod(indices) => {
                Choice::WrongMethod(indices.iter().filter_map(|index| self.policies.get(*index)).collect())
            }
            Selection::Nothing if self.leave_unmatched && !is_doubtful(Owner::Nobody) => Choice::Leave,
            Selection::Nothing if self.leave_unmatched || malformed => Choice::Refuse(Reason::PathMalformed),
            Selection::Nothing => Choice::Refuse(Reason::NoPolicy),
        }
    }

    /// The host that the request is for; empty where no policy asks. Nothing where there is a doubt about it.
    fn host<'f>(&self, facts: &Facts<'f>) -> Option<Cow<'f, [u8]>> {
        if !self.names_hosts {
            return Some(Cow::default());
        }
        match facts.headers.one(b":authority") {
            Occurrence::Once(authority) => authority::host(authority),
            Occurrence::Absent | Occurrence::Many => None,
        }
    }

    /// The policy that the route names. Its `match`, if any, must hold too.
    fn named(&self, name: &[u8], facts: &Facts<'_>, is_doubtful: impl Fn(Owner<'_>) -> bool) -> Choice<'_> {
        let found = std::str::from_utf8(name).ok().and_then(|name| self.by_name.get(name));
        let Some((index, policy)) = found.and_then(|index| Some((*index, self.policies.get(*index)?))) else {
            return Choice::Refuse(Reason::PolicyUnknown);
        };
        let authority = facts.headers.first(b":authority").unwrap_or_default();
        match &policy.rule {
            Some(rule) if !rule.governs(facts.path(), authority) => Choice::Refuse(Reason::NoPolicy),
            _ if is_doubtful(Owner::Named(index)) => Choice::Refuse(Reason::PathMalformed),
            Some(rule) if !rule.admits(facts.method()) => Choice::WrongMethod(vec![policy]),
            _ => Choice::Policy(policy),
        }
    }
}

enum Choice<'a> {
    Policy(&'a Arc<Policy>),
    WrongMethod(Vec<&'a Arc<Policy>>),
    Refuse(Reason),
    Leave,
}

/// A path that policies govern, all for other methods. Reported only if every one of them is in report mode.
fn wrong_method(policies: &[&Arc<Policy>], facts: &Facts<'_>) -> HeadersOutcome {
    let strictest = policies.iter().find(|policy| policy.mode == Mode::Enforce).or_else(|| policies.first());
    let Some(policy) = strictest else {
        let verdict = Verdict::Deny(Denial::from(Reason::HostFault));
        let decision = Decision { verdict, record: Record::default() };
        return HeadersOutcome {
            edits: identity_edits(facts),
            step: AfterHeaders::Settled(decision),
            policy: None,
        };
    };
    let mut evaluation = Evaluation::new(policy, facts);
    evaluation.path = Outcome::Fail;
    if is_tunnel(facts) {
        let decision = evaluation.settle(Err(Reason::UpgradeNotAllowed));
        return HeadersOutcome {
            edits: policy.edits(facts),
            step: AfterHeaders::Settled(decision),
            policy: Some((*policy).clone()),
        };
    }
    let mut decision = evaluation.settle(Err(Reason::MethodNotAllowed));
    if let Verdict::Deny(denial) = &mut decision.verdict {
        denial.allow = policies
            .iter()
            .filter_map(|one| one.rule.as_ref())
            .flat_map(|rule| rule.methods.clone())
            .collect();
        denial.allow.sort_unstable();
        denial.allow.dedup();
    }
    HeadersOutcome {
        edits: policy.edits(facts),
        step: AfterHeaders::Settled(decision),
        policy: Some((*policy).clone()),
    }
}
