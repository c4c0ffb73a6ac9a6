//! The query of a request's target, as bytes.
//!
//! Responsible for finding a parameter (names and values compared after one decoding) and for taking parameters out
//! while the rest stays byte-identical and in order. What a parameter is for is the caller's business.

use crate::request::Occurrence;
use crate::uri::percent::{decode, escaped};
use std::borrow::Cow;

/// The value of a parameter that may occur once, decoded once. A parameter without `=` has the empty value.
#[must_use]
pub fn one<'q>(query: Option<&'q [u8]>, name: &[u8]) -> Occurrence<Cow<'q, [u8]>> {
    let mut values = pairs(query).filter(|(given, _)| *decode(given) == *name).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (None, _) => Occurrence::Absent,
        (Some(value), None) => Occurrence::Once(decode(value)),
        (Some(_), Some(_)) => Occurrence::Many,
    }
}

/// The same of a query that was written as a form, which means a blank by a plus sign (WHATWG URL 5.1).
#[must_use]
pub fn one_of_form(query: Option<&[u8]>, name: &[u8]) -> Occurrence<Vec<u8>> {
    let pieces: Vec<&[u8]> = query.unwrap_or_default().split(|byte| *byte == b'+').collect();
    one(Some(&pieces.join(&b"%20"[..])), name).map(Cow::into_owned)
}

/// The target without the parameters of such names, or nothing when it has none of them. No `?` or `&` of
/// theirs is left dangling.
pub fn without(target: &[u8], is_such: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let mark = target.iter().position(|byte| *byte == b'?')?;
    let (path, query) = (target.get(..mark)?, target.get(mark.checked_add(1)?..)?);
    let is_named = |piece: &[u8]| is_such(&decode(split_pair(piece).0));
    let pieces = || query.split(|byte| *byte == b'&');
    if !pieces().any(is_named) {
        return None;
    }
    Some(join(path, pieces().filter(|piece| !is_named(piece))))
}

/// The target without anything that one reader or another could take for a parameter of such names, or nothing when
/// it holds none: for a log, where a value that is hidden in vain does no harm.
///
/// The name may be escaped up to any depth, in either case, with blanks around it or an index after it; it may stand
/// after `;`, `?`, `#`, an escaped `&`, or in the path (`/p&token=..`). What is cut reaches to the next `&`.
/// `is_such` is asked with names in lower case.
pub fn redacted(target: &[u8], is_such: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let mut parts = target.splitn(2, |byte| *byte == b'?');
    let (path, query) = (parts.next().unwrap_or_default(), parts.next());
    let cut_path = first_named(path, &is_such).and_then(|end| path.get(..end));
    let pieces = || query.into_iter().flat_map(|query| query.split(|byte| *byte == b'&'));
    let cut = |piece| first_named(piece, &is_such);
    if cut_path.is_none() && !pieces().any(|piece| cut(piece).is_some()) {
        return None;
    }
    let kept = pieces().filter_map(|piece| match cut(piece) {
        Some(0) => None,
        Some(end) => piece.get(..end),
        None => Some(piece),
    });
    Some(join(cut_path.unwrap_or(path), kept))
}

/// Where the first parameter of such a name begins, the separator before it included.
fn first_named(piece: &[u8], is_such: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let is_blank = |byte: &u8| *byte == b'+' || byte.is_ascii_whitespace();
    let is_it = |name: &[u8]| {
        let start = name.iter().position(|byte| !is_blank(byte)).unwrap_or(name.len());
        let end = name.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last.saturating_add(1));
        let name = name.get(start..end).unwrap_or_default();
        let before_index = name.split(|byte| *byte == b'[').next().unwrap_or_default();
        is_such(name) || is_such(before_index)
    };
    let decoded = decode_all(piece);
    let parameters = decoded.split_inclusive(|(byte, _)| matches!(byte, b'&' | b';' | b'?' | b'#'));
    let mut begin = 0;
    for parameter in parameters {
        let text = parameter.iter().map(|(byte, _)| byte.to_ascii_lowercase());
        let name: Vec<u8> =
            text.take_while(|byte| !matches!(byte, b'=' | b'&' | b';' | b'?' | b'#')).collect();
        if is_it(&name) {
            return Some(begin);
        }
        // The separator that ends this one begins the next.
        begin = parameter.last().map_or(begin, |(_, at)| *at);
    }
    None
}

