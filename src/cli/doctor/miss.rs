//! A near miss: what was changed so that the delivery holds, and what follows from it.
//!
//! Responsible for the words of a cause and its remedies.

use super::delivery::Delivery;

/// A cause, in words for people and one for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Miss {
    /// The stable word for it.
    pub(crate) code: &'static str,
    /// What is the matter, in one sentence.
    pub(crate) cause: String,
    /// What can be done at the sender.
    pub(crate) sender: String,
    /// What can be done at the gateway.
    pub(crate) gateway: String,
}

impl Miss {
    pub(crate) fn new(
        code: &'static str,
        cause: impl Into<String>,
        sender: impl Into<String>,
        gateway: impl Into<String>,
    ) -> Self {
        Self { code, cause: cause.into(), sender: sender.into(), gateway: gateway.into() }
    }
}

/// A changed delivery, and what it means if it holds.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) delivery: Delivery,
    pub(crate) miss: Miss,
}

/// Changed deliveries, made only when they are tried: bodies can be large.
pub(crate) type Candidates<'d> = Box<dyn Iterator<Item = Candidate> + 'd>;

/// What nobody has to do.
pub(crate) const NOTHING: &str = "nothing to do";

/// What there is to say of a scheme that a stranger can extend, instead of a way to change over to it.
pub(crate) const EXTENDABLE: &str = "nothing: such a scheme hashes the secret and then the content, and whoever has one \
                                     delivery can append to it and sign the result without knowing the secret (length \
                                     extension)";
