//! The signed content: a template of the bytes that a signature covers.
//!
//! Responsible for templates: one is read once, when it is configured. What stands before and after the body is rendered from the raw bytes
//! that came, never from our reading of them.
//!
//! Where two parts touch without a text between them, one signature covers every way to cut their bytes: a recorded
//! delivery could be sent again with a piece of one moved into the other. Each part that touches another is therefore
//! held to a form that shows where it ends, and where only the body can show it, the body's byte at the seam is.

use crate::decision::Reason;
use crate::request::{Facts, Occurrence};
use crate::signature::field::Found;
use crate::signature::public_url::{Extent, PublicUrl};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// What is kept of one request to follow its body, in bytes, the operator's own texts aside.
const LONGEST_AFTER: usize = 1024;

/// What a template is made of, the body aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text that stands for itself.
    Literal(Arc<str>),
    /// `{timestamp}`: the time as the sender wrote it.
    Timestamp,
    /// `{id}`: the delivery id.
    Id,
    /// `{method}`.
    Method,
    /// `{url}`: the public URL with path and query.
    Url,
    /// `{url_no_query}`: the same without the query.
    UrlNoQuery,
    /// `{path}`: the path without the query.
    Path,
    /// `{header:NAME}`: the value of a header that must be there once.
    Header(Arc<str>),
    /// `{secret}`: the secret itself, for schemes that hash it together with the body.
    Secret,
}

/// How the body is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Not at all.
    Unsigned,
    /// `{body}`: the bytes as they come.
    Raw,
    /// `{form}`: the parameters of a form, sorted (Twilio).
    Form,
    /// `{body_sha256}`: the SHA-256 of the bytes, in lower-case hexadecimal digits (fal.ai).
    Digest,
    /// `{body_crc32}`: the CRC-32 of the bytes, in decimal digits (PayPal). Anyone can make another body of the same.
    Crc32,
}

/// A template, cut at its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedContent {
    before: Vec<Part>,
    body: Body,
    after: Vec<Part>,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// A `{` without `}`, or the reverse.
    Unbalanced,
    /// `{body}`, `{form}`, `{body_sha256}` or `{body_crc32}` more than once.
    TwoBodies,
    /// A placeholder beside `{body_sha256}` or `{body_crc32}`: nothing would show where a piece of it ends.
    TouchesDigest,
    /// Neither the body nor the URL is signed: such a signature fits any request.
    SignsNothing,
    /// A header or id beside `{form}`: nothing would show where one ends.
    BesideForm,
    /// A header or id beside another one, likewise.
    NothingBetween,
    /// A placeholder that there is none of.
    Unknown(String),
}

/// What a template is filled with. Prints nothing: the secret can be part of it.
#[derive(Clone, Copy)]
pub struct Values<'v, 'a> {
    /// The request.
    pub facts: &'v Facts<'a>,
    /// The time as the sender wrote it.
    pub timestamp: Option<&'v [u8]>,
    /// The delivery id.
    pub id: Option<&'v Found<'a>>,
    /// The URL as the provider knows it.
    pub public_url: Option<&'v PublicUrl>,
    /// Whether the policy governs single paths only, so that nobody can make one longer.
    pub has_exact_paths: bool,
    /// The secret, where it is part of the content.
    pub secret: Option<&'v [u8]>,
}

impl fmt::Debug for Values<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Values(..)")
    }
}

