//! Paths that can be read in more than one way.
//!
//! Responsible for telling a path that every reader reads alike from one that a proxy, a framework and a file system
//! might read differently, and for finding the readings of the latter. Refuses to know policies: what governs a path
//! is asked of the caller.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// More readings than this, or a longer path, are not looked through: the doubt stands, and nobody can make us work.
const MAX_READINGS: usize = 128;
const MAX_LENGTH: usize = 4096;

/// Whether a path (without query) must be refused before any matching: an escaped `/`, `\`, `.` or NUL, a backslash,
/// `//`, a `.` or `..` segment, `;`, a control or non-ASCII byte, an invalid escape, or no leading `/`.
#[must_use]
pub fn is_malformed(path: &[u8]) -> bool {
    path.first() != Some(&b'/')
        || path.iter().any(|byte| matches!(byte, b'\\' | b';' | 0..=b' ' | 0x7f..))
        || path.windows(2).any(|pair| pair == b"//")
        || path.split(|byte| *byte == b'/').any(|segment| matches!(segment, b"." | b".."))
        || has_bad_escape(path)
}

fn has_bad_escape(path: &[u8]) -> bool {
    path.iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'%')
        .any(|(at, _)| !matches!(escaped(path, at), Some(byte) if !matches!(byte, b'/' | b'\\' | b'.' | 0)))
}

/// The byte that the escape at that place stands for; nothing when it is not an escape.
fn escaped(text: &[u8], at: usize) -> Option<u8> {
    let high = hex_digit(*text.get(at.checked_add(1)?)?)?;
    let low = hex_digit(*text.get(at.checked_add(2)?)?)?;
    Some(high << 4 | low)
}

const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
        b'A'..=b'F' => Some(byte.wrapping_sub(b'A').wrapping_add(10)),
        _ => None,
    }
}

/// Percent-decoded once (RFC 3986 2.1). What is not an escape stays as it is, `+` included.
#[must_use]
pub fn decode_once(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut skip = 0_u8;
    for (at, byte) in text.iter().enumerate() {
        if skip > 0 {
            skip = skip.saturating_sub(1);
        } else if *byte == b'%'
            && let Some(value) = escaped(text, at)
        {
            decoded.push(value);
            skip = 2;
        } else {
            decoded.push(*byte);
        }
    }
    Cow::Owned(decoded)
}

/// Percent-decodes where the text stands, and says how many bytes at its beginning are then the decoded text.
pub fn decode_in_place(text: &mut [u8]) -> usize {
    let (mut from, mut to) = (0_usize, 0_usize);
    while let Some(byte) = text.get(from).copied() {
        let value = if byte == b'%' { escaped(text, from) } else { None };
        if let Some(slot) = text.get_mut(to) {
            *slot = value.unwrap_or(byte);
        }
        from = from.saturating_add(if value.is_some() { 3 } else { 1 });
        to = to.saturating_add(1);
    }
    to
}

/// Whether any reading of the path is governed: decoded at most twice, dot segments resolved, slashes merged,
/// backslashes turned, path parameters removed, case folded, in any order and combination.
///
/// `governed` is asked with each reading in lower case. A path with too many readings counts as governed.
pub fn any_reading(path: &[u8], governed: impl Fn(&[u8]) -> bool) -> bool {
    if path.len() > MAX_LENGTH {
        return true;
    }
    let mut seen = BTreeSet::new();
    let mut open = vec![(path.to_ascii_lowercase(), 2_u8)];
    while let Some((reading, decodes)) = open.pop() {
        if governed(&reading) || seen.len() > MAX_READINGS {
            return true;
        }
        open.extend(
            [turn_backslashes, remove_parameters, merge_slashes, resolve_dots, cut_at_nul]
                .map(|step| (step(&reading), decodes))
                .into_iter()
                .chain(decodes.checked_sub(1).map(|left| (decode_once(&reading).to_ascii_lowercase(), left)))
                .filter(|next| next.0 != reading && !seen.contains(next)),
        );
        seen.insert((reading, decodes));
    }
    false
}

