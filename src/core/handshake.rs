//! Handshakes: requests with which a provider tests an endpoint before it uses it.
//!
//! Responsible for recognising one by the provider's own method and shape, and for the answer that the provider
//! documents. What is echoed is plain enough that no browser takes it for a page, and a keyed answer can never serve as
//! the signature of a body.

mod parse;

use crate::budget::heap;
use crate::reply::Reply;
use crate::request::{Facts, Occurrence};
use crate::secret::{Fingerprint, Secret};
use crate::signature::field::Place;
use crate::signature::hmac::Encoding;
use crate::signature::json_pointer::{Answer, Search};
use crate::signature::key::Key;
use crate::uri::query;
use std::borrow::Cow;
use std::sync::Arc;

/// One handshake of a provider.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The method of the request.
    pub method: Arc<str>,
    /// Whether the provider signs it, like any delivery.
    pub is_signed: bool,
    /// A value by which it is recognised beside the method; nothing where the echoed value is enough.
    pub when: Option<(Place, Arc<str>)>,
    /// A value that only deliveries have.
    pub unless: Option<Place>,
    /// Where the operator's verify token sits, where the provider sends one.
    pub verify_token: Option<Place>,
    /// Where the value sits that the answer echoes.
    pub echo: Option<Place>,
    /// What is answered.
    pub answer: Form,
}

/// The form of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// A status without a body.
    Status(u16),
    /// The echoed value as `text/plain`.
    Text,
    /// The same of any printable text that no browser takes for a page: blanks and colons, but no brackets, ampersands and
    /// quotes. In the query it is written as in a form.
    Printable,
    /// The echoed value in a header.
    Header(Arc<str>),
    /// This JSON text with `{echo}` and `{keyed}` filled in.
    Json(Arc<str>, Option<Keyed>),
}

/// How a keyed answer is written: a prefix and an encoding of the HMAC-SHA256 of the echoed value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// What stands before it.
    pub prefix: Arc<str>,
    /// How it is written.
    pub encoding: Encoding,
}

/// A handshake request whose shape was recognised as far as the headers tell.
#[derive(Debug)]
pub struct Candidate {
    handshake: Arc<Handshake>,
    when: Value,
    unless: Value,
    echo: Value,
}

/// The longest value that is echoed, in bytes.
const MOST_ECHOED: usize = 512;

/// A value that is known, or that the body will tell.
#[derive(Debug)]
enum Value {
    Absent,
    Known(Vec<u8>),
    /// Longer than anything that is compared or echoed, and so not kept.
    TooLong,
    Later(Search),
}

impl Value {
    fn read(place: Option<&Place>, facts: &Facts<'_>) -> Self {
        match place {
            None => Self::Absent,
            Some(Place::Json(path)) => Self::Later(Search::new(path.clone())),
            Some(place) => Self::known(place.read(facts).map(Cow::into_owned)),
        }
    }

    fn known(value: Occurrence<Vec<u8>>) -> Self {
        match value {
            Occurrence::Once(value) if value.len() > MOST_ECHOED => Self::TooLong,
            Occurrence::Once(value) => Self::Known(value),
            Occurrence::Absent | Occurrence::Many => Self::Absent,
        }
    }

    fn kept_bytes(&self) -> usize {
        match self {
            Self::Known(value) => heap(value),
            Self::Later(search) => search.kept_bytes(),
            Self::Absent | Self::TooLong => 0,
        }
    }

    fn update(&mut self, chunk: &[u8]) {
        if let Self::Later(search) = self {
            search.update(chunk);
        }
    }

    /// Whether there is such a value, be it more than once.
    fn exists(self) -> bool {
        match self {
            Self::Absent => false,
            Self::Known(_) | Self::TooLong => true,
            Self::Later(search) => !matches!(search.finish(), Answer::Absent),
        }
    }

    /// The text, if there is one: a number or `null` in a body is none.
    fn text(self) -> Text {
        match self {
            Self::Absent => Text::Absent,
            Self::Known(value) => Text::Once(value),
            Self::TooLong => Text::Unfit,
            Self::Later(search) => match search.finish() {
                Answer::Text(value) => Text::Once(value),
                Answer::Absent | Answer::Malformed | Answer::Word(_) => Text::Absent,
            },
        }
    }
}

/// A text that may be echoed.
enum Text {
    Absent,
    /// It is there and must not be echoed.
    Unfit,
    Once(Vec<u8>),
}

impl Handshake {
    /// The question of SNS whether a subscription is meant: what else confirms it, a shell does
    /// (https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-confirmation-json.html).
    pub(crate) fn of_sns() -> Self {
        let place = Place::Json([b"Type".to_vec()].into());
        Self {
            method: Arc::from("POST"),
            is_signed: true,
            when: Some((place, Arc::from("SubscriptionConfirmation"))),
            unless: None,
            verify_token: None,
            echo: None,
            answer: Form::Status(200),
        }
    }

