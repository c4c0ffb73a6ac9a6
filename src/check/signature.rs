//! The signature check: did someone who holds the secret sign these bytes, lately?
//!
//! Responsible for one shape that covers every provider: fields that say where values sit, a template of the signed
//! content, an algorithm, a freshness. The body is hashed as it comes and not kept, a signed form aside. Refuses to know any provider by
//! name: those are data (`src/providers.json`).

pub mod content;
pub mod field;
pub mod freshness;
pub mod json;
pub mod key;
pub mod mac;
pub mod public_key;

use crate::check::signature::content::{Body, SignedContent};
use crate::check::signature::field::{Field, Found, Place};
use crate::check::signature::freshness::Freshness;
use crate::check::signature::json::{Answer, Search};
use crate::check::signature::key::{Algorithm, Attempt, Key};
use crate::check::signature::mac::{BodyDigest, Encoding};
use crate::request::{Facts, Millis, Occurrence};
use crate::secret::{Secret, equal};
use crate::verdict::Reason;
use std::fmt;
use std::rc::Rc;

/// At most this many claimed signatures are looked at, however many the sender lists.
pub const MAX_CANDIDATES: usize = 16;

/// How one signature is laid out.
#[derive(Clone, Debug)]
pub struct Scheme {
    /// What it is verified with.
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
        let mut later = Vec::new();
        for field in &scheme.signature {
            later
                .extend(field.search().map(|search| (search, Later::Claims(field.clone(), scheme.encoding))));
        }
        let mut timestamp = None;
        if let Some(freshness) = &scheme.freshness {
            match freshness.field.search() {
                Some(search) => later.push((search, Later::Time(freshness.clone(), facts.now))),
                None => timestamp = Some(freshness.judge(facts)?),
            }
        }
        let mut digests = Vec::new();
        for equality in &scheme.require {
            digests.extend(equality.begin(facts)?);
        }
        if let Some(field) = &scheme.delivery_id {
            later.extend(field.search().map(|search| (search, Later::DeliveryId)));
        }
        let id_field = scheme.delivery_id.as_ref().filter(|_| scheme.signed.has(&content::Part::Id));
        let id = id_field.map(|field| field.read(facts));
        let mut attempts = Vec::new();
        let valid = |secret: &Secret<Key>| secret.validity.admits(facts.now);
        for (index, secret) in self.secrets.iter().enumerate().filter(|(_, secret)| valid(secret)) {
            let values = content::Values {
                facts,
                timestamp: timestamp.as_deref(),
                id: id.as_ref(),
                public_url: self.public_url.as_deref(),
                secret: secret.value.text(),
            };
            let (before, after) = scheme.signed.render(&values)?;
            let attempt = secret.value.start(&before, &claims);
            attempts.push(Signer { id: secret.id.clone(), secret: index, attempt, after });
        }
        let form = if scheme.signed.body() == Body::Form { Some(Vec::new()) } else { None };
        Ok(Running { attempts, claims, digests, later, form, hashes_body: scheme.signed.body() == Body::Raw })
    }

    /// The claimed tags of the headers, decoded. One that cannot be decoded is skipped beside others.
    fn claims(&self, facts: &Facts<'_>) -> Result<Vec<Vec<u8>>, Reason> {
        let mut reason = Reason::SignatureMissing;
        let mut claims = Vec::new();
        let mut looked_at = 0_usize;
        for field in &self.scheme.signature {
            match field.read(facts) {
                Found::Later => return Ok(Vec::new()),
                Found::Absent => {}
                Found::Ambiguous => return Err(Reason::SignatureAmbiguous),
                Found::Items(items) => {
                    reason = Reason::SignatureMalformed;
                    let left = MAX_CANDIDATES.saturating_sub(looked_at);
                    looked_at = looked_at.saturating_add(items.len().min(left));
                    claims
                        .extend(items.iter().take(left).filter_map(|item| self.scheme.encoding.decode(item)));
                }
            }
        }
        if claims.is_empty() { Err(reason) } else { Ok(claims) }
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
/// What a search in the body is for.
#[derive(Clone, Debug)]
enum Later {
    Claims(Field, Encoding),
    Time(Freshness, Millis),
    DeliveryId,
}

/// One secret that may have signed. Prints nothing: what follows the body can hold the secret.
struct Signer {
    id: Option<Rc<str>>,
    secret: usize,
    attempt: Attempt,
    after: Vec<u8>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(..)")
    }
}

/// A signature check that waits for the rest of the body.
#[derive(Debug)]
pub struct Running {
    attempts: Vec<Signer>,
    claims: Vec<Vec<u8>>,
    digests: Vec<(BodyDigest, Vec<u8>)>,
    later: Vec<(Search, Later)>,
    /// The body of a scheme that signs a form. It cannot be sorted before it is whole, so it is kept.
    form: Option<Vec<u8>>,
    hashes_body: bool,
}

/// A signature that holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The id of the secret that signed, if it has one.
    pub secret_id: Option<Rc<str>>,
    /// The place of that secret among those of the check.
    pub secret: usize,
    /// The sender's id of the delivery, where it sits in the body.
    pub delivery_id: Option<Rc<str>>,
}

impl Running {
    /// Takes the next bytes of the body.
    pub fn update(&mut self, chunk: &[u8]) {
        if self.hashes_body {
            for signer in &mut self.attempts {
                signer.attempt.update(chunk);
            }
        }
        if let Some(form) = &mut self.form {
            form.extend_from_slice(chunk);
        }
        for (digest, _) in &mut self.digests {
            digest.update(chunk);
        }
        for (search, _) in &mut self.later {
            search.update(chunk);
        }
    }

    /// Compares every claim with every secret, without an early exit; then what the body says of itself.
    ///
    /// # Errors
    /// `signature_mismatch`; `requirement_not_met` when the body is not the one that the scheme demands; the reasons of
    /// a signature or time that sits in the body.
    pub fn finish(mut self) -> Result<Held, Reason> {
        let mut held = Held::default();
        let mut time = Ok(());
        for (search, later) in std::mem::take(&mut self.later) {
            let answer = search.finish();
            match later {
                Later::Claims(field, encoding) => self.claims = claims_of(&field, encoding, answer)?,
                Later::Time(freshness, now) => time = freshness.judge_answer(answer, now),
                Later::DeliveryId => {
                    if let Answer::Value(id) = answer {
                        held.delivery_id = field::printable(&id);
                    }
                }
            }
        }
        let form = self.form.as_deref().map(content::form).unwrap_or_default();
        let mut signer = None;
        for Signer { id, secret, mut attempt, after } in self.attempts {
            attempt.update(&form);
            if attempt.finish(&after, &self.claims) {
                signer = Some((id, secret));
            }
        }
        (held.secret_id, held.secret) = signer.ok_or(Reason::SignatureMismatch)?;
        time?;
        let same_body = self.digests.into_iter().all(|(digest, claimed)| equal(&digest.finish(), &claimed));
        if same_body { Ok(held) } else { Err(Reason::RequirementNotMet) }
    }
}

fn claims_of(field: &Field, encoding: Encoding, answer: Answer) -> Result<Vec<Vec<u8>>, Reason> {
    let value = match answer {
        Answer::Absent => return Err(Reason::SignatureMissing),
        Answer::Ambiguous => return Err(Reason::SignatureAmbiguous),
        Answer::Value(value) => value,
    };
    let claims: Vec<Vec<u8>> =
        field.items(&value).into_iter().filter_map(|item| encoding.decode(item)).collect();
    if claims.is_empty() { Err(Reason::SignatureMalformed) } else { Ok(claims) }
}
