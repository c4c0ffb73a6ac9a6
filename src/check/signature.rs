//! The signature check: did someone who holds the secret sign these bytes, lately?
//!
//! Responsible for one shape that covers every provider: fields that say where values sit, a template of the signed
//! content, an algorithm, a freshness. The body is hashed as it comes and never kept. Refuses to know any provider by
//! name: those are data (`src/providers.json`).

pub mod content;
pub mod field;
pub mod freshness;
pub mod mac;

use crate::check::signature::content::SignedContent;
use crate::check::signature::field::{Field, Found, Place};
use crate::check::signature::freshness::Freshness;
use crate::check::signature::mac::{Algorithm, BodyDigest, Encoding, Key, Mac};
use crate::request::{Facts, Occurrence};
use crate::secret::{Secret, equal};
use crate::verdict::Reason;
use std::rc::Rc;

/// At most this many claimed signatures are looked at, however many the sender lists.
pub const MAX_CANDIDATES: usize = 16;

/// How one signature is laid out.
#[derive(Clone, Debug)]
pub struct Scheme {
    /// What computes the tag. Always the configuration's choice, never the request's.
    pub algorithm: Algorithm,
    /// Where the claimed signatures sit, at least one place.
    pub signature: Vec<Field>,
    /// How they are written.
    pub encoding: Encoding,
    /// The bytes that are signed.
    pub signed: SignedContent,
    /// Where the signed time sits and how far from now it may lie; nothing where no time is signed.
    pub freshness: Option<Freshness>,
    /// Where the sender's id of the delivery sits.
    pub delivery_id: Option<Field>,
    /// What must hold beside the signature.
    pub require: Vec<Equality>,
}

/// An equality that must hold beside the signature: the place is there once and has the value.
#[derive(Clone, Debug)]
pub struct Equality {
    /// The header or query parameter.
    pub place: Place,
    /// Its value.
    pub expected: Expected,
}

/// What an equality expects.
#[derive(Clone, Debug)]
pub enum Expected {
    /// This text.
    Text(Rc<str>),
    /// The SHA-256 of the body, in this encoding.
    BodyDigest(Encoding),
}

/// A scheme with the secrets that may have signed.
#[derive(Clone, Debug)]
pub struct SignatureCheck {
    /// The layout.
    pub scheme: Scheme,
    /// Any one of these, at least one.
    pub secrets: Vec<Secret<Key>>,
    /// The base of the URL as the provider knows it, for schemes that sign the URL.
    pub public_url: Option<Rc<str>>,
}

impl SignatureCheck {
    /// Judges all that the headers tell, and makes ready to hash the body.
    ///
    /// # Errors
    /// The reason, when the headers alone settle that the signature cannot hold.
    pub fn begin(&self, facts: &Facts<'_>) -> Result<Running, Reason> {
        let scheme = &self.scheme;
        let claims = self.claims(facts)?;
        let timestamp = match &scheme.freshness {
            Some(freshness) => Some(freshness.judge(facts)?),
            None => None,
        };
        let mut digests = Vec::new();
        for equality in &scheme.require {
            digests.extend(equality.begin(facts)?);
        }
        let id = scheme.delivery_id.as_ref().map(|field| field.read(facts));
        let values = content::Values {
            facts,
            timestamp: timestamp.as_deref(),
            id: id.as_ref(),
            public_url: self.public_url.as_deref(),
        };
        let (before, after) = scheme.signed.render(&values)?;
        let valid = self.secrets.iter().filter(|secret| secret.validity.admits(facts.now));
        let macs = valid.map(|secret| (secret.id.clone(), secret.value.start(&before))).collect();
        Ok(Running { macs, claims, digests, after })
    }

    /// The claimed tags, decoded. One that cannot be decoded is skipped beside others.
    fn claims(&self, facts: &Facts<'_>) -> Result<Vec<Vec<u8>>, Reason> {
        let mut reason = Reason::SignatureMissing;
        let mut claims = Vec::new();
        let mut looked_at = 0_usize;
        for field in &self.scheme.signature {
            match field.read(facts) {
                Found::Absent => {}
                Found::Ambiguous => return Err(Reason::SignatureAmbiguous),
                Found::Items(items) => {
                    reason = Reason::SignatureMalformed;
                    let left = MAX_CANDIDATES.saturating_sub(looked_at);
                    for item in items.iter().take(left) {
                        looked_at = looked_at.saturating_add(1);
                        claims.extend(self.scheme.encoding.decode(item));
                    }
                }
            }
        }
        if claims.is_empty() { Err(reason) } else { Ok(claims) }
    }

    /// The sender's id of the delivery, for the record: it is not proven where the scheme does not sign it.
    #[must_use]
    pub fn delivery_id(&self, facts: &Facts<'_>) -> Option<Rc<str>> {
        self.scheme.delivery_id.as_ref()?.printable(facts)
    }
}

impl Equality {
    /// Judges what the headers tell; what needs the body is handed back.
    fn begin(&self, facts: &Facts<'_>) -> Result<Option<(BodyDigest, Vec<u8>)>, Reason> {
        let Occurrence::Once(given) = self.place.read(facts) else { return Err(Reason::RequirementNotMet) };
        match &self.expected {
            Expected::Text(text) if *given == *text.as_bytes() => Ok(None),
            Expected::Text(_) => Err(Reason::RequirementNotMet),
            Expected::BodyDigest(encoding) => {
                let claimed = encoding.decode(&given).ok_or(Reason::RequirementNotMet)?;
                Ok(Some((BodyDigest::default(), claimed)))
            }
        }
    }
}
/// A signature check that waits for the rest of the body.
#[derive(Debug)]
pub struct Running {
    macs: Vec<(Option<Rc<str>>, Mac)>,
    claims: Vec<Vec<u8>>,
    digests: Vec<(BodyDigest, Vec<u8>)>,
    after: Vec<u8>,
}

impl Running {
    /// Hashes the next bytes of the body.
    pub fn update(&mut self, chunk: &[u8]) {
        for (_, mac) in &mut self.macs {
            mac.update(chunk);
        }
        for (digest, _) in &mut self.digests {
            digest.update(chunk);
        }
    }

    /// Compares every claimed tag with the tag of every secret, without an early exit.
    ///
    /// Returns the id of the secret that signed, if it has one.
    ///
    /// # Errors
    /// `signature_mismatch`, or `requirement_not_met` when the body is not the one that the scheme demands.
    pub fn finish(self) -> Result<Option<Rc<str>>, Reason> {
        let mut signer = None;
        for (id, mac) in self.macs {
            let tag = mac.finish(&self.after);
            for claim in &self.claims {
                if equal(&tag, claim) {
                    signer = Some(id.clone());
                }
            }
        }
        let signer = signer.ok_or(Reason::SignatureMismatch)?;
        let same_body = self.digests.into_iter().all(|(digest, claimed)| equal(&digest.finish(), &claimed));
        if same_body { Ok(signer) } else { Err(Reason::RequirementNotMet) }
    }
}
