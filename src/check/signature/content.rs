//! The signed content: a template of the bytes that a signature covers.
//!
//! Responsible for reading a template once, when it is configured, and for rendering what stands before and after the
//! body from the raw bytes that came, never from our reading of them. Refuses to know how the bytes are hashed.

use crate::check::signature::field::Found;
use crate::path::decode_once;
use crate::request::{Facts, Occurrence};
use crate::verdict::Reason;
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

/// What a template is made of, the body aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text that stands for itself.
    Literal(Rc<str>),
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
    Header(Rc<str>),
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
    /// `{body}` or `{form}` more than once.
    TwoBodies,
    /// Neither the body nor the URL is signed: such a signature fits any request.
    SignsNothing,
    /// A placeholder that there is none of.
    Unknown(String),
}

/// What a template is filled with. Prints nothing: the secret can be part of it.
pub struct Values<'v, 'a> {
    /// The request.
    pub facts: &'v Facts<'a>,
    /// The time as the sender wrote it.
    pub timestamp: Option<&'v [u8]>,
    /// The delivery id.
    pub id: Option<&'v Found<'a>>,
    /// The base of the URL as the provider knows it.
    pub public_url: Option<&'v str>,
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
            if literal.contains('}') || (tail.is_empty() && literal.len() != rest.len()) {
                return Err(TemplateError::Unbalanced);
            }
            if !literal.is_empty() {
                template.push(Part::Literal(Rc::from(literal)));
            }
            if literal.len() == rest.len() {
                break;
            }
            let (name, after) = tail.split_once('}').ok_or(TemplateError::Unbalanced)?;
            let body = match name {
                "body" => Some(Body::Raw),
                "form" => Some(Body::Form),
                _ => None,
            };
            match body {
                None => template.push(placeholder(name)?),
                Some(_) if template.body != Body::Unsigned => return Err(TemplateError::TwoBodies),
                Some(body) => template.body = body,
            }
            rest = after;
        }
        let covers = |part: &Part| matches!(part, Part::Url | Part::UrlNoQuery | Part::Path);
        if template.body != Body::Unsigned || template.parts().any(covers) {
            Ok(template)
        } else {
            Err(TemplateError::SignsNothing)
        }
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

    /// The bytes before and after the body.
    ///
    /// # Errors
    /// `signature_ambiguous` when a signed header or the id occurs more than once, `signature_malformed` when it is
    /// missing, when the id is empty, or when either could hold a part of what stands next to it.
    pub fn render(&self, values: &Values<'_, '_>) -> Result<(Vec<u8>, Vec<u8>), Reason> {
        Ok((render(&self.before, values, Side::Before)?, render(&self.after, values, Side::After)?))
    }
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
            Some(header) if !header.is_empty() => Part::Header(Rc::from(header.to_ascii_lowercase())),
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

fn render(parts: &[Part], values: &Values<'_, '_>, side: Side) -> Result<Vec<u8>, Reason> {
    let mut bytes = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let previous = index.checked_sub(1).and_then(|index| parts.get(index));
        let next = index.checked_add(1).and_then(|index| parts.get(index));
        // Where there is no neighbour there is the body on one side, and the end of the content on the other.
        let is_fence = |neighbour: Option<&Part>, end: Side| {
            neighbour.map_or(side == end, |part| matches!(part, Part::Literal(_)))
        };
        let ends_in_fence = is_fence(next, Side::After);
        let is_fenced = is_fence(previous, Side::Before) && ends_in_fence;
        match part {
            Part::Literal(text) => bytes.extend_from_slice(text.as_bytes()),
            Part::Timestamp => bytes.extend_from_slice(values.timestamp.ok_or(Reason::TimestampMissing)?),
            Part::Id => bytes.extend_from_slice(id(values.id, next, ends_in_fence)?),
            Part::Method => bytes.extend_from_slice(values.facts.method()),
            Part::Secret => bytes.extend_from_slice(values.secret.unwrap_or_default()),
            Part::Path => bytes.extend_from_slice(values.facts.path()),
            Part::Url => {
                bytes.extend_from_slice(values.public_url.unwrap_or_default().as_bytes());
                bytes.extend_from_slice(values.facts.target());
            }
            Part::UrlNoQuery => {
                bytes.extend_from_slice(values.public_url.unwrap_or_default().as_bytes());
                bytes.extend_from_slice(values.facts.path());
            }
            Part::Header(name) => match values.facts.headers.one(name.as_bytes()) {
                Occurrence::Once(value) if is_fenced || value.iter().all(is_of_a_value) => {
                    bytes.extend_from_slice(value);
                }
                Occurrence::Once(_) => return Err(Reason::SignatureMalformed),
                Occurrence::Absent => return Err(Reason::SignatureMalformed),
                Occurrence::Many => return Err(Reason::SignatureAmbiguous),
            },
        }
    }
    Ok(bytes)
}

