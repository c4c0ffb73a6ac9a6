//! The memory of deliveries: Envoy's shared data, one for all workers.
//!
//! Responsible for changing a shard in one step, by compare-and-swap: two workers may change the same one. Shared data cannot
//! be deleted and has no limit of its own, so there are only so many shards, each of which has only so much room.

use super::hostcalls::{self, Fault, Swap};
use webhook_guard_core::memory::{self, Claim, Claimed, Delivery, Layout, Settlement};
use webhook_guard_core::request::Millis;

/// How often a change is tried. Each failure means that another worker's change went through.
const ATTEMPTS: usize = 64;

/// The memory of a configuration; configurations with the same layout share it.
#[derive(Debug)]
pub(super) struct Memory {
    layout: Layout,
    prefix: String,
}

impl Memory {
    /// The memory of that layout.
    ///
    /// # Errors
    /// The host's shared data does not compare before it swaps.
    pub(super) fn new(layout: Layout) -> Result<Self, Fault> {
        let prefix = format!("webhook_guard/deliveries/1/{}/{}/", layout.shards(), layout.capacity());
        let probe = format!("{prefix}probe");
        // An absent key is inserted whatever is compared; one that is there has no such number.
        hostcalls::set_shared_data(&probe, &[], u32::MAX)?;
        match hostcalls::set_shared_data(&probe, &[], u32::MAX)? {
            Swap::Done => Err(Fault),
            Swap::Mismatch => Ok(Self { layout, prefix }),
        }
    }

    /// Claims a delivery, and says how many were forgotten for it.
    pub(super) fn claim(&self, delivery: Delivery, now: Millis) -> (Claimed, u64) {
        let name = self.name(&delivery);
        for _ in 0..ATTEMPTS {
            let Ok((shard, compare)) = hostcalls::shared_data(&name) else { break };
            let change = memory::claim(&shard, self.layout, delivery, now);
            let Some(shard) = change.shard else { return (change.claimed, 0) };
            match hostcalls::set_shared_data(&name, &shard, compare) {
                Ok(Swap::Done) => return (change.claimed, change.forgotten),
                Ok(Swap::Mismatch) => {}
                Err(Fault) => break,
            }
        }
        (Claimed::Unavailable, 0)
    }

    /// Settles a claim. One that cannot be settled runs out.
    pub(super) fn settle(&self, claim: &Claim, settlement: Settlement, now: Millis) {
        let name = self.name(&claim.delivery);
        for _ in 0..ATTEMPTS {
            let Ok((shard, compare)) = hostcalls::shared_data(&name) else { return };
            let Some(shard) = memory::settle(&shard, claim, settlement, now) else { return };
            match hostcalls::set_shared_data(&name, &shard, compare) {
                Ok(Swap::Mismatch) => {}
                Ok(Swap::Done) | Err(Fault) => return,
            }
        }
    }

    fn name(&self, delivery: &Delivery) -> String {
        format!("{}{}", self.prefix, self.layout.shard(&delivery.key))
    }
}
