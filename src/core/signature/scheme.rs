//! Signature schemes as an operator, or the catalogue, writes them: one vocabulary, one parser.
//!
//! Responsible for the shape of a scheme and for reading it. It knows no provider: the catalogue's blocks are written in
//! the same vocabulary.

use super::field::{Field, Place};
use super::hmac::Encoding;
use super::json_pointer;
use super::jwt::{Jwt, algorithm_name};
use super::key::Algorithm;
use super::key_form::KeyForm;
use super::message_signature::{self, MessageSignature};
use super::sns::Sns;
use super::template::{Body, Part, SignedContent, TemplateError};
use super::timestamp::{Freshness, Unit};
use crate::vocabulary::{ConfigError, Json, Node, Object, Wrong, first_fault, is_header_name};
use std::sync::Arc;

const DAY: u64 = 86_400;

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
    /// The token that is signed in place of the template, where the sender sends one.
    pub jwt: Option<Jwt>,
    /// What an HTTP message signature must cover and say, where the sender makes one in place of the template.
    pub message: Option<MessageSignature>,
    /// How messages of SNS are judged, where the sender is one.
    pub sns: Option<Sns>,
    /// Where the URL of the certificate sits, where the sender names one.
    pub certificate: Option<Field>,
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
    Text(Arc<str>),
    /// The SHA-256 of the body, in this encoding.
    BodyDigest(Encoding),
}

impl Scheme {
    /// Reads a scheme on its own: JSON, the object that stands after `scheme` in a configuration. Also gives how the
    /// texts of its secrets become keys.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place in the object.
    pub fn from_json(json: &[u8]) -> Result<(Self, KeyForm), ConfigError> {
        first_fault("", &Json::read(json)?, Self::parse)
    }

    /// Reads a scheme, and how the texts of its secrets become keys; nothing where all that is wrong with it has been
    /// reported.
    pub(crate) fn parse(node: &Node<'_>) -> Result<Option<(Self, KeyForm)>, ConfigError> {
        let object = node.object(&[
            "algorithm",
            "signature",
            "timestamp",
            "tolerance_seconds",
            "future_seconds",
            "delivery_id",
            "signed",
            "secret",
            "require",
            "jwt",
            "message_signature",
            "sns",
            "certificate",
            "encoding",
        ])?;
        if let Some(sns) = object.get("sns") {
            return Self::parse_sns(&object, &sns).map(Some);
        }
        if let Some(message) = object.get("message_signature") {
            return Self::parse_message(&object, &message).map(Some);
        }
        if let Some(jwt) = object.get("jwt") {
            return Self::parse_jwt(&object, &jwt).map(Some);
        }
        if let Some(misplaced) = object.get("encoding") {
            node.report(misplaced.error(Wrong::Rule("belongs in `signature`")));
        }
        let signed = object.required("signed").and_then(|node| Ok((template(&node)?, node)));
        let signed = node.keep(signed);
        let fields = node.keep(object.required("signature").and_then(|node| signature_fields(&node)));
        let delivery_id = node.keep(object.get("delivery_id").map(|node| Field::parse(&node)).transpose());
        let algorithm = object.required("algorithm").and_then(|node| node.choice(&Algorithm::NAMES));
        let algorithm = node.keep(algorithm);
        let form = object.get("secret").map_or(Ok(KeyForm::default()), |node| KeyForm::parse(&node));
        let form = node.keep(form);
        let require = node.keep(object.get("require").map_or(Ok(Vec::new()), |node| equalities(&node)));
        let (Some((signed, signed_node)), Some((signature, encoding)), Some(delivery_id)) =
            (signed, fields, delivery_id)
        else {
            return Ok(None);
        };
        let (Some(algorithm), Some(form), Some(require)) = (algorithm, form, require) else {
            return Ok(None);
        };
        let is_id_in_headers = delivery_id.as_ref().is_some_and(|field| field.search().is_none());
        if signed.has(&Part::Id) && !is_id_in_headers {
            return Err(signed_node
                .error(Wrong::Rule("has `{id}`, so the scheme needs a `delivery_id` outside the body")));
        }
        if signed.has(&Part::Secret) != (algorithm == Algorithm::Sha256) {
            return Err(signed_node.error(Wrong::Rule(
                "`{secret}` goes with the algorithm `sha256`, and that with nothing else",
            )));
        }
        if signed.body() != Body::Unsigned && signature.iter().any(|field| field.search().is_some()) {
            return Err(signed_node.error(Wrong::Rule("has the body, and no signature can sign itself")));
        }
        if algorithm == Algorithm::Ed25519 && signature.iter().any(|field| field.search().is_some()) {
            return Err(signed_node.error(Wrong::Rule(
                "an Ed25519 signature is needed before the body, so it cannot be in it",
            )));
        }
        let scheme = Self {
            algorithm,
            signature,
            encoding,
            freshness: freshness(&object, &signed_node, &signed)?,
            delivery_id,
            signed,
            require,
            jwt: None,
            message: None,
            sns: None,
            certificate: object.get("certificate").map(|node| certificate(&node, algorithm)).transpose()?,
        };
        if algorithm == Algorithm::RsaSha1 {
            return Err(object.required("algorithm")?.error(Wrong::Rule("is for `sns` alone")));
        }
        Ok(Some((scheme, form)))
    }

