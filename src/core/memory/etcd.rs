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
//! ```text
//!  Claiming:    put if absent ──► succeeded: First
//!                    │  ├──────► the key's value: Pending │ Duplicate, or it has run out: put in its place
//!                    │  └──────► no such lease: grant it, and put again
//!                    └─────────► anything else, or no time left: Unavailable
//!  Settlements: many claims in one transaction, each if it is still one's own; again until it has been done
//! ```

mod messages;

use super::{Claim, Claimed, Delivery, Settlement, after};
use crate::request::Millis;
use messages::{
    Act, Compare, Key, KeyValue, LeaseGrant, Operation, Put, Revision, Target, Transaction, TransactionDone,
};
use prost::Message;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;

/// gRPC statuses (google.golang.org/grpc/codes), and what etcd means by them (`api/v3rpc/rpctypes/error.go`).
const INVALID_ARGUMENT: u32 = 3;
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
/// How often etcd is asked about one delivery, of which the usual case takes one and the first of a lease three.
const MOST_CALLS: u32 = 6;
/// How many claims are settled at once. etcd takes transactions of 128 operations (`--max-txn-ops`).
const BATCH: usize = 32;
/// How many claims wait to be settled, at some 120 bytes each.
const MOST_WAITING: usize = 8192;
/// How long a settlement may take, in milliseconds, and after how long a failed one is tried again.
const SETTLEMENT_TIMEOUT: u32 = 2000;
const RETRY: i64 = 1000;
/// After so long nothing will come of a call any more: its host has ended.
const LOST: i64 = 10_000;

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

/// What to do next about a delivery that is being claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// This call is to be made, and its answer told.
    Call(Call),
    /// The memory has said what there is to say.
    Claimed(Claimed),
}

/// A delivery that is being claimed.
#[derive(Debug)]
pub struct Claiming {
    delivery: Delivery,
    /// When the request has waited long enough.
    deadline: i64,
    calls: u32,
    awaited: Awaited,
    /// What stands there and has run out: its revision.
    replaced: Option<i64>,
    /// That of the last put.
    lease: Lease,
    has_asked_for_lease: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Put,
    Lease,
}

impl Claiming {
    /// Begins: the call is to be made, and its answer told.
    #[must_use]
    pub fn start(etcd: &Etcd, delivery: Delivery, now: Millis) -> (Self, Call) {
        let mut claiming = Self {
            delivery,
            deadline: now.0.saturating_add(i64::from(etcd.timeout)),
            calls: 1,
            awaited: Awaited::Put,
            replaced: None,
            lease: etcd.lease(delivery.terms.pending, now),
            has_asked_for_lease: false,
        };
        let call = claiming.put(etcd, now, etcd.timeout);
        (claiming, call)
    }

    /// What came of the last call.
    pub fn answered(&mut self, etcd: &Etcd, answer: Answer<'_>, now: Millis) -> Progress {
        match (self.awaited, answer) {
            (Awaited::Put, Answer::Message(message)) => self.read(etcd, message, now),
            (Awaited::Put, Answer::Status(NOT_FOUND | UNKNOWN)) if !self.has_asked_for_lease => {
                self.has_asked_for_lease = true;
                self.next(now, |claiming, timeout| {
                    claiming.awaited = Awaited::Lease;
                    claiming.lease.grant(timeout)
                })
            }
            (Awaited::Lease, answer) if Lease::may_exist(answer) => {
                self.next(now, |claiming, timeout| claiming.put(etcd, now, timeout))
            }
            _ => Progress::Claimed(Claimed::Unavailable),
        }
    }

