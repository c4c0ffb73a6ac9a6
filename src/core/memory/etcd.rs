//! The memory of several gateways: an etcd that all of them ask.
//!
//! Responsible for what is asked of it and for what its answers mean, as values: a host carries the calls over one of its
//! clusters and tells what came of them.
//!
//! A delivery is one key, written in one transaction if it is absent. Its value says what became of the delivery and until
//! when that counts, by the clock of whoever wrote it. A lease deletes it some time later. Leases are shared: the id of one
//! is chosen by whoever grants it, and follows from the time that keys under it are to last and from the span of time in which
//! they are written (a minute, or more where they last for long), so all gateways use the same ones without a word between
//! them. Whoever finds one missing grants it.
//!
//! What is asked while a request waits is in `claiming`, what is told after it in `settlements`.
//!
//! ```text
//!  Claiming:    put if absent ──► succeeded: First
//!                    │  ├──────► the key's value: Pending │ Duplicate, or it has run out: put in its place
//!                    │  └──────► no such lease: grant it, and put again
//!                    └─────────► anything else, or no time left: Unavailable
//!  Settlements: many claims in one transaction, each if it is still one's own; again until it has been done
//! ```

mod claiming;
mod messages;
mod settlements;

pub use claiming::{Claiming, Progress};
pub use settlements::{Health, Settlements};

use super::Delivery;
use crate::request::Millis;
use messages::{Act, Compare, LeaseGrant, Operation, Revision, Target, Transaction, TransactionDone};
use prost::Message;
use sha2::{Digest, Sha256};

// gRPC statuses (google.golang.org/grpc/codes), and what etcd means by them (`api/v3rpc/rpctypes/error.go`).

/// A failure of which the host does not tell the status: it may be any of the others.
pub const UNKNOWN: u32 = 2;
/// The lease of a put does not exist.
const NOT_FOUND: u32 = 5;
/// A lease that is to be granted exists.
const FAILED_PRECONDITION: u32 = 9;
/// Nobody answers, or not in time.
pub const UNAVAILABLE: u32 = 14;

/// What is written within so many seconds shares a lease: at least; and at most so many leases are there at once for keys
/// that last equally long, a few more aside.
const LEAST_SPAN: i64 = 60;
const MOST_LEASES: i64 = 1440;

/// What becomes of a delivery of which etcd cannot be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum WhenUnavailable {
    /// It is refused, so that its sender tries again.
    #[default]
    Refuse,
    /// It is accepted, maybe for the second time.
    Accept,
}

/// An etcd, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Etcd {
    /// The host's cluster through which it is reached.
    pub cluster: String,
    /// What all keys begin with.
    pub prefix: String,
    /// How long a request waits for it, in milliseconds.
    pub timeout: u32,
    /// What becomes of a request that waited in vain.
    pub when_unavailable: WhenUnavailable,
}

/// A method of etcd's gRPC API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `etcdserverpb.KV/Txn`.
    Transaction,
    /// `etcdserverpb.Lease/LeaseGrant`.
    GrantLease,
}

impl Method {
    /// The name of its service.
    #[must_use]
    pub const fn service(self) -> &'static str {
        match self {
            Self::Transaction => "etcdserverpb.KV",
            Self::GrantLease => "etcdserverpb.Lease",
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transaction => "Txn",
            Self::GrantLease => "LeaseGrant",
        }
    }
}

/// A call that the host is to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Of which method.
    pub method: Method,
    /// The serialized request, without the frame of gRPC.
    pub message: Vec<u8>,
    /// How long it may take, in milliseconds.
    pub timeout: u32,
}

/// What came of a call.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// The serialized response of a call that succeeded.
    Message(&'a [u8]),
    /// The gRPC status of one that did not.
    Status(u32),
}

impl Etcd {
    fn key(&self, delivery: &Delivery) -> Vec<u8> {
        let mut key = self.prefix.clone();
        data_encoding::HEXLOWER.encode_append(delivery.key.bytes(), &mut key);
        key.into_bytes()
    }

