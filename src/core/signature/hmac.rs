//! HMACs, digests and the text of tags.
//!
//! Responsible for everything that touches `hmac`, `sha1` and `sha2` in content, and for strict decoding of claimed
//! tags: only the canonical text of a tag is accepted, so that one signature has one spelling.

use super::template::Body;
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use std::fmt;

/// A hash that an HMAC is built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HmacKind {
    /// HMAC with SHA-1 (RFC 2104). SHA-1's collisions do not break HMAC; offer it only to senders with nothing better.
    Sha1,
    /// HMAC with SHA-256 (RFC 4231).
    Sha256,
    /// HMAC with SHA-384 (RFC 4231).
    Sha384,
    /// HMAC with SHA-512 (RFC 4231).
    Sha512,
}

impl HmacKind {
    /// The length of its tags in bytes.
    #[must_use]
    pub const fn tag_length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// An HMAC over nothing yet. The key schedule is computed once, here.
    #[must_use]
    pub fn key(self, bytes: &[u8]) -> Option<Mac> {
        Some(match self {
            Self::Sha1 => Mac::Sha1(Hmac::new_from_slice(bytes).ok()?),
            Self::Sha256 => Mac::Sha256(Hmac::new_from_slice(bytes).ok()?),
            Self::Sha384 => Mac::Sha384(Hmac::new_from_slice(bytes).ok()?),
            Self::Sha512 => Mac::Sha512(Hmac::new_from_slice(bytes).ok()?),
        })
    }
}

/// A tag in the making. Prints nothing.
#[derive(Clone)]
pub enum Mac {
    /// HMAC with SHA-1.
    Sha1(Hmac<Sha1>),
    /// HMAC with SHA-256.
    Sha256(Hmac<Sha256>),
    /// HMAC with SHA-384.
    Sha384(Hmac<Sha384>),
    /// HMAC with SHA-512.
    Sha512(Hmac<Sha512>),
}

impl Mac {
    /// Adds the next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(mac) => mac.update(bytes),
            Self::Sha256(mac) => mac.update(bytes),
            Self::Sha384(mac) => mac.update(bytes),
            Self::Sha512(mac) => mac.update(bytes),
        }
    }

    /// The tag.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha1(mac) => mac.finalize().into_bytes().to_vec(),
            Self::Sha256(mac) => mac.finalize().into_bytes().to_vec(),
            Self::Sha384(mac) => mac.finalize().into_bytes().to_vec(),
            Self::Sha512(mac) => mac.finalize().into_bytes().to_vec(),
        }
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mac(..)")
    }
}

/// The SHA-256 of a body in the making.
#[derive(Clone, Debug, Default)]
pub struct BodyDigest(Sha256);

impl BodyDigest {
    /// Adds the next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// What stands for a body in what is signed, in the making.
#[derive(Clone, Debug)]
pub enum BodyText {
    /// Its SHA-256, in lower-case hexadecimal digits.
    Sha256(BodyDigest),
    /// Its CRC-32 (that of gzip, RFC 1952 8), in decimal digits.
    Crc32(crc32fast::Hasher),
}

impl BodyText {
    /// That of no bytes yet; nothing where the body itself is signed, or is not.
    #[must_use]
    pub fn new(body: Body) -> Option<Self> {
        match body {
            Body::Digest => Some(Self::Sha256(BodyDigest::default())),
            Body::Crc32 => Some(Self::Crc32(crc32fast::Hasher::new())),
            Body::Unsigned | Body::Raw | Body::Form => None,
        }
    }

    /// Adds the next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(digest) => digest.update(bytes),
            Self::Crc32(checksum) => checksum.update(bytes),
        }
    }

    /// The text.
    #[must_use]
    pub fn finish(self) -> String {
        match self {
            Self::Sha256(digest) => HEXLOWER.encode(&digest.finish()),
            Self::Crc32(checksum) => checksum.finalize().to_string(),
        }
    }
}

/// A digest of content in the making, with the hash that somebody else chose.
#[derive(Clone, Debug)]
pub enum Digest {
    /// A SHA-256.
    Sha256(Sha256),
    /// A SHA-512.
    Sha512(Box<Sha512>),
    /// A SHA-1, for a sender that has nothing better.
    Sha1(Sha1),
}

impl Digest {
    /// The SHA-256 of nothing yet.
    #[must_use]
    pub fn sha256() -> Self {
        Self::Sha256(Sha256::new())
    }

    /// The SHA-512 of nothing yet.
    #[must_use]
    pub fn sha512() -> Self {
        Self::Sha512(Box::default())
    }

