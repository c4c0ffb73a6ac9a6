//! A delivery as its sender would make it: tokens, times, ids, digests and signatures in the places that a check reads.
//!
//! Responsible for making one from the very data that judges it.

use crate::input::capture::Capture;
use crate::judge::Circumstances;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use time::OffsetDateTime;
use webhook_guard_core::check::token::{AUTHORIZATION, TokenCheck, TokenPlace};
use webhook_guard_core::policy::{Check, PolicyCheck};
use webhook_guard_core::request::{Millis, Occurrence};
use webhook_guard_core::secret::Fingerprint;
use webhook_guard_core::signature::field::{Field, Place};
use webhook_guard_core::signature::form::Form;
use webhook_guard_core::signature::hmac::{BodyDigest, BodyText};
use webhook_guard_core::signature::json_pointer::{self, EVERY};
use webhook_guard_core::signature::jwt::{Jwt, algorithm_name};
use webhook_guard_core::signature::key::{Algorithm, Key};
use webhook_guard_core::signature::message_signature::{
    self, CONTENT_DIGEST, MessageSignature, SIGNATURE, SIGNATURE_INPUT,
};
use webhook_guard_core::signature::public_url::Extent;
use webhook_guard_core::signature::template::{Body, Rendered, Values};
use webhook_guard_core::signature::timestamp::Unit;
use webhook_guard_core::signature::{Expected, SignatureCheck};
use webhook_guard_core::uri::{percent, query};

/// For how many seconds a token that we write is valid, as MessageBird's are.
const TOKEN_SECONDS: i64 = 60;
/// The key and the token of someone who does not know the right one.
const STRANGER: &str = "webhook-guard: a stranger's guess";

/// What makes a token a wrong one, without a hint at the right one.
pub(crate) const WRONG_END: &str = "x";

/// The user name where any will do, with its colon.
pub(crate) const ANYONE: &str = "webhook-guard:";

/// Whose hand makes what a check asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hand {
    /// The sender's.
    Own,
    /// The sender's, but for the last bit of the signature or the end of the token.
    Slips,
    /// Someone's who does not have the secret.
    Stranger,
}

/// What all parts of a delivery have in common.
#[derive(Clone, Copy)]
pub(crate) struct Signer<'f> {
    /// The time that is signed.
    pub(crate) at: Millis,
    /// The gateway's clock, which says which secrets are valid.
    pub(crate) now: Millis,
    /// The sender's id of the delivery.
    pub(crate) delivery_id: &'f str,
    /// The texts among which tokens are looked for: the core keeps their fingerprints only.
    pub(crate) texts: &'f [String],
}

