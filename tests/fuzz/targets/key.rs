//! A key of any text is refused or the key that other packages make of it; a signature has one text, and what is made up holds for
//! no public key.

#![no_main]

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use webhook_guard_core::signature::hmac::Encoding;
use webhook_guard_core::signature::key::{Algorithm, Key};
use webhook_guard_core::signature::public_key::{Verification, der_of_scalars};
use webhook_guard_core::signature::{KeyEncoding, KeyForm};
use webhook_guard_fuzz::sender;

const CONTENT: &[u8] = b"some content";

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (text, claim) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let text = String::from_utf8_lossy(text);
    tags(claim);
    let der = der_of_scalars(claim);
    assert!(der.as_ref().is_none_or(|der| is_der_of(der, claim)), "{claim:?} {der:?}");
    let claims = [claim.to_vec(), der.unwrap_or_default()];
    for (name, algorithm) in Algorithm::NAMES {
        for encoding in [KeyEncoding::Utf8, KeyEncoding::Hex, KeyEncoding::Base64] {
            let form = KeyForm { encoding, prefixes: vec!["whsec_".to_owned()] };
            match form.key(&text, algorithm) {
                Ok(Key::Public(key)) => {
                    let verification = Verification::start(vec![(0, key)], &claims, CONTENT);
                    assert_eq!(verification.finish(&claims, |_| true), None, "{name} {text} {claim:?}");
                }
                Ok(key) => {
                    assert_eq!(algorithm == Algorithm::Sha256, key.text().is_some());
                    let expected = key_of(&text, encoding).expect("it is no key to others");
                    if let Some(own) = key.text() {
                        assert_eq!(own, expected);
                    } else {
                        let tag = key.start(CONTENT).expect("a secret key").finish();
                        assert_eq!(tag, sender::tag(&json!({ "algorithm": name }), &expected, CONTENT));
                    }
                }
                Err(_) => assert!(algorithm.is_public() || key_of(&text, encoding).is_none(), "{text}"),
            }
        }
    }
});

/// The bytes of a secret key, by other packages.
fn key_of(text: &str, encoding: KeyEncoding) -> Option<Vec<u8>> {
    let bare = text.strip_prefix("whsec_").unwrap_or(text);
    let bytes = match encoding {
        KeyEncoding::Utf8 => Some(bare.as_bytes().to_vec()),
        KeyEncoding::Hex => sender::unhex(bare.as_bytes()),
        KeyEncoding::Base64 => BASE64_STANDARD_NO_PAD.decode(bare.trim_end_matches('=')).ok(),
    };
    bytes.filter(|bytes| !bytes.is_empty())
}

/// What others decode strictly is a tag, and nothing else.
fn tags(claim: &[u8]) {
    for (name, encoding) in Encoding::NAMES {
        let expected = match name {
            "hex" => sender::unhex(claim),
            "base64" => BASE64_STANDARD.decode(claim).ok(),
            _ => BASE64_URL_SAFE_NO_PAD.decode(claim).ok(),
        };
        let decoded = encoding.decode(claim);
        assert_eq!(decoded, expected.filter(|bytes| !bytes.is_empty()), "{name} {claim:?}");
        if let Some(decoded) = decoded {
            let again = encoding.encode(&decoded);
            let is_same = match name {
                "hex" => again.as_bytes().eq_ignore_ascii_case(claim),
                _ => again.as_bytes() == claim,
            };
            assert!(is_same, "{claim:?} is not the only text of {decoded:?}");
        }
    }
}

/// Whether it is the one DER encoding of two whole numbers (X.690 8.3, 10.1), which are those of the claim, one after the other.
fn is_der_of(der: &[u8], scalars: &[u8]) -> bool {
    let (one, other) = scalars.split_at(scalars.len() / 2);
    let number = |scalar: &[u8]| {
        let mut bytes: Vec<u8> = scalar.iter().copied().skip_while(|byte| *byte == 0).collect();
        if bytes.first().is_none_or(|first| *first >= 0x80) {
            bytes.insert(0, 0);
        }
        [vec![0x02, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    };
    let content = [number(one), number(other)].concat();
    der == [vec![0x30, u8::try_from(content.len()).unwrap()], content].concat()
}