    /// Reads a scheme whose signature is a token.
    fn parse_jwt(object: &Object<'_>, node: &Node<'_>) -> Result<(Self, KeyForm), ConfigError> {
        let complaint = "does not go with `jwt`, which says where all of it stands";
        let others = ["signature", "timestamp", "signed", "require", "encoding", "certificate"];
        nothing_else(object, &others, complaint)?;
        let algorithm = object.required("algorithm")?;
        let name = algorithm.choice(&Algorithm::NAMES)?;
        if algorithm_name(name).is_none() {
            return Err(algorithm.error(Wrong::Rule("is none of those that tokens have")));
        }
        let (tolerance, future) = bounds(object)?;
        let jwt = Jwt::parse(node, tolerance, future)?;
        if let Some(node) =
            object.get("tolerance_seconds").filter(|_| !jwt.required.iter().any(|one| &**one == "iat"))
        {
            return Err(node.error(Wrong::Rule("is the age of `iat`, so `required` must name it")));
        }
        let (place, encoding) = (jwt.place.clone(), Encoding::Base64Url);
        let (scheme, form) = Self::without_template(object, name, place, encoding)?;
        Ok((Self { jwt: Some(jwt), ..scheme }, form))
    }

    /// Reads a scheme whose signature is an HTTP message signature.
    fn parse_message(object: &Object<'_>, node: &Node<'_>) -> Result<(Self, KeyForm), ConfigError> {
        let complaint = "does not go with `message_signature`: RFC 9421 says where all of it stands";
        let others = ["signature", "timestamp", "signed", "require", "encoding", "certificate", "jwt"];
        nothing_else(object, &others, complaint)?;
        let algorithm = object.required("algorithm")?;
        let name = algorithm.choice(&Algorithm::NAMES)?;
        if message_signature::algorithm_name(name).is_none() {
            return Err(algorithm.error(Wrong::Rule("is none of those that message signatures have")));
        }
        let (tolerance, future) = bounds(object)?;
        let message = MessageSignature::parse(node, tolerance, future)?;
        let place = Field::whole(Place::Header(Arc::from(message_signature::SIGNATURE)));
        let (scheme, form) = Self::without_template(object, name, place, Encoding::Base64)?;
        Ok((Self { message: Some(message), ..scheme }, form))
    }

    /// Reads a scheme of messages of SNS.
    fn parse_sns(object: &Object<'_>, node: &Node<'_>) -> Result<(Self, KeyForm), ConfigError> {
        let complaint = "does not go with `sns`: its messages say where all of it stands";
        let others = [
            "signature",
            "timestamp",
            "signed",
            "require",
            "encoding",
            "jwt",
            "message_signature",
            "secret",
            "certificate",
        ];
        nothing_else(object, &others, complaint)?;
        let algorithm = object.required("algorithm")?;
        let name = algorithm.choice(&Algorithm::NAMES)?;
        if !Sns::has(name) {
            return Err(algorithm.error(Wrong::Rule("must be `rsa-sha256` or `rsa-sha1`, as SNS signs")));
        }
        node.object(&[])?;
        let (tolerance_seconds, future_seconds) = bounds(object)?;
        let pointer = json_pointer::pointer("/Signature").ok_or_else(|| node.error(Wrong::EmptyObject))?;
        let place = Field::whole(Place::Json(pointer));
        let (scheme, form) = Self::without_template(object, name, place, Encoding::Base64)?;
        let sns = Sns { topics: Vec::new(), tolerance_seconds, future_seconds };
        Ok((Self { sns: Some(sns), ..scheme }, form))
    }

    /// What the schemes have in common whose signature brings along what it signs.
    fn without_template(
        object: &Object<'_>,
        algorithm: Algorithm,
        place: Field,
        encoding: Encoding,
    ) -> Result<(Self, KeyForm), ConfigError> {
        let scheme = Self {
            algorithm,
            signature: vec![place],
            encoding,
            signed: SignedContent::nothing(),
            freshness: None,
            delivery_id: object.get("delivery_id").map(|node| Field::parse(&node)).transpose()?,
            require: Vec::new(),
            jwt: None,
            message: None,
            sns: None,
            certificate: None,
        };
        let form = object.get("secret").map_or(Ok(KeyForm::default()), |node| KeyForm::parse(&node))?;
        Ok((scheme, form))
    }

