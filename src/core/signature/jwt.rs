//! JSON Web Tokens (RFC 7519, in the compact form of RFC 7515) that carry the digest of the body, and where it is signed of
//! the URL.
//!
//! Responsible for reading such a token strictly, for its times, and for what it claims of the request. The algorithm is the
//! scheme's: a token that names another, or `none`, is malformed. Who signed it is verified like any signature.

use super::field::{Field, Found};
use super::hmac::{BodyDigest, Encoding, HmacKind};
use super::key::Algorithm;
use super::public_key;
use super::public_url::{Extent, PublicUrl};
use super::timestamp::Times;
use crate::decision::Reason;
use crate::request::{Facts, Millis};
use crate::secret::equal;
use crate::vocabulary::{ConfigError, Json, Node, Wrong};
use data_encoding::BASE64URL_NOPAD;
use std::sync::Arc;

/// The longest token that is read, in bytes.
const MOST_BYTES: usize = 8192;
/// The SHA-256 of no bytes (FIPS 180-4): what a token without a digest says of the body.
const NOTHING: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// Where a sender puts its token, and what must stand in it.
#[derive(Clone, Debug)]
pub struct Jwt {
    /// Where the token sits.
    pub place: Field,
    /// The claim that holds the body's SHA-256; nothing where the body is not covered.
    pub body: Option<DigestClaim>,
    /// The claim that holds the SHA-256 of the URL as it was entered at the sender.
    pub url: Option<DigestClaim>,
    /// Claims that must be there.
    pub required: Vec<Arc<str>>,
    /// What `iss` must be.
    pub issuer: Option<Arc<str>>,
    /// What `aud` must be, or hold.
    pub audience: Option<Arc<str>>,
    /// What other claims must be, as far as the configuration says.
    pub claims: Vec<(Arc<str>, Arc<str>)>,
    /// The age that is admitted where `iat` is required, in seconds.
    pub tolerance_seconds: u32,
    /// How far ahead of our clock `nbf` and `iat` may lie, in seconds.
    pub future_seconds: u32,
}

/// A claim that holds a SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestClaim {
    /// Its name.
    pub name: Arc<str>,
    /// How the digest is written.
    pub encoding: Encoding,
}

/// A token that was read, and is not verified yet.
#[derive(Debug)]
pub struct Token {
    /// What is signed: header and payload as they came.
    pub content: Vec<u8>,
    /// The signature, decoded.
    pub signature: Vec<u8>,
    /// The id of the key, where the token names one.
    pub key_id: Option<String>,
    /// What the body's SHA-256 must be, where the token covers it.
    pub body: Option<[u8; 32]>,
    /// Its times.
    pub times: Times,
}

impl DigestClaim {
    fn parse(node: &Node<'_>) -> Result<Self, ConfigError> {
        let object = node.object(&["claim", "encoding"])?;
        Ok(Self {
            name: Arc::from(object.required("claim")?.filled_text()?),
            encoding: object.required("encoding")?.choice(&Encoding::NAMES)?,
        })
    }

    /// The digest in the claims; nothing where there is none.
    fn read(&self, claims: &Claims) -> Result<Option<[u8; 32]>, Reason> {
        let Some(value) = claims.get(&self.name) else { return Ok(None) };
        let Json::Text(text) = value else { return Err(Reason::SignatureMalformed) };
        let unpadded = text.trim_end_matches('=');
        let text = if self.encoding == Encoding::Base64Url { unpadded } else { text };
        let digest = self.encoding.decode(text.as_bytes()).ok_or(Reason::SignatureMalformed)?;
        digest.try_into().map(Some).map_err(|_| Reason::SignatureMismatch)
    }
}

/// The members of a JSON object, each once.
struct Claims(Vec<(String, Json)>);

