//! Near misses of the signature itself: another encoding, prefix or algorithm.
//!
//! Responsible for every way in which a claimed signature could be meant, rewritten as the scheme would have it. Refuses
//! to compute one.

use super::delivery::Delivery;
use super::layout::is_extendable;
use super::miss::{Candidate, Candidates, EXTENDABLE, Miss, NOTHING};
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use webhook_guard_core::signature::field::Field;
use webhook_guard_core::signature::hmac::{Encoding, HmacKind};
use webhook_guard_core::signature::key::Algorithm;
use webhook_guard_core::signature::template::SignedContent;

/// How a claim is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Hex,
    Base64,
    Unpadded,
    Base64Url,
    PaddedBase64Url,
    Base64OfHex,
}

impl Written {
    const ALL: [Self; 6] =
        [Self::Hex, Self::Base64, Self::Unpadded, Self::Base64Url, Self::PaddedBase64Url, Self::Base64OfHex];

    const fn name(self) -> &'static str {
        match self {
            Self::Hex => "hexadecimal",
            Self::Base64 => "base64",
            Self::Unpadded => "base64 without padding",
            Self::Base64Url => "base64url",
            Self::PaddedBase64Url => "base64url with padding",
            Self::Base64OfHex => "base64 of its hexadecimal text",
        }
    }

    /// The form in which the core knows it, if it does.
    const fn known(self) -> Option<(Encoding, &'static str)> {
        match self {
            Self::Hex => Some((Encoding::Hex, "hex")),
            Self::Base64 => Some((Encoding::Base64, "base64")),
            Self::Base64Url => Some((Encoding::Base64Url, "base64url")),
            Self::Unpadded | Self::PaddedBase64Url | Self::Base64OfHex => None,
        }
    }

    fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Hex => HEXLOWER_PERMISSIVE.decode(text).ok(),
            Self::Base64 => BASE64.decode(text).ok(),
            Self::Unpadded => BASE64_NOPAD.decode(text).ok(),
            Self::Base64Url => BASE64URL_NOPAD.decode(text).ok(),
            Self::PaddedBase64Url => {
                let bare = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"="))?;
                BASE64URL_NOPAD.decode(bare).ok()
            }
            Self::Base64OfHex => HEXLOWER_PERMISSIVE.decode(&BASE64.decode(text).ok()?).ok(),
        }
    }
}

fn encoding_name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Hex => "hexadecimal",
        Encoding::Base64 => "base64",
        Encoding::Base64Url => "base64url",
    }
}

/// What stands before a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Before {
    /// What the scheme expects.
    Own,
    Nothing,
    Other(String),
}

/// A claim read in one way.
struct Reading {
    tag: Vec<u8>,
    before: Before,
    written: Written,
    is_quoted: bool,
}

/// The HMAC whose tags have that length.
fn hmac_of(length: usize) -> Option<(HmacKind, &'static str)> {
    Some(match length {
        20 => (HmacKind::Sha1, "hmac-sha1"),
        32 => (HmacKind::Sha256, "hmac-sha256"),
        48 => (HmacKind::Sha384, "hmac-sha384"),
        64 => (HmacKind::Sha512, "hmac-sha512"),
        _ => return None,
    })
}

fn algorithm_name(algorithm: Algorithm) -> &'static str {
    Algorithm::NAMES.iter().find(|(_, one)| *one == algorithm).map(|(name, _)| *name).unwrap_or_default()
}

/// Every other way to read the claims.
pub(crate) fn candidates(delivery: &Delivery) -> Candidates<'_> {
    let Some(scheme) = delivery.scheme() else { return Box::new(std::iter::empty()) };
    let fields = scheme.signature.clone().into_iter();
    Box::new(fields.flat_map(|field| readings(delivery, &field)).chain(plain_hashes(delivery)))
}

/// The claims of one field, read and written anew.
fn readings(delivery: &Delivery, field: &Field) -> Vec<Candidate> {
    let (Some(name), Some(scheme)) = (Delivery::header_of(field), delivery.scheme()) else {
        return Vec::new();
    };
    let webhook_guard_core::request::Occurrence::Once(value) = delivery.header(&name) else {
        return Vec::new();
    };
    let items: Vec<Vec<u8>> = match field.split {
        None => vec![value],
        Some(split) => value.split(|byte| *byte == split).map(|item| item.trim_ascii().to_vec()).collect(),
    };
    let own = field.prefix.as_deref().unwrap_or_default();
    let mut candidates = Vec::new();
    // The same bytes are tried once, however many texts could stand for them.
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for item in items.iter().take(16) {
        for reading in ways(item, own) {
            let Reading { tag, before, written, is_quoted } = reading;
            let (algorithm, algorithm_word) = match scheme.algorithm {
                Algorithm::Hmac(_) => match hmac_of(tag.len()) {
                    Some((kind, word)) => (Algorithm::Hmac(kind), word),
                    None => continue,
                },
                own => (own, algorithm_name(own)),
            };
            if algorithm == Algorithm::Sha256 && tag.len() != 32 {
                continue;
            }
            let same_encoding = written.known().is_some_and(|(known, _)| known == scheme.encoding);
            let same_algorithm = algorithm == scheme.algorithm;
            let miss = if !same_algorithm {
                algorithm_miss(algorithm_word, scheme.algorithm, &before, written)
            } else if !same_encoding {
                encoding_miss(written, scheme.encoding, &name)
            } else if before != Before::Own {
                prefix_miss(&before, own, &name)
            } else if is_quoted {
                quoted_miss(&name)
            } else {
                continue;
            };
            if seen.contains(&tag) {
                continue;
            }
            let by = format!("{own}{}", scheme.encoding.encode(&tag));
            let changed = delivery.replacing(&name, field.split, item, by.as_bytes());
            let delivery = changed.with_scheme(|scheme| scheme.algorithm = algorithm);
            candidates.push(Candidate { delivery, miss });
            seen.push(tag);
        }
    }
    candidates
}