impl Signer<'_> {
    /// Makes what one check asks for. Tokens before signatures: a signature may cover the query that holds a token.
    pub(crate) fn fill(&self, capture: &mut Capture, leaf: &PolicyCheck, hand: Hand) -> Result<(), String> {
        match &leaf.check {
            Check::Source(_) | Check::Certificate(_) => Ok(()),
            Check::Token(check) => self.present(capture, leaf, check, hand),
            Check::Signature(check) => self.sign(capture, check, hand),
        }
    }

    /// Why what the check asks for cannot be made here; nothing where it can.
    pub(crate) fn obstacle(&self, leaf: &PolicyCheck) -> Option<String> {
        match &leaf.check {
            Check::Source(_) => None,
            Check::Certificate(_) => Some(
                "it asks for a TLS certificate of the sender's, and this command presents none".to_owned(),
            ),
            Check::Token(check) => self.token(check, Hand::Own).err(),
            Check::Signature(check) => self.key(check, Hand::Own).err(),
        }
    }

    fn present(
        &self,
        capture: &mut Capture,
        leaf: &PolicyCheck,
        check: &TokenCheck,
        hand: Hand,
    ) -> Result<(), String> {
        let token = self.token(check, hand)?;
        match &check.place {
            TokenPlace::Query(name) => append(&mut capture.target, name, &token),
            TokenPlace::Header(name) => capture.push(name, token.as_bytes()),
            TokenPlace::Bearer => capture.push(AUTHORIZATION, format!("Bearer {token}").as_bytes()),
            TokenPlace::Basic { username } => {
                let user = self.text(username).ok_or("the user name is not in the configuration")?;
                capture.push(AUTHORIZATION, basic(&format!("{user}:{token}")).as_bytes());
            }
            TokenPlace::BasicAny => capture.push(AUTHORIZATION, basic(&credentials(&token)).as_bytes()),
            TokenPlace::Json(path) => insert(&mut capture.body, path, &token)?,
        }
        match &leaf.delivery_id {
            Some(field) => self.name(capture, field),
            None => Ok(()),
        }
    }

    fn token(&self, check: &TokenCheck, hand: Hand) -> Result<String, String> {
        if hand == Hand::Stranger {
            return Ok(STRANGER.to_owned());
        }
        let mut valid = check.secrets.iter().filter(|secret| secret.validity.admits(self.now)).peekable();
        valid.peek().ok_or("no token is valid now")?;
        let token = valid
            .find_map(|secret| self.text(&secret.value))
            .ok_or("the configuration holds only a hash of the token")?;
        Ok(if hand == Hand::Slips { format!("{token}{WRONG_END}") } else { token.to_owned() })
    }

    fn text(&self, fingerprint: &Fingerprint) -> Option<&str> {
        let mut known = self.texts.iter().map(String::as_str);
        known.find(|text| Fingerprint::of(text.as_bytes()).matches(fingerprint))
    }

    fn key(&self, check: &SignatureCheck, hand: Hand) -> Result<Key, String> {
        let algorithm = check.scheme.algorithm;
        if algorithm.is_public() {
            return Err(only_the_provider(algorithm));
        }
        if hand == Hand::Stranger {
            return algorithm.key(STRANGER.as_bytes()).ok_or_else(|| "no other key can be made".to_owned());
        }
        let mut valid = check.secrets.iter().filter(|secret| secret.validity.admits(self.now));
        valid.next().map(|secret| secret.value.clone()).ok_or_else(|| "no secret is valid now".to_owned())
    }

    fn sign(&self, capture: &mut Capture, check: &SignatureCheck, hand: Hand) -> Result<(), String> {
        let scheme = &check.scheme;
        let key = self.key(check, hand)?;
        if let Some(jwt) = &scheme.jwt {
            return self.sign_token(capture, check, jwt, &key, hand);
        }
        if let Some(message) = &scheme.message {
            return self.sign_message(capture, check, message, &key, hand);
        }
        let timestamp =
            scheme.freshness.as_ref().map(|freshness| (freshness, written(freshness.unit, self.at)));
        // What sits in the body comes first: digests and the signature cover it.
        if let Some((freshness, text)) = &timestamp {
            write(capture, &freshness.field, text)?;
        }
        if let Some(field) = &scheme.delivery_id {
            self.name(capture, field)?;
        }
        for equality in &scheme.require {
            let text = match &equality.expected {
                Expected::Text(text) => text.to_string(),
                Expected::BodyDigest(encoding) => {
                    let mut digest = BodyDigest::default();
                    digest.update(&capture.body);
                    encoding.encode(&digest.finish())
                }
            };
            if !holds(capture, &equality.place) {
                let field = Field::whole(equality.place.clone());
                write(capture, &field, &text)?;
            }
        }
        for name in scheme.signed.headers() {
            self.fill_header(capture, name);
        }
        let headers = capture.headers();
        let around =
            Circumstances { source: None, client_certificate: None, route_policy: None, now: self.now };
        let facts = around.facts(&headers, !capture.body.is_empty());
        let id = scheme.delivery_id.as_ref().map(|field| field.read(&facts));
        let values = Values {
            facts: &facts,
            timestamp: timestamp.as_ref().map(|(_, text)| text.as_bytes()),
            id: id.as_ref(),
            public_url: check.public_url.as_ref(),
            has_exact_paths: check.has_exact_paths,
            secret: key.text(),
        };
        let Rendered { before, after, .. } = scheme.signed.render(&values).map_err(|reason| {
            format!("what is signed cannot be put together: {} (a signed header or the id)", reason.code())
        })?;
        let mut tag = key.start(&before).ok_or_else(|| only_the_provider(scheme.algorithm))?;
        match scheme.signed.body() {
            Body::Unsigned => {}
            Body::Raw => tag.update(&capture.body),
            body @ (Body::Digest | Body::Crc32) => {
                if let Some(mut text) = BodyText::new(body) {
                    text.update(&capture.body);
                    tag.update(text.finish().as_bytes());
                }
            }
            Body::Form => {
                let form = Form::read(capture.body.clone()).ok_or("the form has too many parameters")?;
                form.pieces().for_each(|piece| tag.update(piece));
            }
        }
        tag.update(&after);
        let mut tag = tag.finish();
        if let Some(last) = tag.last_mut().filter(|_| hand == Hand::Slips) {
            *last ^= 1;
        }
        let field = scheme.signature.first().ok_or("the scheme has no place for a signature")?;
        write(capture, field, &scheme.encoding.encode(&tag))
    }

    /// Writes a token that says of the request what the sender's would.
    fn sign_token(
        &self,
        capture: &mut Capture,
        check: &SignatureCheck,
        jwt: &Jwt,
        key: &Key,
        hand: Hand,
    ) -> Result<(), String> {
        let digest = |bytes: &[u8]| {
            let mut digest = BodyDigest::default();
            digest.update(bytes);
            digest.finish()
        };
        let seconds = self.at.floor_to_second().0.div_euclid(1000);
        let mut claims = serde_json::Map::new();
        for name in &jwt.required {
            let value = match &**name {
                "exp" => Value::from(seconds.saturating_add(TOKEN_SECONDS)),
                "iat" | "nbf" => Value::from(seconds),
                _ => Value::from(self.delivery_id),
            };
            claims.insert(name.to_string(), value);
        }
        for (name, text) in [("iss", &jwt.issuer), ("aud", &jwt.audience)] {
            claims.extend(text.as_ref().map(|text| (name.to_owned(), Value::from(&**text))));
        }
        if let Some(claim) = jwt.body.as_ref().filter(|_| !capture.body.is_empty()) {
            let text = claim.encoding.encode(&digest(&capture.body));
            claims.insert(claim.name.to_string(), Value::from(text));
        }
        if let (Some(claim), Some(url)) = (&jwt.url, &check.public_url) {
            let headers = capture.headers();
            let around =
                Circumstances { source: None, client_certificate: None, route_policy: None, now: self.now };
            let facts = around.facts(&headers, !capture.body.is_empty());
            let url =
                url.of(&facts, Extent::Whole).map_err(|_| "the URL is none of public_url".to_owned())?;
            claims.insert(claim.name.to_string(), Value::from(claim.encoding.encode(&digest(&url))));
        }
        let name = algorithm_name(check.scheme.algorithm).ok_or("no token has this algorithm")?;
        let header = serde_json::json!({ "alg": name, "typ": "JWT" });
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let content = format!("{}.{}", part(&header), part(&Value::Object(claims)));
        let mut tag =
            key.start(content.as_bytes()).ok_or_else(|| only_the_provider(check.scheme.algorithm))?.finish();
        if let Some(last) = tag.last_mut().filter(|_| hand == Hand::Slips) {
            *last ^= 1;
        }
        write(capture, &jwt.place, &format!("{content}.{}", BASE64URL_NOPAD.encode(&tag)))
    }

    /// Writes an HTTP message signature over what it must cover, and nothing else.
    fn sign_message(
        &self,
        capture: &mut Capture,
        check: &SignatureCheck,
        message: &MessageSignature,
        key: &Key,
        hand: Hand,
    ) -> Result<(), String> {
        if capture.field(CONTENT_DIGEST).is_none() {
            let mut digest = BodyDigest::default();
            digest.update(&capture.body);
            let text = format!("sha-256=:{}:", BASE64.encode(&digest.finish()));
            capture.push(CONTENT_DIGEST, text.as_bytes());
        }
        for name in message.components.iter().filter(|name| !name.starts_with('@')) {
            self.fill_header(capture, name);
        }
        let algorithm = message_signature::algorithm_name(check.scheme.algorithm);
        let texts = [
            ("keyid", message.key_id.as_deref()),
            ("alg", algorithm),
            ("nonce", Some(self.delivery_id).filter(|_| message.has_nonce)),
            ("tag", message.tag.as_deref()),
        ];
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let components: Vec<String> = message.components.iter().map(|name| quoted(name)).collect();
        let seconds = self.at.floor_to_second().0.div_euclid(1000);
        let mut parameters = format!("({});created={seconds}", components.join(" "));
        for (name, text) in texts {
            parameters.extend(text.map(|text| format!(";{name}={}", quoted(text))));
        }
        let label = message.label.as_deref().unwrap_or("sig1");
        capture.push(SIGNATURE_INPUT, format!("{label}={parameters}").as_bytes());
        // What is signed is what would be read, so it is read: with a signature that says nothing yet.
        let length = *check.scheme.algorithm.claim_lengths().start();
        let written = |tag: &[u8]| format!("{label}=:{}:", BASE64.encode(tag));
        let mut draft = capture.clone();
        draft.push(SIGNATURE, written(&vec![0; length]).as_bytes());
        let headers = draft.headers();
        let around =
            Circumstances { source: None, client_certificate: None, route_policy: None, now: self.at };
        let facts = around.facts(&headers, !capture.body.is_empty());
        let read = message.read(&facts, check.scheme.algorithm, check.public_url.as_ref());
        let signed =
            read.map_err(|reason| format!("what is signed cannot be put together: {}", reason.code()))?;
        let candidate = signed.candidates.first().ok_or("another signature stands there already")?;
        let tag = key.start(&candidate.base).ok_or_else(|| only_the_provider(check.scheme.algorithm))?;
        let mut tag = tag.finish();
        if let Some(last) = tag.last_mut().filter(|_| hand == Hand::Slips) {
            *last ^= 1;
        }
        capture.push(SIGNATURE, written(&tag).as_bytes());
        Ok(())
    }

    /// Writes a header that is signed, unless it is there. No scheme says what stands in it; where a catalogue's provider
    /// has one, it is a time.
    fn fill_header(&self, capture: &mut Capture, name: &str) {
        if capture.field(name).is_none() {
            let unit = if name == "date" { Unit::HttpDate } else { Unit::Seconds };
            capture.push(name, written(unit, self.at).as_bytes());
        }
    }

    /// Writes the delivery's id, unless there is one already.
    fn name(&self, capture: &mut Capture, field: &Field) -> Result<(), String> {
        // An id in the body is the body's own business: no signature needs it.
        if matches!(field.place, Place::Json(_)) || holds(capture, &field.place) {
            return Ok(());
        }
        write(capture, field, self.delivery_id)
    }
}