    /// Whether the signature covers the body, by itself or by a digest.
    #[must_use]
    pub fn covers_body(&self) -> bool {
        let has_digest = self.require.iter().any(|one| matches!(one.expected, Expected::BodyDigest(_)));
        let jwt = self.jwt.as_ref().is_some_and(|jwt| jwt.body.is_some());
        let is_covered = self.message.is_some() || self.sns.is_some();
        self.signed.body() != Body::Unsigned || has_digest || jwt || is_covered
    }

    /// Whether the URL is signed, so that the gateway must be told how the sender writes it.
    #[must_use]
    pub fn covers_url(&self) -> bool {
        let jwt = self.jwt.as_ref().is_some_and(|jwt| jwt.url.is_some());
        let message = self.message.as_ref().is_some_and(MessageSignature::covers_url);
        self.signed.has(&Part::Url) || self.signed.has(&Part::UrlNoQuery) || jwt || message
    }

    /// For how many seconds a signed time admits a delivery, where the scheme has one. A token that expires says it itself:
    /// then it is the default.
    #[must_use]
    pub fn admits_seconds(&self) -> Option<u32> {
        let jwt = self.jwt.as_ref().filter(|jwt| jwt.has_time()).map(|jwt| jwt.tolerance_seconds);
        jwt.or(self.age_bounds().map(|(tolerance, _)| tolerance))
    }

    /// The age that is admitted of the time that the sender says it signed at, and how far ahead of our clock that may lie,
    /// in seconds; nothing where it says none.
    #[must_use]
    pub fn age_bounds(&self) -> Option<(u32, u32)> {
        let field = self.freshness.as_ref().map(|one| (one.tolerance_seconds, one.future_seconds));
        let jwt = self.jwt.as_ref().filter(|jwt| jwt.required.iter().any(|claim| &**claim == "iat"));
        let jwt = jwt.map(|one| (one.tolerance_seconds, one.future_seconds));
        let message = self.message.as_ref().map(|one| (one.tolerance_seconds, one.future_seconds));
        let sns = self.sns.as_ref().map(|one| (one.tolerance_seconds, one.future_seconds));
        field.or(jwt).or(message).or(sns)
    }

    /// Sets the age that is admitted. False where the scheme signs no time of which that could be said.
    pub(crate) fn set_tolerance(&mut self, seconds: u32) -> bool {
        let jwt = self.jwt.as_mut().filter(|jwt| jwt.required.iter().any(|claim| &**claim == "iat"));
        let slots = [
            self.freshness.as_mut().map(|freshness| &mut freshness.tolerance_seconds),
            jwt.map(|jwt| &mut jwt.tolerance_seconds),
            self.message.as_mut().map(|message| &mut message.tolerance_seconds),
            self.sns.as_mut().map(|sns| &mut sns.tolerance_seconds),
        ];
        let slot = slots.into_iter().flatten().next();
        slot.map(|slot| *slot = seconds).is_some()
    }
}

/// Complains of the first of these keys that is there.
fn nothing_else(object: &Object<'_>, keys: &[&str], complaint: &'static str) -> Result<(), ConfigError> {
    let other = keys.iter().find_map(|key| object.get(key));
    other.map_or(Ok(()), |node| Err(node.error(Wrong::Rule(complaint))))
}

/// The age that is admitted of a signature, and how far ahead of our clock it may have been made.
fn bounds(object: &Object<'_>) -> Result<(u32, u32), ConfigError> {
    let seconds_of = |key, default| object.get(key).map_or(Ok(default), |node| seconds(&node));
    Ok((seconds_of("tolerance_seconds", 300)?, seconds_of("future_seconds", 60)?))
}

/// Where the URL of the certificate sits: in a header, for a key that a certificate has.
fn certificate(node: &Node<'_>, algorithm: Algorithm) -> Result<Field, ConfigError> {
    let field = Field::parse(node)?;
    match (field.search(), algorithm) {
        (None, Algorithm::RsaSha256 | Algorithm::EcdsaP256Sha256) => Ok(field),
        (Some(_), _) => Err(node.error(Wrong::Rule("is named by a header or the query, before the body"))),
        (None, _) => {
            Err(node.error(Wrong::Rule("goes with `rsa-sha256` and `ecdsa-p256-sha256`, and nothing else")))
        }
    }
}

