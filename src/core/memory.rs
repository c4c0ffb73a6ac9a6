//! Each delivery once: what names a delivery, and the memory of those that were accepted.
//!
//! Responsible for the memory as a value. A host keeps that of one gateway in [`Layout::shards`] pieces of bytes, which it
//! finds by [`Layout::shard`] and changes as [`claim`] and [`settle`] say, each in one step: by a lock, or by
//! compare-and-swap. That of several is in an [`etcd`]. What is kept of a delivery is a digest, from which no signature can
//! be had, and a time.
//!
//! ```text
//!  accepted ──► claim ──► First: it goes on ──► the response ──► settle: done, or forgotten so that a retry passes
//!                 ├─────► Pending: the same is on its way just now
//!                 └─────► Duplicate: the same was accepted before
//! ```

pub mod etcd;

use crate::request::Millis;
use etcd::Etcd;
use std::fmt;

/// The bytes of a key.
const KEY: usize = 16;
/// The bytes of an entry: the key, and a time with one bit beside it.
const ENTRY: usize = KEY + 8;

/// Up to so many deliveries one shard holds, the oldest of all is forgotten first.
const ONE_SHARD: usize = 64;
/// The mean number of deliveries in one of several shards, which have room for twice as many: they are not spread evenly.
const MEAN: usize = 32;

/// Envoy's response flag `DC` (`source/common/stream_info/utility.h`): the client left before the end.
pub const DOWNSTREAM_CONNECTION_TERMINATION: u64 = 1 << 14;

/// The bounds of `deliveries`.
pub(crate) const MOST_DELIVERIES: u64 = 1 << 22;
/// The default of `deliveries`.
pub(crate) const DEFAULT_DELIVERIES: usize = 65_536;

/// What names a delivery: a digest that is bound to its policy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryKey([u8; KEY]);

impl DeliveryKey {
    /// The key that a digest makes; half of it is enough.
    #[must_use]
    pub fn new(digest: &[u8; 32]) -> Self {
        let mut key = [0; KEY];
        for (byte, digest) in key.iter_mut().zip(digest) {
            *byte = *digest;
        }
        Self(key)
    }

    /// The bytes, for a store that is not made of shards.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; KEY] {
        &self.0
    }
}

impl fmt::Debug for DeliveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeliveryKey(..)")
    }
}

/// What becomes of a delivery that was seen before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// It is refused.
    #[default]
    Refuse,
    /// The gateway says that all is well, and forwards nothing.
    Acknowledge,
}

/// How long a delivery is remembered, in milliseconds, and what becomes of the next one like it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// From the end of the response on, once it is done.
    pub window: i64,
    /// From its acceptance on, while nobody knows what became of it.
    pub pending: i64,
    /// What becomes of the next one.
    pub then: Then,
}

/// An accepted delivery that is to be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What names it.
    pub key: DeliveryKey,
    /// How it is remembered.
    pub terms: Terms,
}

/// What stands in the memory for a request that is on its way. A claim that has run out is nobody's: another request may have
/// made its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The delivery.
    pub delivery: Delivery,
    /// What tells it from others' claims of the same delivery: when it runs out, or the revision in which etcd wrote it.
    mark: u64,
}

/// Where deliveries are remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// In the gateway, for all its workers.
    Local(Layout),
    /// In an etcd, for all gateways that ask the same.
    Etcd(Etcd),
}

/// What a memory says of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is the first of its name: the request goes on.
    First(Claim),
    /// The same is on its way.
    Pending,
    /// The same was accepted.
    Duplicate,
    /// The memory could not be asked.
    Unavailable,
}

/// What became of a request that went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The upstream took the delivery.
    Done,
    /// It did not: the sender's retry is to pass.
    Forgotten,
}

/// What the host knows of a response when it is over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Response<'r> {
    /// Its status; nothing where the client left before there was one.
    pub status: Option<u64>,
    /// Envoy's `response.code_details`; empty where the host does not tell them (a dynamic module in Envoy 1.38).
    pub details: &'r [u8],
    /// Whether an upstream was chosen.
    pub has_upstream: bool,
    /// Envoy's `response.flags`, a bit each.
    pub flags: u64,
}

