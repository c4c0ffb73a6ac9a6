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
    use crate::memory::{Claim, Claimed, DeliveryKey, Settlement, Terms, Then};
    use std::collections::{BTreeMap, BTreeSet};

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

    /// As much of an etcd as the memory asks for: one store with revisions, and leases that are there or not.
    #[derive(Clone, Default)]
    struct Store {
        /// When it was created and last written, and what it holds.
        keys: BTreeMap<Vec<u8>, (i64, i64, Vec<u8>)>,
        /// How long each lasts.
        leases: BTreeMap<i64, i64>,
        revision: i64,
    }

    #[expect(
        clippy::unwrap_in_result,
        clippy::arithmetic_side_effects,
        reason = "a broken call must fail the test loudly"
    )]
    impl Store {
        fn call(&mut self, call: &Call) -> Result<Vec<u8>, u32> {
            if call.method == Method::GrantLease {
                let LeaseGrant { ttl, id } = LeaseGrant::decode(call.message.as_slice()).unwrap();
                return match self.leases.insert(id, ttl) {
                    None => Ok(Vec::new()),
                    Some(_) => Err(FAILED_PRECONDITION),
                };
            }
            // All of a transaction is done, or nothing.
            let mut next = Self { revision: self.revision + 1, ..self.clone() };
            let (succeeded, results) =
                next.run(&Transaction::decode(call.message.as_slice()).unwrap()).ok_or(NOT_FOUND)?;
            *self = next;
            let header = Some(messages::Header { revision: self.revision });
            Ok(TransactionDone { header, succeeded, results }.encode_to_vec())
        }

        /// Nothing where a key is put under a lease that does not exist.
        fn run(&mut self, transaction: &Transaction) -> Option<(bool, Vec<messages::OperationDone>)> {
            let holds = transaction.compare.iter().all(|compare| {
                let (created, modified, _) = self.keys.get(&compare.key).cloned().unwrap_or_default();
                match (compare.target(), compare.revision) {
                    (Target::Created, Some(Revision::Created(revision))) => created == revision,
                    (Target::Modified, Some(Revision::Modified(revision))) => modified == revision,
                    other => panic!("{other:?}"),
                }
            });
            let mut results = Vec::new();
            for operation in if holds { &transaction.success } else { &transaction.failure } {
                match operation.act.as_ref().unwrap() {
                    Act::Get(key) => {
                        let found = self.keys.get(&key.key).cloned();
                        let found = found.map(|(_, modified, value)| messages::KeyValue { modified, value });
                        let range = Some(messages::Range { values: found.into_iter().collect() });
                        results.push(messages::OperationDone { range });
                    }
                    Act::Put(put) => {
                        self.leases.get(&put.lease)?;
                        let created = self.keys.get(&put.key).map_or(self.revision, |(created, ..)| *created);
                        self.keys.insert(put.key.clone(), (created, self.revision, put.value.clone()));
                    }
                    Act::Delete(key) => drop(self.keys.remove(&key.key)),
                    Act::Transaction(inner) => drop(self.run(inner)?),
                }
            }
            Some((holds, results))
        }

        /// What a gateway hears when it claims a delivery, and in how many calls.
        fn claim(&mut self, number: u8, now: i64) -> (Claimed, usize) {
            let (mut claiming, mut call) = Claiming::start(&etcd(), claim(number).delivery, Millis(now));
            for calls in 1..10 {
                match claiming.answered(&etcd(), answer(&self.call(&call)), Millis(now)) {
                    Progress::Call(next) => call = next,
                    Progress::Claimed(claimed) => return (claimed, calls),
                }
            }
            panic!("{number} is asked about for ever")
        }

        fn first(&mut self, number: u8, now: i64) -> Claim {
            let (Claimed::First(own), _) = self.claim(number, now) else {
                panic!("{number} is not the first")
            };
            own
        }

        /// Has what waits settled, and says in how many calls.
        fn settle(&mut self, settlements: &mut Settlements, now: i64) -> usize {
            let mut calls = 0;
            while let Some(call) = settlements.next(&etcd(), Millis(now)) {
                assert!(!settlements.is_idle() && calls < 10, "it is never done");
                assert_eq!(settlements.answered(&etcd(), answer(&self.call(&call)), Millis(now)), None);
                calls += 1;
            }
            assert!(settlements.is_idle());
            calls
        }

        fn says(&self, number: u8) -> Option<&str> {
            let (.., value) = self.keys.get(&etcd().key(&claim(number).delivery))?;
            Some(std::str::from_utf8(value).unwrap())
        }
    }

    fn answer(result: &Result<Vec<u8>, u32>) -> Answer<'_> {
        match result {
            Ok(message) => Answer::Message(message),
            Err(status) => Answer::Status(*status),
        }
    }

    #[test]
    fn what_several_gateways_receive_passes_once() {
        let (mut store, mut settlements) = (Store::default(), Settlements::default());
        // The first of a minute grants the lease, with one put in vain and one that succeeds.
        let (claimed, calls) = store.claim(1, 0);
        let Claimed::First(one) = claimed else { panic!("{claimed:?}") };
        assert_eq!((one.delivery, one.mark, calls), (claim(1).delivery, 1, 3));
        assert_eq!(store.says(1), Some("pending 60000"));
        assert_eq!(store.claim(1, 59_999), (Claimed::Pending, 1));
        let (claimed, calls) = store.claim(2, 59_999);
        let Claimed::First(two) = claimed else { panic!("{claimed:?}") };
        assert_eq!(calls, 1, "under the same lease");

        // Both together, under a lease that lasts as long as a delivery is remembered.
        settlements.push(one, Settlement::Done, Millis(10));
        settlements.push(two, Settlement::Forgotten, Millis(10));
        assert_eq!(store.settle(&mut settlements, 20), 3);
        assert_eq!((store.says(1), store.says(2)), (Some("done 86400010"), None));
        assert_eq!(store.leases.values().copied().collect::<BTreeSet<_>>(), BTreeSet::from([180, 86_520]));
        assert_eq!(store.claim(1, 86_400_009), (Claimed::Duplicate, 1));
        store.first(2, 30);
        store.first(1, 86_400_010);
        assert_eq!(store.says(1), Some("pending 86460010"), "put in the place of what has run out");
    }

    #[test]
    fn who_is_late_settles_nothing_of_another_s_and_counts_where_nobody_else_came() {
        for (then, expected) in
            [("nobody", "done 86470000"), ("deleted", "done 86470000"), ("another", "pending 130000")]
        {
            for settlement in [Settlement::Done, Settlement::Forgotten] {
                let (mut store, mut settlements) = (Store::default(), Settlements::default());
                let late = store.first(1, 0);
                match then {
                    "deleted" => store.keys.clear(),
                    "another" => drop(store.first(1, 70_000)),
                    _ => {}
                }
                settlements.push(late, settlement, Millis(70_000));
                store.settle(&mut settlements, 70_000);
                let is_kept = settlement == Settlement::Done || then == "another";
                assert_eq!(store.says(1), is_kept.then_some(expected), "{then}: {settlement:?}");
            }
        }
    }

    #[test]
    fn a_call_is_one_of_two_and_an_answer_has_a_revision() {
        let names = [Method::Transaction, Method::GrantLease].map(|method| (method.service(), method.name()));
        assert_eq!(names, [("etcdserverpb.KV", "Txn"), ("etcdserverpb.Lease", "LeaseGrant")]);
        let of_revision = |revision| {
            let header = Some(messages::Header { revision });
            done(&TransactionDone { header, ..TransactionDone::default() }.encode_to_vec())
        };
        assert!(of_revision(1).is_some());
        assert!(of_revision(0).is_none() && done(b"").is_none() && done(b"\xff").is_none());
    }
}
