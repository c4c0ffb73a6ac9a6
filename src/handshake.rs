//! Handshakes: requests with which a provider tests an endpoint before it uses it.
//!
//! Responsible for recognising one by the provider's own method and shape, and for the answer that the provider
//! documents. What is echoed is plain enough that no browser takes it for a page, and a keyed answer can never serve
//! as the signature of a body. Refuses to know policies: whether the rest held is for the caller to see.

use crate::check::signature::field::Place;
use crate::check::signature::json::{Answer as Found, Search};
use crate::check::signature::key::Key;
use crate::check::signature::mac::Encoding;
use crate::reply::Reply;
use crate::request::{Facts, Occurrence};
use crate::secret::{Fingerprint, Secret};
use std::rc::Rc;

/// One handshake of a provider.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The method of the request.
    pub method: Rc<str>,
    /// Whether the provider signs it, like any delivery.
    pub is_signed: bool,
    /// A value by which it is recognised beside the method; nothing where the echoed value is enough.
    pub when: Option<(Place, Rc<str>)>,
    /// A value in the body that only deliveries have.
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
    /// The echoed value in a header.
    Header(Rc<str>),
    /// This JSON text with `{echo}` and `{keyed}` filled in.
    Json(Rc<str>, Option<Keyed>),
}

/// How a keyed answer is written: a prefix and an encoding of the HMAC-SHA256 of the echoed value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// What stands before it.
    pub prefix: Rc<str>,
    /// How it is written.
    pub encoding: Encoding,
}

/// A handshake request whose shape was recognised as far as the headers tell.
#[derive(Debug)]
pub struct Candidate {
    handshake: Handshake,
    when: Value,
    unless: Value,
    echo: Value,
}

/// A value that is known, or that the body will tell.
#[derive(Debug)]
enum Value {
    Known(Option<Vec<u8>>),
    Later(Search),
}

impl Value {
    fn read(place: &Place, facts: &Facts<'_>) -> Self {
        match place {
            Place::Json(path) => Self::Later(Search::new(path.clone())),
            Place::Header(_) | Place::Query(_) => match place.read(facts) {
                Occurrence::Once(value) => Self::Known(Some(value.into_owned())),
                Occurrence::Absent | Occurrence::Many => Self::Known(None),
            },
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
            Self::Known(value) => value.is_some(),
            Self::Later(search) => !matches!(search.finish(), Found::Absent),
        }
    }

    fn finish(self) -> Option<Vec<u8>> {
        match self {
            Self::Known(value) => value,
            Self::Later(search) => match search.finish() {
                Found::Value(value) => Some(value),
                Found::Absent | Found::Ambiguous => None,
            },
        }
    }
}

impl Handshake {
    /// The request as a candidate, if its method and what the headers tell are of this shape.
    #[must_use]
    pub fn recognise(&self, facts: &Facts<'_>) -> Option<Candidate> {
        if facts.method() != self.method.as_bytes() {
            return None;
        }
        let read = |place: Option<&Place>| place.map(|place| Value::read(place, facts));
        let when = read(self.when.as_ref().map(|(place, _)| place)).unwrap_or(Value::Known(None));
        let unless = read(self.unless.as_ref()).unwrap_or(Value::Known(None));
        let echo = read(self.echo.as_ref()).unwrap_or(Value::Known(None));
        let is_other = match (&when, &self.when) {
            (Value::Known(value), Some((_, expected))) => value.as_deref() != Some(expected.as_bytes()),
            _ => false,
        };
        let lacks_echo = self.echo.is_some() && matches!(echo, Value::Known(None));
        if is_other || lacks_echo {
            None
        } else {
            Some(Candidate { handshake: self.clone(), when, unless, echo })
        }
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
    pub const fn handshake(&self) -> &Handshake {
        &self.handshake
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
        if let (Value::Later(_), Some((_, expected))) = (&self.when, &self.handshake.when)
            && self.when.finish().as_deref() != Some(expected.as_bytes())
        {
            return None;
        }
        if self.unless.exists() {
            return None;
        }
        let has_echo = self.handshake.echo.is_some();
        let echo = self.echo.finish();
        if has_echo && self.handshake.when.is_none() && echo.is_none() {
            return None;
        }
        Some(self.handshake.answer.fill(&echo.unwrap_or_default(), has_echo, key).ok_or(()))
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
    fn fill(&self, echo: &[u8], has_echo: bool, key: Option<&Key>) -> Option<Reply> {
        let (most, others): (usize, &[u8]) = match self {
            Self::Json(_, Some(_)) => (MOST_SIGNED, b"_-"),
            _ => (512, b"._~=-"),
        };
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || others.contains(byte);
        if has_echo && (echo.is_empty() || echo.len() > most || !echo.iter().all(plain)) {
            return None;
        }
        let text = std::str::from_utf8(echo).ok()?;
        Some(match self {
            Self::Status(status) => Reply::plain(*status, "", None),
            Self::Text => Reply::plain(200, text, None),
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