impl Response<'_> {
    /// What became of the delivery; nothing where nobody can know. It is done when the upstream began to answer with a status
    /// below 400, whatever became of the answer afterwards (Envoy, source/common/stream_info: `ResponseCodeDetails`).
    #[must_use]
    pub fn settlement(&self) -> Option<Settlement> {
        let status = self.status.filter(|status| *status > 0)?;
        let is_client_gone = self.flags & DOWNSTREAM_CONNECTION_TERMINATION != 0;
        let is_upstream_s = self.details == b"via_upstream"
            || self.details.starts_with(b"upstream_reset_after_response_started")
            || ((is_client_gone || self.details.is_empty()) && self.has_upstream);
        match is_upstream_s && status < 400 {
            true => Some(Settlement::Done),
            false => Some(Settlement::Forgotten),
        }
    }
}

/// A shard after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What the memory says.
    pub claimed: Claimed,
    /// The shard's bytes, where they have changed.
    pub shard: Option<Vec<u8>>,
    /// How many deliveries were forgotten before their time, since there was no room.
    pub forgotten: u64,
}

/// How a memory for a number of deliveries is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layout {
    shards: usize,
    capacity: usize,
}

impl Layout {
    /// The layout for so many deliveries.
    #[must_use]
    pub fn new(deliveries: usize) -> Self {
        if deliveries <= ONE_SHARD {
            return Self { shards: 1, capacity: deliveries.max(1) };
        }
        // The number is a power of two only to be the same for many a number of deliveries: a reload then keeps them.
        let shards = deliveries.div_ceil(MEAN).next_power_of_two();
        Self { shards, capacity: MEAN.saturating_mul(2) }
    }

    /// The number of shards.
    #[must_use]
    pub const fn shards(&self) -> usize {
        self.shards
    }

    /// How many deliveries a shard holds.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// The most bytes that all shards have together, what their host keeps beside them aside.
    #[must_use]
    pub const fn most_bytes(&self) -> usize {
        self.shards.saturating_mul(self.capacity).saturating_mul(ENTRY)
    }

    /// The shard of a delivery.
    #[must_use]
    pub fn shard(&self, key: &DeliveryKey) -> usize {
        let [a, b, c, d, ..] = key.0;
        let number = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or_default();
        number.checked_rem(self.shards).unwrap_or_default()
    }
}

/// One delivery in a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    key: DeliveryKey,
    /// When it is forgotten, in milliseconds since the Unix epoch.
    until: u64,
    is_done: bool,
}

impl Entry {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (key, time) = bytes.split_at_checked(KEY)?;
        let time = u64::from_le_bytes(time.try_into().ok()?);
        Some(Self { key: DeliveryKey(key.try_into().ok()?), until: time >> 1, is_done: time & 1 == 1 })
    }

    fn write(&self, shard: &mut Vec<u8>) {
        shard.extend_from_slice(&self.key.0);
        shard.extend_from_slice(&((self.until << 1) | u64::from(self.is_done)).to_le_bytes());
    }
}

/// The entries of a shard that count at that time, the oldest first. Bytes that are no whole entry are none.
fn entries(shard: &[u8], now: u64) -> impl Iterator<Item = Entry> {
    shard.chunks_exact(ENTRY).filter_map(Entry::read).filter(move |entry| entry.until > now)
}

fn written(entries: impl Iterator<Item = Entry>) -> Vec<u8> {
    let mut shard = Vec::with_capacity(entries.size_hint().1.unwrap_or_default().saturating_mul(ENTRY));
    entries.for_each(|entry| entry.write(&mut shard));
    shard
}

fn after(now: Millis, span: i64) -> u64 {
    // At most half of the range of a u64: the bit that is left is taken for another purpose.
    u64::try_from(now.0.saturating_add(span)).unwrap_or_default()
}

/// Claims a delivery that has just been accepted, in its shard.
#[must_use]
pub fn claim(shard: &[u8], layout: Layout, delivery: Delivery, now: Millis) -> Change {
    let at = after(now, 0);
    if let Some(seen) = entries(shard, at).find(|entry| entry.key == delivery.key) {
        let claimed = if seen.is_done { Claimed::Duplicate } else { Claimed::Pending };
        return Change { claimed, shard: None, forgotten: 0 };
    }
    let until = after(now, delivery.terms.pending.max(1));
    let claim = Claim { delivery, mark: until };
    let own = Entry { key: delivery.key, until, is_done: false };
    let number = entries(shard, at).count();
    let forgotten = number.saturating_add(1).saturating_sub(layout.capacity);
    let shard = written(entries(shard, at).skip(forgotten).chain([own]));
    let forgotten = u64::try_from(forgotten).unwrap_or(u64::MAX);
    Change { claimed: Claimed::First(claim), shard: Some(shard), forgotten }
}

