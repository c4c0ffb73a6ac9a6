//! HTTP message signatures (RFC 9421) that cover a digest of the body (RFC 9530).
//!
//! Responsible for the profile of them that a webhook needs: which parts of the request a signature must cover, at least its
//! method, its target and `content-digest`; what it must say of itself; and the text that it covers, put together from the
//! request as it came. The algorithm is the scheme's: a signature that names another is malformed. Several signatures beside
//! each other are candidates, and what is no candidate counts for nothing.

use super::hmac::Digest;
use super::key::{Algorithm, MAX_CANDIDATES};
use super::public_key;
use super::public_url::{Extent, PublicUrl};
use super::structured::{self, Component, Input};
use super::timestamp::Times;
use crate::decision::Reason;
use crate::request::{Facts, Millis, Occurrence};
use crate::signature::hmac::HmacKind;
use crate::uri::{percent, query};
use crate::vocabulary::{ConfigError, Node, Wrong};
use std::sync::Arc;

/// The field in which signatures are sent, and the one that says what they cover (RFC 9421 4).
pub const SIGNATURE: &str = "signature";
/// See [`SIGNATURE`].
pub const SIGNATURE_INPUT: &str = "signature-input";
/// The digest of the body (RFC 9530 2).
pub const CONTENT_DIGEST: &str = "content-digest";

/// The parts of a request that are no fields and that we know (RFC 9421 2.2); `@query-param` stands apart, since it is
/// covered by name.
const DERIVED: [&str; 7] =
    ["@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query"];

/// What a signature must cover, and say of itself.
#[derive(Clone, Debug)]
pub struct MessageSignature {
    /// The parts of the request that it must cover. It may cover more.
    pub components: Vec<Arc<str>>,
    /// The label that it must have.
    pub label: Option<Arc<str>>,
    /// What its `tag` must be.
    pub tag: Option<Arc<str>>,
    /// What its `keyid` must be.
    pub key_id: Option<Arc<str>>,
    /// Whether it must have a `nonce`, which then names the delivery.
    pub has_nonce: bool,
    /// The age that is admitted of `created`, in seconds.
    pub tolerance_seconds: u32,
    /// How far ahead of our clock `created` may lie, in seconds.
    pub future_seconds: u32,
}

/// A signature that covers what it must, and is not verified yet.
#[derive(Debug)]
pub struct Candidate {
    /// What it covers, as one text (RFC 9421 2.5).
    pub base: Vec<u8>,
    /// The signature, in the form in which it is verified.
    pub signature: Vec<u8>,
    /// Its times.
    pub times: Times,
    /// What names the delivery: the same in every signature that the sender makes of it at one time.
    pub name: Vec<u8>,
    /// Its nonce, where there has to be one.
    pub nonce: Option<Vec<u8>>,
}

/// What a request brings along.
#[derive(Debug)]
pub struct Signed {
    /// The signatures that may be the right one, at least one.
    pub candidates: Vec<Candidate>,
    /// What the digests of the body must be, at least one.
    pub(super) digests: Vec<(Digest, Vec<u8>)>,
}

/// The name of an algorithm in a signature's `alg` (RFC 9421 3.3); nothing for one that it does not have.
#[must_use]
pub const fn algorithm_name(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::Hmac(HmacKind::Sha256) => Some("hmac-sha256"),
        Algorithm::RsaSha256 => Some("rsa-v1_5-sha256"),
        Algorithm::RsaPssSha512 => Some("rsa-pss-sha512"),
        Algorithm::EcdsaP256Sha256 => Some("ecdsa-p256-sha256"),
        Algorithm::Ed25519 => Some("ed25519"),
        Algorithm::Hmac(HmacKind::Sha1 | HmacKind::Sha384 | HmacKind::Sha512)
        | Algorithm::RsaSha1
        | Algorithm::Sha256 => None,
    }
}

impl MessageSignature {
    /// Reads `message_signature` of a scheme.
    pub(crate) fn parse(node: &Node<'_>, tolerance: u32, future: u32) -> Result<Self, ConfigError> {
        let object = node.object(&["components", "label", "tag", "key_id", "nonce"])?;
        let list = object.required("components")?;
        let mut components = Vec::new();
        for entry in list.list()? {
            components.push(component(&entry)?);
        }
        let has = |name: &str| components.iter().any(|one: &Arc<str>| **one == *name);
        let has_target = has("@target-uri") || has("@authority") && (has("@path") || has("@request-target"));
        if !(has("@method") && has_target && has(CONTENT_DIGEST)) {
            return Err(list.error(Wrong::Rule(
                "must have `@method`, `content-digest`, and `@target-uri` or both `@authority` and `@path` (or \
                 `@request-target`): what is not covered could be another",
            )));
        }
        let text = |key: &str| object.get(key).map(|node| node.filled_text().map(Arc::from)).transpose();
        Ok(Self {
            label: text("label")?,
            tag: text("tag")?,
            key_id: text("key_id")?,
            has_nonce: object.get("nonce").map_or(Ok(false), |node| node.boolean())?,
            components,
            tolerance_seconds: tolerance,
            future_seconds: future,
        })
    }