impl SignedContent {
    /// Reads a template such as `v0:{timestamp}:{body}`.
    ///
    /// # Errors
    /// Where the text is not a template, or one that signs nothing.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut template = Self { before: Vec::new(), body: Body::Unsigned, after: Vec::new() };
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, tail) = rest.split_once('{').unwrap_or((rest, ""));
            if literal.contains('}') {
                return Err(TemplateError::Unbalanced);
            }
            if !literal.is_empty() {
                template.push(Part::Literal(Arc::from(literal)));
            }
            if literal.len() == rest.len() {
                break;
            }
            let (name, after) = tail.split_once('}').ok_or(TemplateError::Unbalanced)?;
            let body = match name {
                "body" => Some(Body::Raw),
                "form" => Some(Body::Form),
                "body_sha256" => Some(Body::Digest),
                "body_crc32" => Some(Body::Crc32),
                _ => None,
            };
            match body {
                None => template.push(placeholder(name)?),
                Some(_) if template.body != Body::Unsigned => return Err(TemplateError::TwoBodies),
                Some(body) => template.body = body,
            }
            rest = after;
        }
        let at_seam = [template.before.last(), template.after.first()];
        if template.body == Body::Form && at_seam.into_iter().flatten().any(is_open) {
            return Err(TemplateError::BesideForm);
        }
        if template.touch(is_open, is_open) {
            return Err(TemplateError::NothingBetween);
        }
        if matches!(template.body, Body::Digest | Body::Crc32)
            && at_seam.into_iter().flatten().any(|part| !matches!(part, Part::Literal(_)))
        {
            return Err(TemplateError::TouchesDigest);
        }
        let covers = |part: &Part| matches!(part, Part::Url | Part::UrlNoQuery | Part::Path);
        if template.body != Body::Unsigned || template.parts().any(covers) {
            Ok(template)
        } else {
            Err(TemplateError::SignsNothing)
        }
    }

    /// The content of a scheme that signs something else than a template: nothing of its own.
    pub(crate) const fn nothing() -> Self {
        Self { before: Vec::new(), body: Body::Unsigned, after: Vec::new() }
    }

    fn push(&mut self, part: Part) {
        if self.body != Body::Unsigned { self.after.push(part) } else { self.before.push(part) }
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.before.iter().chain(&self.after)
    }

    /// The names of the signed headers.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        self.parts().filter_map(|part| match part {
            Part::Header(name) => Some(name.as_ref()),
            _ => None,
        })
    }

    /// How the body is signed.
    #[must_use]
    pub const fn body(&self) -> Body {
        self.body
    }

    /// Whether the template has such a part.
    #[must_use]
    pub fn has(&self, part: &Part) -> bool {
        self.parts().any(|one| one == part)
    }

    /// Whether the URL touches the body, a header or the id: a piece, such as a parameter, could be moved from one into the
    /// other.
    #[must_use]
    pub fn url_touches(&self) -> bool {
        self.is_at_seam(&Part::Url)
            || self.is_located_beside_form(&Part::UrlNoQuery)
            || self.touch(is_open, |part| matches!(part, Part::Url | Part::UrlNoQuery))
    }

    /// Whether the path touches a header, the id or a form, likewise. Of another body the byte at the seam is looked at.
    #[must_use]
    pub fn path_touches(&self) -> bool {
        self.is_located_beside_form(&Part::Path) || self.touch(is_open, |part| *part == Part::Path)
    }

    fn is_located_beside_form(&self, part: &Part) -> bool {
        self.body == Body::Form && self.is_at_seam(part)
    }

    fn is_at_seam(&self, part: &Part) -> bool {
        self.body != Body::Unsigned && [self.before.last(), self.after.first()].contains(&Some(part))
    }

    /// Whether a part of one kind stands beside one of the other.
    fn touch(&self, is_one: impl Fn(&Part) -> bool, is_other: impl Fn(&Part) -> bool) -> bool {
        let mut pairs = self.before.windows(2).chain(self.after.windows(2));
        pairs.any(|pair| match pair {
            [left, right] => is_one(left) && is_other(right) || is_one(right) && is_other(left),
            _ => false,
        })
    }

    /// Whether a stranger who has seen one digest can compute that of a longer content without the secret (length
    /// extension, for the algorithm `sha256`).
    #[must_use]
    pub fn can_be_extended(&self) -> bool {
        // What follows a digest of the body is a text of the scheme or of a header, which holds no NUL.
        matches!(self.body, Body::Raw | Body::Form) && self.before.contains(&Part::Secret)
    }

    /// What stands around the body.
    ///
    /// # Errors
    /// `signature_ambiguous` when a signed header or the id occurs more than once, `signature_malformed` when one is
    /// missing or empty, when the URL is not the public one, or when a part could hold a piece of what it touches;
    /// `timestamp_malformed` for a time that could.
    pub fn render(&self, values: &Values<'_, '_>) -> Result<Rendered, Reason> {
        let mut seam = Seam::default();
        let before = self.side(&self.before, Side::Before, values, &mut seam)?;
        let after = self.side(&self.after, Side::After, values, &mut seam)?;
        let own = values.secret.map_or(0, <[u8]>::len);
        let pinned = values.public_url.into_iter().flat_map(PublicUrl::iter).map(str::len).max();
        let most = LONGEST_AFTER.saturating_add(own).saturating_add(pinned.unwrap_or_default());
        if after.len() > most {
            Err(Reason::SignatureMalformed)
        } else {
            Ok(Rendered { before, after, seam })
        }
    }

    fn side(
        &self,
        parts: &[Part],
        side: Side,
        values: &Values<'_, '_>,
        seam: &mut Seam,
    ) -> Result<Vec<u8>, Reason> {
        let mut bytes = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let previous = index.checked_sub(1).and_then(|index| parts.get(index));
            let next = index.checked_add(1).and_then(|index| parts.get(index));
            let place = Beside {
                before: self.neighbour(previous, side == Side::After),
                after: self.neighbour(next, side == Side::Before),
            };
            bytes.extend_from_slice(&render(part, place, values, seam)?);
        }
        Ok(bytes)
    }

    /// What stands beside a part: where there is no other part it is the body on one side, and the end of the content on
    /// the other.
    const fn neighbour<'p>(&self, part: Option<&'p Part>, is_at_body: bool) -> Neighbour<'p> {
        match part {
            Some(part) => Neighbour::Part(part),
            None if is_at_body && !matches!(self.body, Body::Unsigned) => Neighbour::Body,
            None => Neighbour::End,
        }
    }
}

