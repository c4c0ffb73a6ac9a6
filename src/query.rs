//! The query of a request's target, as bytes.
//!
//! Responsible for finding a parameter (names and values compared after one decoding) and for taking parameters out
//! while the rest stays byte-identical and in order. Refuses to know what a parameter is for.

use crate::path::decode_once;
use crate::request::Occurrence;
use std::borrow::Cow;

/// The value of a parameter that may occur once, decoded once. A parameter without `=` has the empty value.
#[must_use]
pub fn one<'q>(query: Option<&'q [u8]>, name: &[u8]) -> Occurrence<Cow<'q, [u8]>> {
    let mut values = pairs(query).filter(|(given, _)| *decode_once(given) == *name).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (None, _) => Occurrence::Absent,
        (Some(value), None) => Occurrence::Once(decode_once(value)),
        (Some(_), Some(_)) => Occurrence::Many,
    }
}

/// The target without the parameters of such names, or nothing when it has none of them. No `?` or `&` of
/// theirs is left dangling.
pub fn without(target: &[u8], is_such: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let mark = target.iter().position(|byte| *byte == b'?')?;
    let (path, query) = (target.get(..mark)?, target.get(mark.checked_add(1)?..)?);
    let is_named = |piece: &[u8]| is_such(&decode_once(split_pair(piece).0));
    let pieces = || query.split(|byte| *byte == b'&');
    if !pieces().any(is_named) {
        return None;
    }
    let mut stripped = Vec::with_capacity(target.len());
    stripped.extend_from_slice(path);
    let mut separator = b'?';
    for piece in pieces().filter(|piece| !is_named(piece)) {
        stripped.push(separator);
        stripped.extend_from_slice(piece);
        separator = b'&';
    }
    if stripped.ends_with(b"?") && stripped.len() == path.len().saturating_add(1) {
        stripped.pop();
    }
    Some(stripped)
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
}
