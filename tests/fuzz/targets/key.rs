//! A key of any text, and a signature of any bytes under it, is refused or compared; nothing that is made up holds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use webhook_guard_core::signature::hmac::Encoding;
use webhook_guard_core::signature::key::{Algorithm, Key};
use webhook_guard_core::signature::public_key::{Verification, der_of_scalars};
use webhook_guard_core::signature::{KeyEncoding, KeyForm};

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (text, claim) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let text = String::from_utf8_lossy(text);
    for (_, encoding) in Encoding::NAMES {
        if let Some(decoded) = encoding.decode(claim) {
            let again = encoding.encode(&decoded);
            assert!(
                again.as_bytes().eq_ignore_ascii_case(claim),
                "{claim:?} is not the only text of {decoded:?}"
            );
        }
    }
    let claims = [claim.to_vec(), der_of_scalars(claim).unwrap_or_default()];
    for (_, algorithm) in Algorithm::NAMES {
        for encoding in [KeyEncoding::Utf8, KeyEncoding::Hex, KeyEncoding::Base64] {
            let form = KeyForm { encoding, prefixes: vec!["whsec_".to_owned()] };
            match form.key(&text, algorithm) {
                Ok(Key::Public(key)) => {
                    let verification = Verification::start(vec![(0, key)], &claims, b"some content");
                    let _ = verification.finish(&claims, |_| true);
                }
                Ok(key) => {
                    let tag = key.start(b"some content");
                    assert!(tag.is_some());
                    assert_eq!(algorithm == Algorithm::Sha256, key.text().is_some());
                }
                Err(_) => {}
            }
        }
    }
});