/// Why nobody but the provider can make a signature of this kind.
pub(crate) fn only_the_provider(algorithm: Algorithm) -> String {
    let names = Algorithm::NAMES.iter().find(|(_, known)| *known == algorithm);
    let name = names.map_or("it", |(name, _)| *name);
    format!(
        "only the provider can sign: {name} is verified with a public key, and its private half is theirs"
    )
}

/// The credentials of the Basic scheme for a secret that is `username:password`, or a password for any user name.
fn credentials(secret: &str) -> String {
    if secret.contains(':') { secret.to_owned() } else { format!("{ANYONE}{secret}") }
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", BASE64.encode(credentials.as_bytes()))
}

/// The time as a sender writes it.
pub(crate) fn written(unit: Unit, at: Millis) -> String {
    let seconds = at.floor_to_second().0.div_euclid(1000);
    match unit {
        Unit::Seconds => seconds.to_string(),
        Unit::Milliseconds => at.0.to_string(),
        Unit::HttpDate => {
            let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
            httpdate::fmt_http_date(UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH))
        }
        Unit::Rfc3339 => {
            let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            let (date, (hour, minute, second)) = (time.date(), time.to_hms());
            let month = u8::from(date.month());
            format!("{:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", date.year(), date.day())
        }
    }
}

/// Whether there is a value at the place already.
fn holds(capture: &Capture, place: &Place) -> bool {
    match place {
        Place::Header(name) => capture.field(name).is_some(),
        Place::Query(name) => query::one(query_of(&capture.target), name.as_bytes()) != Occurrence::Absent,
        Place::Json(_) => false,
    }
}

