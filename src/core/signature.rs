//! The signature check: did someone who holds the secret sign these bytes, lately?
//!
//! Responsible for one shape that covers every provider: fields that say where values sit, a template of the signed
//! content, an algorithm, a freshness. No provider is known here by name: those are data (`src/core/catalogue.json`). The body is hashed as it comes
//! and not kept; what is kept of a request until its body ends is a few small values ([`Running::kept_bytes`]).

mod certificate;
pub mod field;
pub mod form;
pub mod hmac;
pub mod json_pointer;
pub mod jwt;
pub mod key;
mod key_form;
pub mod message_signature;
pub mod public_key;
pub mod public_url;
pub mod published_key;
pub(crate) mod scheme;
pub mod sns;
mod structured;
pub mod template;
pub mod timestamp;

pub use key_form::{KeyEncoding, KeyForm};
pub use scheme::{Equality, Expected, Scheme};

use crate::budget::heap;
use crate::decision::Reason;
use crate::memory::DeliveryKey;
use crate::request::{Facts, Millis, Occurrence};
use crate::secret::{Secret, equal};
use crate::signature::field::{Field, Found};
use crate::signature::form::Form;
use crate::signature::hmac::{BodyDigest, BodyText, Digest};
use crate::signature::json_pointer::{Answer, Search};
use crate::signature::key::{Key, Tag};
use crate::signature::message_signature::{Candidate, MessageSignature};
use crate::signature::public_key::{PublicKey, Verification};
use crate::signature::public_url::PublicUrl;
use crate::signature::published_key::{PublishedKeys, Publisher};
use crate::signature::sns::Sns;
use crate::signature::template::{Body, Part, Rendered, Seam, Values};
use crate::signature::timestamp::Times;
use std::fmt;
use std::sync::Arc;

/// A scheme with the secrets that may have signed.
#[derive(Clone, Debug)]
pub struct SignatureCheck {
    /// The layout.
    pub scheme: Scheme,
    /// Any one of these, at least one; none where the keys are fetched.
    pub secrets: Vec<Secret<Key>>,
    /// Where the keys are fetched from, where they are.
    pub fetched: Option<FetchedKeys>,
    /// The URL as the provider knows it, for schemes that sign it.
    pub public_url: Option<PublicUrl>,
    /// Whether the policy governs single paths only, of which none is the beginning of another.
    pub has_exact_paths: bool,
    /// What names a delivery, where it is to be remembered.
    pub names: Option<Names>,
}

/// What names a delivery: a place in the signed body, or else what the scheme signs as its id, or else all that is signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The place in the body.
    pub field: Option<Field>,
}

/// The keys of a check that are fetched while the gateway runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedKeys {
    /// The place of the feed that has them.
    pub feed: usize,
    /// Who publishes them.
    pub publisher: Publisher,
}

/// Why a signature does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// The path of a certificate that has to be fetched before it could be judged.
    pub lacks: Option<Arc<str>>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, lacks: None }
    }
}

