//! Every way a request can be refused, and what a decision carries.
//!
//! Responsible for the closed list of reasons with their statuses (stable across releases: dashboards and alerts are
//! built on them), for [`Pass`], the proof without which nothing is let through, and for the record that logs, metrics
//! and the upstream's identity headers are made from.

use crate::memory::Delivery;
use crate::reply::Reply;
use crate::resubmit;
use crate::wish::Wish;
use std::borrow::Cow;
use std::sync::Arc;

/// Why a request was refused, sorted by who must act: the sender, the operator, the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No policy governs the request.
    NoPolicy,
    /// The path can be read in more than one way, so no policy can be chosen for it safely.
    PathMalformed,
    /// A policy governs the path, with other methods.
    MethodNotAllowed,
    /// `Upgrade` or CONNECT: what follows would not be an HTTP request that can be judged.
    UpgradeNotAllowed,
    /// The content type is not in the policy's list.
    ContentTypeNotAllowed,
    /// The content encoding is not in the policy's list.
    ContentEncodingNotAllowed,
    /// The body is larger than `max_body_bytes`.
    BodyTooLarge,
    /// The host gave no source address, or one that cannot be parsed.
    SourceIpUnknown,
    /// The source address is denied, or not in the allowlist.
    SourceIpNotAllowed,
    /// The request carries no token.
    TokenMissing,
    /// The request carries the token's parameter or header more than once.
    TokenAmbiguous,
    /// The token is none of the configured ones.
    TokenMismatch,
    /// The request carries no signature.
    SignatureMissing,
    /// A header or parameter that the scheme reads occurs more than once.
    SignatureAmbiguous,
    /// The signature, or something it is computed over, cannot be read.
    SignatureMalformed,
    /// No claimed signature is the right one.
    SignatureMismatch,
    /// The scheme signs a time, and the request has none.
    TimestampMissing,
    /// The time cannot be read in the scheme's unit.
    TimestampMalformed,
    /// The time lies further in the past than the tolerance admits.
    TimestampStale,
    /// The time lies further in the future than the tolerance admits.
    TimestampFuture,
    /// An equality that the scheme demands beside the signature does not hold.
    RequirementNotMet,
    /// No branch of an `any_of` holds.
    NoAlternativeHeld,
    /// The connection has no client certificate.
    ClientCertificateMissing,
    /// The connection's client certificate is none of those that may send.
    ClientCertificateNotAllowed,
    /// A handshake request that is not of the provider's shape.
    HandshakeRefused,
    /// A delivery that was seen before.
    DuplicateDelivery,
    /// The memory of deliveries could not be asked.
    MemoryUnavailable,
    /// The route names a policy that is not configured.
    PolicyUnknown,
    /// As much is held for requests whose body is awaited as may be held (`held_bytes`).
    Overloaded,
    /// The host never delivers the body: its option to hold the request's head is missing.
    HostCannotHold,
    /// The host failed, or chose another route after the request was judged.
    HostFault,
}

impl Reason {
    /// Every reason, in the order of the contract.
    pub const ALL: [Self; 31] = [
        Self::NoPolicy,
        Self::PathMalformed,
        Self::MethodNotAllowed,
        Self::UpgradeNotAllowed,
        Self::ContentTypeNotAllowed,
        Self::ContentEncodingNotAllowed,
        Self::BodyTooLarge,
        Self::SourceIpUnknown,
        Self::SourceIpNotAllowed,
        Self::TokenMissing,
        Self::TokenAmbiguous,
        Self::TokenMismatch,
        Self::SignatureMissing,
        Self::SignatureAmbiguous,
        Self::SignatureMalformed,
        Self::SignatureMismatch,
        Self::TimestampMissing,
        Self::TimestampMalformed,
        Self::TimestampStale,
        Self::TimestampFuture,
        Self::RequirementNotMet,
        Self::NoAlternativeHeld,
        Self::ClientCertificateMissing,
        Self::ClientCertificateNotAllowed,
        Self::HandshakeRefused,
        Self::DuplicateDelivery,
        Self::PolicyUnknown,
        Self::Overloaded,
        Self::MemoryUnavailable,
        Self::HostCannotHold,
        Self::HostFault,
    ];