fn template(node: &Node<'_>) -> Result<SignedContent, ConfigError> {
    let text = node.filled_text()?;
    let wrong = |error| match error {
        TemplateError::Unbalanced => Wrong::Rule("has a `{` or `}` without its counterpart"),
        TemplateError::TwoBodies => {
            Wrong::Rule("has `{body}`, `{form}`, `{body_sha256}` or `{body_crc32}` more than once")
        }
        TemplateError::TouchesDigest => {
            Wrong::Rule("has a placeholder beside `{body_sha256}` or `{body_crc32}`: put a text between them")
        }
        TemplateError::BesideForm => Wrong::Rule(
            "has a header or the id beside `{form}`: nothing would show where one ends; put a text between them",
        ),
        TemplateError::NothingBetween => Wrong::Rule(
            "has a header or the id beside another one: nothing would show where one ends; put a text between them",
        ),
        TemplateError::SignsNothing => Wrong::Rule("has neither `{body}` nor the URL: it would sign nothing"),
        TemplateError::Unknown(name) => Wrong::Value(format!("{{{name}}}"), "is not a placeholder"),
    };
    let content = SignedContent::parse(text).map_err(|error| node.error(wrong(error)))?;
    let unusable = content.headers().find(|name| !is_header_name(name)).map(str::to_owned);
    match unusable {
        Some(name) => Err(node.error(Wrong::Value(name, "is not the name of a header"))),
        None => Ok(content),
    }
}

/// `signature`: a Field with an encoding, or a list of Fields with the same one.
fn signature_fields(node: &Node<'_>) -> Result<(Vec<Field>, Encoding), ConfigError> {
    let mut fields = Vec::new();
    let mut encoding = None;
    for entry in node.one_or_list()? {
        let object =
            entry.object(&["header", "query", "json", "split", "index", "prefix", "repeated", "encoding"])?;
        let node = object.required("encoding")?;
        let own = node.choice(&Encoding::NAMES)?;
        if encoding.is_some_and(|earlier| earlier != own) {
            return Err(node.error(Wrong::Rule("must be the same in every Field of the list")));
        }
        encoding = Some(own);
        fields.push(Field::parse_object(&object)?);
    }
    Ok((fields, encoding.ok_or_else(|| node.error(Wrong::EmptyList))?))
}

fn freshness(
    object: &Object<'_>,
    signed_node: &Node<'_>,
    signed: &SignedContent,
) -> Result<Option<Freshness>, ConfigError> {
    let Some(node) = object.get("timestamp") else {
        if signed.has(&Part::Timestamp) {
            return Err(signed_node.error(Wrong::Rule("has `{timestamp}`, so the scheme needs `timestamp`")));
        }
        return match object.get("tolerance_seconds").or_else(|| object.get("future_seconds")) {
            Some(node) => Err(node.error(Wrong::Rule("the scheme signs no time, so none can be relied on"))),
            None => Ok(None),
        };
    };
    let place = node.object(&["header", "query", "json", "split", "index", "prefix", "unit"])?;
    let unit = place.required("unit")?;
    let units = ["s", "ms", "rfc3339", "http-date"];
    let field = Field::parse_object(&place)?;
    let is_signed = match field.search() {
        Some(_) => matches!(signed.body(), Body::Raw | Body::Digest) && !signed.has(&Part::Timestamp),
        None => signed.has(&Part::Timestamp),
    };
    if !is_signed {
        let complaint =
            "is not part of `signed`: anyone could write any time (one inside the body is part of `{body}`)";
        return Err(node.error(Wrong::Rule(complaint)));
    }
    let unit = Unit::from_name(unit.text()?).ok_or_else(|| unit.not_one_of(units.into_iter()))?;
    let (tolerance_seconds, future_seconds) = bounds(object)?;
    Ok(Some(Freshness { field, unit, tolerance_seconds, future_seconds }))
}

/// A number of seconds that a signed time may be off.
pub(crate) fn seconds(node: &Node<'_>) -> Result<u32, ConfigError> {
    let complaint = "must be a whole number of seconds, from 1 to 604800 (seven days)";
    let seconds = node.whole(1, DAY.saturating_mul(7), complaint)?;
    u32::try_from(seconds).map_err(|_| node.error(Wrong::Rule(complaint)))
}

fn equalities(node: &Node<'_>) -> Result<Vec<Equality>, ConfigError> {
    Ok(node.list()?.iter().filter_map(|entry| entry.keep(equality(entry))).collect())
}

fn equality(node: &Node<'_>) -> Result<Equality, ConfigError> {
    let object = node.object(&["header", "query", "equals", "equals_body_sha256"])?;
    let (kind, place) =
        object.exactly_one(&["header", "query"], "must have exactly one of `header` and `query`")?;
    let place = match kind {
        "header" => Place::Header(Arc::from(place.header_name()?)),
        _ => Place::Query(Arc::from(place.filled_text()?)),
    };
    let complaint = "must have exactly one of `equals` and `equals_body_sha256`";
    let (relation, value) = object.exactly_one(&["equals", "equals_body_sha256"], complaint)?;
    let expected = match relation {
        "equals" => Expected::Text(Arc::from(value.text()?)),
        _ => Expected::BodyDigest(value.choice(&Encoding::NAMES)?),
    };
    Ok(Equality { place, expected })
}