impl SignatureCheck {
    /// Judges all that the headers tell, and makes ready to hash the body. `keys` are those that were fetched, where the check
    /// needs such: nothing while there are none.
    ///
    /// # Errors
    /// The reason, when the headers alone settle that the signature cannot hold; `host_fault` while there are no keys.
    pub fn begin(
        self: &Arc<Self>,
        facts: &Facts<'_>,
        keys: Option<&PublishedKeys>,
    ) -> Result<Running, Refusal> {
        let scheme = &self.scheme;
        if scheme.sns.is_some() {
            return Ok(Running { keys: keys.cloned(), ..Running::new(self) });
        }
        if let Some(terms) = &scheme.message {
            return Ok(self.begin_message(terms, facts)?);
        }
        let token = match &scheme.jwt {
            Some(jwt) => Some(jwt.read(facts, scheme.algorithm, self.public_url.as_ref())?),
            None => None,
        };
        let claims = match &token {
            Some(token) => Claims::List(vec![token.signature.clone()]),
            None => self.claims(facts)?,
        };
        let mut later = Vec::new();
        for (index, field) in scheme.signature.iter().enumerate() {
            later.extend(field.search().map(|search| (search, Later::Claims(index))));
        }
        let mut sent = None;
        let mut timestamp = None;
        if let Some(freshness) = &scheme.freshness {
            match freshness.field.search() {
                Some(search) => later.push((search, Later::Time)),
                None => (timestamp, sent) = freshness.judge(facts).map(|(raw, at)| (Some(raw), Some(at)))?,
            }
        }
        let mut digests = Vec::new();
        for equality in &scheme.require {
            digests.extend(equality.begin(facts)?);
        }
        let digest = token.as_ref().and_then(|token| token.body);
        digests.extend(digest.map(|digest| (Digest::sha256(), digest.to_vec())));
        later.extend(self.later());
        let id_field = scheme.delivery_id.as_ref().filter(|_| scheme.signed.has(&Part::Id));
        let id = id_field.map(|field| field.read(facts));
        let values = Values {
            facts,
            timestamp: timestamp.as_deref(),
            id: id.as_ref(),
            public_url: self.public_url.as_ref(),
            has_exact_paths: self.has_exact_paths,
            secret: None,
        };
        let Rendered { mut before, after, seam } = scheme.signed.render(&values)?;
        if let Some(token) = &token {
            before.clone_from(&token.content);
        }
        if let Claims::WrongLength = claims {
            // Only now: the reason does not depend on how a claim is wrong.
            return Err(Reason::SignatureMismatch.into());
        }
        let claims = claims.into_list();
        let name = self.names.as_ref().map(|_| {
            let id = match &id {
                Some(Found::Items(items)) => items.first().map(|item| item.to_vec()),
                _ => None,
            };
            let mut content = BodyDigest::default();
            content.update(&before);
            Box::new(Name { id, content })
        });
        let public = match (&token, &scheme.certificate) {
            (Some(token), _) if self.fetched.is_some() => {
                Some(self.published(keys, token.key_id.as_deref(), facts.now)?)
            }
            (None, Some(field)) => Some(self.named(keys, field, facts)?),
            _ => None,
        };
        let mut running = Running {
            claims,
            sent,
            times: token.map(|token| token.times),
            digests,
            later,
            content: BodyText::new(scheme.signed.body()).map(Box::new),
            after,
            seam,
            name,
            ..Running::new(self)
        };
        match public {
            Some(key) => {
                running.public = Some(Verification::start(vec![(0, key)], &running.claims, &before));
            }
            None => running.start(&before, values)?,
        }
        Ok(running)
    }

    /// The key of that id, of those that were fetched.
    ///
    /// # Errors
    /// `host_fault` where none was; `signature_malformed` where the sender names no key, `signature_mismatch` where there is no
    /// such, or none of the scheme's kind.
    fn published(
        &self,
        keys: Option<&PublishedKeys>,
        id: Option<&str>,
        now: Millis,
    ) -> Result<Arc<PublicKey>, Reason> {
        let keys = keys.ok_or(Reason::HostFault)?;
        let id = id.ok_or(Reason::SignatureMalformed)?;
        let key = published_key::find(keys, id, now).and_then(|key| key.public_key(self.scheme.algorithm));
        key.map(Arc::new).ok_or(Reason::SignatureMismatch)
    }

    /// The key of the certificate that the headers name.
    ///
    /// # Errors
    /// `signature_malformed` where they name none of the publisher's; `host_fault` where it is not known yet.
    fn named(
        &self,
        keys: Option<&PublishedKeys>,
        field: &Field,
        facts: &Facts<'_>,
    ) -> Result<Arc<PublicKey>, Refusal> {
        let Found::Items(items) = field.read(facts) else { return Err(Reason::SignatureMalformed.into()) };
        let [url] = items.as_slice() else { return Err(Reason::SignatureMalformed.into()) };
        let url = std::str::from_utf8(url).map_err(|_| Reason::SignatureMalformed)?;
        self.certified(keys, url, facts.now)
    }