/// Settles a claim in its shard; nothing where it has been forgotten, or has run out and another was made. One that has run out
/// stands there until then, and counts however late it is.
#[must_use]
pub fn settle(shard: &[u8], claim: &Claim, settlement: Settlement, now: Millis) -> Option<Vec<u8>> {
    let at = after(now, 0);
    let is_own =
        |entry: &Entry| entry.key == claim.delivery.key && !entry.is_done && entry.until == claim.mark;
    let all = || shard.chunks_exact(ENTRY).filter_map(Entry::read);
    if !all().any(|entry| is_own(&entry)) {
        return None;
    }
    Some(match settlement {
        Settlement::Forgotten => written(all().filter(|entry| !is_own(entry) && entry.until > at)),
        Settlement::Done => {
            let until = after(now, claim.delivery.terms.window.max(1));
            let done = move |entry: Entry| match is_own(&entry) {
                true => Entry { until, is_done: true, ..entry },
                false => entry,
            };
            written(all().map(done).filter(|entry| entry.until > at))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const TERMS: Terms = Terms { window: 1000, pending: 100, then: Then::Refuse };

    fn delivery(number: u32) -> Delivery {
        // Spread as a digest is.
        let spread = number.wrapping_mul(0x9e37_79b1).rotate_left(15).wrapping_mul(0x85eb_ca6b);
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&spread.to_le_bytes());
        digest[4..8].copy_from_slice(&number.to_le_bytes());
        Delivery { key: DeliveryKey::new(&digest), terms: TERMS }
    }

    fn first(change: &Change) -> Claim {
        let Claimed::First(claim) = change.claimed else { panic!("not the first: {change:?}") };
        claim
    }

    #[test]
    fn a_delivery_passes_once_and_again_when_it_is_forgotten() {
        let layout = Layout::new(4);
        let change = claim(&[], layout, delivery(1), Millis(0));
        let (own, shard) = (first(&change), change.shard.unwrap());
        assert_eq!(claim(&shard, layout, delivery(1), Millis(99)).claimed, Claimed::Pending);
        let done = settle(&shard, &own, Settlement::Done, Millis(50)).unwrap();
        assert_eq!(claim(&done, layout, delivery(1), Millis(1049)).claimed, Claimed::Duplicate);
        first(&claim(&done, layout, delivery(1), Millis(1050)));
        let forgotten = settle(&shard, &own, Settlement::Forgotten, Millis(50)).unwrap();
        first(&claim(&forgotten, layout, delivery(1), Millis(51)));
        assert_eq!(settle(&done, &own, Settlement::Forgotten, Millis(60)), None, "done is done");
    }

    #[test]
    fn a_claim_that_has_run_out_settles_nothing_of_another_s() {
        let layout = Layout::new(4);
        let change = claim(&[], layout, delivery(1), Millis(0));
        let (late, shard) = (first(&change), change.shard.unwrap());
        let change = claim(&shard, layout, delivery(1), Millis(100));
        let (own, shard) = (first(&change), change.shard.unwrap());
        for settlement in [Settlement::Done, Settlement::Forgotten] {
            assert_eq!(settle(&shard, &late, settlement, Millis(101)), None);
        }
        assert!(settle(&shard, &own, Settlement::Done, Millis(101)).is_some());
        // Late, and nobody else's: it was accepted, and is a duplicate from now on.
        let shard = settle(
            &claim(&[], layout, delivery(1), Millis(0)).shard.unwrap(),
            &late,
            Settlement::Done,
            Millis(500),
        );
        assert_eq!(claim(&shard.unwrap(), layout, delivery(1), Millis(501)).claimed, Claimed::Duplicate);
    }

    #[test]
    fn the_oldest_is_forgotten_first_and_counted() {
        let layout = Layout::new(3);
        let mut shard = Vec::new();
        for number in 0..3 {
            let change = claim(&shard, layout, delivery(number), Millis(1));
            assert_eq!(change.forgotten, 0);
            shard =
                settle(&change.shard.clone().unwrap(), &first(&change), Settlement::Done, Millis(1)).unwrap();
        }
        let change = claim(&shard, layout, delivery(3), Millis(2));
        assert_eq!(change.forgotten, 1);
        let shard = change.shard.unwrap();
        assert_eq!(shard.len(), layout.most_bytes());
        assert_eq!(claim(&shard, layout, delivery(1), Millis(3)).claimed, Claimed::Duplicate);
        first(&claim(&shard, layout, delivery(0), Millis(3)));
    }

    #[test]
    fn so_many_deliveries_as_are_asked_for_fit() {
        for deliveries in [1, 64, 65, 1000, 65_536] {
            let layout = Layout::new(deliveries);
            let mut shards = vec![Vec::new(); layout.shards()];
            let mut forgotten = 0;
            for number in 0..deliveries {
                let one = delivery(u32::try_from(number).unwrap());
                let shard = shards.get_mut(layout.shard(&one.key)).unwrap();
                let change = claim(shard, layout, one, Millis(0));
                forgotten += change.forgotten;
                *shard = change.shard.unwrap();
            }
            assert_eq!(forgotten, 0, "{deliveries}");
            assert_eq!(layout.capacity(), deliveries.min(64), "{deliveries}");
            assert!(layout.most_bytes() <= 96 * deliveries.max(2), "{deliveries}: {}", layout.most_bytes());
        }
    }

    /// Random operations, held against a map that knows no bytes.
    #[test]
    fn a_shard_does_what_a_simple_map_does() {
        let layout = Layout::new(64);
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        let (mut shard, mut now) = (Vec::new(), 1_000_000_u64);
        // The map: until when, and whether it is done. Fewer names than the shard has room for: nothing is forgotten early.
        let mut model: BTreeMap<u64, (u64, bool)> = BTreeMap::new();
        let mut claims: Vec<(u64, Claim)> = Vec::new();
        for _ in 0..200_000 {
            now += random(30);
            let at = Millis(i64::try_from(now).unwrap());
            if random(3) > 0 || claims.is_empty() {
                let number = random(60);
                let change = claim(&shard, layout, delivery(u32::try_from(number).unwrap()), at);
                let expected = model.get(&number).filter(|(until, _)| *until > now);
                match (change.claimed, expected) {
                    (Claimed::First(claim), None) => {
                        model.insert(number, (now + 100, false));
                        claims.push((number, claim));
                        assert_eq!(change.forgotten, 0);
                        shard = change.shard.unwrap();
                    }
                    (Claimed::Pending, Some((_, false))) | (Claimed::Duplicate, Some((_, true))) => {}
                    other => panic!("{other:?}"),
                }
            } else {
                let index = usize::try_from(random(u64::try_from(claims.len()).unwrap())).unwrap();
                let (number, own) = claims.swap_remove(index);
                let settlement = if random(2) == 0 { Settlement::Done } else { Settlement::Forgotten };
                let is_own = model.get(&number) == Some(&(own.mark, false));
                let settled = settle(&shard, &own, settlement, at);
                // A claim that ran out may have been written over by another delivery's claim, or still stand there.
                assert!(settled.is_none() || is_own, "another's claim was settled");
                if own.mark > now {
                    assert!(settled.is_some() || !is_own, "an own claim was not settled");
                }
                if let Some(settled) = settled {
                    shard = settled;
                    match settlement {
                        Settlement::Done => model.insert(number, (now + 1000, true)),
                        Settlement::Forgotten => model.remove(&number),
                    };
                }
            }
            assert!(shard.len() <= layout.most_bytes());
        }
    }

    #[test]
    fn what_has_run_out_takes_no_room_once_another_is_settled() {
        let layout = Layout::new(4);
        // Runs out at 100.
        let shard = claim(&[], layout, delivery(1), Millis(0)).shard.unwrap();
        let change = claim(&shard, layout, delivery(2), Millis(50));
        let (own, shard) = (first(&change), change.shard.unwrap());
        for (now, forgotten, done) in [(99, 1, 2), (100, 0, 1)] {
            let left = |settlement| settle(&shard, &own, settlement, Millis(now)).unwrap().len() / ENTRY;
            assert_eq!((left(Settlement::Forgotten), left(Settlement::Done)), (forgotten, done), "{now}");
        }
    }

    #[test]
    fn nothing_is_said_of_a_delivery_but_that_it_is_one() {
        assert_eq!(format!("{:?}", delivery(1).key), "DeliveryKey(..)");
    }

    #[test]
    fn any_bytes_are_a_shard() {
        for length in 0..60_u8 {
            let shard: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(37)).collect();
            let changed = claim(&shard, Layout::new(3), delivery(1), Millis(1)).shard.unwrap();
            assert!(changed.len().is_multiple_of(ENTRY), "{length}");
        }
    }
}
