//! Secrets, and the one place where something secret is compared.
//!
//! Responsible for values that cannot be printed, for comparison in constant time without length leak, and for the time
//! in which a secret is valid.

use crate::request::Millis;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::sync::Arc;
use subtle::ConstantTimeEq as _;

/// Whether two byte strings are equal, in a time that depends on their lengths alone.
#[must_use]
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

/// A value that a request must present, kept as its SHA-256: comparing digests leaks no length, and a memory dump of
/// the configuration no token.
#[derive(Clone, Copy)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a value.
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        Self(Sha256::digest(value).into())
    }

    /// A fingerprint that was computed elsewhere.
    #[must_use]
    pub const fn from_sha256(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Whether both are of the same value.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        equal(&self.0, &other.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

/// When a secret is valid: from the first to the last instant, both included, at the resolution of a second
/// (RFC 5280 4.1.2.5 includes both ends as well).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validity {
    /// Not before this instant.
    pub not_before: Option<Millis>,
    /// Not after the second of this instant.
    pub not_after: Option<Millis>,
}

impl Validity {
    /// Whether the secret is valid at that time.
    #[must_use]
    pub fn admits(&self, now: Millis) -> bool {
        let now = now.floor_to_second();
        self.not_before.is_none_or(|first| first.floor_to_second() <= now)
            && self.not_after.is_none_or(|last| now <= last.floor_to_second())
    }
}

/// A configured secret in the form its check needs, with its name and validity.
#[derive(Clone, Debug)]
pub struct Secret<T> {
    /// The name under which a match is recorded.
    pub id: Option<Arc<str>>,
    /// When it is valid.
    pub validity: Validity,
    /// The secret itself; its type prints nothing.
    pub value: T,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_match_only_for_equal_values_and_print_nothing() {
        let one = Fingerprint::of(b"token");
        assert!(one.matches(&Fingerprint::of(b"token")));
        assert!(!one.matches(&Fingerprint::of(b"token2")));
        assert_eq!(format!("{one:?}"), "Fingerprint(..)");
    }

    #[test]
    fn both_boundary_seconds_are_valid_and_their_neighbours_are_not() {
        let window = Validity { not_before: Some(Millis(10_000)), not_after: Some(Millis(20_000)) };
        for (now, valid) in [(9_999, false), (10_000, true), (20_000, true), (20_999, true), (21_000, false)]
        {
            assert_eq!(window.admits(Millis(now)), valid, "{now}");
        }
        assert!(Validity::default().admits(Millis(0)));
    }
}