    /// The key of the certificate with that URL.
    fn certified(
        &self,
        keys: Option<&PublishedKeys>,
        url: &str,
        now: Millis,
    ) -> Result<Arc<PublicKey>, Refusal> {
        let fetched = self.fetched.as_ref().ok_or(Reason::HostFault)?;
        let path = fetched.publisher.path_of(url).ok_or(Reason::SignatureMalformed)?;
        let Some(key) = keys.and_then(|keys| published_key::find(keys, path, now)) else {
            return Err(Refusal { reason: Reason::HostFault, lacks: Some(Arc::from(path)) });
        };
        let key = key.public_key(self.scheme.algorithm).ok_or(Reason::SignatureMismatch)?;
        Ok(Arc::new(key))
    }

    /// Judges an HTTP message signature: it covers headers only, so that nothing but the digest of the body is left open.
    fn begin_message(
        self: &Arc<Self>,
        terms: &MessageSignature,
        facts: &Facts<'_>,
    ) -> Result<Running, Reason> {
        let signed = terms.read(facts, self.scheme.algorithm, self.public_url.as_ref())?;
        for candidate in signed.candidates {
            let Candidate { base, signature, times, name, nonce } = candidate;
            let Some(secret) = self.signer(&base, &[signature], facts.now) else { continue };
            let name = self.names.as_ref().map(|_| {
                let mut content = BodyDigest::default();
                content.update(&name);
                Box::new(Name { id: nonce, content })
            });
            return Ok(Running {
                signer: Some(secret),
                times: Some(times),
                digests: signed.digests,
                later: self.later().collect(),
                name,
                ..Running::new(self)
            });
        }
        Err(Reason::SignatureMismatch)
    }

    /// The place of the secret that signed content of which nothing is still to come. Every secret key is tried, without an
    /// early exit.
    fn signer(&self, content: &[u8], claims: &[Vec<u8>], now: Millis) -> Option<usize> {
        let mut signer = None;
        let mut public = Vec::new();
        for (place, secret) in self.valid(now) {
            match &secret.value {
                Key::Public(key) => public.push((place, key.clone())),
                key => {
                    if key.start(content).is_some_and(|tag| tag.matches(claims)) {
                        signer = Some(place);
                    }
                }
            }
        }
        if public.is_empty() {
            return signer;
        }
        Verification::start(public, claims, content).finish(claims, |_| true)
    }

    /// What is searched for in the body beside the signature and its time.
    fn later(&self) -> impl Iterator<Item = (Search, Later)> {
        let id = self.scheme.delivery_id.as_ref().map(|field| (field, Later::DeliveryId));
        let name = self.names.as_ref().and_then(|names| names.field.as_ref());
        let fields = id.into_iter().chain(name.map(|field| (field, Later::Name)));
        fields.filter_map(|(field, later)| Some((field.search()?, later)))
    }

    /// The secrets that are valid at that time, each with its place.
    fn valid(&self, now: Millis) -> impl Iterator<Item = (usize, &Secret<Key>)> {
        self.secrets.iter().enumerate().filter(move |(_, secret)| secret.validity.admits(now))
    }

    /// The claimed tags of the headers, decoded. One that cannot be decoded is skipped beside others, and one of a
    /// length that the algorithm cannot have is not kept.
    fn claims(&self, facts: &Facts<'_>) -> Result<Claims, Reason> {
        let mut reason = Reason::SignatureMissing;
        let mut claims = Claims::None;
        let mut left = self.scheme.algorithm.most_claims();
        for field in &self.scheme.signature {
            match field.read(facts) {
                Found::Later => return Ok(Claims::List(Vec::new())),
                Found::Absent => {}
                Found::Ambiguous => return Err(Reason::SignatureAmbiguous),
                Found::Items(items) => {
                    reason = Reason::SignatureMalformed;
                    for item in items.iter().take(left) {
                        claims.add(&self.scheme, item);
                    }
                    left = left.saturating_sub(items.len());
                }
            }
        }
        if let Claims::None = claims { Err(reason) } else { Ok(claims) }
    }

