//! Keys of every algorithm, and one attempt to verify with one of them.
//!
//! Responsible for what a check needs to know of an algorithm: start, more content, does any claim hold. Refuses to
//! know how each of them works (`mac.rs`, `public_key.rs`).

use crate::check::signature::mac::{BodyDigest, HmacKind, Mac};
use crate::check::signature::public_key::{PublicKey, Verification};
use crate::secret::equal;
use std::fmt;

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
}

impl Algorithm {
    /// The words for them in a configuration.
    pub const NAMES: [(&'static str, Self); 8] = [
        ("hmac-sha256", Self::Hmac(HmacKind::Sha256)),
        ("hmac-sha512", Self::Hmac(HmacKind::Sha512)),
        ("hmac-sha384", Self::Hmac(HmacKind::Sha384)),
        ("hmac-sha1", Self::Hmac(HmacKind::Sha1)),
        ("ed25519", Self::Ed25519),
        ("ecdsa-p256-sha256", Self::EcdsaP256Sha256),
        ("rsa-sha256", Self::RsaSha256),
        ("sha256", Self::Sha256),
    ];

    /// Whether the key is public: DER and PEM are forms of it.
    #[must_use]
    pub const fn is_public(self) -> bool {
        matches!(self, Self::Ed25519 | Self::EcdsaP256Sha256 | Self::RsaSha256)
    }

    /// Makes a key of its bytes; what can be computed once is computed here. Nothing where they are no such key.
    #[must_use]
    pub fn key(self, bytes: &[u8]) -> Option<Key> {
        match self {
            Self::Hmac(kind) => kind.key(bytes).map(Key::Hmac),
            Self::Sha256 => Some(Key::Text(bytes.to_vec())),
            Self::Ed25519 => PublicKey::ed25519(bytes).map(Key::Public),
            Self::EcdsaP256Sha256 => PublicKey::p256(bytes).map(Key::Public),
            Self::RsaSha256 => PublicKey::rsa(bytes).map(Key::Public),
        }
    }
}

/// A key, ready to use. Prints nothing.
#[derive(Clone)]
pub enum Key {
    /// An HMAC over nothing yet.
    Hmac(Mac),
    /// A secret that is part of the content.
    Text(Vec<u8>),
    /// A public key.
    Public(PublicKey),
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
            Self::Hmac(fresh @ Mac::Sha256(_)) => {
                let mut mac = fresh.clone();
                mac.update(text);
                Some(mac.finish())
            }
            Self::Hmac(_) | Self::Text(_) | Self::Public(_) => None,
        }
    }

    /// Starts to verify the claims over content that begins with these bytes.
    #[must_use]
    pub fn start(&self, before: &[u8], claims: &[Vec<u8>]) -> Attempt {
        match self {
            Self::Hmac(fresh) => {
                let mut mac = fresh.clone();
                mac.update(before);
                Attempt::Mac(mac)
            }
            Self::Text(_) => {
                let mut digest = BodyDigest::default();
                digest.update(before);
                Attempt::Digest(digest)
            }
            Self::Public(key) => Attempt::Public(key.start(before, claims)),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// An attempt to verify with one key.
#[derive(Debug)]
pub enum Attempt {
    /// An HMAC in the making.
    Mac(Mac),
    /// A digest in the making.
    Digest(BodyDigest),
    /// A verification with a public key.
    Public(Verification),
}

impl Attempt {
    /// Adds the next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Mac(mac) => mac.update(bytes),
            Self::Digest(digest) => digest.update(bytes),
            Self::Public(verification) => verification.update(bytes),
        }
    }

    /// Adds the last bytes of the content, and compares with every claim without an early exit.
    #[must_use]
    pub fn finish(mut self, after: &[u8], claims: &[Vec<u8>]) -> bool {
        self.update(after);
        let tag = match self {
            Self::Mac(mac) => mac.finish(),
            Self::Digest(digest) => digest.finish().to_vec(),
            Self::Public(verification) => return verification.finish(claims),
        };
        claims.iter().fold(false, |held, claim| equal(&tag, claim) | held)
    }
}
