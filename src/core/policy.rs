//! The decision: which policy governs a request, and what follows from its checks.
//!
//! Responsible for the path of a request through the core: [`PolicySet::open`] looks at the headers, [`BodyCheck`] at
//! the body, and both end in a [`Ruling`]. The order of checks is in `judgement.rs`; the one line that makes a
//! [`Pass`] is in [`Policy::rule`]. Refuses to know the host: edits of the request are values that the caller carries
//! out.

mod disguise;
mod evaluation;
pub mod requirement;

pub use evaluation::BodyCheck;

use crate::budget::{Budget, Held};
use crate::check::source_ip::AddressCheck;
use crate::check::token::{Place, TokenCheck};
use crate::decision::{CheckKind, CheckStep, Denial, Outcome, Pass, Reason, Record, Ruling, Verdict};
use crate::handshake::Handshake;
use crate::matcher::{Match, Selection, Table};
use crate::policy::disguise::{Address, Disguises, Owner};
use crate::policy::evaluation::Judgement;
use crate::policy::requirement::Requirement;
use crate::request::{Facts, Occurrence};
use crate::secret::{Fingerprint, Secret};
use crate::signature::SignatureCheck;
use crate::signature::field::{self, Field};
use crate::uri::authority;
use crate::uri::path;
use crate::uri::query;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What every header that tells the upstream our verdict begins with.
pub const IDENTITY_PREFIX: &str = "x-webhook-guard-";

/// Where an Envoy in front keeps the path that it has rewritten.
const ORIGINAL_PATH: &[u8] = b"x-envoy-original-path";

/// What is done with a request that the policy would refuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Refuse it.
    #[default]
    Enforce,
    /// Forward it, and record the reason.
    Report,
}

/// One condition of a policy.
#[derive(Clone, Debug)]
pub enum Check {
    /// Where the request comes from.
    Source(AddressCheck),
    /// What it presents.
    Token(TokenCheck),
    /// What signed it.
    Signature(Rc<SignatureCheck>),
}

/// A condition with what the record says about it.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The condition.
    pub check: Check,
    /// The provider whose scheme it is.
    pub provider: Option<Rc<str>>,
    /// Where the sender's id of the delivery sits.
    pub delivery_id: Option<Field>,
    /// The handshakes of the provider.
    pub handshakes: Vec<Rc<Handshake>>,
}

impl Leaf {
    const fn kind(&self) -> CheckKind {
        match self.check {
            Check::Source(_) => CheckKind::SourceIp,
            Check::Token(_) => CheckKind::Token,
            Check::Signature(_) => CheckKind::Signature,
        }
    }

    /// Whether a handshake of the provider has values signed for anyone with the key of the deliveries.
    fn signs_for_strangers(&self) -> bool {
        self.handshakes.iter().any(|handshake| handshake.signs_for_strangers())
    }
}

/// How an accepted request is forwarded.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Whether tokens are taken out before the upstream.
    pub strip_token: bool,
    /// Whether the upstream is told our verdict.
    pub identity: bool,
    /// Headers that are removed, in lower case.
    pub remove_headers: Vec<Rc<str>>,
}

/// A media type list of `content_types`, compared without parameters.
pub type MediaTypes = Vec<Rc<str>>;

/// Everything that applies to one resource.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name.
    pub name: Rc<str>,
    /// What it governs; nothing where only a route can name it.
    pub rule: Option<Match>,
    /// Its conditions.
    pub leaves: Vec<Leaf>,
    /// How they combine; nothing where it requires nothing.
    pub requirement: Option<Requirement>,
    /// What is done with what it would refuse.
    pub mode: Mode,
    /// The largest body, in bytes.
    pub max_body_bytes: u64,
    /// The content types, in lower case; nothing where every one will do.
    pub content_types: Option<MediaTypes>,
    /// The content encodings, in lower case.
    pub content_encodings: Vec<Rc<str>>,
    /// How an accepted request is forwarded.
    pub forward: Forward,
    /// Statuses other than the reasons' own.
    pub deny_status: BTreeMap<Reason, u16>,
    /// The handshakes that are answered.
    pub handshakes: Option<Handshakes>,
}