    /// The stable name: in logs, metrics, filter state, response code details and `deny_status`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoPolicy => "no_policy",
            Self::PathMalformed => "path_malformed",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::UpgradeNotAllowed => "upgrade_not_allowed",
            Self::ContentTypeNotAllowed => "content_type_not_allowed",
            Self::ContentEncodingNotAllowed => "content_encoding_not_allowed",
            Self::BodyTooLarge => "body_too_large",
            Self::SourceIpUnknown => "source_ip_unknown",
            Self::SourceIpNotAllowed => "source_ip_not_allowed",
            Self::TokenMissing => "token_missing",
            Self::TokenAmbiguous => "token_ambiguous",
            Self::TokenMismatch => "token_mismatch",
            Self::SignatureMissing => "signature_missing",
            Self::SignatureAmbiguous => "signature_ambiguous",
            Self::SignatureMalformed => "signature_malformed",
            Self::SignatureMismatch => "signature_mismatch",
            Self::TimestampMissing => "timestamp_missing",
            Self::TimestampMalformed => "timestamp_malformed",
            Self::TimestampStale => "timestamp_stale",
            Self::TimestampFuture => "timestamp_future",
            Self::RequirementNotMet => "requirement_not_met",
            Self::NoAlternativeHeld => "no_alternative_held",
            Self::ClientCertificateMissing => "client_certificate_missing",
            Self::ClientCertificateNotAllowed => "client_certificate_not_allowed",
            Self::HandshakeRefused => "handshake_refused",
            Self::DuplicateDelivery => "duplicate_delivery",
            Self::PolicyUnknown => "policy_unknown",
            Self::Overloaded => "overloaded",
            Self::MemoryUnavailable => "memory_unavailable",
            Self::HostCannotHold => "host_cannot_hold",
            Self::HostFault => "host_fault",
        }
    }

    /// The status of the reply, unless the policy's `deny_status` names another.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::NoPolicy | Self::PathMalformed => 404,
            Self::MethodNotAllowed => 405,
            Self::ContentTypeNotAllowed | Self::ContentEncodingNotAllowed => 415,
            Self::BodyTooLarge => 413,
            Self::UpgradeNotAllowed
            | Self::SourceIpUnknown
            | Self::SourceIpNotAllowed
            | Self::ClientCertificateMissing
            | Self::ClientCertificateNotAllowed
            | Self::HandshakeRefused => 403,
            Self::TokenMissing
            | Self::TokenAmbiguous
            | Self::TokenMismatch
            | Self::SignatureMissing
            | Self::SignatureAmbiguous
            | Self::SignatureMalformed
            | Self::SignatureMismatch
            | Self::TimestampMissing
            | Self::TimestampMalformed
            | Self::TimestampStale
            | Self::TimestampFuture
            | Self::RequirementNotMet
            | Self::NoAlternativeHeld => 401,
            Self::DuplicateDelivery => 409,
            Self::PolicyUnknown
            | Self::Overloaded
            | Self::MemoryUnavailable
            | Self::HostCannotHold
            | Self::HostFault => 503,
        }
    }

    /// The reason of that name.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// Whether the host or the operator's configuration is at fault, not the request.
    #[must_use]
    pub const fn is_fault(self) -> bool {
        matches!(self, Self::PolicyUnknown | Self::HostCannotHold | Self::HostFault)
    }

    /// Whether a policy in report mode may forward the request all the same. A fault or a lack of room tells nothing of
    /// the request, and in a tunnel there is none: those are refused in every mode.
    #[must_use]
    pub const fn may_be_reported(self) -> bool {
        !self.is_fault() && !matches!(self, Self::UpgradeNotAllowed | Self::Overloaded)
    }
}