/// What stands around the body of one request.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// What stands before it.
    pub before: Vec<u8>,
    /// What stands after it.
    pub after: Vec<u8>,
    /// What its first and last byte must not be.
    pub seam: Seam,
}

/// What the body's bytes at its two seams must not be, lest they be a piece of the part that touches it there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seam {
    first: Alphabet,
    last: Alphabet,
}

impl Seam {
    /// Whether a body may begin and end with these bytes. A body without a byte has no seam to move.
    #[must_use]
    pub fn admits(self, first: Option<u8>, last: Option<u8>) -> bool {
        !first.is_some_and(|byte| self.first.has(byte)) && !last.is_some_and(|byte| self.last.has(byte))
    }
}

/// The bytes that a part can consist of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Alphabet {
    /// None: the part shows by its own form where it ends.
    #[default]
    Fixed,
    /// Those of the values of headers.
    Value,
    /// Those of a path.
    Path,
}

impl Alphabet {
    const fn has(self, byte: u8) -> bool {
        match self {
            Self::Fixed => false,
            Self::Value => is_of_a_value(&byte),
            Self::Path => is_of_a_url(&byte) && byte != b'?',
        }
    }
}

/// Whether a part can be longer or shorter, and nothing in it shows where it ends.
const fn is_open(part: &Part) -> bool {
    matches!(part, Part::Header(_) | Part::Id)
}

fn placeholder(name: &str) -> Result<Part, TemplateError> {
    Ok(match name {
        "timestamp" => Part::Timestamp,
        "id" => Part::Id,
        "method" => Part::Method,
        "url" => Part::Url,
        "url_no_query" => Part::UrlNoQuery,
        "path" => Part::Path,
        "secret" => Part::Secret,
        _ => match name.strip_prefix("header:") {
            Some(header) if !header.is_empty() => Part::Header(Arc::from(header.to_ascii_lowercase())),
            _ => return Err(TemplateError::Unknown(name.to_owned())),
        },
    })
}

/// On which side of the body some parts stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

/// What a part has on either side.
#[derive(Clone, Copy)]
struct Beside<'p> {
    before: Neighbour<'p>,
    after: Neighbour<'p>,
}

#[derive(Clone, Copy)]
enum Neighbour<'p> {
    End,
    Body,
    Part(&'p Part),
}

impl Neighbour<'_> {
    /// Whether its bytes vary from one delivery to the next, so that a piece could be moved.
    const fn varies(self) -> bool {
        matches!(self, Self::Body | Self::Part(_)) && !matches!(self, Self::Part(Part::Literal(_)))
    }
}