/// The handshakes of the provider of one leaf.
#[derive(Clone, Debug)]
pub struct Handshakes {
    /// The leaf.
    pub leaf: usize,
    /// Their shapes, at least one.
    pub shapes: Vec<Rc<Handshake>>,
    /// What the provider must send, where it sends one.
    pub verify_tokens: Vec<Secret<Fingerprint>>,
}

/// What is changed in a request before anyone else sees it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// The `:path` without the tokens in its query.
    pub target: Option<Vec<u8>>,
    /// Headers that are removed.
    pub remove: Vec<Vec<u8>>,
    /// Headers that are then set.
    pub set: Vec<(&'static str, Rc<str>)>,
}

impl Edits {
    /// Whether there is nothing to change.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.target.is_none() && self.remove.is_empty() && self.set.is_empty()
    }

    /// Takes query parameters out of the target, and the path as it was before a proxy in front rewrote it out of the
    /// headers where it has any of them: Envoy's and Istio's default log formats prefer that one.
    fn strip(&mut self, facts: &Facts<'_>, without: impl Fn(&[u8]) -> Option<Vec<u8>>) {
        if let Some(target) = without(facts.target()) {
            self.target = Some(target);
        }
        let is_there = facts.headers.all(ORIGINAL_PATH).any(|path| without(path).is_some());
        if is_there && !self.remove.iter().any(|name| name == ORIGINAL_PATH) {
            self.remove.push(ORIGINAL_PATH.to_vec());
        }
    }
}

/// What the headers tell.
#[derive(Debug)]
pub struct Opening {
    /// What is changed in the request, whatever becomes of it.
    pub edits: Edits,
    /// What comes next.
    pub step: Step,
    /// The policy that governs the request.
    pub policy: Option<Rc<Policy>>,
}

/// What comes after the headers.
#[derive(Debug)]
pub enum Step {
    /// No policy governs the request, and the configuration leaves such requests alone.
    Leave,
    /// The request is decided.
    Settled(Ruling),
    /// The body decides.
    AwaitBody(BodyCheck),
}

/// All policies of a configuration.
#[derive(Debug, Default)]
pub struct PolicySet {
    policies: Vec<Rc<Policy>>,
    by_name: BTreeMap<Rc<str>, usize>,
    table: Table,
    disguises: Disguises,
    /// Whether any policy names a host: then an authority must leave no doubt about it.
    names_hosts: bool,
    /// Every query parameter that carries a token in any policy, in lower case: no refused request is logged with one.
    token_parameters: BTreeSet<Vec<u8>>,
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
    pub fn insert(&mut self, policy: Policy) -> Result<(), Rc<str>> {
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
        self.policies.push(Rc::new(policy));
        Ok(())
    }

