//! Public keys: Ed25519, ECDSA on P-256, RSA.
//!
//! Responsible for reading a key in the forms that providers hand out (raw, DER, PEM) and for verifying strictly: no
//! small-order points, no zero scalars, no non-canonical encodings, no short RSA keys. The only door to
//! `ed25519-dalek`, `p256` and `rsa`.

use crate::budget::heap;
use crate::signature::hmac::Digest;
use data_encoding::BASE64;
use ed25519_dalek as ed25519;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use p256::pkcs8::DecodePublicKey as _;
use rsa::traits::PublicKeyParts as _;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use std::fmt;
use std::sync::Arc;

/// What RFC 8410 4 puts before the 32 bytes of an Ed25519 key in DER.
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// NIST SP 800-131A 2: no shorter RSA key is to be trusted.
const LEAST_RSA_BITS: u32 = 2048;

/// A public key, ready to verify.
#[derive(Clone)]
pub enum PublicKey {
    /// Ed25519 (RFC 8032).
    Ed25519(ed25519::VerifyingKey),
    /// ECDSA on P-256 with SHA-256 (FIPS 186-5 6).
    P256(p256::ecdsa::VerifyingKey),
    /// RSA PKCS #1 v1.5 with SHA-256 (RFC 8017 8.2).
    Rsa(Box<rsa::pkcs1v15::VerifyingKey<Sha256>>),
    /// RSA PKCS #1 v1.5 with SHA-1, for a sender that has nothing better.
    RsaSha1(Box<rsa::pkcs1v15::VerifyingKey<Sha1>>),
    /// RSA PSS with SHA-512 and a salt of 64 bytes (RFC 8017 8.1, RFC 9421 3.3.1).
    RsaPss(Box<rsa::pss::VerifyingKey<Sha512>>),
}

impl PublicKey {
    /// Reads an Ed25519 key: 32 raw bytes, or DER.
    #[must_use]
    pub fn ed25519(bytes: &[u8]) -> Option<Self> {
        let raw: [u8; 32] = bytes.strip_prefix(&ED25519_SPKI).unwrap_or(bytes).try_into().ok()?;
        let key = ed25519::VerifyingKey::from_bytes(&raw).ok()?;
        let is_canonical = key.to_edwards().compress().to_bytes() == raw;
        (is_canonical && !key.is_weak()).then_some(Self::Ed25519(key))
    }

    /// Reads a P-256 key: a SEC 1 point, or DER.
    #[must_use]
    pub fn p256(bytes: &[u8]) -> Option<Self> {
        p256::ecdsa::VerifyingKey::from_sec1_bytes(bytes)
            .ok()
            .or_else(|| p256::ecdsa::VerifyingKey::from_public_key_der(bytes).ok())
            .map(Self::P256)
    }

    /// Reads an RSA key in DER, of at least 2048 bits.
    #[must_use]
    pub fn rsa(bytes: &[u8]) -> Option<Self> {
        Some(Self::Rsa(Box::new(rsa::pkcs1v15::VerifyingKey::new(strong_rsa(bytes)?))))
    }

    /// Reads an RSA key as above, for signatures with SHA-1.
    #[must_use]
    pub fn rsa_sha1(bytes: &[u8]) -> Option<Self> {
        Some(Self::RsaSha1(Box::new(rsa::pkcs1v15::VerifyingKey::new(strong_rsa(bytes)?))))
    }

    /// The RSA key of this modulus and this exponent, big-endian, of at least 2048 bits.
    #[must_use]
    pub fn rsa_of(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let number = rsa::BoxedUint::from_be_slice_vartime;
        let key = rsa::PublicKey::new(number(modulus), number(exponent)).ok()?;
        let is_strong = key.n().bit_width() >= LEAST_RSA_BITS;
        is_strong.then(|| Self::Rsa(Box::new(rsa::pkcs1v15::VerifyingKey::new(key))))
    }

    /// Reads an RSA key as above, for PSS.
    #[must_use]
    pub fn rsa_pss(bytes: &[u8]) -> Option<Self> {
        Some(Self::RsaPss(Box::new(rsa::pss::VerifyingKey::new(strong_rsa(bytes)?))))
    }

    /// The digest of content that it verifies.
    fn digest(&self) -> Digest {
        match self {
            Self::Ed25519(_) | Self::P256(_) | Self::Rsa(_) => Digest::sha256(),
            Self::RsaPss(_) => Digest::sha512(),
            Self::RsaSha1(_) => Digest::sha1(),
        }
    }