    /// Whether the URL as its sender knows it is needed.
    #[must_use]
    pub fn covers_url(&self) -> bool {
        self.components.iter().any(|component| matches!(&**component, "@target-uri" | "@scheme"))
    }

    /// Reads the signatures of a request, and judges what they say but whether they hold.
    ///
    /// # Errors
    /// Where none is a candidate, what is wrong with the first: `signature_missing`, `signature_ambiguous` for a label,
    /// parameter or digest that stands twice; `signature_malformed` for what cannot be read, has another algorithm or does
    /// not cover what it must; `requirement_not_met` for another `tag` or `keyid`; `signature_mismatch` for a digest or
    /// signature of a wrong length; the reasons of a time.
    pub fn read(
        &self,
        facts: &Facts<'_>,
        algorithm: Algorithm,
        public_url: Option<&PublicUrl>,
    ) -> Result<Signed, Reason> {
        let field = |name: &str| joined(facts, name).ok_or(Reason::SignatureMissing);
        let (inputs, signatures) = (field(SIGNATURE_INPUT)?, field(SIGNATURE)?);
        let (inputs, signatures) = (structured::inputs(&inputs)?, structured::byte_sequences(&signatures)?);
        let is_ours = |input: &&Input<'_>| self.label.as_ref().is_none_or(|label| **label == *input.label);
        let mut wrong = None;
        let mut candidates = Vec::new();
        for input in inputs.iter().filter(is_ours).take(MAX_CANDIDATES) {
            let given = signatures.iter().find(|(label, _)| *label == input.label);
            let signature = given.and_then(|(_, bytes)| bytes.as_deref());
            match self.candidate(input, signature, facts, algorithm, public_url) {
                Ok(candidate) => candidates.push(candidate),
                Err(reason) => wrong = wrong.or(Some(reason)),
            }
            if candidates.len() == algorithm.most_claims() {
                break;
            }
        }
        if candidates.is_empty() {
            return Err(wrong.unwrap_or(Reason::SignatureMissing));
        }
        Ok(Signed { candidates, digests: digests(facts)? })
    }

    fn candidate(
        &self,
        input: &Input<'_>,
        signature: Option<&[u8]>,
        facts: &Facts<'_>,
        algorithm: Algorithm,
        public_url: Option<&PublicUrl>,
    ) -> Result<Candidate, Reason> {
        if !input.is_sound() {
            return Err(Reason::SignatureMalformed);
        }
        for (name, expected) in [("tag", &self.tag), ("keyid", &self.key_id)] {
            if expected.as_ref().is_some_and(|expected| input.text(name) != Ok(Some(expected))) {
                return Err(Reason::RequirementNotMet);
            }
        }
        let named = input.text("alg")?;
        if named.is_some_and(|named| Some(named) != algorithm_name(algorithm)) {
            return Err(Reason::SignatureMalformed);
        }
        let covers =
            |name: &str| input.components.iter().any(|one| one.name() == Some(name) && !one.has_parameters());
        if !self.components.iter().all(|component| covers(component)) {
            return Err(Reason::SignatureMalformed);
        }
        let created = input.time("created")?.ok_or(Reason::TimestampMissing)?;
        let times = Times {
            not_before: None,
            issued: Some(millis(created)?),
            expires: input.time("expires")?.map(millis).transpose()?,
            tolerance_seconds: Some(self.tolerance_seconds),
            future_seconds: self.future_seconds,
        };
        times.admit(facts.now)?;
        let nonce = match (self.has_nonce, input.text("nonce")?) {
            (false, _) => None,
            (true, Some(nonce)) if !nonce.is_empty() => Some(nonce.as_bytes().to_vec()),
            (true, _) => return Err(Reason::SignatureMalformed),
        };
        let signature = signature.ok_or(Reason::SignatureMalformed)?;
        let signature = match algorithm {
            // RFC 9421 3.3.4: the two scalars behind one another.
            Algorithm::EcdsaP256Sha256 => {
                public_key::der_of_scalars(signature).ok_or(Reason::SignatureMismatch)?
            }
            _ => signature.to_vec(),
        };
        if !algorithm.claim_lengths().contains(&signature.len()) {
            return Err(Reason::SignatureMismatch);
        }
        let (mut base, mut name) = (Vec::new(), Vec::new());
        for component in &input.components {
            let value = value(component, facts, public_url)?;
            let line = [component.identifier().as_bytes(), b": ", &value, b"\n"].concat();
            if self.components.iter().any(|one| component.name() == Some(one)) {
                name.push(line.clone());
            }
            base.extend(line);
        }
        base.extend(format!("\"@signature-params\": {}", input.serialized()).bytes());
        // In an order of its own: each signature has another.
        name.sort_unstable();
        name.push(created.to_string().into_bytes());
        Ok(Candidate { base, signature, times, name: name.concat(), nonce })
    }
}

