//! Public keys that a sender publishes: key sets (JWK, RFC 7517), and the certificates that its messages name (RFC 5280).
//!
//! Responsible for which keys of an answer are taken, and for the form in which workers share them, which has the head of a
//! list of networks:
//!
//! ```text
//!  "wgk1" │ keys: u32 │ 0: u32 │ fetched, ms since the Unix epoch: i64 │ keys
//! ```
//! A key is its id, when it may be used (two times, ms), its kind, and two texts, each of which is preceded by its length
//! (u32). All numbers are big-endian.

use super::certificate::Certificate;
use super::key::Algorithm;
use super::public_key::{PublicKey, pem};
use crate::request::Millis;
use crate::secret::Validity;
use crate::vocabulary::Json;
use data_encoding::BASE64URL_NOPAD;
use std::sync::Arc;

/// The most bytes that an answer with keys may have.
pub const MOST_BYTES: usize = 256 << 10;
/// The most keys that a set may have.
const MOST_KEYS: usize = 64;
/// How many certificates are kept: those that were fetched last.
const MOST_CERTIFICATES: usize = 8;
/// The longest id of a key, in bytes.
const LONGEST_ID: usize = 256;

pub(crate) const MAGIC: [u8; 4] = *b"wgk1";
/// A time that is not given.
const NEVER: i64 = i64::MIN;

/// A key that was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedKey {
    /// Its name: the `kid` of a key set, the path of a certificate.
    pub id: String,
    /// When it may be used.
    pub validity: Validity,
    material: Material,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    /// Modulus and exponent.
    Rsa(Vec<u8>, Vec<u8>),
    /// A point of P-256, uncompressed.
    P256(Vec<u8>),
    /// The 32 bytes of Ed25519.
    Ed25519(Vec<u8>),
    /// The public key of a certificate, in DER.
    Der(Vec<u8>),
}

impl PublishedKey {
    /// The key, ready to verify what was signed by that algorithm; nothing where it is of another kind, or weak.
    #[must_use]
    pub fn public_key(&self, algorithm: Algorithm) -> Option<PublicKey> {
        match (&self.material, algorithm) {
            (Material::Rsa(modulus, exponent), Algorithm::RsaSha256) => PublicKey::rsa_of(modulus, exponent),
            (Material::P256(point), Algorithm::EcdsaP256Sha256) => PublicKey::p256(point),
            (Material::Ed25519(point), Algorithm::Ed25519) => PublicKey::ed25519(point),
            (Material::Der(der), Algorithm::RsaSha256) => PublicKey::rsa(der),
            (Material::Der(der), Algorithm::RsaSha1) => PublicKey::rsa_sha1(der),
            (Material::Der(der), Algorithm::EcdsaP256Sha256) => PublicKey::p256(der),
            _ => None,
        }
    }

    /// Whether it can verify anything.
    fn is_usable(&self) -> bool {
        let algorithms = [Algorithm::RsaSha256, Algorithm::EcdsaP256Sha256, Algorithm::Ed25519];
        algorithms.into_iter().any(|algorithm| self.public_key(algorithm).is_some())
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        let time = |time: Option<Millis>| time.map_or(NEVER, |time| time.0).to_be_bytes();
        let (kind, one, other): (u8, &[u8], &[u8]) = match &self.material {
            Material::Rsa(modulus, exponent) => (1, modulus, exponent),
            Material::P256(point) => (2, point, &[]),
            Material::Ed25519(point) => (3, point, &[]),
            Material::Der(der) => (4, der, &[]),
        };
        put(bytes, self.id.as_bytes());
        bytes.extend_from_slice(&time(self.validity.not_before));
        bytes.extend_from_slice(&time(self.validity.not_after));
        bytes.push(kind);
        put(bytes, one);
        put(bytes, other);
    }
}

fn put(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(text);
}

/// The keys that are known, however many checks look at them.
pub type PublishedKeys = Arc<[PublishedKey]>;

/// The key of that name that may be used at that time.
pub(crate) fn find<'k>(keys: &'k [PublishedKey], id: &str, now: Millis) -> Option<&'k PublishedKey> {
    keys.iter().find(|key| key.id == id && key.validity.admits(now))
}

/// Where certificates are published: nothing of a URL leads elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publisher {
    /// The host.
    pub authority: Arc<str>,
    /// What the path of each begins with.
    pub prefix: Arc<str>,
}

/// The longest part of a path that a message may name, and the longest path that it may have fetched.
const LONGEST_NAME: usize = 128;
const LONGEST_PATH: usize = 2048;

impl Publisher {
    /// The path of a certificate's URL; nothing where it is none of this publisher's.
    #[must_use]
    pub fn path_of<'u>(&self, url: &'u str) -> Option<&'u str> {
        let path = self.path_on_its_host(url)?;
        let name = path.strip_prefix(&*self.prefix)?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let fits = !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(is_plain);
        fits.then_some(path)
    }

    /// The path, with its query, of a URL on the same host, over TLS.
    #[must_use]
    pub fn path_on_its_host<'u>(&self, url: &'u str) -> Option<&'u str> {
        let path = url.strip_prefix("https://")?.strip_prefix(&*self.authority)?;
        let is_plain = path.len() <= LONGEST_PATH && path.bytes().all(|byte| byte.is_ascii_graphic());
        (path.starts_with('/') && is_plain).then_some(path)
    }
}

