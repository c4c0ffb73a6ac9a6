//! A load generator: the same request, over and over, on connections that are kept.

use crate::wire::{Wire, header};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

type Pools = BTreeMap<u16, Vec<Wire>>;

/// One line of the standard input: `PORT FILE COUNT CONNECTIONS RATE`. Sends the bytes of the file `COUNT` times, at
/// `RATE` requests a second or, at 0, as fast as they are answered, and answers
/// `NANOSECONDS STATUS:COUNT,… P50 P99` with the latencies in nanoseconds. At a fixed rate a latency counts from when
/// the request was due, so that one that had to wait for its predecessor is not flattered.
pub fn obey() {
    let mut pools = Pools::new();
    for line in io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let [port, file, count, connections, rate] = words.as_slice() else {
            panic!("five words, not {line:?}")
        };
        let request = std::fs::read(file).unwrap();
        let job = Job {
            port: port.parse().unwrap(),
            request: &request,
            count: count.parse().unwrap(),
            rate: rate.parse().unwrap(),
            sent: AtomicU64::new(0),
            start: Instant::now(),
        };
        let pool = pools.entry(job.port).or_default();
        let count = connections.parse().unwrap();
        while pool.len() < count {
            pool.push(connect(job.port));
        }
        let mut answers = job.run(&mut pool[..count]);
        let elapsed = job.start.elapsed().as_nanos();
        let mut statuses = BTreeMap::new();
        for (status, _) in &answers {
            *statuses.entry(status).or_insert(0) += 1;
        }
        let statuses: Vec<String> =
            statuses.iter().map(|(status, count)| format!("{status}:{count}")).collect();
        answers.sort_by_key(|(_, latency)| *latency);
        let at = |percent: usize| answers[(answers.len() * percent / 100).min(answers.len() - 1)].1;
        println!("{elapsed} {} {} {}", statuses.join(","), at(50), at(99));
    }
}

fn connect(port: u16) -> Wire {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    Wire::new(stream)
}

struct Job<'a> {
    port: u16,
    request: &'a [u8],
    count: u64,
    rate: f64,
    sent: AtomicU64,
    start: Instant,
}

impl Job<'_> {
    fn run(&self, pool: &mut [Wire]) -> Vec<(u16, u64)> {
        thread::scope(|scope| {
            let workers: Vec<_> = pool.iter_mut().map(|wire| scope.spawn(|| self.work(wire))).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        })
    }

    fn work(&self, wire: &mut Wire) -> Vec<(u16, u64)> {
        let mut answers = Vec::new();
        loop {
            let number = self.sent.fetch_add(1, Relaxed);
            if number >= self.count {
                return answers;
            }
            let mut due = Instant::now();
            if self.rate > 0.0 {
                due = self.start + Duration::from_secs_f64(number as f64 / self.rate);
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            let status = exchange(wire, self.request).unwrap_or_else(|| {
                *wire = connect(self.port);
                0
            });
            answers.push((status, due.elapsed().as_nanos() as u64));
        }
    }
}

/// The status of the answer; nothing where the connection ends, or is to end, with it.
fn exchange(wire: &mut Wire, request: &[u8]) -> Option<u16> {
    wire.stream().write_all(request).ok()?;
    let message = wire.message().ok()??;
    let is_last = header(message.head, "connection").is_some_and(|value| value == b"close");
    let status = std::str::from_utf8(message.head.get(9..12)?).ok()?.parse().ok()?;
    if is_last { None } else { Some(status) }
}