/// Every way to read an item.
fn ways(item: &[u8], own: &str) -> Vec<Reading> {
    let mut readings = Vec::new();
    let bare = trim(item);
    let mut rests: Vec<(Before, &[u8])> = Vec::new();
    if let Some(rest) = bare.strip_prefix(own.as_bytes()) {
        rests.push((Before::Own, rest));
    }
    if !own.is_empty() {
        rests.push((Before::Nothing, bare));
    }
    for separator in b"=,: " {
        let at = bare.iter().take(24).position(|byte| byte == separator);
        let split = at.and_then(|at| bare.split_at_checked(at.saturating_add(1)));
        if let Some((word, rest)) = split.filter(|(word, _)| *word != own.as_bytes()) {
            rests.push((Before::Other(String::from_utf8_lossy(word).into_owned()), rest));
        }
    }
    for (before, rest) in rests {
        let inner = trim(rest);
        let is_quoted = bare.len() != item.len() || inner.len() != rest.len();
        for written in Written::ALL {
            let Some(tag) = written.decode(inner).filter(|tag| (20..=600).contains(&tag.len())) else {
                continue;
            };
            readings.push(Reading { tag, before: before.clone(), written, is_quoted });
        }
    }
    readings
}

/// Without blanks and quotes around it.
fn trim(text: &[u8]) -> &[u8] {
    let quote = |byte: &u8| *byte == b'"' || *byte == b'\'' || byte.is_ascii_whitespace();
    let start = text.iter().position(|byte| !quote(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !quote(byte)).map_or(start, |last| last.saturating_add(1));
    text.get(start..end).unwrap_or_default()
}

fn algorithm_miss(word: &str, own: Algorithm, before: &Before, written: Written) -> Miss {
    let label = match before {
        Before::Other(label) => format!(", labelled `{label}` and written in {}", written.name()),
        Before::Own | Before::Nothing => String::new(),
    };
    let own = algorithm_name(own);
    Miss::new(
        "algorithm",
        format!("The sender signs with {word}{label}, and the scheme expects {own}."),
        format!("sign with {own}"),
        format!("a custom `scheme` with `\"algorithm\": \"{word}\"`, or the provider's other scheme"),
    )
}

fn encoding_miss(written: Written, own: Encoding, name: &str) -> Miss {
    let own = encoding_name(own);
    let gateway = match written.known() {
        Some((_, word)) => format!("a custom `scheme` with `\"encoding\": \"{word}\"` in `signature`"),
        None => "nothing: no scheme of the filter reads that form".to_owned(),
    };
    Miss::new(
        "signature-encoding",
        format!("The signature in {name} is written in {}, and the scheme expects {own}.", written.name()),
        format!("write the signature in {own}"),
        gateway,
    )
}

fn prefix_miss(before: &Before, own: &str, name: &str) -> Miss {
    let (cause, gateway) = match before {
        Before::Other(label) if own.is_empty() => (
            format!("The signature in {name} has `{label}` before it, which the scheme does not expect."),
            format!("a custom `scheme` with `\"prefix\": \"{label}\"` in `signature`"),
        ),
        Before::Other(label) => (
            format!("The signature in {name} has `{label}` before it, and the scheme expects `{own}`."),
            format!("a custom `scheme` with `\"prefix\": \"{label}\"` in `signature`"),
        ),
        Before::Nothing | Before::Own => (
            format!("The signature in {name} lacks the prefix `{own}` that the scheme expects."),
            "a custom `scheme` without `prefix` in `signature`".to_owned(),
        ),
    };
    let sender = match own {
        "" => "write the signature without anything before it".to_owned(),
        own => format!("write `{own}` before the signature"),
    };
    Miss::new("signature-prefix", cause, sender, gateway)
}

fn quoted_miss(name: &str) -> Miss {
    Miss::new(
        "signature-quotes",
        format!("The signature in {name} has quotes or blanks around it."),
        "send the header without them",
        NOTHING,
    )
}

/// A plain hash in place of an HMAC, with the secret before or after the content, or without it.
fn plain_hashes(delivery: &Delivery) -> Vec<Candidate> {
    let is_hmac = |scheme: &&_| {
        matches!(scheme, webhook_guard_core::signature::Scheme { algorithm: Algorithm::Hmac(_), .. })
    };
    if delivery.scheme().filter(is_hmac).is_none() {
        return Vec::new();
    }
    let signed = delivery.layout.signed();
    let forms = [
        (format!("{{secret}}{signed}"), "a plain SHA-256 of the secret and the content"),
        (format!("{signed}{{secret}}"), "a plain SHA-256 of the content and the secret"),
        (signed.to_owned(), "a plain SHA-256 of the content, in which the secret has no part"),
    ];
    let candidate = |(template, words): (String, &str)| {
        let content = SignedContent::parse(&template).ok()?;
        let gateway = if is_extendable(&template) {
            EXTENDABLE.to_owned()
        } else if template.contains("{secret}") {
            format!("a custom `scheme` with `\"algorithm\": \"sha256\"` and `\"signed\": \"{template}\"`")
        } else {
            "nothing: anyone can make such a signature".to_owned()
        };
        Some(Candidate {
            delivery: delivery.with_scheme(|scheme| {
                scheme.algorithm = Algorithm::Sha256;
                scheme.signed = content;
            }),
            miss: Miss::new(
                "plain-hash",
                format!("The signature is {words}, not an HMAC."),
                "use an HMAC (RFC 2104)",
                gateway,
            ),
        })
    };
    forms.into_iter().filter_map(candidate).collect()
}
