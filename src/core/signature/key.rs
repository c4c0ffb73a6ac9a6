//! The algorithms of the vocabulary, their keys, and a content that is being verified with all keys of a check.
//!
//! Responsible for what a check needs to know of an algorithm. How each works is in `mac.rs` and `public_key.rs`.

use crate::secret::{Fingerprint, equal};
use crate::signature::hmac::{BodyDigest, HmacKind, Mac};
use crate::signature::public_key::PublicKey;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// At most this many claimed signatures are looked at, however many the sender lists.
pub const MAX_CANDIDATES: usize = 16;

/// What a scheme is verified with. Always the configuration's choice, never the request's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// An HMAC.
    Hmac(HmacKind),
    /// SHA-256 over content that holds the secret (HubSpot v1 and v2).
    Sha256,
    /// Ed25519.
    Ed25519,
    /// ECDSA on P-256 with SHA-256.
    EcdsaP256Sha256,
    /// RSA PKCS #1 v1.5 with SHA-256.
    RsaSha256,
    /// RSA PSS with SHA-512.
    RsaPssSha512,
    /// RSA PKCS #1 v1.5 with SHA-1: for the first version of SNS' signatures, and nothing else.
    RsaSha1,
}

impl Algorithm {
    /// The words for them in a configuration.
    pub const NAMES: [(&'static str, Self); 10] = [
        ("hmac-sha256", Self::Hmac(HmacKind::Sha256)),
        ("hmac-sha512", Self::Hmac(HmacKind::Sha512)),
        ("hmac-sha384", Self::Hmac(HmacKind::Sha384)),
        ("hmac-sha1", Self::Hmac(HmacKind::Sha1)),
        ("ed25519", Self::Ed25519),
        ("ecdsa-p256-sha256", Self::EcdsaP256Sha256),
        ("rsa-sha256", Self::RsaSha256),
        ("rsa-pss-sha512", Self::RsaPssSha512),
        ("rsa-sha1", Self::RsaSha1),
        ("sha256", Self::Sha256),
    ];

    /// Whether the key is public: DER and PEM are forms of it.
    #[must_use]
    pub const fn is_public(self) -> bool {
        matches!(
            self,
            Self::Ed25519 | Self::EcdsaP256Sha256 | Self::RsaSha256 | Self::RsaPssSha512 | Self::RsaSha1
        )
    }

    /// How many claims are looked at: fewer where each costs a public-key operation.
    #[must_use]
    pub const fn most_claims(self) -> usize {
        if self.is_public() { 4 } else { MAX_CANDIDATES }
    }

    /// The lengths in bytes that a decoded signature can have. ECDSA's are those of the DER of two scalars of 32 bytes
    /// (RFC 3279 2.2.3), RSA's those of keys from 2048 to 8192 bits.
    #[must_use]
    pub const fn claim_lengths(self) -> RangeInclusive<usize> {
        match self {
            Self::Hmac(kind) => kind.tag_length()..=kind.tag_length(),
            Self::Sha256 => 32..=32,
            Self::Ed25519 => 64..=64,
            Self::EcdsaP256Sha256 => 8..=72,
            Self::RsaSha256 | Self::RsaPssSha512 | Self::RsaSha1 => 256..=1024,
        }
    }

    /// Makes a key of its bytes; what can be computed once is computed here. Nothing where they are no such key.
    #[must_use]
    pub fn key(self, bytes: &[u8]) -> Option<Key> {
        match self {
            Self::Hmac(kind) => {
                let fingerprint = Fingerprint::of(canonical(bytes));
                kind.key(bytes).map(|fresh| Key::Hmac(Box::new(HmacKey { fresh, fingerprint })))
            }
            Self::Sha256 => Some(Key::Text(bytes.to_vec())),
            Self::Ed25519 => PublicKey::ed25519(bytes).map(Arc::new).map(Key::Public),
            Self::EcdsaP256Sha256 => PublicKey::p256(bytes).map(Arc::new).map(Key::Public),
            Self::RsaSha256 => PublicKey::rsa(bytes).map(Arc::new).map(Key::Public),
            Self::RsaPssSha512 => PublicKey::rsa_pss(bytes).map(Arc::new).map(Key::Public),
            Self::RsaSha1 => PublicKey::rsa_sha1(bytes).map(Arc::new).map(Key::Public),
        }
    }
}

/// A key, ready to use. Prints nothing.
#[derive(Clone)]
pub enum Key {
    /// The key of an HMAC.
    Hmac(Box<HmacKey>),
    /// A secret that is part of the content.
    Text(Vec<u8>),
    /// A public key.
    Public(Arc<PublicKey>),
}

/// The key of an HMAC, scheduled once.
#[derive(Clone)]
pub struct HmacKey {
    /// An HMAC over nothing yet.
    fresh: Mac,
    fingerprint: Fingerprint,
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacKey(..)")
    }
}

impl Key {
    /// What `{secret}` stands for.
    #[must_use]
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(secret) => Some(secret),
            Self::Hmac(_) | Self::Public(_) => None,
        }
    }

    /// The HMAC-SHA256 of a text, for the answer to a handshake; nothing with a key of another kind.
    #[must_use]
    pub fn hmac_sha256(&self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Hmac(key) => match key.fresh.clone() {
                mut mac @ Mac::Sha256(_) => {
                    mac.update(text);
                    Some(mac.finish())
                }
                Mac::Sha1(_) | Mac::Sha384(_) | Mac::Sha512(_) => None,
            },
            Self::Text(_) | Self::Public(_) => None,
        }
    }

    /// Which secret key it is, for a comparison with another; nothing of a public one.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        match self {
            Self::Hmac(key) => Some(key.fingerprint),
            Self::Text(secret) => Some(Fingerprint::of(canonical(secret))),
            Self::Public(_) => None,
        }
    }

    /// A tag over content that begins with these bytes; nothing with a public key, which makes none.
    #[must_use]
    pub fn start(&self, before: &[u8]) -> Option<Tag> {
        let mut tag = match self {
            Self::Hmac(key) => Tag::Mac(key.fresh.clone()),
            Self::Text(_) => Tag::Digest(BodyDigest::default()),
            Self::Public(_) => return None,
        };
        tag.update(before);
        Some(tag)
    }
}

/// HMAC fills a key up with zeros (RFC 2104 2): with and without them it is the same key.
fn canonical(key: &[u8]) -> &[u8] {
    let length = key.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
    key.get(..length).unwrap_or(key)
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The tag of one key in the making.
#[derive(Debug)]
pub enum Tag {
    /// An HMAC.
    Mac(Mac),
    /// A digest of content that holds the secret.
    Digest(BodyDigest),
}

impl Tag {
    /// Adds the next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Mac(mac) => mac.update(bytes),
            Self::Digest(digest) => digest.update(bytes),
        }
    }

    /// The tag.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        match self {
            Self::Mac(mac) => mac.finish(),
            Self::Digest(digest) => digest.finish().to_vec(),
        }
    }

    /// Whether any claim is this tag. Every claim is compared, without an early exit.
    #[must_use]
    pub fn matches(self, claims: &[Vec<u8>]) -> bool {
        let tag = self.finish();
        claims.iter().fold(false, |held, claim| equal(&tag, claim) | held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_text_only_where_it_is_part_of_what_is_signed() {
        assert_eq!(Key::Text(b"secret".to_vec()).text(), Some(&b"secret"[..]));
        assert_eq!(Key::Text(b"secret".to_vec()).hmac_sha256(b""), None);
    }
}
