//! The memory of deliveries: one of the process, for all workers.
//!
//! Responsible for changing a shard in one step, under its lock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use webhook_guard_core::memory::{self, Claim, Claimed, Delivery, Layout, Settlement};
use webhook_guard_core::request::Millis;

/// All memories, by their layouts: a configuration that is loaded anew finds what was there.
static MEMORIES: Mutex<BTreeMap<Layout, Arc<Memory>>> = Mutex::new(BTreeMap::new());

/// The memory of the configurations with one layout.
pub(crate) struct Memory {
    layout: Layout,
    shards: Vec<Mutex<Vec<u8>>>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Memory({:?})", self.layout)
    }
}

impl Memory {
    /// The memory of that layout.
    pub(crate) fn of(layout: Layout) -> Arc<Self> {
        let make = || {
            let shards = std::iter::repeat_with(Mutex::default).take(layout.shards()).collect();
            Arc::new(Self { layout, shards })
        };
        locked(&MEMORIES).entry(layout).or_insert_with(make).clone()
    }

    /// Claims a delivery, and says how many were forgotten for it.
    pub(crate) fn claim(&self, delivery: Delivery, now: Millis) -> (Claimed, u64) {
        let Some(mut shard) = self.shard(&delivery) else { return (Claimed::Unavailable, 0) };
        let change = memory::claim(&shard, self.layout, delivery, now);
        if let Some(changed) = change.shard {
            *shard = changed;
        }
        (change.claimed, change.forgotten)
    }

    /// Settles a claim.
    pub(crate) fn settle(&self, claim: &Claim, settlement: Settlement, now: Millis) {
        let Some(mut shard) = self.shard(&claim.delivery) else { return };
        if let Some(changed) = memory::settle(&shard, claim, settlement, now) {
            *shard = changed;
        }
    }

    fn shard(&self, delivery: &Delivery) -> Option<MutexGuard<'_, Vec<u8>>> {
        self.shards.get(self.layout.shard(&delivery.key)).map(locked)
    }
}

/// A lock that a panic left behind is taken all the same: no change is half made.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