/// The proof that every check of a policy held. Its one constructor is called on one line of `src/policy.rs`.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Pass(());

impl Pass {
    /// Claims that all checks held. To find every place that makes the claim, search for this name.
    pub(crate) const fn all_checks_held() -> Self {
        Self(())
    }
}

/// What is decided about a request.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Forwarded, as verified.
    Allow(Pass),
    /// Forwarded by a policy in report mode, though it would have been refused.
    Report(Reason),
    /// A handshake, answered by the gateway; the upstream does not see it.
    Answer(Reply),
    /// A delivery that was accepted before: the sender is told that all is well, the upstream does not see it again.
    Acknowledge(Reply),
    /// Refused.
    Deny(Denial),
}

impl Verdict {
    /// The word for logs, metrics and filter state.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Allow(_) => "allow",
            Self::Report(_) => "report",
            Self::Answer(_) | Self::Acknowledge(_) => "answer",
            Self::Deny(_) => "deny",
        }
    }

    /// The reason's code; `ok` where nothing was wrong.
    #[must_use]
    pub const fn reason_code(&self) -> &'static str {
        match self {
            Self::Allow(_) | Self::Answer(_) => "ok",
            Self::Acknowledge(_) => Reason::DuplicateDelivery.code(),
            Self::Report(reason) => reason.code(),
            Self::Deny(denial) => denial.reason.code(),
        }
    }
}

/// A refusal, with all that the reply needs.
#[derive(Debug, PartialEq, Eq)]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// The HTTP status of the reply.
    pub status: u16,
    /// The methods for the `Allow` header of a 405, in order; empty for every other status.
    pub allow: Vec<Arc<str>>,
    /// After how many seconds a new attempt makes sense, where it does (RFC 9110 10.2.3).
    pub retry_after: Option<u32>,
    /// Whether the reply has a body. Some provider demands a 401 without (Xero): it is then without for every reason.
    pub has_body: bool,
}

impl Denial {
    /// The reply to the sender, with the id of the request as [`crate::reply::request_id`] gives it.
    #[must_use]
    pub fn reply(&self, request_id: &str) -> Reply {
        let reply = Reply::refusal(self.status, &self.allow, self.retry_after, request_id);
        if self.has_body { reply } else { reply.without_body() }
    }
}

impl From<Reason> for Denial {
    fn from(reason: Reason) -> Self {
        // Held requests end soon, by themselves or by the host's time-outs, and a memory may be back soon.
        let retry_after = matches!(reason, Reason::Overloaded | Reason::MemoryUnavailable).then_some(1);
        Self { reason, status: reason.status(), allow: Vec::new(), retry_after, has_body: true }
    }
}

/// How one kind of check went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The policy has no such check, or the request was settled before it.
    #[default]
    Skip,
    /// It failed.
    Fail,
    /// It held.
    Pass,
}

impl Outcome {
    const fn code(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}

/// One check of a policy and how it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckStep {
    /// Its kind.
    pub kind: CheckKind,
    /// The provider whose scheme it is.
    pub provider: Option<Arc<str>>,
    /// How it went.
    pub outcome: Outcome,
    /// Why it failed.
    pub reason: Option<Reason>,
    /// The id of the secret with which it held.
    pub secret_id: Option<Arc<str>>,
}

impl CheckStep {
    /// The first step: whether path, host and method are the policy's.
    #[must_use]
    pub const fn path(outcome: Outcome) -> Self {
        Self { kind: CheckKind::Path, provider: None, outcome, reason: None, secret_id: None }
    }
}

/// The kinds of checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// Path, host and method.
    Path,
    /// Source address.
    SourceIp,
    /// Client certificate.
    ClientCertificate,
    /// Token.
    Token,
    /// Signature with its time.
    Signature,
}

impl CheckKind {
    /// All of them, in the order in which they are judged.
    pub const ALL: [Self; 5] =
        [Self::Path, Self::SourceIp, Self::ClientCertificate, Self::Token, Self::Signature];