fn turn_backslashes(path: &[u8]) -> Vec<u8> {
    path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect()
}

fn remove_parameters(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|byte| *byte == b'/');
    let bare: Vec<&[u8]> =
        segments.map(|segment| segment.split(|byte| *byte == b';').next().unwrap_or_default()).collect();
    bare.join(&b'/')
}

fn merge_slashes(path: &[u8]) -> Vec<u8> {
    let mut merged = path.to_vec();
    merged.dedup_by(|next, previous| *next == b'/' && *previous == b'/');
    merged
}

/// Resolves `.` and `..` as RFC 3986 5.2.4 does; a `..` at the root stays there.
fn resolve_dots(path: &[u8]) -> Vec<u8> {
    let mut resolved: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/').skip(1) {
        match segment {
            b"." => {}
            b".." => {
                resolved.pop();
            }
            _ => resolved.push(segment),
        }
    }
    let mut joined = b"/".to_vec();
    joined.extend(resolved.join(&b'/'));
    joined
}

/// What a reader in C sees: the text up to a NUL.
fn cut_at_nul(path: &[u8]) -> Vec<u8> {
    path.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_two_readings_is_malformed() {
        for (path, malformed) in [
            ("/flexdeploy/webhooks/v1", false),
            ("/", false),
            ("/a/", false),
            ("/a%20b", false),
            ("/a...b/.c/d..", false),
            ("/%41", false),
            ("", true),
            ("*", true),
            ("a/b", true),
            ("/a//b", true),
            ("//", true),
            ("/a/./b", true),
            ("/a/../b", true),
            ("/a/..", true),
            ("/.", true),
            ("/a%2fb", true),
            ("/a%2Fb", true),
            ("/a%5cb", true),
            ("/a%5Cb", true),
            ("/a%2e%2E/b", true),
            ("/a%00", true),
            ("/a\\b", true),
            ("/a;v=1", true),
            ("/a b", true),
            ("/a\tb", true),
            ("/a\u{7f}", true),
            ("/ä", true),
            ("/a%", true),
            ("/a%4", true),
            ("/a%zz", true),
        ] {
            assert_eq!(is_malformed(path.as_bytes()), malformed, "{path}");
        }
    }

    #[test]
    fn a_governed_path_is_found_behind_every_disguise() {
        for (path, found) in [
            ("/hooks/v1", true),
            ("/HOOKS/v1", true),
            ("//hooks//v1", true),
            ("/x/../hooks/v1", true),
            ("/x/..;a=b/hooks/v1", true),
            ("/x/%2e%2e/hooks/v1", true),
            ("/x/%252e%252e%252fhooks/v1", true),
            ("/hooks%2fv1", true),
            ("/hooks%5Cv1", true),
            ("/hooks\\v1", true),
            ("/hooks;p/v1;q", true),
            ("/%68ooks/v1", true),
            ("/%2568ooks/v1", true),
            ("/./hooks/v1", true),
            ("/hooks/v1%00.png", true),
            ("/..%5c..%5chooks%5cv1", true),
            ("/hooks/v2", false),
            ("/other//place", false),
            ("/x/../hooks/v2", false),
            ("/%252568ooks/v1", false),
        ] {
            assert_eq!(any_reading(path.as_bytes(), |reading| reading == b"/hooks/v1"), found, "{path}");
        }
        assert!(any_reading(&[b'/'; MAX_LENGTH + 1], |_| false), "too long to look through");
    }

    #[test]
    fn decoding_happens_once_and_leaves_what_is_no_escape() {
        for (text, decoded) in
            [("a%41", "aA"), ("%2541", "%41"), ("a+b", "a+b"), ("%", "%"), ("%4", "%4"), ("%%41", "%A")]
        {
            assert_eq!(decode_once(text.as_bytes()), decoded.as_bytes(), "{text}");
            let mut own = text.as_bytes().to_vec();
            let length = decode_in_place(&mut own);
            assert_eq!(&own[..length], decoded.as_bytes(), "{text} in place");
        }
    }
}
