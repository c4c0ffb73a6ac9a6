//! What should become of a request, and what became of it.
//!
//! Responsible for comparing the core's decision with a gateway's answer. The answer never tells the reason, so status
//! and form are all there is to compare.

use crate::delivery::transport::Response;
use std::fmt;
use webhook_guard_core::decision::{Decision, Reason, Verdict};

/// What the core says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// It reaches the application.
    Forwarded,
    /// It reaches the application, though the policy would refuse it.
    Reported(Reason),
    /// The gateway answers a handshake.
    Answered(u16),
    /// It is refused.
    Refused(u16, Reason),
}

impl Expected {
    /// What follows from a decision; a request that no policy governs and that is left alone is forwarded.
    pub(crate) fn from(decision: Option<&Decision>) -> Self {
        match decision.map(|decision| &decision.verdict) {
            None | Some(Verdict::Allow(_)) => Self::Forwarded,
            Some(Verdict::Report(reason)) => Self::Reported(*reason),
            Some(Verdict::Answer(reply) | Verdict::Acknowledge(reply)) => Self::Answered(reply.status),
            Some(Verdict::Deny(denial)) => Self::Refused(denial.status, denial.reason),
        }
    }

    /// Whether the application gets it.
    pub(crate) const fn is_forwarded(self) -> bool {
        matches!(self, Self::Forwarded | Self::Reported(_))
    }

    /// Whether an answer is what should have come back.
    pub(crate) fn is_met(self, response: &Response) -> bool {
        match (self, response.refusal()) {
            (Self::Forwarded | Self::Reported(_), refusal) => refusal.is_none(),
            (Self::Answered(status), refusal) => refusal.is_none() && status == response.status,
            (Self::Refused(status, _), refusal) => refusal.is_some() && status == response.status,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forwarded => f.write_str("forwarded"),
            Self::Reported(reason) => write!(f, "forwarded (report: {})", reason.code()),
            Self::Answered(status) => write!(f, "{status} answered"),
            Self::Refused(status, reason) => write!(f, "{status} {}", reason.code()),
        }
    }
}

/// An answer in a few words. Whatever is not the guard's own refusal has passed it.
pub(crate) fn got(response: &Response) -> String {
    match response.refusal() {
        Some(_) => format!("{} refused", response.status),
        None if response.status < 400 => format!("{} forwarded", response.status),
        None => format!("{} forwarded: not in the guard's form, so another's answer", response.status),
    }
}