    /// The word for it in logs and filter state.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::SourceIp => "source_ip",
            Self::ClientCertificate => "client_certificate",
            Self::Token => "token",
            Self::Signature => "signature",
        }
    }
}

/// What there is to say about a decided request. Nothing in it is a secret, a token or a signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The policy that governed it.
    pub policy: Option<Arc<str>>,
    /// The provider whose scheme was applied.
    pub provider: Option<Arc<str>>,
    /// The sender's id of the delivery: printable ASCII, at most 256 bytes.
    pub delivery_id: Option<Arc<str>>,
    /// The ids of the secrets that matched, the signature's before a token's.
    pub secret_ids: Vec<Arc<str>>,
    /// How each check went, in the order of the policy.
    pub trail: Vec<CheckStep>,
    /// The length of the body in bytes, where it was counted or declared.
    pub body_bytes: Option<u64>,
    /// What is to be remembered of the delivery, where it is accepted and its policy remembers any.
    pub delivery: Option<Box<Delivery>>,
    /// What the memory said of it.
    pub repeat: Option<Repeat>,
    /// Who sent it again, where the operator did: printable ASCII, at most 256 bytes. The delivery id is then that of the
    /// message that is repeated.
    pub resubmitted_by: Option<Arc<str>>,
    /// What is to be fetched for the next of its kind, where something is.
    pub wish: Option<Wish>,
}

/// What the memory of deliveries said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// There was no such delivery.
    First,
    /// The same was on its way.
    Pending,
    /// The same had been accepted.
    Duplicate,
    /// Nothing: it could not be asked.
    Unavailable,
}

