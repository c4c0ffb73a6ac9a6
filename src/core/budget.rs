//! What may be kept, all in all, for requests whose body is still awaited.
//!
//! Responsible for one number: a stranger can hold as many requests open as the host admits, so what is kept of each is multiplied by a number that
//! he chooses. V8 ends the whole Wasm VM when its memory reaches 1 GiB. Each awaited body therefore takes a [`Share`] of
//! one [`Budget`] and gives it back when the request is over, however it ends; where nothing is left the request is
//! refused as `overloaded`, and those that need no body go on. What is recorded of requests for the operator's eyes is
//! counted apart, up to the same limit, so that no record takes the room of a request: where none is left the request goes
//! its way and only its record is shorter.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the host's binding, the allocator and the request's own id take beside what the core counts: the binding's
/// table of contexts and its boxed request. Measured in V8, see `tests/envoy/test_exhaustion.py`.
const BESIDE: usize = 640;

/// The default of `held_bytes`.
pub const DEFAULT_HELD_BYTES: u64 = 64 << 20;

/// The bytes that are held, counted over all configurations of a Wasm VM or process.
#[derive(Clone, Debug, Default)]
pub struct Held {
    requests: Arc<AtomicUsize>,
    records: Arc<AtomicUsize>,
}

/// How many bytes may be held.
#[derive(Clone, Debug)]
pub struct Budget {
    limit: usize,
    held: Held,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(DEFAULT_HELD_BYTES)
    }
}

impl Budget {
    /// A budget of so many bytes, with a count of its own.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), held: Held::default() }
    }

    /// Counts together with every other budget that counts there.
    pub fn count_in(&mut self, held: &Held) {
        self.held = held.clone();
    }

    /// The bytes that are held now.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.requests.load(Ordering::Relaxed)
    }

    /// A share that holds nothing yet.
    pub(crate) fn share(&self) -> Share {
        Share { limit: self.limit, held: self.held.requests.clone(), bytes: 0 }
    }

    /// A share that holds nothing yet, of what records may take.
    pub(crate) fn share_of_records(&self) -> Share {
        Share { limit: self.limit, held: self.held.records.clone(), bytes: 0 }
    }
}

/// What one request holds of a budget; given back when it is dropped.
pub(crate) struct Share {
    limit: usize,
    held: Arc<AtomicUsize>,
    bytes: usize,
}

impl Share {
    /// Makes the share as large as what is kept of the request now. False where the budget does not have it: the share
    /// is then what it was.
    #[must_use]
    pub(crate) fn resize(&mut self, kept: usize) -> bool {
        let bytes = kept.saturating_add(BESIDE);
        let add = |held: usize| {
            let held = held.saturating_sub(self.bytes).saturating_add(bytes);
            // A share may always shrink.
            (held <= self.limit || bytes <= self.bytes).then_some(held)
        };
        let is_admitted = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok();
        if is_admitted {
            self.bytes = bytes;
        }
        is_admitted
    }
}

impl Share {
    /// Makes the share larger by what is kept now as well; false as [`Share::resize`].
    #[must_use]
    pub(crate) fn grow(&mut self, more: usize) -> bool {
        self.resize(self.bytes.saturating_sub(BESIDE).saturating_add(more))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let subtract = |held: usize| Some(held.saturating_sub(self.bytes));
        // It cannot fail: the closure always gives a value.
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, subtract).unwrap_or_default();
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({})", self.bytes)
    }
}

/// What a vector takes on the heap, with what the allocator adds.
pub(crate) fn heap<T>(vector: &Vec<T>) -> usize {
    match vector.capacity() {
        0 => 0,
        capacity => capacity.saturating_mul(size_of::<T>()).saturating_add(16),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_given_back_and_none_goes_beyond_the_limit() {
        let budget = Budget::new(u64::try_from(3 * BESIDE + 100).unwrap());
        let (mut one, mut other) = (budget.share(), budget.share());
        assert!(one.resize(60) && other.resize(40));
        assert_eq!(budget.held_bytes(), 2 * BESIDE + 100);
        assert!(!other.resize(BESIDE + 41), "one byte too many");
        assert_eq!(budget.held_bytes(), 2 * BESIDE + 100, "a refused share is what it was");
        assert!(other.resize(BESIDE + 40));
        assert!(!budget.share().resize(0));
        assert!(other.resize(0), "a share may shrink");
        drop(one);
        drop(other);
        assert_eq!(budget.held_bytes(), 0);
    }

    #[test]
    fn budgets_of_one_place_are_counted_together() {
        let held = Held::default();
        let (mut one, mut other) = (Budget::new(2000), Budget::new(2000));
        one.count_in(&held);
        other.count_in(&held);
        let mut share = one.share();
        assert!(share.resize(1000 - BESIDE));
        assert!(!other.share().resize(1001 - BESIDE));
        assert!(other.share().resize(1000 - BESIDE));
    }

    #[test]
    fn records_take_no_room_of_requests() {
        let budget = Budget::new(2000);
        let mut record = budget.share_of_records();
        assert!(record.resize(2000 - BESIDE));
        assert!(!budget.share_of_records().resize(0), "there is room for more records");
        assert_eq!(budget.held_bytes(), 0);
        assert!(budget.share().resize(2000 - BESIDE), "a record takes the room of a request");
    }
}