    /// The policies, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.policies.iter().map(Rc::as_ref)
    }

    /// Whether any policy looks at the source address.
    #[must_use]
    pub fn needs_source(&self) -> bool {
        let sources = |leaf: &Leaf| matches!(leaf.check, Check::Source(_));
        self.iter().any(|policy| policy.leaves.iter().any(sources))
    }

    /// Judges a request by its headers.
    pub fn open(&self, facts: &Facts<'_>) -> Opening {
        let mut opening = self.judge(facts);
        if let Step::Settled(ruling) = &opening.step
            && matches!(ruling.verdict, Verdict::Deny(_) | Verdict::Answer(_))
        {
            opening.edits.strip(facts, |target| self.redacted(target));
        }
        opening
    }

    /// Whether a token of any policy may stand in a query.
    #[must_use]
    pub fn knows_tokens_in_queries(&self) -> bool {
        !self.token_parameters.is_empty()
    }

    /// The target as it may be logged of a request that is refused: without what anyone could take for a token of any
    /// policy. Nothing where there is none in it.
    #[must_use]
    pub fn redacted(&self, target: &[u8]) -> Option<Vec<u8>> {
        let names = &self.token_parameters;
        if names.is_empty() { None } else { query::redacted(target, |name| names.contains(name)) }
    }

    fn judge(&self, facts: &Facts<'_>) -> Opening {
        match self.choose(facts) {
            Choice::Policy(policy) => policy.open(facts, &self.budget),
            Choice::WrongMethod(policies) => {
                let shakes = |policy: &&&Rc<Policy>| policy.shakes_with(facts) && !is_tunnel(facts);
                let mut opening = match policies.iter().find(shakes) {
                    Some(policy) => policy.shake(facts),
                    None => wrong_method(&policies, facts),
                };
                // One policy in report mode does not open what another closes.
                if let Step::Settled(ruling) = &mut opening.step
                    && let Verdict::Report(reason) = ruling.verdict
                    && policies.iter().any(|policy| policy.mode == Mode::Enforce)
                {
                    ruling.verdict = Verdict::Deny(Denial::from(reason));
                }
                opening.edits = edits(policies.iter().map(|policy| &***policy), facts);
                opening
            }
            Choice::Leave => Opening { edits: identity_edits(facts), step: Step::Leave, policy: None },
            Choice::Refuse(reason) => {
                let edits = identity_edits(facts);
                let record = Record { trail: vec![CheckStep::path(Outcome::Fail)], ..Record::default() };
                let ruling = Ruling { verdict: Verdict::Deny(Denial::from(reason)), record };
                Opening { edits, step: Step::Settled(ruling), policy: None }
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
    Policy(&'a Rc<Policy>),
    WrongMethod(Vec<&'a Rc<Policy>>),
    Refuse(Reason),
    Leave,
}

/// A path that policies govern, all for other methods. Reported only if every one of them is in report mode.
fn wrong_method(policies: &[&Rc<Policy>], facts: &Facts<'_>) -> Opening {
    let strictest = policies.iter().find(|policy| policy.mode == Mode::Enforce).or_else(|| policies.first());
    let Some(policy) = strictest else {
        let verdict = Verdict::Deny(Denial::from(Reason::HostFault));
        let ruling = Ruling { verdict, record: Record::default() };
        return Opening { edits: identity_edits(facts), step: Step::Settled(ruling), policy: None };
    };
    let mut judgement = Judgement::new(policy, facts);
    judgement.path = Outcome::Fail;
    if is_tunnel(facts) {
        let ruling = judgement.settle(Err(Reason::UpgradeNotAllowed));
        return Opening {
            edits: policy.edits(facts),
            step: Step::Settled(ruling),
            policy: Some((*policy).clone()),
        };
    }
    let mut ruling = judgement.settle(Err(Reason::MethodNotAllowed));
    if let Verdict::Deny(denial) = &mut ruling.verdict {
        denial.allow = policies
            .iter()
            .filter_map(|one| one.rule.as_ref())
            .flat_map(|rule| rule.methods.clone())
            .collect();
        denial.allow.sort_unstable();
        denial.allow.dedup();
    }
    Opening { edits: policy.edits(facts), step: Step::Settled(ruling), policy: Some((*policy).clone()) }
}

/// Whether what follows the headers would not be a request that can be judged.
fn is_tunnel(facts: &Facts<'_>) -> bool {
    facts.method() == b"CONNECT" || facts.headers.first(b"upgrade").is_some()
}

/// Takes out every header that claims to be our verdict, whatever its case and with `_` for `-`: some servers do not
/// tell the two apart.
fn identity_edits(facts: &Facts<'_>) -> Edits {
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
fn edits<'p>(policies: impl Iterator<Item = &'p Policy> + Clone, facts: &Facts<'_>) -> Edits {
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
        edits.strip(facts, |target| query::without(target, is_token));
    }
    edits
}

fn is_same_name(given: &[u8], name: &[u8]) -> bool {
    let fold = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    given.len() == name.len() && given.iter().map(fold).eq(name.iter().map(fold))
}

impl Policy {
    /// Judges a request that this policy governs by its headers.
    fn open(self: &Rc<Self>, facts: &Facts<'_>, budget: &Budget) -> Opening {
        let step = Judgement::new(self, facts).headers(facts, budget);
        Opening { edits: self.edits(facts), step, policy: Some(self.clone()) }
    }

    /// Whether the upstream is told the verdict. Where the head is gone before the body is judged it cannot be, and it
    /// is not for a request without a body either: the verdict must not depend on the framing.
    #[must_use]
    pub fn tells_identity(&self, holds_head: bool) -> bool {
        let judges_body = self.leaves.iter().any(|leaf| matches!(leaf.check, Check::Signature(_)));
        self.forward.identity && (holds_head || !judges_body)
    }

    /// Whether the method is that of a handshake which is answered.
    fn shakes_with(&self, facts: &Facts<'_>) -> bool {
        let shapes = self.handshakes.iter().flat_map(|handshakes| &handshakes.shapes);
        shapes.into_iter().any(|shape| facts.method() == shape.method.as_bytes())
    }

    /// Judges a request that only a handshake can be, by its method.
    fn shake(self: &Rc<Self>, facts: &Facts<'_>) -> Opening {
        let mut judgement = Judgement::new(self, facts);
        judgement.path = Outcome::Pass;
        let step = match judgement.unsigned_handshake(facts) {
            Some(candidate) => judgement.shake(facts, candidate),
            None => Step::Settled(judgement.settle(Err(Reason::HandshakeRefused))),
        };
        Opening { edits: self.edits(facts), step, policy: Some(self.clone()) }
    }

    fn edits(&self, facts: &Facts<'_>) -> Edits {
        edits(std::iter::once(self), facts)
    }

    fn removes_header(&self, name: &[u8]) -> bool {
        self.forward.remove_headers.iter().any(|one| is_same_name(name, one.as_bytes()))
            || (self.forward.strip_token
                && self.token_headers().any(|one| name.eq_ignore_ascii_case(one.as_bytes())))
    }

    fn signature(&self, leaf: usize) -> Option<&Rc<SignatureCheck>> {
        match &self.leaves.get(leaf)?.check {
            Check::Signature(check) => Some(check),
            Check::Source(_) | Check::Token(_) => None,
        }
    }

    fn token_places(&self) -> impl Iterator<Item = &Place> {
        self.leaves.iter().filter_map(|leaf| match &leaf.check {
            Check::Token(token) => Some(&token.place),
            Check::Source(_) | Check::Signature(_) => None,
        })
    }

    fn token_headers(&self) -> impl Iterator<Item = &str> {
        self.token_places().filter_map(Place::header)
    }

    fn token_parameters(&self) -> impl Iterator<Item = &Rc<str>> {
        let of_tokens = self.token_places().filter_map(|place| match place {
            Place::Query(name) => Some(name),
            _ => None,
        });
        let shapes = self.handshakes.iter().flat_map(|handshakes| &handshakes.shapes);
        let of_handshakes = shapes.filter_map(|shape| match &shape.verify_token {
            Some(field::Place::Query(name)) => Some(name),
            _ => None,
        });
        of_tokens.chain(of_handshakes)
    }

    /// Turns what the checks came to into a verdict. The one place where a request is let through.
    fn rule(&self, outcome: Result<(), Reason>) -> Verdict {
        match outcome {
            Ok(()) => Verdict::Allow(Pass::all_checks_held()),
            Err(reason) if self.mode == Mode::Report && reason.may_be_reported() => Verdict::Report(reason),
            Err(reason) => Verdict::Deny(self.denial(reason)),
        }
    }

    fn denial(&self, reason: Reason) -> Denial {
        let status = self.deny_status.get(&reason).copied().unwrap_or(reason.status());
        Denial { reason, status, allow: Vec::new() }
    }

    /// Whether the content type is in the policy's list, or there is no list.
    #[must_use]
    pub fn is_content_type_allowed(&self, facts: &Facts<'_>) -> bool {
        let Some(types) = &self.content_types else { return true };
        let mut values = facts.headers.all(b"content-type");
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let media_type = parts.next().unwrap_or_default();
        types.iter().any(|allowed| media_type.eq_ignore_ascii_case(allowed.as_bytes()))
            && parts.all(|parameter| {
                parameter.eq_ignore_ascii_case(b"charset=utf-8")
                    || parameter.eq_ignore_ascii_case(b"charset=\"utf-8\"")
            })
    }

    /// Whether every content encoding is in the policy's list. Codings are a list, in one header or in several
    /// (RFC 9110 8.4).
    #[must_use]
    pub fn is_content_encoding_allowed(&self, facts: &Facts<'_>) -> bool {
        let values = facts.headers.all(b"content-encoding");
        let mut codings = values.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        codings.all(|coding| {
            let coding = if coding.is_empty() { b"identity" } else { coding };
            self.content_encodings.iter().any(|allowed| coding.eq_ignore_ascii_case(allowed.as_bytes()))
        })
    }
}
