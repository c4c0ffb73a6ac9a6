//! What became of deliveries, which etcd is told after their responses.
//!
//! Responsible for the claims that wait for it: many are settled in one transaction, one transaction is under way at a time,
//! and what fails is tried again until it has been settled or there is no room.

use super::messages::{Act, Key, Put, Transaction};
use super::{
    Answer, Call, Entry, Etcd, Lease, NOT_FOUND, UNAVAILABLE, UNKNOWN, call, done, is_absent, is_of,
    operation, transaction,
};
use crate::memory::{Claim, Settlement, after};
use crate::request::Millis;
use std::collections::VecDeque;

/// A request that etcd finds wrong, such as one of too many operations.
const INVALID_ARGUMENT: u32 = 3;
/// How many claims are settled at once. etcd takes transactions of 128 operations (`--max-txn-ops`).
const BATCH: usize = 32;
/// How many claims wait to be settled, at some 120 bytes each.
const MOST_WAITING: usize = 8192;
/// How long a settlement may take, in milliseconds, and after how long a failed one is tried again.
const SETTLEMENT_TIMEOUT: u32 = 2000;
const RETRY: i64 = 1000;
/// After so long nothing will come of a call any more: its host has ended.
const LOST: i64 = 10_000;

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
    use super::super::tests::{claim, etcd};
    use super::super::{FAILED_PRECONDITION, Method};
    use super::*;
    use prost::Message as _;

    const REVISION: &[u8] = b"\x0a\x02\x18\x05";

    fn transaction(call: &Call) -> Transaction {
        assert_eq!(call.method, Method::Transaction);
        Transaction::decode(call.message.as_slice()).unwrap()
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

    #[test]
    fn what_is_under_way_takes_room_as_well() {
        let mut settlements = Settlements::default();
        settlements.push(claim(1), Settlement::Done, Millis(0));
        settlements.push(claim(2), Settlement::Done, Millis(0));
        settlements.next(&etcd(), Millis(0)).unwrap();
        for _ in 0..MOST_WAITING - 2 {
            assert_eq!(settlements.push(claim(3), Settlement::Done, Millis(0)), 0);
        }
        assert_eq!(settlements.push(claim(3), Settlement::Done, Millis(0)), 1);
    }

    #[test]
    fn what_is_no_answer_of_an_etcd_is_a_failure_and_said_so() {
        let mut settlements = Settlements::default();
        settlements.push(claim(1), Settlement::Done, Millis(0));
        settlements.next(&etcd(), Millis(0)).unwrap();
        let health = settlements.answered(&etcd(), Answer::Message(b""), Millis(0));
        assert_eq!(health, Some(Health::Failing(UNAVAILABLE)));
        assert!(settlements.is_failing() && !settlements.is_idle());
        settlements.next(&etcd(), Millis(1000)).unwrap();
        assert_eq!(
            settlements.answered(&etcd(), Answer::Message(REVISION), Millis(1000)),
            Some(Health::Restored)
        );
        assert!(!settlements.is_failing() && settlements.is_idle());
        let lines = [Health::Failing(14), Health::Restored].map(|health| health.line(&etcd()));
        assert!(
            lines[0].contains("cluster etcd cannot be told") && lines[0].contains("status 14"),
            "{}",
            lines[0]
        );
        assert!(lines[1].contains("cluster etcd can be told again"), "{}", lines[1]);

        // A lease that is not granted: its settlement waits.
        settlements.push(claim(1), Settlement::Done, Millis(2000));
        settlements.next(&etcd(), Millis(2000)).unwrap();
        assert_eq!(settlements.answered(&etcd(), Answer::Status(NOT_FOUND), Millis(2000)), None);
        assert_eq!(settlements.next(&etcd(), Millis(2000)).unwrap().method, Method::GrantLease);
        let health = settlements.answered(&etcd(), Answer::Status(UNAVAILABLE), Millis(2000));
        assert_eq!(health, Some(Health::Failing(UNAVAILABLE)));
    }
}