/// Every byte as the last of many decoders would see it, and where it begins in the text: `%252526` is one `&`.
fn decode_all(text: &[u8]) -> Vec<(u8, usize)> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0_usize;
    while let Some(byte) = text.get(at) {
        let mut digits = at.saturating_add(1);
        while *byte == b'%' && text.get(digits..).is_some_and(|rest| rest.starts_with(b"25")) {
            digits = digits.saturating_add(2);
        }
        // The `%` before those two digits is the last of the escaped ones, or the one that stands there.
        match escaped(text, digits.saturating_sub(1)).filter(|_| *byte == b'%') {
            Some(value) => {
                decoded.push((value, at));
                at = digits.saturating_add(2);
            }
            None => {
                decoded.push((*byte, at));
                at = at.saturating_add(1);
            }
        }
    }
    decoded
}

/// No `?` is left dangling.
fn join<'t>(path: &[u8], pieces: impl Iterator<Item = &'t [u8]>) -> Vec<u8> {
    let mut joined = path.to_vec();
    let mut separator = b'?';
    for piece in pieces {
        joined.push(separator);
        joined.extend_from_slice(piece);
        separator = b'&';
    }
    if joined.ends_with(b"?") && joined.len() == path.len().saturating_add(1) {
        joined.pop();
    }
    joined
}

fn pairs(query: Option<&[u8]>) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.unwrap_or_default().split(|byte| *byte == b'&').map(split_pair)
}

fn split_pair(piece: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = piece.splitn(2, |byte| *byte == b'=');
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_by_its_decoded_name() {
        for (query, value) in [
            ("token=a", Occurrence::Once("a")),
            ("x=1&token=a%20b", Occurrence::Once("a b")),
            ("tok%65n=a", Occurrence::Once("a")),
            ("token", Occurrence::Once("")),
            ("token=a=b", Occurrence::Once("a=b")),
            ("token=a+b", Occurrence::Once("a+b")),
            ("token=a&tok%65n=a", Occurrence::Many),
            ("tok%2565n=a", Occurrence::Absent),
            ("Token=a", Occurrence::Absent),
            ("", Occurrence::Absent),
        ] {
            let found = one(Some(query.as_bytes()), b"token")
                .map(|bytes| String::from_utf8(bytes.into_owned()).unwrap());
            assert_eq!(found, value.map(str::to_owned), "{query}");
        }
    }

    #[test]
    fn a_parameter_is_taken_out_and_the_rest_stays() {
        for (target, stripped) in [
            ("/p?token=x", Some("/p")),
            ("/p?token=x&a=1", Some("/p?a=1")),
            ("/p?a=1&token=x", Some("/p?a=1")),
            ("/p?a=1&token=x&b=%41&c", Some("/p?a=1&b=%41&c")),
            ("/p?a=1&tok%65n=x&b=2&token=y", Some("/p?a=1&b=2")),
            ("/p?token", Some("/p")),
            ("/p?&token=x", Some("/p")),
            ("/p?token=x&", Some("/p")),
            ("/p?token=x&&a&", Some("/p?&a&")),
            ("/p?a=?&token=x", Some("/p?a=?")),
            ("/p?b=2&a=1&b=2", None),
            ("/p?", None),
            ("/p", None),
        ] {
            let found = without(target.as_bytes(), |name| name == b"token")
                .map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(found.as_deref(), stripped, "{target}");
        }
    }
    #[test]
    fn what_any_reader_could_take_for_the_parameter_is_redacted() {
        for (target, redacted_target) in [
            ("/p?token=x&a=1", Some("/p?a=1")),
            ("/p?a;token=x;b&c", Some("/p?a&c")),
            ("/p?a%3Btoken%3Dx", Some("/p?a")),
            ("/p?a%25253btoken=x", Some("/p?a")),
            ("/p?tok%25252565n=x", Some("/p")),
            ("/p?a=%25;token=x", Some("/p?a=%25")),
            ("/p?%;token=x", Some("/p?%")),
            ("/p?a=%2;token=x", Some("/p?a=%2")),
            ("/p?;token", Some("/p")),
            ("/p?TOKEN[a]=x", Some("/p")),
            ("/p;token=x/q?a", Some("/p?a")),
            ("/p%3ftoken=x", Some("/p")),
            ("/p?a=token&tokens=1&xtoken&b=%3dtoken", None),
            ("/token/p?", None),
            ("", None),
        ] {
            let found = redacted(target.as_bytes(), |name| name == b"token");
            let found = found.map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(found.as_deref(), redacted_target, "{target}");
        }
    }
}