    /// The SHA-1 of nothing yet.
    #[must_use]
    pub fn sha1() -> Self {
        Self::Sha1(Sha1::new())
    }

    /// Adds the next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(digest) => digest.update(bytes),
            Self::Sha512(digest) => digest.update(bytes),
            Self::Sha1(digest) => digest.update(bytes),
        }
    }

    /// The digest.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha256(digest) => digest.finalize().to_vec(),
            Self::Sha512(digest) => digest.finalize().to_vec(),
            Self::Sha1(digest) => digest.finalize().to_vec(),
        }
    }

    /// The bytes on the heap.
    pub(crate) fn kept_bytes(&self) -> usize {
        match self {
            Self::Sha256(_) | Self::Sha1(_) => 0,
            Self::Sha512(_) => size_of::<Sha512>().saturating_add(16),
        }
    }
}

/// How a tag is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal, in either case (RFC 4648 8).
    Hex,
    /// Base64 with padding (RFC 4648 4).
    Base64,
    /// Base64 for URLs, without padding (RFC 4648 5, RFC 7515 2).
    Base64Url,
}

impl Encoding {
    /// The words for them in a configuration.
    pub const NAMES: [(&'static str, Self); 3] =
        [("hex", Self::Hex), ("base64", Self::Base64), ("base64url", Self::Base64Url)];

    /// The canonical text of these bytes.
    #[must_use]
    pub fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => HEXLOWER.encode(bytes),
            Self::Base64 => BASE64.encode(bytes),
            Self::Base64Url => BASE64URL_NOPAD.encode(bytes),
        }
    }

    /// The bytes that a text stands for; nothing where it is empty or not the canonical text of any bytes.
    #[must_use]
    pub fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        let bytes = match self {
            Self::Hex => HEXLOWER_PERMISSIVE.decode(text),
            // It takes texts joined behind each other, too, with padding between them.
            Self::Base64 => BASE64.decode(text),
            Self::Base64Url => BASE64URL_NOPAD.decode(text),
        };
        let canonical = |bytes: &Vec<u8>| self == Self::Hex || self.encode(bytes).as_bytes() == text;
        bytes.ok().filter(|bytes| !bytes.is_empty() && canonical(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_those_of_rfc_2202_and_rfc_4231() {
        // RFC 2202 3 and RFC 4231 4.3, test case 2.
        let content = b"what do ya want for nothing?";
        for (kind, tag) in [
            (HmacKind::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (HmacKind::Sha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                HmacKind::Sha384,
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
            ),
            (
                HmacKind::Sha512,
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd\
                 caeab1a34d4a6b4b636e070a38bce737",
            ),
        ] {
            for cut in 0..=content.len() {
                let mut mac = kind.key(b"Jefe").unwrap();
                mac.update(&content[..cut]);
                mac.update(&content[cut..]);
                let expected = Encoding::Hex.decode(tag.as_bytes());
                assert_eq!(expected, Some(mac.finish()), "{kind:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn only_the_canonical_text_of_a_tag_is_decoded() {
        for (encoding, text, decoded) in [
            (Encoding::Hex, "00fF", true),
            (Encoding::Hex, "0", false),
            (Encoding::Hex, "0x00", false),
            (Encoding::Hex, " 00", false),
            (Encoding::Hex, "", false),
            (Encoding::Base64, "AA==", true),
            (Encoding::Base64, "AA", false),
            (Encoding::Base64, "AB==", false),
            (Encoding::Base64, "A-==", false),
            (Encoding::Base64, "AA==\n", false),
            (Encoding::Base64, "AA==AA==", false),
            (Encoding::Base64, "AAA=AAAA", false),
            (Encoding::Base64, "+/+/", true),
            (Encoding::Base64Url, "-_-_", true),
            (Encoding::Base64Url, "+/+/", false),
            (Encoding::Base64Url, "AA", true),
            (Encoding::Base64Url, "AA==", false),
            (Encoding::Base64Url, "AB", false),
        ] {
            assert_eq!(encoding.decode(text.as_bytes()).is_some(), decoded, "{encoding:?} {text}");
        }
    }

    #[test]
    fn a_tag_in_the_making_prints_nothing() {
        let mac = HmacKind::Sha256.key(b"secret").unwrap();
        assert_eq!(format!("{mac:?}"), "Mac(..)");
    }

    #[test]
    fn what_a_digest_keeps_on_the_heap_is_counted() {
        let kept = [Digest::sha256(), Digest::sha512()].map(|digest| digest.kept_bytes());
        assert_eq!(kept.map(|bytes| bytes > 200), [false, true], "{kept:?}");
        assert_eq!(Digest::sha256().kept_bytes(), 0);
    }
}