impl Beside<'_> {
    const fn touches(self) -> bool {
        self.before.varies() || self.after.varies()
    }

    const fn touches_body(self) -> bool {
        matches!(self.before, Neighbour::Body) || matches!(self.after, Neighbour::Body)
    }

    /// Sets what the body must not have at the seam with this part.
    const fn forbid(self, alphabet: Alphabet, seam: &mut Seam) {
        if matches!(self.after, Neighbour::Body) {
            seam.first = alphabet;
        }
        if matches!(self.before, Neighbour::Body) {
            seam.last = alphabet;
        }
    }
}

fn render<'v>(
    part: &'v Part,
    place: Beside<'_>,
    values: &Values<'v, '_>,
    seam: &mut Seam,
) -> Result<Cow<'v, [u8]>, Reason> {
    let facts = values.facts;
    Ok(match part {
        Part::Literal(text) => Cow::Borrowed(text.as_bytes()),
        Part::Secret => Cow::Borrowed(values.secret.unwrap_or_default()),
        Part::Method => Cow::Borrowed(facts.method()),
        Part::Timestamp => Cow::Borrowed(timestamp(values.timestamp, place)?),
        Part::Id => Cow::Borrowed(id(values.id, place, seam)?),
        Part::Url => located(public_url(values, Extent::Whole)?, place)?,
        Part::UrlNoQuery | Part::Path => {
            if !values.has_exact_paths {
                place.forbid(Alphabet::Path, seam);
            }
            let is_path = matches!(part, Part::Path);
            let url =
                if is_path { Cow::Borrowed(facts.path()) } else { public_url(values, Extent::NoQuery)? };
            located(url, place)?
        }
        Part::Header(name) => match facts.headers.one(name.as_bytes()) {
            Occurrence::Once(value) => Cow::Borrowed(header(value, place, seam)?),
            Occurrence::Absent => return Err(Reason::SignatureMalformed),
            Occurrence::Many => return Err(Reason::SignatureAmbiguous),
        },
    })
}

fn public_url<'v>(values: &Values<'v, '_>, extent: Extent) -> Result<Cow<'v, [u8]>, Reason> {
    values.public_url.ok_or(Reason::SignatureMalformed)?.of(values.facts, extent)
}

/// A URL or path that touches the body must hold nothing that only a body can hold.
fn located<'v>(url: Cow<'v, [u8]>, place: Beside<'_>) -> Result<Cow<'v, [u8]>, Reason> {
    if place.touches_body() && !url.iter().all(is_of_a_url) {
        Err(Reason::SignatureMalformed)
    } else {
        Ok(url)
    }
}

/// A time that touches another part has one spelling. With a digit more or less it is another time by a factor of ten,
/// which no tolerance admits; zeros before it would make it the same.
fn timestamp<'v>(raw: Option<&'v [u8]>, place: Beside<'_>) -> Result<&'v [u8], Reason> {
    let raw = raw.ok_or(Reason::TimestampMissing)?;
    let is_padded = raw.len() > 1 && raw.starts_with(b"0") && raw.iter().all(u8::is_ascii_digit);
    if place.touches() && is_padded { Err(Reason::TimestampMalformed) } else { Ok(raw) }
}

/// A header that touches another part is not empty, and either a date, whose length is fixed, or of an alphabet that the
/// body's byte beside it is not of.
fn header<'v>(value: &'v [u8], place: Beside<'_>, seam: &mut Seam) -> Result<&'v [u8], Reason> {
    if !place.touches() || is_date(value) {
        return Ok(value);
    }
    if value.is_empty() || !value.iter().all(is_of_a_value) {
        return Err(Reason::SignatureMalformed);
    }
    place.forbid(Alphabet::Value, seam);
    Ok(value)
}

/// Whether a text is a date in the fixed form of HTTP (RFC 9110 5.6.7), or in the one that Scalr sends: without the
/// comma, and with `UTC`. Each `9` stands for a digit, each `a` for a letter.
fn is_date(text: &[u8]) -> bool {
    let is_of = |form: &[u8]| {
        let fits = |(byte, form): (&u8, &u8)| match form {
            b'9' => byte.is_ascii_digit(),
            b'a' => byte.is_ascii_alphabetic(),
            _ => byte == form,
        };
        text.len() == form.len() && text.iter().zip(form).all(fits)
    };
    [&b"aaa, 99 aaa 9999 99:99:99 GMT"[..], b"aaa 99 aaa 9999 99:99:99 UTC"].into_iter().any(is_of)
}