    fn verifies(&self, digest: &[u8], claim: &[u8]) -> bool {
        match self {
            Self::Ed25519(_) => false,
            // A DER signature with a zero scalar cannot be read.
            Self::P256(key) => p256::ecdsa::Signature::from_der(claim)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
            Self::Rsa(key) => rsa::pkcs1v15::Signature::try_from(claim)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
            Self::RsaSha1(key) => rsa::pkcs1v15::Signature::try_from(claim)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
            Self::RsaPss(key) => rsa::pss::Signature::try_from(claim)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(..)")
    }
}

fn strong_rsa(bytes: &[u8]) -> Option<rsa::PublicKey> {
    rsa::PublicKey::from_public_key_der(bytes).ok().filter(|key| key.n().bit_width() >= LEAST_RSA_BITS)
}

/// Ed25519 hashes the signature before the content, so each claim has a stream of its own. What `verify_strict` refuses
/// is refused here: a point of small order in the signature. A scalar out of range cannot be read.
fn stream(key: &ed25519::VerifyingKey, claim: &[u8]) -> Option<ed25519::StreamVerifier> {
    let signature = ed25519::Signature::from_slice(claim).ok()?;
    let point = ed25519::VerifyingKey::from_bytes(signature.r_bytes()).ok()?;
    if point.is_weak() { None } else { key.verify_stream(&signature).ok() }
}

/// A verification with any of several keys in the making.
pub enum Verification {
    /// One stream for each key and claim, with the key's place in the configuration.
    Ed25519(Vec<(usize, ed25519::StreamVerifier)>),
    /// The digest that all claims are about: the content is hashed once, however many keys and claims there are.
    Digest(Vec<(usize, Arc<PublicKey>)>, Digest),
}

impl Verification {
    /// Starts to verify the claims, with each of these keys of one kind, over content that begins with these bytes.
    #[must_use]
    pub fn start(keys: Vec<(usize, Arc<PublicKey>)>, claims: &[Vec<u8>], before: &[u8]) -> Self {
        let mut streams = Vec::new();
        let mut others = Vec::new();
        for (place, key) in keys {
            match key.as_ref() {
                PublicKey::Ed25519(key) => {
                    let started = claims.iter().filter_map(|claim| stream(key, claim));
                    streams.extend(started.map(|stream| (place, stream)));
                }
                PublicKey::P256(_) | PublicKey::Rsa(_) | PublicKey::RsaSha1(_) | PublicKey::RsaPss(_) => {
                    others.push((place, key));
                }
            }
        }
        let digest = others.first().map(|(_, key)| key.digest());
        let mut verification = match digest {
            Some(digest) => Self::Digest(others, digest),
            None => Self::Ed25519(streams),
        };
        verification.update(before);
        verification
    }

    /// Adds the next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Ed25519(streams) => streams.iter_mut().for_each(|(_, stream)| stream.update(bytes)),
            Self::Digest(_, digest) => digest.update(bytes),
        }
    }

    /// The place of the key with which a claim holds, of those that are admitted. Nothing here is secret, so the first
    /// one ends it.
    #[must_use]
    pub fn finish(self, claims: &[Vec<u8>], is_admitted: impl Fn(usize) -> bool) -> Option<usize> {
        match self {
            Self::Ed25519(streams) => streams
                .into_iter()
                .filter(|(place, _)| is_admitted(*place))
                .find_map(|(place, stream)| stream.finalize_and_verify().is_ok().then_some(place)),
            Self::Digest(keys, digest) => {
                let digest = digest.finish();
                let holds = |key: &PublicKey| claims.iter().any(|claim| key.verifies(&digest, claim));
                let mut admitted = keys.into_iter().filter(|(place, _)| is_admitted(*place));
                admitted.find_map(|(place, key)| holds(&key).then_some(place))
            }
        }
    }

    /// The bytes on the heap.
    pub(crate) fn kept_bytes(&self) -> usize {
        match self {
            Self::Ed25519(streams) => heap(streams),
            Self::Digest(keys, digest) => heap(keys).saturating_add(digest.kept_bytes()),
        }
    }
}

impl fmt::Debug for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verification(..)")
    }
}

/// The DER of an ECDSA signature on P-256 that is written as its two scalars of 32 bytes (RFC 7518 3.4); nothing for one that
/// is none.
#[must_use]
pub fn der_of_scalars(scalars: &[u8]) -> Option<Vec<u8>> {
    Some(p256::ecdsa::Signature::from_slice(scalars).ok()?.to_der().as_bytes().to_vec())
}