    /// The lease of keys that are written now and are to last so many milliseconds.
    fn lease(&self, lasts: i64, now: Millis) -> Lease {
        let seconds = lasts.saturating_add(999).div_euclid(1000);
        let span = seconds.div_euclid(MOST_LEASES).max(LEAST_SPAN);
        let written = now.0.div_euclid(1000).checked_div_euclid(span).unwrap_or_default();
        let mut digest = Sha256::new();
        digest.update(b"webhook-guard lease\0");
        digest.update(self.prefix.as_bytes());
        digest.update(seconds.to_be_bytes());
        digest.update(written.to_be_bytes());
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(digest.finalize());
        // An id is positive.
        let id = (i64::from_be_bytes([a, b, c, d, e, f, g, h]) & i64::MAX).max(1);
        // A key may be written at the end of the span, and the lease be granted by a clock that is as much ahead.
        Lease { id, ttl: seconds.saturating_add(span.saturating_mul(2)) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lease {
    id: i64,
    ttl: i64,
}

impl Lease {
    fn grant(self, timeout: u32) -> Call {
        let message = LeaseGrant { ttl: self.ttl, id: self.id }.encode_to_vec();
        Call { method: Method::GrantLease, message, timeout }
    }

    /// Whether it may exist after a call to grant it: who puts a key under it hears if it does not.
    fn may_exist(answer: Answer<'_>) -> bool {
        matches!(answer, Answer::Message(_) | Answer::Status(FAILED_PRECONDITION | UNKNOWN))
    }
}

/// What a key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    is_done: bool,
    /// When it is forgotten, in milliseconds since the Unix epoch.
    until: u64,
}

impl Entry {
    fn text(self) -> Vec<u8> {
        format!("{} {}", if self.is_done { "done" } else { "pending" }, self.until).into_bytes()
    }

    fn read(text: &[u8]) -> Option<Self> {
        let (word, until) = std::str::from_utf8(text).ok()?.split_once(' ')?;
        let is_done = match word {
            "done" => true,
            "pending" => false,
            _ => return None,
        };
        Some(Self { is_done, until: until.parse().ok()? })
    }
}

fn operation(act: Act) -> Operation {
    Operation { act: Some(act) }
}

fn transaction(compare: Compare, success: Act, failure: Option<Act>) -> Transaction {
    Transaction {
        compare: vec![compare],
        success: vec![operation(success)],
        failure: failure.map(operation).into_iter().collect(),
    }
}

/// Whether there is no such key.
fn is_absent(key: Vec<u8>) -> Compare {
    Compare { target: Target::Created.into(), key, revision: Some(Revision::Created(0)) }
}

/// Whether the key was last written in that revision.
fn is_of(key: Vec<u8>, revision: i64) -> Compare {
    Compare { target: Target::Modified.into(), key, revision: Some(Revision::Modified(revision)) }
}

fn call(transaction: &Transaction, timeout: u32) -> Call {
    Call { method: Method::Transaction, message: transaction.encode_to_vec(), timeout }
}

/// The response to a transaction; nothing where it is none: an etcd gives the revision of its store with each.
fn done(message: &[u8]) -> Option<(TransactionDone, i64)> {
    let done = TransactionDone::decode(message).ok()?;
    let revision = done.header.as_ref().map(|header| header.revision).filter(|revision| *revision > 0)?;
    Some((done, revision))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Claim, DeliveryKey, Terms, Then};

    /// An etcd for tests.
    pub(super) fn etcd() -> Etcd {
        let (cluster, prefix) = ("etcd".to_owned(), "webhook-guard/".to_owned());
        Etcd { cluster, prefix, timeout: 250, when_unavailable: WhenUnavailable::Refuse }
    }

    /// A claim for tests.
    pub(super) fn claim(number: u8) -> Claim {
        let terms = Terms { window: 86_400_000, pending: 60_000, then: Then::Refuse };
        Claim { delivery: Delivery { key: DeliveryKey::new(&[number; 32]), terms }, mark: 7 }
    }

    #[test]
    fn a_lease_is_the_same_for_a_minute_and_outlasts_what_is_written_in_it() {
        let lease =
            |prefix: &str, lasts, now| Etcd { prefix: prefix.to_owned(), ..etcd() }.lease(lasts, Millis(now));
        let first = lease("a/", 60_000, 120_000);
        assert_eq!(first, lease("a/", 60_000, 179_999));
        for other in
            [lease("a/", 60_000, 180_000), lease("a/", 61_000, 120_000), lease("b/", 60_000, 120_000)]
        {
            assert_ne!(first.id, other.id);
        }
        assert_eq!((first.ttl, lease("a/", 1, 0).ttl), (180, 121));
        let (day, year) = (86_400_000, 366 * 86_400_000_i64);
        assert_eq!(lease("a/", day, 0).ttl, 86_520);
        assert_eq!(
            lease("a/", year, 0),
            lease("a/", year, 6 * 3_600_000),
            "a year takes no more leases than a day"
        );
        assert_ne!(lease("a/", year, 0).id, lease("a/", year, 7 * 3_600_000).id);
        assert!((0..1000).all(|minute| lease("a/", 1, minute * 60_000).id > 0));
    }
}