/// The form of these keys in which they are shared.
pub(crate) fn shared(keys: &[PublishedKey], fetched: Millis) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&u32::try_from(keys.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&fetched.0.to_be_bytes());
    keys.iter().for_each(|key| key.write(&mut bytes));
    bytes
}

/// The keys behind the head of what is shared; nothing where the bytes are none.
pub(crate) fn read_shared(count: usize, mut bytes: &[u8]) -> Option<Vec<PublishedKey>> {
    let mut keys = Vec::new();
    while !bytes.is_empty() {
        keys.push(read_one(&mut bytes)?);
    }
    (keys.len() == count).then_some(keys)
}

fn read_one(bytes: &mut &[u8]) -> Option<PublishedKey> {
    let id = String::from_utf8(take(bytes)?).ok()?;
    let mut time = || {
        let (time, rest) = bytes.split_first_chunk::<8>()?;
        *bytes = rest;
        let time = i64::from_be_bytes(*time);
        Some((time != NEVER).then_some(Millis(time)))
    };
    let validity = Validity { not_before: time()?, not_after: time()? };
    let (kind, rest) = bytes.split_first()?;
    *bytes = rest;
    let (one, other) = (take(bytes)?, take(bytes)?);
    let material = match kind {
        1 => Material::Rsa(one, other),
        2 => Material::P256(one),
        3 => Material::Ed25519(one),
        4 => Material::Der(one),
        _ => return None,
    };
    Some(PublishedKey { id, validity, material })
}

fn take(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (text, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(text.to_vec())
}

/// Reads a key set. What is no key that we could use stands beside the others, and is left out.
///
/// # Errors
/// It is no key set, has too many keys, two of one id, or none that can be used.
pub(crate) fn key_set(text: &[u8]) -> Result<Vec<PublishedKey>, &'static str> {
    let Some(Json::Object(members)) = Json::of_text(text) else { return Err(NO_SET) };
    let mut lists = members.iter().filter(|(name, _)| name == "keys").map(|(_, value)| value);
    let (Some(Json::List(entries)), None) = (lists.next(), lists.next()) else {
        return Err(NO_SET);
    };
    if entries.len() > MOST_KEYS {
        return Err("there are more than 64 keys in it");
    }
    let keys: Vec<PublishedKey> = entries.iter().filter_map(jwk).filter(PublishedKey::is_usable).collect();
    let has_twins = keys.iter().enumerate().any(|(at, key)| keys.iter().take(at).any(|one| one.id == key.id));
    match (has_twins, keys.is_empty()) {
        (true, _) => Err("two of its keys have the same id"),
        (false, true) => Err("there is no key in it that could be used"),
        (false, false) => Ok(keys),
    }
}

const NO_SET: &str = "the answer is no set of keys (RFC 7517 5)";

/// A key of a set (RFC 7518 6, RFC 8037 2); nothing where it has no id, is meant for something else, or is of another kind.
fn jwk(entry: &Json) -> Option<PublishedKey> {
    let Json::Object(members) = entry else { return None };
    let text = |name: &str| {
        let mut values = members.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (Some(Json::Text(text)), None) => Some(text.as_str()),
            _ => None,
        }
    };
    let bytes = |name: &str| BASE64URL_NOPAD.decode(text(name)?.as_bytes()).ok();
    let id = text("kid").filter(|id| !id.is_empty() && id.len() <= LONGEST_ID)?;
    let is_for_signatures = text("use").is_none_or(|meant| meant == "sig");
    let material = match (text("kty")?, text("crv")) {
        ("RSA", None) => Material::Rsa(bytes("n")?, bytes("e")?),
        ("EC", Some("P-256")) => Material::P256([&[4][..], &bytes("x")?, &bytes("y")?].concat()),
        ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x")?),
        _ => return None,
    };
    let key = PublishedKey { id: id.to_owned(), validity: Validity::default(), material };
    is_for_signatures.then_some(key)
}

/// Adds the certificate of that path, in PEM, to those that are known, of which the oldest is forgotten.
///
/// # Errors
/// It is no certificate, or has no key that could be used.
pub(crate) fn certificate(
    known: &[PublishedKey],
    path: &str,
    text: &[u8],
    now: Millis,
) -> Result<Vec<PublishedKey>, &'static str> {
    const NO_CERTIFICATE: &str = "the answer is no certificate in PEM";
    let der = std::str::from_utf8(text).ok().and_then(pem).ok_or(NO_CERTIFICATE)?;
    let Certificate { public_key, validity } = Certificate::read(&der).ok_or(NO_CERTIFICATE)?;
    let key = PublishedKey { id: path.to_owned(), validity, material: Material::Der(public_key) };
    if !validity.admits(now) {
        return Err("the certificate is not valid now");
    }
    if !key.is_usable() {
        return Err("the certificate has no key that could be used");
    }
    let others = known.iter().filter(|one| one.id != path && one.validity.admits(now));
    Ok(std::iter::once(&key).chain(others).take(MOST_CERTIFICATES).cloned().collect())
}
