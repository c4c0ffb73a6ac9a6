//! What applies to one resource: its conditions, how they combine, and what is done with a request.
//!
//! Responsible for [`Policy`] and for the one line that makes a [`Pass`] ([`Policy::rule`]). Which policy governs a request
//! is in `set.rs`, the order of checks in `evaluation.rs`, what is changed in the request in `edits.rs`.

mod disguise;
mod edits;
mod evaluation;
pub mod requirement;
mod set;

pub use edits::{Edits, IDENTITY_PREFIX, is_identity};
pub use evaluation::BodyCheck;
pub use set::PolicySet;

use crate::budget::Budget;
use crate::check::client_certificate::CertificateCheck;
use crate::check::source_ip::AddressCheck;
use crate::check::token::{TokenCheck, TokenPlace};
use crate::decision::{CheckKind, Decision, Denial, Outcome, Pass, Reason, Verdict};
use crate::feed::Lists;
use crate::handshake::Handshake;
use crate::matcher::Match;
use crate::memory::{Claimed, Terms, Then};
use crate::policy::edits::is_same_name;
use crate::policy::evaluation::Evaluation;
use crate::policy::requirement::Requirement;
use crate::record::RecordTerms;
use crate::reply::Reply;
use crate::request::Facts;
use crate::secret::{Fingerprint, Secret};
use crate::signature::SignatureCheck;
use crate::signature::field::{self, Field};
use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// Over whose connection.
    Certificate(CertificateCheck),
    /// What it presents.
    Token(TokenCheck),
    /// What signed it.
    Signature(Arc<SignatureCheck>),
}

/// A condition with what the record says about it.
#[derive(Clone, Debug)]
pub struct PolicyCheck {
    /// The condition.
    pub check: Check,
    /// The provider whose scheme it is.
    pub provider: Option<Arc<str>>,
    /// Where the sender's id of the delivery sits.
    pub delivery_id: Option<Field>,
    /// The handshakes of the provider.
    pub handshakes: Vec<Arc<Handshake>>,
    /// Whether the provider demands that a 401 has no body.
    pub wants_bare_refusals: bool,
}

impl PolicyCheck {
    const fn kind(&self) -> CheckKind {
        match self.check {
            Check::Source(_) => CheckKind::SourceIp,
            Check::Certificate(_) => CheckKind::ClientCertificate,
            Check::Token(_) => CheckKind::Token,
            Check::Signature(_) => CheckKind::Signature,
        }
    }

    /// Whether it looks at the body.
    pub(crate) const fn judges_body(&self) -> bool {
        match &self.check {
            Check::Source(_) | Check::Certificate(_) => false,
            Check::Token(check) => check.is_in_body(),
            Check::Signature(_) => true,
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
    pub remove_headers: Vec<Arc<str>>,
}

/// A media type list of `content_types`, compared without parameters.
pub type MediaTypes = Vec<Arc<str>>;

/// Everything that applies to one resource.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name.
    pub name: Arc<str>,
    /// What it governs; nothing where only a route can name it.
    pub rule: Option<Match>,
    /// Its conditions.
    pub leaves: Vec<PolicyCheck>,
    /// How they combine; nothing where it requires nothing.
    pub requirement: Option<Requirement>,
    /// What is done with what it would refuse.
    pub mode: Mode,
    /// The largest body, in bytes.
    pub max_body_bytes: u64,
    /// The content types, in lower case; nothing where every one will do.
    pub content_types: Option<MediaTypes>,
    /// The content encodings, in lower case.
    pub content_encodings: Vec<Arc<str>>,
    /// How an accepted request is forwarded.
    pub forward: Forward,
    /// Statuses other than the reasons' own.
    pub deny_status: BTreeMap<Reason, u16>,
    /// The handshakes that are answered.
    pub handshakes: Option<Handshakes>,
    /// How each delivery is let through once, where it is.
    pub duplicates: Option<Duplicates>,
    /// What is kept of its requests for the operator's eyes, where anything is.
    pub record: Option<Arc<RecordTerms>>,
}

/// How each delivery of a policy is let through once.
#[derive(Clone, Debug)]
pub struct Duplicates {
    /// How long it is remembered, and what becomes of the next one.
    pub terms: Terms,
    /// What tells the policy's deliveries from those of others in the same memory: a digest of its name and of what it
    /// governs. A route's own configuration may well call its policy as another's does.
    pub policy: [u8; 32],
}

/// The handshakes of the provider of one leaf.
#[derive(Clone, Debug)]
pub struct Handshakes {
    /// The leaf.
    pub leaf: usize,
    /// Their shapes, at least one.
    pub shapes: Vec<Arc<Handshake>>,
    /// What the provider must send, where it sends one.
    pub verify_tokens: Vec<Secret<Fingerprint>>,
}

/// What the headers tell.
#[derive(Debug)]
pub struct HeadersOutcome {
    /// What is changed in the request, whatever becomes of it.
    pub edits: Edits,
    /// What comes next.
    pub step: AfterHeaders,
    /// The policy that governs the request.
    pub policy: Option<Arc<Policy>>,
}

/// What comes after the headers.
#[derive(Debug)]
pub enum AfterHeaders {
    /// No policy governs the request, and the configuration leaves such requests alone.
    Leave,
    /// The request is decided.
    Settled(Decision),
    /// The body decides.
    AwaitBody(BodyCheck),
}

/// Whether what follows the headers would not be a request that can be judged.
fn is_tunnel(facts: &Facts<'_>) -> bool {
    facts.method() == b"CONNECT" || facts.headers.first(b"upgrade").is_some()
}

impl Policy {
    /// Judges a request that this policy governs by its headers.
    fn open(self: &Arc<Self>, facts: &Facts<'_>, lists: &Lists, budget: &Budget) -> HeadersOutcome {
        let step = Evaluation::new(self, facts).headers(facts, lists, budget);
        HeadersOutcome { edits: self.edits(facts), step, policy: Some(self.clone()) }
    }