impl Repeat {
    /// The word for metrics and filter state.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Pending => "pending",
            Self::Duplicate => "duplicate",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Record {
    /// How each kind of check went: `path:pass,source_ip:pass,token:skip,signature:fail`, and `client_certificate:pass`
    /// before the token where the policy has such a check. Where it has several of a kind, one that held counts before
    /// one that failed. It is made for every request, and so without `format!`.
    #[must_use]
    pub fn checks(&self) -> String {
        let went = |kind: CheckKind| {
            let of_kind = self.trail.iter().filter(|step| step.kind == kind).map(|step| step.outcome);
            of_kind.max().unwrap_or_default().code()
        };
        let mut text = String::with_capacity(64);
        for kind in self.kinds() {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(kind.code());
            text.push(':');
            text.push_str(went(kind));
        }
        text
    }

    /// The kinds of checks of which something is said. Most listeners ask for no certificate, and nothing is said of one
    /// where the policy does not.
    fn kinds(&self) -> impl Iterator<Item = CheckKind> {
        let is_told = |kind: &CheckKind| {
            *kind != CheckKind::ClientCertificate || self.trail.iter().any(|step| step.kind == *kind)
        };
        CheckKind::ALL.into_iter().filter(is_told)
    }

    /// What the upstream is told of an accepted request, as headers.
    #[must_use]
    pub fn identity(&self, verdict: &'static str) -> Vec<(&'static str, Arc<str>)> {
        let is_again = self.resubmitted_by.is_some();
        [
            ("x-webhook-guard-verdict", Some(Arc::from(verdict))),
            ("x-webhook-guard-policy", self.policy.clone()),
            ("x-webhook-guard-provider", self.provider.clone()),
            ("x-webhook-guard-delivery-id", self.delivery_id.clone()),
            ("x-webhook-guard-secret-id", self.secret_ids.first().cloned()),
            (resubmit::OF, self.delivery_id.clone().filter(|_| is_again)),
            (resubmit::BY, self.resubmitted_by.clone()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

/// A decision and its record.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Decision {
    /// What is decided.
    pub verdict: Verdict,
    /// What there is to say about it.
    pub record: Record,
}

/// The level of a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The host or the operator's configuration is at fault.
    Error,
    /// A request was refused, or would have been.
    Info,
}

impl Decision {
    /// A refusal that no policy's own status changes.
    pub fn deny(reason: Reason, record: Record) -> Self {
        Self { verdict: Verdict::Deny(Denial::from(reason)), record }
    }

    /// What is told to the host's request under fixed names, for its access log: filter state in Envoy.
    #[must_use]
    pub fn filter_state(&self) -> [(&'static str, Option<Cow<'_, str>>); 8] {
        let record = &self.record;
        let borrowed = |text: &'static str| Some(Cow::Borrowed(text));
        [
            ("wasm.webhook_verdict", borrowed(self.verdict.code())),
            ("wasm.webhook_reason", borrowed(self.verdict.reason_code())),
            ("wasm.webhook_policy", record.policy.as_deref().map(Cow::Borrowed)),
            ("wasm.webhook_provider", record.provider.as_deref().map(Cow::Borrowed)),
            ("wasm.webhook_delivery_id", record.delivery_id.as_deref().map(Cow::Borrowed)),
            ("wasm.webhook_secret_id", record.secret_ids.first().map(|id| Cow::Borrowed(id.as_ref()))),
            ("wasm.webhook_checks", Some(Cow::Owned(record.checks()))),
            ("wasm.webhook_duplicate", record.repeat.and_then(|repeat| borrowed(repeat.code()))),
        ]
    }

    /// The one line of the log that a refusal or a report has.
    #[must_use]
    pub fn log_line(&self, request_id: &str) -> Option<(Level, String)> {
        let level = match &self.verdict {
            Verdict::Deny(Denial { reason: Reason::MemoryUnavailable, .. }) => Level::Error,
            Verdict::Deny(denial) if denial.reason.is_fault() => Level::Error,
            Verdict::Deny(_) | Verdict::Report(_) | Verdict::Acknowledge(_) => Level::Info,
            Verdict::Allow(_) | Verdict::Answer(_) => return None,
        };
        let (verdict, reason) = (self.verdict.code(), self.verdict.reason_code());
        let policy = self.record.policy.as_deref().unwrap_or("-");
        let line = format!("verdict={verdict} reason={reason} policy={policy} request_id={request_id}");
        Some((level, line))
    }

    /// A line for each check, for those who look closely; for a kind that the policy has no check of as well, so that who
    /// reads them need not know the policy.
    pub fn check_lines<'r>(&'r self, request_id: &'r str) -> impl Iterator<Item = String> + 'r {
        let policy = self.record.policy.as_deref().unwrap_or("-");
        let of_kind = |kind| {
            let steps = self.record.trail.iter().filter(move |step| step.kind == kind);
            let mut outcomes: Vec<_> = steps.map(|step| (kind, step.outcome)).collect();
            if outcomes.is_empty() {
                outcomes.push((kind, Outcome::Skip));
            }
            outcomes
        };
        self.record.kinds().flat_map(of_kind).map(move |(kind, outcome)| {
            let (kind, outcome) = (kind.code(), outcome.code());
            format!("check {kind}:{outcome} policy={policy} request_id={request_id}")
        })
    }

    /// The host's reply, where the request ends with one.
    #[must_use]
    pub fn reply(&self, request_id: &str) -> Option<Reply> {
        match &self.verdict {
            Verdict::Deny(denial) => Some(denial.reply(request_id)),
            Verdict::Answer(answer) | Verdict::Acknowledge(answer) => Some(answer.clone()),
            Verdict::Allow(_) | Verdict::Report(_) => None,
        }
    }

    /// Why the host replied, in its own field for that (`%RESPONSE_CODE_DETAILS%`).
    #[must_use]
    pub fn details(&self) -> String {
        let word = match &self.verdict {
            Verdict::Deny(denial) => denial.reason.code(),
            Verdict::Answer(_) => "answer",
            Verdict::Acknowledge(_) => Reason::DuplicateDelivery.code(),
            Verdict::Allow(_) | Verdict::Report(_) => "ok",
        };
        format!("webhook_guard{{{word}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_says_the_status_and_nothing_of_the_reason() {
        let missing = Denial::from(Reason::SignatureMissing).reply("id-1");
        let mismatch = Denial::from(Reason::TokenMismatch).reply("id-1");
        assert_eq!(missing, mismatch);
        assert_eq!(missing.body, r#"{"error": "Unauthorized", "request_id": "id-1"}"#);
        assert!(missing.headers.contains(&("www-authenticate".to_owned(), "Webhook".to_owned())));
    }

    #[test]
    fn every_reason_has_its_own_code_and_is_found_by_it() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(reason), "{}", reason.code());
            assert!((400..600).contains(&reason.status()), "{}", reason.code());
        }
    }

    /// What is told of every kind of decision, beside the counters: line and level of the log, and why the host replied.
    #[test]
    fn a_decision_says_in_each_place_what_was_decided() {
        let record = || Record { policy: Some(Arc::from("p")), ..Record::default() };
        let deny = |reason| Verdict::Deny(Denial::from(reason));
        for (verdict, level, told, details) in [
            (Verdict::Allow(Pass::all_checks_held()), None, "allow ok", "webhook_guard{ok}"),
            (Verdict::Answer(Reply::duplicate("")), None, "answer ok", "webhook_guard{answer}"),
            (
                Verdict::Acknowledge(Reply::duplicate("")),
                Some(Level::Info),
                "answer duplicate_delivery",
                "webhook_guard{duplicate_delivery}",
            ),
            (
                Verdict::Report(Reason::TokenMissing),
                Some(Level::Info),
                "report token_missing",
                "webhook_guard{ok}",
            ),
            (
                deny(Reason::TokenMissing),
                Some(Level::Info),
                "deny token_missing",
                "webhook_guard{token_missing}",
            ),
            (deny(Reason::HostFault), Some(Level::Error), "deny host_fault", "webhook_guard{host_fault}"),
            (
                deny(Reason::MemoryUnavailable),
                Some(Level::Error),
                "deny memory_unavailable",
                "webhook_guard{memory_unavailable}",
            ),
        ] {
            let decision = Decision { verdict, record: record() };
            let (word, reason) = told.split_once(' ').unwrap();
            let line = format!("verdict={word} reason={reason} policy=p request_id=id-1");
            assert_eq!(decision.log_line("id-1"), level.map(|level| (level, line)), "{told}");
            assert_eq!(decision.details(), details, "{told}");
            let state = decision.filter_state().map(|(_, value)| value.unwrap_or_default().into_owned());
            assert_eq!(state, [word, reason, "p", "", "", "", &decision.record.checks(), ""], "{told}");
        }
    }

    #[test]
    fn every_check_has_its_line_and_a_kind_without_one_says_so() {
        let step = |kind, outcome| CheckStep { kind, ..CheckStep::path(outcome) };
        let trail = vec![
            CheckStep::path(Outcome::Pass),
            step(CheckKind::Token, Outcome::Fail),
            step(CheckKind::Token, Outcome::Pass),
        ];
        let lines = |trail: Vec<CheckStep>| {
            let record = Record { trail, repeat: Some(Repeat::Pending), ..Record::default() };
            let decision = Decision::deny(Reason::TokenMissing, record);
            let words: Vec<String> = decision
                .check_lines("id-1")
                .map(|line| {
                    let word = line
                        .strip_prefix("check ")
                        .and_then(|line| line.strip_suffix(" policy=- request_id=id-1"));
                    word.unwrap().to_owned()
                })
                .collect();
            (words.join(","), decision.filter_state()[7].1.clone().unwrap().into_owned())
        };
        let without = "path:pass,source_ip:skip,token:fail,token:pass,signature:skip";
        assert_eq!(lines(trail.clone()), (without.to_owned(), "pending".to_owned()));
        let certificate = [step(CheckKind::ClientCertificate, Outcome::Fail)];
        let with = "path:pass,source_ip:skip,client_certificate:fail,token:fail,token:pass,signature:skip";
        assert_eq!(lines(trail.into_iter().chain(certificate).collect()).0, with);
    }
}