/// A signed id must not hold the text that ends it in the template: `a.1` with a `.` after it could be the id `a`
/// with another time. Where nothing separates it from what it touches, it must look like an id and nothing else: a
/// recorded delivery could be cut anew at a time that its body holds.
fn id<'v>(found: Option<&'v Found<'_>>, place: Beside<'_>, seam: &mut Seam) -> Result<&'v [u8], Reason> {
    let items = match found {
        Some(Found::Items(items)) => items.as_slice(),
        Some(Found::Ambiguous) => return Err(Reason::SignatureAmbiguous),
        Some(Found::Absent | Found::Later) | None => return Err(Reason::SignatureMalformed),
    };
    let [id] = items else { return Err(Reason::SignatureMalformed) };
    let holds_separator = match place.after {
        Neighbour::Part(Part::Literal(text)) => {
            id.windows(text.len()).any(|window| window == text.as_bytes())
        }
        _ => false,
    };
    if id.is_empty() || holds_separator || (place.touches() && !id.iter().all(is_of_an_id)) {
        return Err(Reason::SignatureMalformed);
    }
    place.forbid(Alphabet::Value, seam);
    Ok(id)
}

/// What ids consist of where nothing separates them from their neighbour.
const fn is_of_an_id(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// What dates, numbers, nonces and digests consist of: no quote, bracket or brace of a body.
const fn is_of_a_value(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b' ' | b',' | b':' | b'.' | b'+' | b'-' | b'_' | b'=' | b'/')
}

/// What a URL consists of before its fragment (RFC 3986 3.2 to 3.4).
const fn is_of_a_url(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
                | b'/'
                | b'?'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_cut_at_its_one_body() {
        let slack = SignedContent::parse("v0:{timestamp}:{body}").unwrap();
        assert!(slack.body() == Body::Raw && slack.has(&Part::Timestamp) && !slack.has(&Part::Id));
        assert_eq!(slack.before.len(), 3);
        let scalr = SignedContent::parse("{body}{header:Date}").unwrap();
        assert_eq!(scalr.after, [Part::Header(Arc::from("date"))]);
    }

    #[test]
    fn what_is_no_template_is_told_why() {
        for (text, error) in [
            ("{body}{body}", TemplateError::TwoBodies),
            ("{form}{body}", TemplateError::TwoBodies),
            ("{body_sha256}.{body}", TemplateError::TwoBodies),
            ("{timestamp}{body_sha256}", TemplateError::TouchesDigest),
            ("{body_sha256}{header:x-a}", TemplateError::TouchesDigest),
            ("{body_crc32}{header:x-a}", TemplateError::TouchesDigest),
            ("{body_crc32}|{body}", TemplateError::TwoBodies),
            ("{form}{header:x-a}", TemplateError::BesideForm),
            ("{id}{form}", TemplateError::BesideForm),
            ("{id}{header:x-a}{body}", TemplateError::NothingBetween),
            ("{body}.{header:x-a}{header:x-b}", TemplateError::NothingBetween),
            ("{body", TemplateError::Unbalanced),
            ("body}", TemplateError::Unbalanced),
            ("{body}{", TemplateError::Unbalanced),
            ("", TemplateError::SignsNothing),
            ("{timestamp}.{id}", TemplateError::SignsNothing),
            ("{bdy}", TemplateError::Unknown("bdy".to_owned())),
            ("{header:}", TemplateError::Unknown("header:".to_owned())),
            ("{}", TemplateError::Unknown(String::new())),
        ] {
            assert_eq!(SignedContent::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn only_dates_of_a_fixed_length_show_by_themselves_where_they_end() {
        for (text, is) in [
            ("Tue, 14 Nov 2023 22:13:20 GMT", true),
            ("Thu 07 Sep 2017 06:30:04 UTC", true),
            ("Tue, 4 Nov 2023 22:13:20 GMT", false),
            ("5Tue, 14 Nov 2023 22:13:20 GMT", false),
            ("07 Sep 2017 06:30:04 UTC", false),
            ("1700000000", false),
            ("", false),
        ] {
            assert_eq!(is_date(text.as_bytes()), is, "{text}");
        }
    }
}