    /// Whether the upstream is told the verdict. Where the head is gone before the body is judged it cannot be, and it
    /// is not for a request without a body either: the verdict must not depend on the framing.
    #[must_use]
    pub fn tells_identity(&self, holds_head: bool) -> bool {
        let judges_body = self.leaves.iter().any(PolicyCheck::judges_body);
        self.forward.identity && (holds_head || !judges_body)
    }

    /// Whether the method is that of a handshake which is answered.
    fn has_handshake_method(&self, facts: &Facts<'_>) -> bool {
        let shapes = self.handshakes.iter().flat_map(|handshakes| &handshakes.shapes);
        shapes.into_iter().any(|shape| facts.method() == shape.method.as_bytes())
    }

    /// Judges a request that only a handshake can be, by its method.
    fn answer_handshake(self: &Arc<Self>, facts: &Facts<'_>, lists: &Lists) -> HeadersOutcome {
        let mut evaluation = Evaluation::new(self, facts);
        evaluation.path = Outcome::Pass;
        let step = match evaluation.unsigned_handshake(facts) {
            Some(candidate) => evaluation.answer_handshake(facts, lists, candidate),
            None => AfterHeaders::Settled(evaluation.settle(Err(Reason::HandshakeRefused))),
        };
        HeadersOutcome { edits: self.edits(facts), step, policy: Some(self.clone()) }
    }

    fn edits(&self, facts: &Facts<'_>) -> Edits {
        edits::edits(std::iter::once(self), facts)
    }

    fn removes_header(&self, name: &[u8]) -> bool {
        self.forward.remove_headers.iter().any(|one| is_same_name(name, one.as_bytes()))
            || (self.forward.strip_token
                && self.token_headers().any(|one| name.eq_ignore_ascii_case(one.as_bytes())))
    }

    fn signature(&self, leaf: usize) -> Option<&Arc<SignatureCheck>> {
        match &self.leaves.get(leaf)?.check {
            Check::Signature(check) => Some(check),
            Check::Source(_) | Check::Certificate(_) | Check::Token(_) => None,
        }
    }

    fn token_places(&self) -> impl Iterator<Item = &TokenPlace> {
        self.leaves.iter().filter_map(|leaf| match &leaf.check {
            Check::Token(token) => Some(&token.place),
            Check::Source(_) | Check::Certificate(_) | Check::Signature(_) => None,
        })
    }

    fn token_headers(&self) -> impl Iterator<Item = &str> {
        self.token_places().filter_map(TokenPlace::header)
    }

    fn token_parameters(&self) -> impl Iterator<Item = &Arc<str>> {
        let of_tokens = self.token_places().filter_map(|place| match place {
            TokenPlace::Query(name) => Some(name),
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

    /// The verdict on a request that is refused for that reason.
    pub(crate) fn refuse(&self, reason: Reason) -> Verdict {
        self.rule(Err(reason))
    }

    /// Turns what the memory says of an accepted delivery into a verdict; nothing where the request goes on.
    pub(crate) fn recall(&self, claimed: Claimed, request_id: &str) -> Option<Verdict> {
        let acknowledges = self.duplicates.as_ref().is_some_and(|one| one.terms.then == Then::Acknowledge);
        let mut verdict = match claimed {
            Claimed::First(_) => return None,
            Claimed::Unavailable => self.rule(Err(Reason::MemoryUnavailable)),
            Claimed::Duplicate if acknowledges && self.mode == Mode::Enforce => {
                Verdict::Acknowledge(Reply::duplicate(request_id))
            }
            Claimed::Pending | Claimed::Duplicate => self.rule(Err(Reason::DuplicateDelivery)),
        };
        if let (Verdict::Deny(denial), Claimed::Pending) = (&mut verdict, claimed) {
            denial.retry_after = Some(1);
        }
        Some(verdict)
    }

    fn denial(&self, reason: Reason) -> Denial {
        let status = self.deny_status.get(&reason).copied().unwrap_or(reason.status());
        let is_bare = status == 401 && self.leaves.iter().any(|leaf| leaf.wants_bare_refusals);
        Denial { status, has_body: !is_bare, ..Denial::from(reason) }
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