/// The parameters of a form as Twilio signs them: sorted by name and value, each name followed by its value, decoded,
/// the same pair once (twilio.com/docs/usage/security#validating-requests, twilio-python's `RequestValidator`).
#[must_use]
pub fn form(body: &[u8]) -> Vec<u8> {
    let decode = |text: &[u8]| {
        let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        decode_once(&spaced).into_owned()
    };
    let pieces = body.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty());
    let pairs: BTreeSet<(Vec<u8>, Vec<u8>)> = pieces
        .map(|piece| {
            let mut parts = piece.splitn(2, |byte| *byte == b'=');
            (decode(parts.next().unwrap_or_default()), decode(parts.next().unwrap_or_default()))
        })
        .collect();
    pairs.into_iter().flat_map(|(name, value)| [name, value]).flatten().collect()
}

/// A signed id must not hold the text that ends it in the template: `a.1` with a `.` behind it could be the id `a`
/// with another time. Where nothing separates it from what follows, it must look like an id and nothing else: a
/// recorded delivery could be cut anew at a time that its body holds.
fn id<'v>(found: Option<&'v Found<'_>>, next: Option<&Part>, is_fenced: bool) -> Result<&'v [u8], Reason> {
    let items = match found {
        Some(Found::Items(items)) => items.as_slice(),
        Some(Found::Ambiguous) => return Err(Reason::SignatureAmbiguous),
        Some(Found::Absent | Found::Later) | None => return Err(Reason::SignatureMalformed),
    };
    let [id] = items else { return Err(Reason::SignatureMalformed) };
    let holds_separator = match next {
        Some(Part::Literal(text)) => id.windows(text.len()).any(|window| window == text.as_bytes()),
        _ => !is_fenced && !id.iter().all(is_of_an_id),
    };
    if id.is_empty() || holds_separator { Err(Reason::SignatureMalformed) } else { Ok(id) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_cut_at_its_one_body() {
        let slack = SignedContent::parse("v0:{timestamp}:{body}").unwrap();
        assert!(slack.body() == Body::Raw && slack.has(&Part::Timestamp) && !slack.has(&Part::Id));
        assert_eq!(slack.before.len(), 3);
        let scalr = SignedContent::parse("{body}{header:Date}").unwrap();
        assert_eq!(scalr.after, [Part::Header(Rc::from("date"))]);
    }

    #[test]
    fn what_is_no_template_is_told_why() {
        for (text, error) in [
            ("{body}{body}", TemplateError::TwoBodies),
            ("{form}{body}", TemplateError::TwoBodies),
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
    fn a_form_is_sorted_decoded_and_without_repetition() {
        for (body, signed) in [
            ("b=2&a=1", "a1b2"),
            ("a=2&a=1&a=2", "a1a2"),
            ("To=%2B1+2&From=x%20y", "Fromx yTo+1 2"),
            ("a&b=&&c=%zz", "abc%zz"),
            ("", ""),
        ] {
            assert_eq!(form(body.as_bytes()), signed.as_bytes(), "{body}");
        }
    }
}
