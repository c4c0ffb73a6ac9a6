//! When a feed is fetched, and by whom: one worker for all.
//!
//! Responsible for the note that all workers share, as a value. A shell keeps it where a change is one step (by a lock, or by
//! compare-and-swap). A worker that has fetched goes on doing so; the others take over when it is late, so that each
//! worker's memory is not filled in turn. Who fetches holds a claim for as long as an answer may take: what comes later is not
//! taken.

use super::TIMEOUT;
use crate::request::Millis;

/// How long a claim holds, in milliseconds: an answer may take that long, and what is made of it a moment more.
const CLAIM: i64 = 2 * TIMEOUT;
/// How late a worker may be before another takes over.
const PATIENCE: i64 = 5_000;
/// After a failure the next try comes sooner: so long after the first, in milliseconds, and twice as long after each further one.
const FIRST_RETRY: i64 = 5_000;
const MOST_DOUBLINGS: u32 = 10;

/// What all workers know of the fetching of a feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The claims so far: the number of a claim tells it from all others.
    claims: u64,
    /// Who fetched last, or does so.
    worker: u64,
    /// Until when the last claim holds; 0 once it is over.
    until: i64,
    /// When the last claim was made.
    claimed: i64,
    /// How many tries have failed since the last one that did not.
    failures: u32,
    /// How many lists were taken: the number of the list that is shared.
    lists: u64,
}

/// The right to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim(u64);

const LENGTH: usize = 44;