/// A part of the request that a signature must cover.
fn component(node: &Node<'_>) -> Result<Arc<str>, ConfigError> {
    let text = node.filled_text()?;
    if text.starts_with('@') {
        let known = DERIVED.contains(&text);
        return if known { Ok(Arc::from(text)) } else { Err(node.not_one_of(DERIVED.into_iter())) };
    }
    let name = node.header_name()?;
    match name == text {
        true => Ok(Arc::from(name)),
        false => Err(node.error(Wrong::Rule("a field is named in small letters (RFC 9421 2.1)"))),
    }
}

/// A time in seconds since 1970.
fn millis(seconds: i64) -> Result<Millis, Reason> {
    let millis = if seconds < 0 { None } else { seconds.checked_mul(1000) };
    millis.map(Millis).ok_or(Reason::TimestampMalformed)
}

/// All lines of a field as one, without the blanks around them (RFC 9421 2.1); nothing where it is not there.
fn joined(facts: &Facts<'_>, name: &str) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> = facts.headers.all(name.as_bytes()).map(<[u8]>::trim_ascii).collect();
    (!lines.is_empty()).then(|| lines.join(&b", "[..]))
}

/// What the request has for a part that is covered.
fn value(
    component: &Component<'_>,
    facts: &Facts<'_>,
    public_url: Option<&PublicUrl>,
) -> Result<Vec<u8>, Reason> {
    let name = component.name().ok_or(Reason::SignatureMalformed)?;
    if name == "@query-param" {
        return parameter(component.only("name").ok_or(Reason::SignatureMalformed)?, facts);
    }
    // What a field would be in another form is not asked for by anyone that we know.
    if component.has_parameters() {
        return Err(Reason::SignatureMalformed);
    }
    let url = || public_url.ok_or(Reason::SignatureMalformed)?.of(facts, Extent::Whole);
    Ok(match name {
        "@method" => facts.method().to_vec(),
        "@authority" => authority(facts)?,
        "@target-uri" => url()?.into_owned(),
        "@scheme" => url()?.split(|byte| *byte == b':').next().unwrap_or_default().to_ascii_lowercase(),
        "@request-target" => facts.target().to_vec(),
        "@path" => facts.path().to_vec(),
        "@query" => [b"?", facts.query().unwrap_or_default()].concat(),
        // A field is written in small letters, so that one has one name.
        _ if name.starts_with('@') || name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            return Err(Reason::SignatureMalformed);
        }
        _ => joined(facts, name).ok_or(Reason::SignatureMalformed)?,
    })
}

/// The host in small letters, without the port that goes without saying (RFC 9421 2.2.3).
fn authority(facts: &Facts<'_>) -> Result<Vec<u8>, Reason> {
    let authority = facts.headers.first(b":authority").ok_or(Reason::SignatureMalformed)?;
    let is_plain = facts.headers.first(b":scheme") == Some(b"http");
    let port: &[u8] = if is_plain { b":80" } else { b":443" };
    Ok(authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase())
}

/// The value of a query parameter that is there once, by its name as a form writes it (RFC 9421 2.2.8).
fn parameter(name: &str, facts: &Facts<'_>) -> Result<Vec<u8>, Reason> {
    let found = query::one_of_form(facts.query(), &percent::decode(name.as_bytes()));
    let Occurrence::Once(value) = found else {
        return Err(Reason::SignatureMalformed);
    };
    let text = std::str::from_utf8(&value).map_err(|_| Reason::SignatureMalformed)?;
    // A form escapes one character more than a URL, and one less.
    Ok(percent::encode(text).replace('~', "%7E").replace("%2A", "*").into_bytes())
}

/// What the digests of the body must be, of those that we know (RFC 9530 5).
fn digests(facts: &Facts<'_>) -> Result<Vec<(Digest, Vec<u8>)>, Reason> {
    let Occurrence::Once(field) = facts.headers.one(CONTENT_DIGEST.as_bytes()) else {
        return Err(Reason::SignatureAmbiguous);
    };
    let mut digests = Vec::new();
    for (name, claimed) in structured::byte_sequences(field.trim_ascii())? {
        let (digest, length) = match name {
            "sha-256" => (Digest::sha256(), 32),
            "sha-512" => (Digest::sha512(), 64),
            _ => continue,
        };
        let claimed = claimed.ok_or(Reason::SignatureMalformed)?;
        if claimed.len() != length {
            return Err(Reason::SignatureMismatch);
        }
        digests.push((digest, claimed));
    }
    if digests.is_empty() { Err(Reason::SignatureMalformed) } else { Ok(digests) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_of_seconds_from_1970_on() {
        for (seconds, expected) in [(0, Some(0)), (1, Some(1000)), (-1, None), (i64::MAX / 1000 + 1, None)] {
            assert_eq!(millis(seconds).ok(), expected.map(Millis), "{seconds}");
        }
    }
}