    /// The claims of a field in the body.
    fn claims_in_body(&self, field: &Field, answer: Answer) -> Result<Vec<Vec<u8>>, Reason> {
        let value = match answer {
            Answer::Absent => return Err(Reason::SignatureMissing),
            Answer::Malformed => return Err(Reason::SignatureMalformed),
            Answer::Text(value) | Answer::Word(value) => value,
        };
        let mut claims = Claims::None;
        for item in field.items(&value).into_iter().take(self.scheme.algorithm.most_claims()) {
            claims.add(&self.scheme, item);
        }
        match claims {
            Claims::None => Err(Reason::SignatureMalformed),
            Claims::WrongLength => Err(Reason::SignatureMismatch),
            Claims::List(list) => Ok(list),
        }
    }
}

/// What was found of claimed tags.
enum Claims {
    /// Nothing that can be decoded.
    None,
    /// Something that can be decoded, of no length that the algorithm has.
    WrongLength,
    /// What is to be compared.
    List(Vec<Vec<u8>>),
}

impl Claims {
    fn add(&mut self, scheme: &Scheme, item: &[u8]) {
        let Some(tag) = scheme.encoding.decode(item) else { return };
        let fits = scheme.algorithm.claim_lengths().contains(&tag.len());
        match self {
            Self::List(list) if fits => list.push(tag),
            Self::None | Self::WrongLength if fits => *self = Self::List(vec![tag]),
            Self::None => *self = Self::WrongLength,
            Self::WrongLength | Self::List(_) => {}
        }
    }

    fn into_list(self) -> Vec<Vec<u8>> {
        match self {
            Self::List(list) => list,
            Self::None | Self::WrongLength => Vec::new(),
        }
    }
}

impl Equality {
    /// Judges what the headers tell; what needs the body is handed back.
    fn begin(&self, facts: &Facts<'_>) -> Result<Option<(Digest, Vec<u8>)>, Reason> {
        let Occurrence::Once(given) = self.place.read(facts) else { return Err(Reason::RequirementNotMet) };
        match &self.expected {
            Expected::Text(text) if *given == *text.as_bytes() => Ok(None),
            Expected::Text(_) => Err(Reason::RequirementNotMet),
            Expected::BodyDigest(encoding) => {
                let claimed = encoding.decode(&given).filter(|claimed| claimed.len() == 32);
                Ok(Some((Digest::sha256(), claimed.ok_or(Reason::RequirementNotMet)?)))
            }
        }
    }
}

/// What a search in the body is for.
#[derive(Clone, Copy, Debug)]
enum Later {
    /// The claims of the signature's field of this index.
    Claims(usize),
    Time,
    DeliveryId,
    Name,
}

/// The name of a delivery in the making.
#[derive(Clone, Debug)]
struct Name {
    /// The id that is signed, where one is.
    id: Option<Vec<u8>>,
    /// The digest of what is signed, without a secret that is part of it.
    content: BodyDigest,
}

/// The tag of one secret in the making. Prints nothing: what follows the body can hold the secret.
struct Signer {
    secret: usize,
    tag: Tag,
    /// What follows the body, where it is not the same for every secret.
    after: Option<Vec<u8>>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(..)")
    }
}

/// What is known of the body so far.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    first: Option<u8>,
    last: Option<u8>,
    has_nul: bool,
    /// What separates the parameters of a form.
    ampersands: usize,
}

impl Seen {
    fn update(&mut self, chunk: &[u8]) {
        self.first = self.first.or_else(|| chunk.first().copied());
        self.last = chunk.last().copied().or(self.last);
    }
}

/// A signature check that waits for the rest of the body.
#[derive(Debug)]
pub struct Running {
    check: Arc<SignatureCheck>,
    /// One tag for each secret, where the key is secret.
    tags: Vec<Signer>,
    /// One verification for all keys, where they are public.
    public: Option<Verification>,
    /// The place of the secret that signed, where the headers told it.
    signer: Option<usize>,
    /// The certificates that are known, where the message names one.
    keys: Option<PublishedKeys>,
    claims: Vec<Vec<u8>>,
    /// When the sender says that it signed, where the headers say so.
    sent: Option<Millis>,
    /// The times that a token or a message signature says of itself.
    times: Option<Times>,
    /// What must be the digests of the body.
    digests: Vec<(Digest, Vec<u8>)>,
    later: Vec<(Search, Later)>,
    /// What stands for the body in what is signed, where something does.
    content: Option<Box<BodyText>>,
    /// What follows the body.
    after: Vec<u8>,
    seam: Seam,
    body: Seen,
    name: Option<Box<Name>>,
}

