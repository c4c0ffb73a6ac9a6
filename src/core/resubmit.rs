//! A message that the operator of the gateway sends again.
//!
//! Responsible for the names by which it is known: the provider `operator` of the catalogue, whose key is the operator's own,
//! and the headers that it signs beside the body. They begin as all headers of the guard's own verdict do, which are taken
//! out of every request: what the application reads under them was signed with that key.

/// The provider.
pub const PROVIDER: &str = "operator";

/// The header with the id of the message that is repeated.
pub const OF: &str = "x-webhook-guard-resubmit-of";

/// The header with the name of who sends it again.
pub const BY: &str = "x-webhook-guard-resubmit-by";

/// The header with the time, in seconds since the Unix epoch.
pub const TIME: &str = "x-webhook-guard-resubmit-time";

/// The header with the signature: `v1=` and the HMAC-SHA-256 in hexadecimal digits.
pub const SIGNATURE: &str = "x-webhook-guard-resubmit-signature";
