//! A micro benchmark of the core, run natively by `make bench`: what one lookup, one configuration and one byte cost.
//!
//! Figures of one run on one machine, to be compared with each other; no test depends on them.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark, not the filter"
)]

use ipnet::IpNet;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};
use webhook_guard::check::address::AddressSet;
use webhook_guard::check::signature::mac::HmacKind;
use webhook_guard::config;

/// The shortest of some runs: everything else is somebody else's work.
fn best(mut run: impl FnMut()) -> Duration {
    let timed = |_| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..7).map(timed).min().unwrap()
}

fn main() {
    println!("source address, one lookup");
    for prefixes in [1_u32, 1_000, 100_000, 1_000_000] {
        // Every other /30, so that none merges with its neighbour.
        let network = |n: u32| IpNet::new(IpAddr::from(Ipv4Addr::from(n * 8)), 30).unwrap();
        let set: AddressSet = (0..prefixes).map(network).collect();
        let lookups = 100_000_u32;
        let time = best(|| {
            for n in 0..lookups {
                let address = Ipv4Addr::from(n.wrapping_mul(2_654_435_761) % (prefixes * 8));
                black_box(set.contains(IpAddr::from(address)));
            }
        });
        println!("  {prefixes:>9} prefixes  {:>7.1} ns", time.as_secs_f64() * 1e9 / f64::from(lookups));
    }
    println!("configuration with an allowlist of 100,000 prefixes");
    let entries: Vec<String> =
        (0..100_000_u32).map(|n| format!("\"{}/30\"", Ipv4Addr::from(n * 8))).collect();
    let text = format!(
        r#"{{"policies": [{{"name": "a", "match": {{"path": "/a"}}, "require": {{"source_ip": {{"allow": [{}]}}}}}}]}}"#,
        entries.join(",")
    );
    let time = best(|| {
        black_box(config::parse(text.as_bytes(), &|_| None).unwrap());
    });
    println!("  {:>7.1} ms", time.as_secs_f64() * 1e3);
    println!("HMAC over 1 MiB");
    let body = vec![0_u8; 1 << 20];
    for (name, kind) in
        [("SHA-1", HmacKind::Sha1), ("SHA-256", HmacKind::Sha256), ("SHA-512", HmacKind::Sha512)]
    {
        let time = best(|| {
            let mut mac = kind.key(b"key").unwrap();
            mac.update(&body);
            black_box(mac.finish());
        });
        println!("  {name:<8} {:>7.0} MB/s", body.len() as f64 / time.as_secs_f64() / 1e6);
    }
}