/// A signature that holds.
#[derive(Debug, Default)]
pub struct Verified {
    /// The id of the secret that signed, if it has one.
    pub secret_id: Option<Arc<str>>,
    /// The place of that secret among those of the check.
    pub secret: usize,
    /// The sender's id of the delivery, where it sits in the body.
    pub delivery_id: Option<Arc<str>>,
    /// What names the delivery, where it is to be remembered; the same whoever of the secrets signed.
    pub(crate) name: Option<DeliveryName>,
    /// What confirms a subscription, where that is asked for: a path at the publisher of the keys.
    pub confirmation: Option<Arc<str>>,
}

/// What names a delivery. Prints nothing: it is what a sender signed.
pub(crate) enum DeliveryName {
    /// An id that is signed.
    Id(Vec<u8>),
    /// The SHA-256 of all that is signed.
    Content([u8; 32]),
}

impl DeliveryName {
    /// The key of the delivery in the memory: bound to its policy and its provider, and nothing from which a signature could
    /// be had.
    pub(crate) fn key(&self, policy: &[u8; 32], provider: Option<&str>) -> DeliveryKey {
        let mut digest = BodyDigest::default();
        digest.update(policy);
        digest.update(provider.unwrap_or_default().as_bytes());
        let (kind, value): (&[u8], &[u8]) = match self {
            Self::Id(id) => (b"\0id\0", id),
            Self::Content(content) => (b"\0content\0", content),
        };
        digest.update(kind);
        digest.update(value);
        DeliveryKey::new(&digest.finish())
    }
}

impl fmt::Debug for DeliveryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeliveryName(..)")
    }
}

/// How a request ends.
#[derive(Debug)]
pub struct End {
    /// The time now: what was fresh and valid when the headers came may not be any more.
    pub now: Millis,
    /// The whole body, for a check that asked for it ([`Running::needs_body`]).
    pub body: Option<Vec<u8>>,
}

impl Running {
    /// A check of which nothing has been judged.
    fn new(check: &Arc<SignatureCheck>) -> Self {
        Self {
            check: check.clone(),
            tags: Vec::new(),
            public: None,
            signer: None,
            keys: None,
            claims: Vec::new(),
            sent: None,
            times: None,
            digests: Vec::new(),
            later: Vec::new(),
            content: None,
            after: Vec::new(),
            seam: Seam::default(),
            body: Seen::default(),
            name: None,
        }
    }

    /// Starts a tag for each secret that is valid now, or one verification for all public keys.
    fn start(&mut self, before: &[u8], values: Values<'_, '_>) -> Result<(), Reason> {
        let check = self.check.clone();
        let signed = &check.scheme.signed;
        let mut public = Vec::new();
        // Exactly: what is kept of each request counts.
        let keyed = check.secrets.iter().filter(|secret| !matches!(secret.value, Key::Public(_))).count();
        self.tags.reserve_exact(keyed);
        for (secret, configured) in check.valid(values.facts.now) {
            let (tag, after) = match &configured.value {
                Key::Public(key) => {
                    public.push((secret, key.clone()));
                    continue;
                }
                Key::Text(text) => {
                    let own = signed.render(&Values { secret: Some(text), ..values })?;
                    (configured.value.start(&own.before), Some(own.after))
                }
                Key::Hmac(_) => (configured.value.start(before), None),
            };
            self.tags.extend(tag.map(|tag| Signer { secret, tag, after }));
        }
        if !public.is_empty() {
            self.public = Some(Verification::start(public, &self.claims, before));
        }
        Ok(())
    }