impl Claims {
    /// Reads a part of a token.
    fn read(part: &[u8]) -> Result<Self, Reason> {
        let bytes = BASE64URL_NOPAD.decode(part).map_err(|_| Reason::SignatureMalformed)?;
        let Some(Json::Object(members)) = Json::of_text(&bytes) else {
            return Err(Reason::SignatureMalformed);
        };
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let has_twins = names.windows(2).any(|pair| matches!(pair, [one, other] if one == other));
        if has_twins { Err(Reason::SignatureMalformed) } else { Ok(Self(members)) }
    }

    fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    fn is_text(&self, name: &str, expected: &str) -> bool {
        matches!(self.get(name), Some(Json::Text(text)) if text == expected)
    }

    /// Whether a claim is that text, or a list that holds it (as `aud` may be, RFC 7519 4.1.3).
    fn holds(&self, name: &str, expected: &str) -> bool {
        match self.get(name) {
            Some(Json::List(list)) => {
                list.iter().any(|one| matches!(one, Json::Text(text) if text == expected))
            }
            _ => self.is_text(name, expected),
        }
    }

    /// A time in whole seconds since 1970 (NumericDate of RFC 7519 2, without fractions).
    fn time(&self, name: &str) -> Result<Option<Millis>, Reason> {
        let seconds = match self.get(name) {
            None => return Ok(None),
            Some(Json::Unsigned(seconds)) => i64::try_from(*seconds).ok(),
            Some(_) => None,
        };
        let millis = seconds.and_then(|seconds| seconds.checked_mul(1000));
        millis.map(|millis| Some(Millis(millis))).ok_or(Reason::TimestampMalformed)
    }
}

/// The name of an algorithm in the header of a token (RFC 7518 3.1, RFC 8037 3.1); nothing for one that tokens do not have.
#[must_use]
pub const fn algorithm_name(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::Hmac(HmacKind::Sha256) => Some("HS256"),
        Algorithm::Hmac(HmacKind::Sha384) => Some("HS384"),
        Algorithm::Hmac(HmacKind::Sha512) => Some("HS512"),
        Algorithm::RsaSha256 => Some("RS256"),
        Algorithm::EcdsaP256Sha256 => Some("ES256"),
        Algorithm::Ed25519 => Some("EdDSA"),
        Algorithm::Hmac(HmacKind::Sha1)
        | Algorithm::RsaPssSha512
        | Algorithm::RsaSha1
        | Algorithm::Sha256 => None,
    }
}

impl Jwt {
    /// Reads `jwt` of a scheme.
    pub(crate) fn parse(node: &Node<'_>, tolerance: u32, future: u32) -> Result<Self, ConfigError> {
        let keys =
            ["header", "query", "prefix", "body_sha256", "url_sha256", "required", "issuer", "audience"];
        let object = node.object(&keys)?;
        let digest = |key| object.get(key).map(|node| DigestClaim::parse(&node)).transpose();
        let text = |key: &str| object.get(key).map(|node| node.filled_text().map(Arc::from)).transpose();
        let required = object.get("required").map_or(Ok(Vec::new()), |node| node.list())?;
        let required = required.iter().map(|entry| entry.filled_text().map(Arc::from));
        let place = Field::parse_object(&object)?;
        if place.search().is_some() {
            return Err(node.error(Wrong::Rule("a token sits in a header or in the query")));
        }
        Ok(Self {
            place,
            body: digest("body_sha256")?,
            url: digest("url_sha256")?,
            required: required.collect::<Result<_, _>>()?,
            issuer: text("issuer")?,
            audience: text("audience")?,
            claims: Vec::new(),
            tolerance_seconds: tolerance,
            future_seconds: future,
        })
    }

    /// Whether the age of a token is bounded: it expires, or its age is judged.
    #[must_use]
    pub fn has_time(&self) -> bool {
        self.required.iter().any(|claim| matches!(&**claim, "exp" | "iat"))
    }