    fn read(&mut self, etcd: &Etcd, message: &[u8], now: Millis) -> Progress {
        let Some((done, revision)) = done(message) else { return Progress::Claimed(Claimed::Unavailable) };
        if done.succeeded {
            let mark = u64::try_from(revision).unwrap_or_default();
            return Progress::Claimed(Claimed::First(Claim { delivery: self.delivery, mark }));
        }
        let found = done.results.first().and_then(|result| result.range.as_ref()?.values.first());
        let Some(KeyValue { modified, value }) = found else {
            // It was deleted meanwhile, after another's claim had run out.
            self.replaced = None;
            return self.next(now, |claiming, timeout| claiming.put(etcd, now, timeout));
        };
        match Entry::read(value) {
            // What others write there is not ours to judge, and nothing that could be relied on.
            None => Progress::Claimed(Claimed::Unavailable),
            Some(entry) if entry.until <= after(now, 0) => {
                self.replaced = Some(*modified);
                self.next(now, |claiming, timeout| claiming.put(etcd, now, timeout))
            }
            Some(entry) if entry.is_done => Progress::Claimed(Claimed::Duplicate),
            Some(_) => Progress::Claimed(Claimed::Pending),
        }
    }

    fn next(&mut self, now: Millis, call: impl FnOnce(&mut Self, u32) -> Call) -> Progress {
        let left = u32::try_from(self.deadline.saturating_sub(now.0)).ok().filter(|left| *left > 0);
        self.calls = self.calls.saturating_add(1);
        match left {
            Some(left) if self.calls <= MOST_CALLS => Progress::Call(call(self, left)),
            _ => Progress::Claimed(Claimed::Unavailable),
        }
    }

    /// Puts the key in the place of nothing, or of what has run out.
    fn put(&mut self, etcd: &Etcd, now: Millis, timeout: u32) -> Call {
        self.awaited = Awaited::Put;
        self.lease = etcd.lease(self.delivery.terms.pending, now);
        let key = etcd.key(&self.delivery);
        let entry = Entry { is_done: false, until: after(now, self.delivery.terms.pending.max(1)) };
        let compare =
            self.replaced.map_or_else(|| is_absent(key.clone()), |revision| is_of(key.clone(), revision));
        let put = Put { key: key.clone(), value: entry.text(), lease: self.lease.id };
        call(&transaction(compare, Act::Put(put), Some(Act::Get(Key { key }))), timeout)
    }
}

/// A claim of which something became, at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Settled {
    claim: Claim,
    settlement: Settlement,
    at: Millis,
}

impl Settled {
    /// Settles the claim if it is still one's own. One that ran out and was deleted counts all the same, as long as nobody
    /// else has made another.
    fn act(&self, etcd: &Etcd, now: Millis) -> Act {
        let delivery = &self.claim.delivery;
        let key = etcd.key(delivery);
        let is_own = is_of(key.clone(), i64::try_from(self.claim.mark).unwrap_or(i64::MAX));
        Act::Transaction(match self.settlement {
            Settlement::Forgotten => transaction(is_own, Act::Delete(Key { key }), None),
            Settlement::Done => {
                let entry = Entry { is_done: true, until: after(self.at, delivery.terms.window.max(1)) };
                let lease = self.lease(etcd, now).id;
                let put = Act::Put(Put { key: key.clone(), value: entry.text(), lease });
                let late = transaction(is_absent(key), put.clone(), None);
                transaction(is_own, put, Some(Act::Transaction(late)))
            }
        })
    }

    fn lease(&self, etcd: &Etcd, now: Millis) -> Lease {
        etcd.lease(self.claim.delivery.terms.window, now)
    }
}

/// What is under way for settlements.
#[derive(Debug)]
enum UnderWay {
    /// The settlements that a transaction holds.
    Transaction(Vec<Settled>),
    /// A lease that one of them needed and that did not exist.
    Lease,
}

/// The claims that are to be settled, in order. Nothing that has been accepted is lost while etcd cannot be asked: it is
/// tried again until it has been settled, or there are more than there is room for.
#[derive(Debug, Default)]
pub struct Settlements {
    waiting: VecDeque<Settled>,
    under_way: Option<(UnderWay, Millis)>,
    /// Leases that do not exist.
    missing: Vec<Lease>,
    /// Whether they were asked for since the last transaction that went through, or failed for good.
    has_asked_for_leases: bool,
    /// After a failure: when it is tried again.
    not_before: Option<Millis>,
    /// How many are settled at once, where etcd takes fewer than usual; 0 where it does not say.
    most: usize,
    is_failing: bool,
}