    /// Takes the next bytes of the body.
    pub fn update(&mut self, chunk: &[u8]) {
        self.body.update(chunk);
        let signed = &self.check.scheme.signed;
        match signed.body() {
            Body::Raw => {
                self.body.has_nul |= signed.can_be_extended() && chunk.contains(&0);
                self.hash(chunk);
            }
            Body::Form => {
                let ampersands = chunk.iter().filter(|byte| **byte == b'&').count();
                self.body.ampersands = self.body.ampersands.saturating_add(ampersands);
            }
            Body::Digest | Body::Crc32 => {
                if let Some(text) = &mut self.content {
                    text.update(chunk);
                }
            }
            Body::Unsigned => {}
        }
        for (digest, _) in &mut self.digests {
            digest.update(chunk);
        }
        for (search, _) in &mut self.later {
            search.update(chunk);
        }
    }

    fn hash(&mut self, bytes: &[u8]) {
        for signer in &mut self.tags {
            signer.tag.update(bytes);
        }
        if let Some(verification) = &mut self.public {
            verification.update(bytes);
        }
        if let Some(name) = self.name.as_mut().filter(|name| name.id.is_none()) {
            name.content.update(bytes);
        }
    }

    /// Whether the whole body is needed at its end: a form is signed in another order than it is sent, and of a message of
    /// SNS some fields are. Not where a form has more parameters than are looked at.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        let is_form = self.check.scheme.signed.body() == Body::Form;
        self.check.scheme.sns.is_some() || is_form && self.body.ampersands < form::MOST_PARAMETERS
    }

    /// The place of the feed that has the keys, where they are fetched.
    pub(crate) fn fetched(&self) -> Option<usize> {
        self.check.fetched.as_ref().map(|fetched| fetched.feed)
    }

    /// The bytes that are kept of the request and its body until it ends, the operator's own texts included.
    pub(crate) fn kept_bytes(&self) -> usize {
        let claims: usize = self.claims.iter().map(heap).sum();
        let own: usize = self.tags.iter().filter_map(|signer| signer.after.as_ref()).map(heap).sum();
        let searches: usize = self.later.iter().map(|(search, _)| search.kept_bytes()).sum();
        let public = self.public.as_ref().map_or(0, Verification::kept_bytes);
        let digests = self.digests.iter();
        let digests: usize =
            digests.map(|(digest, claimed)| digest.kept_bytes().saturating_add(heap(claimed))).sum();
        let name = self.name.as_ref().map_or(0, |name| {
            let id = name.id.as_ref().map_or(0, heap);
            size_of::<Name>().saturating_add(16).saturating_add(id)
        });
        let content = self.content.as_ref().map_or(0, |_| size_of::<BodyText>().saturating_add(16));
        [
            name,
            content,
            heap(&self.tags),
            heap(&self.claims),
            heap(&self.digests),
            digests,
            heap(&self.later),
            heap(&self.after),
            claims,
            own,
            searches,
            public,
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }

    /// Compares every claim with every secret, without an early exit; then what the body says of itself.
    ///
    /// # Errors
    /// `signature_malformed` for a body that could hold a piece of what is signed beside it, or more than its sender
    /// signed; `signature_mismatch`; `requirement_not_met` when the body is not the one that the scheme demands; the
    /// reasons of a signature or time that sits in the body; those of a time that is no longer fresh; `host_fault` where a
    /// certificate has to be fetched first.
    pub fn finish(mut self, end: End) -> Result<Verified, Refusal> {
        let check = self.check.clone();
        if let Some(sns) = &check.scheme.sns {
            return self.finish_sns(sns, end);
        }
        if self.body.has_nul || !self.seam.admits(self.body.first, self.body.last) {
            return Err(Reason::SignatureMalformed.into());
        }
        let mut delivery_id = None;
        let mut named = None;
        let mut time = Ok(());
        for (search, later) in std::mem::take(&mut self.later) {
            let answer = search.finish();
            match (later, &check.scheme.freshness) {
                (Later::Claims(index), _) => {
                    let field = check.scheme.signature.get(index).ok_or(Reason::SignatureMissing)?;
                    self.claims = check.claims_in_body(field, answer)?;
                }
                (Later::Time, Some(freshness)) => time = freshness.judge_answer(answer, end.now),
                (Later::Time, None) => {}
                (Later::Name, _) => named = answer.value().filter(|value| !value.is_empty()),
                (Later::DeliveryId, _) => {
                    delivery_id = answer.value().as_deref().and_then(field::printable);
                }
            }
        }
        if let (Some(sent), Some(freshness)) = (self.sent, &check.scheme.freshness) {
            time = freshness.admit(sent, end.now);
        }
        if let Some(times) = self.times {
            time = times.admit(end.now);
        }
        if check.scheme.signed.body() == Body::Form {
            let form = end.body.and_then(Form::read).ok_or(Reason::SignatureMalformed)?;
            // Decoded only now, so that only now a NUL can be seen.
            if check.scheme.signed.can_be_extended() && form.pieces().any(|piece| piece.contains(&0)) {
                return Err(Reason::SignatureMalformed.into());
            }
            form.pieces().for_each(|piece| self.hash(piece));
        }
        if let Some(text) = self.content.take() {
            self.hash(text.finish().as_bytes());
        }
        let Self { tags, public, signer, claims, after, digests, name, .. } = self;
        let is_valid = |secret: usize| match check.fetched {
            Some(_) => true,
            None => check.secrets.get(secret).is_some_and(|secret| secret.validity.admits(end.now)),
        };
        let mut signer = signer.filter(|secret| is_valid(*secret));
        for Signer { secret, mut tag, after: own } in tags {
            tag.update(own.as_ref().unwrap_or(&after));
            if tag.matches(&claims) & is_valid(secret) {
                signer = Some(secret);
            }
        }
        if let Some(mut verification) = public {
            verification.update(&after);
            signer = verification.finish(&claims, is_valid);
        }
        let secret = signer.ok_or(Reason::SignatureMismatch)?;
        time?;
        if !digests.into_iter().all(|(digest, claimed)| equal(&digest.finish(), &claimed)) {
            // Of a token or a message signature the digest is what it signs.
            let is_signed = check.scheme.jwt.is_some() || check.scheme.message.is_some();
            let reason = if is_signed { Reason::SignatureMismatch } else { Reason::RequirementNotMet };
            return Err(reason.into());
        }
        let secret_id = check.secrets.get(secret).and_then(|secret| secret.id.clone());
        let name = name.map(|name| {
            let Name { id, mut content } = *name;
            content.update(&after);
            named.or(id).map_or_else(|| DeliveryName::Content(content.finish()), DeliveryName::Id)
        });
        Ok(Verified { secret_id, secret, delivery_id, name, confirmation: None })
    }

    /// Judges a message of SNS, which is known only now.
    fn finish_sns(self, sns: &Sns, end: End) -> Result<Verified, Refusal> {
        let algorithm = self.check.scheme.algorithm;
        let body = end.body.ok_or(Reason::SignatureMalformed)?;
        let message = sns.read(&body, algorithm, end.now)?;
        let fetched = self.check.fetched.as_ref().ok_or(Reason::HostFault)?;
        let key = self.check.certified(self.keys.as_ref(), &message.certificate, end.now)?;
        let claims = [message.signature];
        let verification = Verification::start(vec![(0, key)], &claims, &message.content);
        verification.finish(&claims, |_| true).ok_or(Reason::SignatureMismatch)?;
        let confirmation = match &message.confirmation {
            None => None,
            // Signed, and all the same nothing but what it should be.
            Some(url) => match fetched.publisher.path_on_its_host(url) {
                Some(path) if path.starts_with(sns::CONFIRM) => Some(Arc::from(path)),
                _ => return Err(Reason::SignatureMalformed.into()),
            },
        };
        let id = message.id.into_bytes();
        Ok(Verified {
            secret_id: None,
            secret: 0,
            delivery_id: field::printable(&id),
            name: self.check.names.as_ref().map(|_| DeliveryName::Id(id)),
            confirmation,
        })
    }
}
