//! An authorization service for Envoy's ext_authz, over HTTP/1.1 and with the body: one HMAC-SHA256, with the SHA
//! instructions of the processor where it has them (sha2 asks it).

use crate::wire::{Message, Wire, header, listen};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::io::{self, Write};
use std::sync::OnceLock;

static SECRET: OnceLock<Hmac<Sha256>> = OnceLock::new();

/// Answers 200 to a request that is signed and 401 to every other, until the standard input ends.
pub fn serve(secret: &[u8]) {
    SECRET.set(Hmac::new_from_slice(secret).unwrap()).unwrap();
    listen(|stream| {
        let mut wire = Wire::new(stream);
        while let Some(message) = wire.message()? {
            let reply: &[u8] = if is_signed(&message) {
                b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
            } else {
                b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"
            };
            wire.stream().write_all(reply)?;
        }
        Ok(())
    });
    io::stdin().lines().for_each(drop);
}

fn is_signed(message: &Message) -> bool {
    let claimed =
        header(message.head, "x-hub-signature-256").and_then(|value| value.strip_prefix(b"sha256="));
    let Some(tag) = claimed.and_then(decode) else { return false };
    let mut mac = SECRET.get().unwrap().clone();
    mac.update(message.body);
    mac.verify_slice(&tag).is_ok()
}

fn decode(hex: &[u8]) -> Option<Vec<u8>> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    hex.chunks(2).map(byte).collect()
}