    /// The request as a candidate, if its method and what the headers tell are of this shape.
    #[must_use]
    pub fn recognise(self: &Arc<Self>, facts: &Facts<'_>) -> Option<Candidate> {
        if facts.method() != self.method.as_bytes() {
            return None;
        }
        let when = Value::read(self.when.as_ref().map(|(place, _)| place), facts);
        let is_other = match (&when, &self.when) {
            (Value::Known(value), Some((_, expected))) => **value != *expected.as_bytes(),
            (Value::Absent | Value::TooLong, Some(_)) => true,
            (Value::Later(_), _) | (_, None) => false,
        };
        let echo = match (&self.answer, &self.echo) {
            (Form::Printable, Some(Place::Query(name))) => {
                Value::known(query::one_of_form(facts.query(), name.as_bytes()))
            }
            (_, echo) => Value::read(echo.as_ref(), facts),
        };
        let lacks_echo = self.echo.is_some() && matches!(echo, Value::Absent);
        if is_other || lacks_echo {
            return None;
        }
        let unless = Value::read(self.unless.as_ref(), facts);
        if matches!(unless, Value::Known(_) | Value::TooLong) {
            return None;
        }
        // What the headers told of `when` has been compared.
        let when = if matches!(when, Value::Later(_)) { when } else { Value::Absent };
        Some(Candidate { handshake: self.clone(), when, unless, echo })
    }

    /// Whether anyone may have a value signed with the key of the deliveries: a body that could be such a value is then
    /// no delivery.
    #[must_use]
    pub const fn signs_for_strangers(&self) -> bool {
        !self.is_signed && matches!(self.answer, Form::Json(_, Some(_)))
    }

    /// Whether the operator's verify token is in the request, where the provider sends one.
    #[must_use]
    pub fn is_verified(&self, facts: &Facts<'_>, tokens: &[Secret<Fingerprint>]) -> bool {
        let Some(place) = &self.verify_token else { return true };
        let Occurrence::Once(given) = place.read(facts) else { return false };
        let given = Fingerprint::of(&given);
        let valid =
            |secret: &Secret<Fingerprint>| secret.value.matches(&given) & secret.validity.admits(facts.now);
        tokens.iter().fold(false, |held, token| valid(token) | held)
    }
}

impl Candidate {
    /// The handshake whose shape it has.
    #[must_use]
    pub fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// The bytes on the heap that are kept of the request until it ends.
    pub(crate) fn kept_bytes(&self) -> usize {
        let values = [&self.when, &self.unless, &self.echo];
        values.into_iter().map(Value::kept_bytes).fold(0, usize::saturating_add)
    }

    /// Takes the next bytes of the body.
    pub fn update(&mut self, chunk: &[u8]) {
        self.when.update(chunk);
        self.unless.update(chunk);
        self.echo.update(chunk);
    }

    /// The answer: nothing where the body shows that it is a delivery like any other, an error where it is a handshake
    /// with a value that must not be echoed.
    ///
    /// # Errors
    /// The value is missing, too long, or has a character that an echo must not have.
    pub fn answer(self, key: Option<&Key>) -> Option<Result<Reply, ()>> {
        if let (Value::Later(search), Some((_, expected))) = (self.when, &self.handshake.when)
            && search.finish().value().as_deref() != Some(expected.as_bytes())
        {
            return None;
        }
        if self.unless.exists() {
            return None;
        }
        let echo = match (self.echo.text(), &self.handshake.echo) {
            (_, None) => None,
            (Text::Once(echo), Some(_)) => Some(echo),
            // Without `when` the echoed text is all that tells a handshake from a delivery.
            (Text::Absent, Some(_)) if self.handshake.when.is_none() => return None,
            (Text::Absent | Text::Unfit, Some(_)) => return Some(Err(())),
        };
        Some(self.handshake.answer.fill(echo.as_deref(), key).ok_or(()))
    }
}

/// The longest value that is signed, in bytes.
pub const MOST_SIGNED: usize = 128;

/// Whether a value that is signed may have that byte.
#[must_use]
pub const fn may_be_signed(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

impl Form {
    fn fill(&self, echo: Option<&[u8]>, key: Option<&Key>) -> Option<Reply> {
        let (most, others): (usize, &[u8]) = match self {
            Self::Json(_, Some(_)) => (MOST_SIGNED, b"_-"),
            _ => (MOST_ECHOED, b"._~=-"),
        };
        let is_printable = |byte: &u8| (b' '..=b'~').contains(byte) && !b"<>&\"'".contains(byte);
        let plain = |byte: &u8| match self {
            Self::Printable => is_printable(byte),
            _ => byte.is_ascii_alphanumeric() || others.contains(byte),
        };
        let is_plain = |echo: &[u8]| !echo.is_empty() && echo.len() <= most && echo.iter().all(plain);
        if !echo.is_none_or(is_plain) {
            return None;
        }
        let echo = echo.unwrap_or_default();
        let text = std::str::from_utf8(echo).ok()?;
        Some(match self {
            Self::Status(status) => Reply::plain(*status, "", None),
            Self::Text | Self::Printable => Reply::plain(200, text, None),
            Self::Header(name) => Reply::plain(200, "", Some((name, text))),
            Self::Json(template, keyed) => {
                let keyed = match keyed {
                    Some(form) => {
                        let tag = key?.hmac_sha256(echo)?;
                        format!("{}{}", form.prefix, form.encoding.encode(&tag))
                    }
                    None => String::new(),
                };
                Reply::json(200, template.replace("{echo}", text).replace("{keyed}", &keyed))
            }
        })
    }
}
