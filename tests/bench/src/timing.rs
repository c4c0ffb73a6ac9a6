//! Whether the time of a comparison tells where a wrong secret differs from the right one: dudect's method, natively
//! (`rig timing`) and inside V8 (`filters/timing.rs`).
//!
//! Responsible for the guard's comparison of tokens and of tags, and for two that stop at the first difference: a test that
//! cannot fail says nothing. Welch's t between the times of two classes of wrong values, over all measurements and over the
//! shortest parts of them, where less of what the machine does besides is in (Reparaz, Balasch and Verbauwhede, 2017,
//! <https://eprint.iacr.org/2016/1123>). By hand: the crate dudect-bencher prints its results and returns none.

use std::hash::{BuildHasher as _, RandomState};
use std::hint::black_box;
use std::time::Instant;
use webhook_guard_core::secret::{self, Fingerprint};

/// Of each comparison.
const MEASUREMENTS: usize = 2_000_000;
/// So many bytes of wrong values are made at once.
const BATCH: usize = 256 << 10;
/// The parts of the measurements, the shortest first, that are looked at.
const PARTS: [f64; 6] = [0.5, 0.75, 0.9, 0.99, 0.999, 1.0];

/// A line for each comparison: what it is, whether its time should tell something, and |t|.
pub fn rows() -> Vec<String> {
    // A seed of the system's: another one in each run.
    let mut random = Random(RandomState::new().hash_one(0) | 1);
    let [tag, long] = [32, 1 << 10].map(|length| (0..length).map(|_| random.byte()).collect::<Vec<u8>>());
    let token = Fingerprint::of(&tag);
    let row =
        |what: &str, tells: bool, t: f64| format!("{what}\t{}\t{t:.2}\n", if tells { "tells" } else { "" });
    vec![
        row("a token", false, most(&tag, &mut random, |claim| Fingerprint::of(claim).matches(&token))),
        row("a tag", false, most(&tag, &mut random, |claim| secret::equal(&tag, claim))),
        row("a tag, byte by byte", true, most(&tag, &mut random, |claim| tag.iter().eq(claim))),
        row("1 KiB, by `==`", true, most(&long, &mut random, |claim| long == claim)),
    ]
}

/// The largest |t| between values that differ in the first byte and such that differ in the last.
fn most(right: &[u8], random: &mut Random, is_same: impl Fn(&[u8]) -> bool) -> f64 {
    let mut measured = Vec::with_capacity(MEASUREMENTS + BATCH);
    while measured.len() < MEASUREMENTS {
        // Side by side and long before they are read: what of them is in a cache does not depend on the class.
        let mut claims = right.repeat(BATCH / right.len());
        let mut classes = Vec::new();
        for claim in claims.chunks_exact_mut(right.len()) {
            let is_last = random.byte() % 2 == 0;
            claim[if is_last { right.len() - 1 } else { 0 }] ^= random.byte() | 1;
            classes.push(is_last);
        }
        for (claim, is_last) in claims.chunks_exact(right.len()).zip(classes) {
            let start = Instant::now();
            let same = black_box(is_same(black_box(claim)));
            let time = start.elapsed().as_nanos() as f64;
            assert!(!same);
            measured.push((time, is_last));
        }
    }
    measured.sort_by(|one, other| one.0.total_cmp(&other.0));
    let shortest = |part: f64| &measured[..(measured.len() as f64 * part) as usize];
    PARTS.map(|part| welch(shortest(part)).abs()).into_iter().fold(0.0, f64::max)
}

/// Welch's t between the times of the two classes.
fn welch(measured: &[(f64, bool)]) -> f64 {
    let [(mean, error), (other_mean, other_error)] = [true, false].map(|class| {
        let times = || measured.iter().filter(|one| one.1 == class).map(|one| one.0);
        let count = times().count() as f64;
        let mean = times().sum::<f64>() / count;
        let variance = times().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    });
    (mean - other_mean) / (error + other_error).sqrt()
}

/// Marsaglia's xorshift64: the classes must come in an order that the processor cannot learn, and nobody attacks this.
struct Random(u64);

impl Random {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_be_bytes()[0]
    }
}