/// What an operator is to know of the settlements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// They began to fail, with this gRPC status, and are tried again.
    Failing(u32),
    /// They succeed again.
    Restored,
}

impl Health {
    /// The line for the log.
    #[must_use]
    pub fn line(self, etcd: &Etcd) -> String {
        let cluster = &etcd.cluster;
        match self {
            Self::Failing(status) => format!(
                "the etcd of cluster {cluster} cannot be told what became of deliveries (gRPC status {status}); they wait"
            ),
            Self::Restored => {
                format!("the etcd of cluster {cluster} can be told again what became of deliveries")
            }
        }
    }
}

impl Settlements {
    /// Has a claim settled, and says how many were given up for it because there was no room.
    pub fn push(&mut self, claim: Claim, settlement: Settlement, at: Millis) -> u64 {
        self.waiting.push_back(Settled { claim, settlement, at });
        let most = MOST_WAITING.saturating_sub(self.under_way());
        if self.waiting.len() <= most {
            return 0;
        }
        // What is forgotten by itself, a little later, is given up first.
        let is_forgotten = |one: &Settled| one.settlement == Settlement::Forgotten;
        let index = self.waiting.iter().position(is_forgotten).unwrap_or_default();
        u64::from(self.waiting.remove(index).is_some())
    }

    /// Whether there is nothing to do and nothing to wait for.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_none()
    }

    /// Whether they have begun to fail, and not succeeded since.
    #[must_use]
    pub const fn is_failing(&self) -> bool {
        self.is_failing
    }

    fn under_way(&self) -> usize {
        match &self.under_way {
            Some((UnderWay::Transaction(batch), _)) => batch.len(),
            Some((UnderWay::Lease, _)) | None => 0,
        }
    }

    /// The call that is to be made now, if one is: one at a time.
    pub fn next(&mut self, etcd: &Etcd, now: Millis) -> Option<Call> {
        match self.under_way.take() {
            Some((under_way, since)) if now.0.saturating_sub(since.0) < LOST => {
                self.under_way = Some((under_way, since));
                return None;
            }
            Some((UnderWay::Transaction(batch), _)) => self.again(batch),
            Some((UnderWay::Lease, _)) | None => {}
        }
        if self.not_before.is_some_and(|time| now < time) || self.waiting.is_empty() {
            return None;
        }
        if let Some(lease) = self.missing.pop() {
            self.under_way = Some((UnderWay::Lease, now));
            return Some(lease.grant(SETTLEMENT_TIMEOUT));
        }
        let batch = self.batch();
        let success = batch.iter().map(|one| operation(one.act(etcd, now))).collect();
        let transaction = Transaction { success, ..Transaction::default() };
        self.under_way = Some((UnderWay::Transaction(batch), now));
        Some(call(&transaction, SETTLEMENT_TIMEOUT))
    }

    /// The first that wait, no delivery among them twice: etcd takes a key once in a transaction.
    fn batch(&mut self) -> Vec<Settled> {
        let most = if self.most == 0 { BATCH } else { self.most };
        let mut batch: Vec<Settled> = Vec::new();
        while batch.len() < most
            && let Some(one) = self.waiting.front()
            && !batch.iter().any(|other| other.claim.delivery.key == one.claim.delivery.key)
        {
            batch.extend(self.waiting.pop_front());
        }
        batch
    }

    fn again(&mut self, batch: Vec<Settled>) {
        batch.into_iter().rev().for_each(|one| self.waiting.push_front(one));
    }

    /// What came of the call that [`Settlements::next`] asked for.
    pub fn answered(&mut self, etcd: &Etcd, answer: Answer<'_>, now: Millis) -> Option<Health> {
        let (under_way, _) = self.under_way.take()?;
        let status = match (under_way, answer) {
            (UnderWay::Lease, Answer::Status(status)) if !Lease::may_exist(answer) => status,
            (UnderWay::Lease, _) => return None,
            (UnderWay::Transaction(_), Answer::Message(message)) if done(message).is_some() => {
                (self.not_before, self.has_asked_for_leases) = (None, false);
                return std::mem::take(&mut self.is_failing).then_some(Health::Restored);
            }
            (UnderWay::Transaction(batch), answer) => {
                if let Answer::Status(NOT_FOUND | UNKNOWN) = answer
                    && !std::mem::replace(&mut self.has_asked_for_leases, true)
                {
                    self.missing = batch.iter().map(|one| one.lease(etcd, now)).collect();
                    self.missing.sort_unstable();
                    self.missing.dedup();
                    self.again(batch);
                    return None;
                }
                if let Answer::Status(INVALID_ARGUMENT) = answer {
                    self.most = (batch.len() / 2).max(1);
                }
                self.again(batch);
                if let Answer::Status(status) = answer { status } else { UNAVAILABLE }
            }
        };
        (self.not_before, self.has_asked_for_leases) = (Some(Millis(now.0.saturating_add(RETRY))), false);
        (!std::mem::replace(&mut self.is_failing, true)).then_some(Health::Failing(status))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DeliveryKey, Terms, Then};
    use super::*;

    const REVISION: &[u8] = b"\x0a\x02\x18\x05";

    fn etcd() -> Etcd {
        let (cluster, prefix) = ("etcd".to_owned(), "webhook-guard/".to_owned());
        Etcd { cluster, prefix, timeout: 250, when_unavailable: WhenUnavailable::Refuse }
    }

    fn claim(number: u8) -> Claim {
        let terms = Terms { window: 86_400_000, pending: 60_000, then: Then::Refuse };
        Claim { delivery: Delivery { key: DeliveryKey::new(&[number; 32]), terms }, mark: 7 }
    }

    fn transaction(call: &Call) -> Transaction {
        assert_eq!(call.method, Method::Transaction);
        Transaction::decode(call.message.as_slice()).unwrap()
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

    #[test]
    fn a_claim_gives_up_when_its_time_is_over_and_never_asks_for_ever() {
        let delivery = claim(1).delivery;
        let (mut claiming, call) = Claiming::start(&etcd(), delivery, Millis(1000));
        assert_eq!(call.timeout, 250);
        let Progress::Call(call) = claiming.answered(&etcd(), Answer::Status(NOT_FOUND), Millis(1200)) else {
            panic!("no lease is granted")
        };
        assert_eq!((call.method, call.timeout), (Method::GrantLease, 50));
        let late = claiming.answered(&etcd(), Answer::Status(FAILED_PRECONDITION), Millis(1250));
        assert_eq!(late, Progress::Claimed(Claimed::Unavailable));

        // Something that has run out stands there again and again.
        let over = b"\x0a\x02\x18\x05\x1a\x0e\x0a\x0c\x12\x0a\x18\x04\x2a\x06done 1";
        let (mut claiming, _) = Claiming::start(&etcd(), delivery, Millis(1000));
        let mut calls = 1;
        while let Progress::Call(call) = claiming.answered(&etcd(), Answer::Message(over), Millis(1000)) {
            assert_eq!(call.method, Method::Transaction);
            calls += 1;
        }
        assert_eq!(calls, MOST_CALLS);

        // Once is enough to ask for a lease, whatever etcd says.
        for status in [NOT_FOUND, UNKNOWN] {
            let (mut claiming, _) = Claiming::start(&etcd(), delivery, Millis(1000));
            let mut answer = || claiming.answered(&etcd(), Answer::Status(status), Millis(1000));
            assert!(matches!(answer(), Progress::Call(Call { method: Method::GrantLease, .. })), "{status}");
            if status == UNKNOWN {
                assert!(matches!(answer(), Progress::Call(Call { method: Method::Transaction, .. })));
            }
            assert_eq!(answer(), Progress::Claimed(Claimed::Unavailable), "{status}");
        }
    }

    #[test]
    fn settlements_go_together_and_no_key_twice() {
        let mut settlements = Settlements::default();
        for number in [1, 2, 1, 3] {
            assert_eq!(settlements.push(claim(number), Settlement::Done, Millis(0)), 0);
        }
        let first = settlements.next(&etcd(), Millis(1)).unwrap();
        assert_eq!(transaction(&first).success.len(), 2);
        assert_eq!(settlements.next(&etcd(), Millis(2)), None, "one call at a time");
        assert_eq!(settlements.answered(&etcd(), Answer::Message(REVISION), Millis(3)), None);
        let second = settlements.next(&etcd(), Millis(3)).unwrap();
        assert_eq!(transaction(&second).success.len(), 2);
        assert_eq!(settlements.answered(&etcd(), Answer::Message(REVISION), Millis(4)), None);
        assert!(settlements.is_idle());
        for number in 0..100 {
            settlements.push(claim(number), Settlement::Forgotten, Millis(5));
        }
        assert_eq!(transaction(&settlements.next(&etcd(), Millis(5)).unwrap()).success.len(), BATCH);
    }

    #[test]
    fn what_fails_is_tried_again_a_second_later_and_said_once() {
        let mut settlements = Settlements::default();
        settlements.push(claim(1), Settlement::Done, Millis(0));
        let mut health = Vec::new();
        for now in [0, 1000, 2000] {
            settlements.next(&etcd(), Millis(now)).unwrap();
            health.extend(settlements.answered(&etcd(), Answer::Status(14), Millis(now)));
            assert_eq!(settlements.next(&etcd(), Millis(now + 999)), None);
        }
        settlements.next(&etcd(), Millis(3000)).unwrap();
        health.extend(settlements.answered(&etcd(), Answer::Message(REVISION), Millis(3000)));
        assert_eq!(health, [Health::Failing(14), Health::Restored]);
        assert!(settlements.is_idle());
    }

    #[test]
    fn a_lease_that_is_missing_is_granted_and_one_that_stays_so_is_waited_for() {
        let mut settlements = Settlements::default();
        settlements.push(claim(1), Settlement::Done, Millis(0));
        settlements.next(&etcd(), Millis(0)).unwrap();
        assert_eq!(settlements.answered(&etcd(), Answer::Status(NOT_FOUND), Millis(0)), None);
        assert_eq!(settlements.next(&etcd(), Millis(0)).unwrap().method, Method::GrantLease);
        assert_eq!(settlements.answered(&etcd(), Answer::Status(FAILED_PRECONDITION), Millis(0)), None);
        transaction(&settlements.next(&etcd(), Millis(0)).unwrap());
        let health = settlements.answered(&etcd(), Answer::Status(NOT_FOUND), Millis(0));
        assert_eq!(health, Some(Health::Failing(NOT_FOUND)));
        assert_eq!(settlements.next(&etcd(), Millis(999)), None);
    }

    #[test]
    fn an_etcd_that_takes_fewer_at_once_is_asked_for_fewer() {
        let mut settlements = Settlements::default();
        for number in 0..40 {
            settlements.push(claim(number), Settlement::Done, Millis(0));
        }
        for (now, expected) in [(0, 32), (1000, 16), (2000, 8)] {
            let call = settlements.next(&etcd(), Millis(now)).unwrap();
            assert_eq!(transaction(&call).success.len(), expected);
            settlements.answered(&etcd(), Answer::Status(INVALID_ARGUMENT), Millis(now));
        }
    }

    #[test]
    fn there_is_only_so_much_room_and_a_call_of_which_nobody_hears_is_made_again() {
        let mut settlements = Settlements::default();
        settlements.push(claim(1), Settlement::Forgotten, Millis(0));
        settlements.next(&etcd(), Millis(0)).unwrap();
        assert_eq!(settlements.next(&etcd(), Millis(LOST - 1)), None);
        transaction(&settlements.next(&etcd(), Millis(LOST)).unwrap());
        for _ in 0..MOST_WAITING - 1 {
            assert_eq!(settlements.push(claim(2), Settlement::Done, Millis(0)), 0);
        }
        settlements.answered(&etcd(), Answer::Status(14), Millis(LOST));
        assert_eq!(settlements.push(claim(3), Settlement::Done, Millis(0)), 1);
        assert!(settlements.waiting.iter().all(|one| one.settlement == Settlement::Done));
        assert_eq!(settlements.waiting.len(), MOST_WAITING);
    }
}