    /// Reads the token of a request, and judges what it says but its signature and the body.
    ///
    /// # Errors
    /// `signature_missing`, `signature_ambiguous`; `signature_malformed` for what is no token of this algorithm, or lacks a
    /// claim; `requirement_not_met` for another issuer or audience; `signature_mismatch` for another URL; the reasons of a
    /// time.
    pub fn read(
        &self,
        facts: &Facts<'_>,
        algorithm: Algorithm,
        public_url: Option<&PublicUrl>,
    ) -> Result<Token, Reason> {
        let items = match self.place.read(facts) {
            Found::Items(items) => items,
            Found::Ambiguous => return Err(Reason::SignatureAmbiguous),
            Found::Absent | Found::Later => return Err(Reason::SignatureMissing),
        };
        let [token] = items.as_slice() else { return Err(Reason::SignatureMalformed) };
        if token.len() > MOST_BYTES {
            return Err(Reason::SignatureMalformed);
        }
        let mut parts = token.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Reason::SignatureMalformed);
        };
        let read = Claims::read(header)?;
        let is_ours = algorithm_name(algorithm).is_some_and(|name| read.is_text("alg", name));
        // RFC 7515 4.1.11: who does not understand a critical extension must refuse.
        if !is_ours || read.get("crit").is_some() {
            return Err(Reason::SignatureMalformed);
        }
        let signature = BASE64URL_NOPAD.decode(signature).map_err(|_| Reason::SignatureMalformed)?;
        if signature.is_empty() {
            return Err(Reason::SignatureMalformed);
        }
        let signature = match algorithm {
            // RFC 7518 3.4: the two scalars behind one another.
            Algorithm::EcdsaP256Sha256 => {
                public_key::der_of_scalars(&signature).ok_or(Reason::SignatureMismatch)?
            }
            _ => signature,
        };
        if !algorithm.claim_lengths().contains(&signature.len()) {
            return Err(Reason::SignatureMismatch);
        }
        let claims = Claims::read(payload)?;
        let (body, times) = self.judge(&claims, facts, public_url)?;
        let content = [header, b".", payload].concat();
        let key_id = match read.get("kid") {
            Some(Json::Text(id)) => Some(id.clone()),
            _ => None,
        };
        Ok(Token { content, signature, key_id, body, times })
    }

    fn judge(
        &self,
        claims: &Claims,
        facts: &Facts<'_>,
        public_url: Option<&PublicUrl>,
    ) -> Result<(Option<[u8; 32]>, Times), Reason> {
        let is_age_judged = self.required.iter().any(|claim| &**claim == "iat");
        let times = Times {
            not_before: claims.time("nbf")?,
            issued: claims.time("iat")?,
            expires: claims.time("exp")?,
            tolerance_seconds: is_age_judged.then_some(self.tolerance_seconds),
            future_seconds: self.future_seconds,
        };
        if let Some(lacking) = self.required.iter().find(|claim| claims.get(claim).is_none()) {
            let is_time = matches!(&**lacking, "exp" | "iat" | "nbf");
            return Err(if is_time { Reason::TimestampMissing } else { Reason::SignatureMalformed });
        }
        times.admit(facts.now)?;
        let is_issuer = self.issuer.as_ref().is_none_or(|issuer| claims.is_text("iss", issuer));
        let is_audience = self.audience.as_ref().is_none_or(|audience| claims.holds("aud", audience));
        let are_as_stated = self.claims.iter().all(|(name, value)| claims.holds(name, value));
        if !is_issuer || !is_audience || !are_as_stated {
            return Err(Reason::RequirementNotMet);
        }
        if let Some(claim) = &self.url {
            let url = public_url.ok_or(Reason::SignatureMalformed)?.of(facts, Extent::Whole)?;
            let mut digest = BodyDigest::default();
            digest.update(&url);
            let claimed = claim.read(claims)?.ok_or(Reason::SignatureMalformed)?;
            if !equal(&digest.finish(), &claimed) {
                return Err(Reason::SignatureMismatch);
            }
        }
        // A token without the digest says that there is no body.
        let body = self.body.as_ref().map(|claim| claim.read(claims).map(|digest| digest.unwrap_or(NOTHING)));
        Ok((body.transpose()?, times))
    }
}
