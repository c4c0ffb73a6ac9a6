//! A delivery that is being claimed, while its request waits.
//!
//! Responsible for the calls that it takes, within the time that a request may wait, and for what their answers say: a doubt
//! is no claim.

use super::messages::{Act, Key, KeyValue, Put};
use super::{
    Answer, Call, Entry, Etcd, Lease, NOT_FOUND, UNKNOWN, call, done, is_absent, is_of, transaction,
};
use crate::memory::{Claim, Claimed, Delivery, after};
use crate::request::Millis;

/// How often etcd is asked about one delivery, of which the usual case takes one and the first of a lease three.
const MOST_CALLS: u32 = 6;
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

#[cfg(test)]
mod tests {
    use super::super::tests::{claim, etcd};
    use super::super::{FAILED_PRECONDITION, Method};
    use super::*;

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
            assert!(calls <= MOST_CALLS, "it asks for ever");
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
}