fn query_of(target: &str) -> Option<&[u8]> {
    target.split_once('?').map(|(_, query)| query.as_bytes())
}

/// Writes an item into a field, after the items that are there already.
fn write(capture: &mut Capture, field: &Field, value: &str) -> Result<(), String> {
    let item = format!("{}{value}", field.prefix.as_deref().unwrap_or_default());
    match &field.place {
        Place::Query(name) => append(&mut capture.target, name, &item),
        Place::Json(path) => insert(&mut capture.body, path, value)?,
        Place::Header(name) => {
            let existing = capture.fields.iter_mut().find(|(given, _)| given.eq_ignore_ascii_case(name));
            match (existing, field.split) {
                (None, _) => capture.push(name, item.as_bytes()),
                (Some((_, items)), Some(split)) => {
                    items.push(split);
                    items.extend(item.bytes());
                }
                (Some(_), None) => return Err(format!("the header {name} has a value already")),
            }
        }
    }
    Ok(())
}

/// Adds a query parameter, escaped.
fn append(target: &mut String, name: &str, value: &str) {
    target.push(if target.contains('?') { '&' } else { '?' });
    target.push_str(&percent::encode(name));
    target.push('=');
    target.push_str(&percent::encode(value));
}

/// Writes a value into a JSON body; bytes that say it already stay as they are.
fn insert(body: &mut Vec<u8>, path: &[Vec<u8>], value: &str) -> Result<(), String> {
    let place = json_pointer::text(path);
    let wrong = |what: &str| format!("{place} is part of the body, and {what}");
    let mut root: Value = serde_json::from_slice(body).map_err(|_| wrong("the body is not JSON"))?;
    if put(&mut root, path, value).map_err(wrong)? {
        *body = root.to_string().into_bytes();
    }
    Ok(())
}

