//! An upstream that answers 200 to everything, and says what it has received when it is asked.

use crate::wire::{Wire, listen};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static BYTES: AtomicU64 = AtomicU64::new(0);
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// Each line of the standard input is answered with the requests and bytes received so far.
pub fn serve() {
    listen(|stream| {
        let mut wire = Wire::new(stream);
        while let Some(message) = wire.message()? {
            BYTES.fetch_add((message.head.len() + message.body.len()) as u64, Relaxed);
            REQUESTS.fetch_add(1, Relaxed);
            wire.stream().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nupstream")?;
        }
        Ok(())
    });
    for _ in io::stdin().lines() {
        println!("{} {}", REQUESTS.load(Relaxed), BYTES.load(Relaxed));
    }
}