/// The DER inside a PEM text (RFC 7468), whatever its label.
#[must_use]
pub fn pem(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.trim().strip_prefix("-----BEGIN ")?.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    let base64: String = body.replace("\\n", "").split_whitespace().collect();
    BASE64.decode(base64.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    /// RFC 8032 7.1, test 3.
    const KEY: &str = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";
    const SIGNATURE: &str = "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
                             18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a";

    fn verifies(key: &PublicKey, content: &[u8], claim: &[u8]) -> bool {
        let claims = [vec![0; 64], claim.to_vec()];
        let mut verification = Verification::start(vec![(7, Arc::new(key.clone()))], &claims, &content[..1]);
        verification.update(&content[1..]);
        verification.finish(&claims, |_| true) == Some(7)
    }

    #[test]
    fn ed25519_is_that_of_rfc_8032_raw_or_in_der() {
        let raw = HEXLOWER.decode(KEY.as_bytes()).unwrap();
        let signature = HEXLOWER.decode(SIGNATURE.as_bytes()).unwrap();
        for form in [raw.clone(), [&ED25519_SPKI[..], &raw].concat()] {
            let key = PublicKey::ed25519(&form).unwrap();
            assert!(verifies(&key, &[0xaf, 0x82], &signature));
            assert!(!verifies(&key, &[0xaf, 0x83], &signature));
        }
    }

    #[test]
    fn what_a_verification_keeps_is_counted() {
        let key = Arc::new(PublicKey::ed25519(&HEXLOWER.decode(KEY.as_bytes()).unwrap()).unwrap());
        let claim = HEXLOWER.decode(SIGNATURE.as_bytes()).unwrap();
        let kept = Verification::start(vec![(0, key)], &[claim], b"").kept_bytes();
        assert!(kept > size_of::<Verification>(), "{kept}: a stream for each claim");
    }

    #[test]
    fn weak_and_non_canonical_points_are_no_keys_and_no_signatures() {
        let identity = [&[1][..], &[0; 31]].concat();
        let non_canonical = [&[0xee][..], &[0xff; 30], &[0x7f]].concat();
        for (name, bytes) in [("identity", &identity), ("zero", &vec![0; 32]), ("p + 1", &non_canonical)] {
            assert!(PublicKey::ed25519(bytes).is_none(), "{name}");
        }
        let key = PublicKey::ed25519(&HEXLOWER.decode(KEY.as_bytes()).unwrap()).unwrap();
        let mut small_order = identity;
        small_order.extend([0; 32]);
        assert!(!verifies(&key, &[0xaf, 0x82], &small_order));
        // The same signature with the group's order added to its scalar.
        let mut stretched = HEXLOWER.decode(SIGNATURE.as_bytes()).unwrap();
        let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
        let mut carry = 0;
        for (byte, add) in stretched[32..].iter_mut().zip(HEXLOWER.decode(order.as_bytes()).unwrap()) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = u8::try_from(sum & 0xff).unwrap();
            carry = sum >> 8;
        }
        assert!(!verifies(&key, &[0xaf, 0x82], &stretched));
    }

    #[test]
    fn zero_scalars_and_short_or_broken_keys_are_refused() {
        // The base point of P-256 (FIPS 186-4 D.1.2.3), compressed: a valid key, whoever holds its discrete logarithm.
        let point = "036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296";
        let key = PublicKey::p256(&HEXLOWER.decode(point.as_bytes()).unwrap()).unwrap();
        for claim in ["3006020100020100", "3006020101020100", "3006020100020101", "3000", ""] {
            assert!(!verifies(&key, b"ab", &HEXLOWER.decode(claim.as_bytes()).unwrap()), "{claim}");
        }
        assert!(PublicKey::p256(&[4; 65]).is_none());
        assert!(PublicKey::p256(&[0]).is_none(), "the point at infinity");
        assert!(PublicKey::rsa(&[0x30, 0]).is_none());
    }

    #[test]
    fn pem_gives_its_der() {
        let text = "-----BEGIN PUBLIC KEY-----\nAQID\nBA==\n-----END PUBLIC KEY-----\n";
        assert_eq!(pem(text), Some(vec![1, 2, 3, 4]));
        assert_eq!(
            pem(&text.trim().replace('\n', "\\n")),
            Some(vec![1, 2, 3, 4]),
            "newlines escaped by a shell"
        );
        assert_eq!(pem("AQID"), None);
        assert_eq!(pem("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----"), None);
    }
}