impl Schedule {
    /// The note as it is shared; a new one where the bytes are none.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let mut rest = bytes;
        let mut next = || {
            let (number, behind) = rest.split_first_chunk::<8>()?;
            rest = behind;
            Some(*number)
        };
        let mut read = || {
            Some(Self {
                claims: u64::from_le_bytes(next()?),
                worker: u64::from_le_bytes(next()?),
                until: i64::from_le_bytes(next()?),
                claimed: i64::from_le_bytes(next()?),
                lists: u64::from_le_bytes(next()?),
                failures: 0,
            })
        };
        let read = read().filter(|_| bytes.len() == LENGTH);
        let failures = bytes.last_chunk::<4>().map_or(0, |failures| u32::from_le_bytes(*failures));
        read.map_or_else(Self::default, |read| Self { failures, ..read })
    }

    /// The form in which it is shared.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let numbers = [
            self.claims.to_le_bytes(),
            self.worker.to_le_bytes(),
            self.until.to_le_bytes(),
            self.claimed.to_le_bytes(),
            self.lists.to_le_bytes(),
        ];
        [numbers.as_flattened(), &self.failures.to_le_bytes()].concat()
    }

    /// The number of the list that is shared; 0 where none is.
    #[must_use]
    pub const fn list(&self) -> u64 {
        self.lists
    }

    /// Whether that worker fetched last, or does so.
    #[must_use]
    pub const fn is_of(&self, worker: u64) -> bool {
        self.worker == worker
    }

    /// Claims the right to fetch, if it is time and nobody else has it. `refresh` is how often, in milliseconds.
    #[must_use]
    pub fn claim(self, worker: u64, now: Millis, refresh: i64) -> Option<(Self, Claim)> {
        // A clock that was put back must not keep a feed from being fetched.
        let left = self.until.saturating_sub(now.0);
        if (1..=CLAIM).contains(&left) {
            return None;
        }
        let retry = FIRST_RETRY.saturating_mul(1 << self.failures.saturating_sub(1).min(MOST_DOUBLINGS));
        let wait = if self.failures == 0 { refresh } else { retry.min(refresh) };
        let patience = if self.worker == worker { 0 } else { PATIENCE };
        let since = now.0.saturating_sub(self.claimed);
        // Whoever made a claim that has run out is gone, or was never answered.
        let is_abandoned = self.until != 0;
        let is_due = self.claims == 0 || is_abandoned || since < 0 || since >= wait.saturating_add(patience);
        is_due.then(|| {
            let claims = self.claims.wrapping_add(1).max(1);
            let until = now.0.saturating_add(CLAIM);
            (Self { claims, worker, until, claimed: now.0, ..self }, Claim(claims))
        })
    }

    /// Whether the claim still holds: nobody has made another, and it has not run out.
    #[must_use]
    pub const fn holds(&self, claim: Claim, now: Millis) -> bool {
        self.claims == claim.0 && self.until > now.0
    }

    /// A list was taken; nothing where the claim does not hold any more.
    #[must_use]
    pub fn took(self, claim: Claim, now: Millis) -> Option<Self> {
        let lists = self.lists.wrapping_add(1).max(1);
        self.holds(claim, now).then_some(Self { until: 0, failures: 0, lists, ..self })
    }

    /// The try has failed; nothing where the claim does not hold any more.
    #[must_use]
    pub fn failed(self, claim: Claim, now: Millis) -> Option<Self> {
        let failures = self.failures.saturating_add(1);
        self.holds(claim, now).then_some(Self { until: 0, failures, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn claim(schedule: Schedule, worker: u64, now: i64) -> Option<(Schedule, Claim)> {
        schedule.claim(worker, Millis(now), HOUR)
    }

    #[test]
    fn one_worker_fetches_and_another_takes_over_when_it_is_gone() {
        let (claimed, own) = claim(Schedule::default(), 1, 1000).unwrap();
        assert_eq!(claim(claimed, 2, 1001), None, "the claim holds");
        assert_eq!(claim(claimed, 1, 1000 + CLAIM - 1), None, "the claim holds");
        let (over, others) = claim(claimed, 2, 1000 + CLAIM).unwrap();
        assert_eq!(claimed.took(own, Millis(1000 + CLAIM)), None, "the claim has run out");
        assert_eq!(over.took(own, Millis(1001)), None, "it is another's now");
        let taken = over.took(others, Millis(1000 + CLAIM + 50)).unwrap();
        assert_eq!((taken.list(), claimed.list()), (1, 0));
        let next = 1000 + CLAIM + HOUR;
        assert_eq!(claim(taken, 2, next - 1), None, "it is too soon");
        assert_eq!(claim(taken, 1, next), None, "the last one goes on");
        assert!(claim(taken, 2, next).is_some());
        assert!(claim(taken, 1, next + PATIENCE).is_some(), "the last one is late");
    }

    #[test]
    fn failures_are_tried_again_sooner_and_less_and_less_often() {
        let (mut schedule, mut now) = (Schedule::default(), 0);
        let mut waits = Vec::new();
        for _ in 0..14 {
            let (claimed, own) = claim(schedule, 1, now).unwrap();
            schedule = claimed.failed(own, Millis(now)).unwrap();
            let wait = (1..=HOUR).find(|wait| claim(schedule, 1, now + wait).is_some()).unwrap();
            waits.push(wait / 1000);
            now += wait;
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600, 3600]);
        let (claimed, own) = schedule.claim(1, Millis(now), 2000).unwrap();
        let failed = claimed.failed(own, Millis(now)).unwrap();
        assert!(failed.claim(1, Millis(now + 2000), 2000).is_some(), "no later than a refresh");
        let taken = claimed.took(own, Millis(now)).unwrap();
        assert_eq!(taken.failures, 0);
    }

    #[test]
    fn a_clock_that_is_put_back_keeps_nothing_from_being_fetched() {
        let (claimed, own) = claim(Schedule::default(), 1, 10 * HOUR).unwrap();
        assert!(claim(claimed, 1, HOUR).is_some());
        let taken = claimed.took(own, Millis(10 * HOUR)).unwrap();
        assert!(claim(taken, 2, HOUR).is_some());
    }

    #[test]
    fn the_note_is_the_same_when_it_is_read_again() {
        let (claimed, own) = claim(Schedule::default(), 7, 1000).unwrap();
        for schedule in [Schedule::default(), claimed, claimed.failed(own, Millis(1001)).unwrap()] {
            assert_eq!(Schedule::read(&schedule.bytes()), schedule);
            assert_eq!(schedule.bytes().len(), LENGTH);
        }
        assert_eq!(Schedule::read(b"something else"), Schedule::default());
        assert_eq!(Schedule::read(&[]), Schedule::default());
    }
}