/// Puts a value where a path leads, through every entry of a list where it says so. Says whether anything changed.
fn put(slot: &mut Value, path: &[Vec<u8>], value: &str) -> Result<bool, &'static str> {
    let Some((part, rest)) = path.split_first() else {
        let number = value.parse::<i64>().ok();
        let is_there = slot.as_str() == Some(value) || (number.is_some() && slot.as_i64() == number);
        if !is_there {
            *slot = number.map_or_else(|| Value::from(value), Value::from);
        }
        return Ok(!is_there);
    };
    let empty = || match rest.first().is_some_and(|next| next == EVERY) {
        true => serde_json::json!([{}]),
        false => serde_json::json!({}),
    };
    let key = String::from_utf8_lossy(part).into_owned();
    match slot {
        Value::Object(members) => put(members.entry(key).or_insert_with(empty), rest, value),
        Value::Array(items) if part == EVERY && !items.is_empty() => {
            let changes: Result<Vec<bool>, _> = items.iter_mut().map(|item| put(item, rest, value)).collect();
            Ok(changes?.contains(&true))
        }
        Value::Array(items) => {
            let index = key.parse::<usize>().ok();
            let item = index.and_then(|index| items.get_mut(index)).ok_or("the list is too short")?;
            put(item, rest, value)
        }
        _ => Err("something else stands there"),
    }
}

/// Changes one byte of a body, so that text stays text: its last letter or digit, or its last byte.
pub(crate) fn change_one_byte(body: &mut Vec<u8>) {
    let last = body.iter().rposition(u8::is_ascii_alphanumeric).or(body.len().checked_sub(1));
    match last.and_then(|at| body.get_mut(at)) {
        None => body.push(b'x'),
        Some(byte) => {
            *byte = match *byte {
                b'0'..=b'8' | b'a'..=b'y' | b'A'..=b'Y' => byte.saturating_add(1),
                b'9' | b'z' | b'Z' => byte.saturating_sub(1),
                other => other ^ 1,
            }
        }
    }
}

/// The header or query parameter in which a check finds what the sender presents.
pub(crate) fn presents(check: &Check) -> Option<Place> {
    match check {
        Check::Source(_) | Check::Certificate(_) => None,
        Check::Token(check) => Some(match &check.place {
            TokenPlace::Query(name) => Place::Query(name.clone()),
            TokenPlace::Json(path) => Place::Json(path.clone()),
            other => Place::Header(Arc::from(other.header()?)),
        }),
        Check::Signature(check) => check.scheme.signature.first().map(|field| field.place.clone()),
    }
}

/// Sends what stands at a place once more; false where that cannot be done.
pub(crate) fn double(capture: &mut Capture, place: &Place) -> bool {
    match place {
        Place::Header(name) => {
            let found = capture.fields.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).cloned();
            capture.fields.extend(found.clone());
            found.is_some()
        }
        Place::Query(name) => match query::one(query_of(&capture.target), name.as_bytes()) {
            Occurrence::Once(value) => {
                let value = String::from_utf8_lossy(&value).into_owned();
                append(&mut capture.target, name, &value);
                true
            }
            Occurrence::Absent | Occurrence::Many => false,
        },
        Place::Json(_) => false,
    }
}
