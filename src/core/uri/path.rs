//! Paths that can be read in more than one way.
//!
//! Responsible for telling a path that every reader reads alike from one that a proxy, a framework and a file system
//! might read differently, and for finding the readings of the latter. What governs a reading is asked of the caller.

use crate::uri::percent::{decode, escaped, hex_digit};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// More readings than this, or a longer path, are not looked through: the doubt stands, and nobody can make us work.
const MAX_READINGS: usize = 96;
const MAX_LENGTH: usize = 2048;

/// How often a path may be decoded on its way: by a proxy in front, by the server, by the application.
const DECODES: u8 = 3;

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

/// Whether every reader takes the path for the same: segments of `a-z 0-9 _ -` alone, and no slash too many.
#[must_use]
pub fn is_plain(path: &[u8]) -> bool {
    let is_word = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    let Some(segments) = path.strip_prefix(b"/") else { return false };
    segments.is_empty()
        || segments
            .split(|byte| *byte == b'/')
            .all(|segment| !segment.is_empty() && segment.iter().all(is_word))
}

/// All readings of a path, itself in lower case among them: decoded up to three times, dot segments resolved, slashes
/// merged, backslashes turned, path parameters removed, other forms of ASCII characters brought into theirs, blanks and
/// dots at the ends of segments and the last slash removed, cut at a NUL and where a decoded `?` or `#` begins
/// something else; in any order and combination, always in lower case.
///
/// Nothing where there are too many to look through.
#[must_use]
pub fn readings(path: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    let is_too_much = any_reading(path, |reading| {
        all.push(reading.to_vec());
        false
    });
    (!is_too_much).then_some(all)
}

/// Whether any of the [`readings`] of a path is one of those looked for. One with too many readings holds it for sure:
/// nobody can tell.
pub fn any_reading(path: &[u8], mut is_such: impl FnMut(&[u8]) -> bool) -> bool {
    if path.len() > MAX_LENGTH {
        return true;
    }
    // One decode after the other: what is found again later has fewer left, and leads nowhere else.
    let mut seen = BTreeSet::<Vec<u8>>::new();
    // Its case is folded last: of an overlong form the decoder may see six bits only, which differ in `I` and `i`.
    let mut open = vec![path.to_vec()];
    for _ in 0..=DECODES {
        let mut decoded = Vec::new();
        while let Some(reading) = open.pop() {
            if seen.contains(&reading) {
                continue;
            }
            if seen.len() >= MAX_READINGS || is_such(&reading.to_ascii_lowercase()) {
                return true;
            }
            open.extend(STEPS.iter().filter_map(|step| step(&reading)));
            if let Cow::Owned(next) = decode(&reading) {
                decoded.push(next);
            }
            seen.insert(reading);
        }
        open = decoded;
    }
    false
}

/// Whether a `.` or `..` segment is left to resolve.
#[must_use]
pub fn has_dot_segment(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|segment| matches!(segment, b"." | b".."))
}

/// What a reader may do to a path; nothing where that changes nothing.
type Step = fn(&[u8]) -> Option<Vec<u8>>;

/// All that one does besides decoding it, in no particular order.
const STEPS: [Step; 10] = [
    turn_backslashes,
    remove_parameters,
    merge_slashes,
    resolve_dots,
    trim_segments,
    strip_last_slash,
    cut_at_end_of_path,
    blank_for_plus,
    decode_code_points,
    ascii_forms,
];

fn turn_backslashes(path: &[u8]) -> Option<Vec<u8>> {
    replace(path, b'\\', b'/')
}

/// As the decoder of a form reads it.
fn blank_for_plus(path: &[u8]) -> Option<Vec<u8>> {
    replace(path, b'+', b' ')
}

fn replace(path: &[u8], from: u8, to: u8) -> Option<Vec<u8>> {
    let replaced = || path.iter().map(|byte| if *byte == from { to } else { *byte }).collect();
    path.contains(&from).then(replaced)
}

/// As Java's servlet containers do (`/a;v=1/b` is `/a/b`), before or after dot segments are resolved.
fn remove_parameters(path: &[u8]) -> Option<Vec<u8>> {
    let bare = || by_segment(path, |segment| segment.split(|byte| *byte == b';').next().unwrap_or_default());
    path.contains(&b';').then(bare)
}

fn merge_slashes(path: &[u8]) -> Option<Vec<u8>> {
    let mut merged = path.to_vec();
    merged.dedup_by(|next, previous| *next == b'/' && *previous == b'/');
    (merged.len() < path.len()).then_some(merged)
}

/// Resolves `.` and `..` as RFC 3986 5.2.4 does; a `..` at the root stays there.
fn resolve_dots(path: &[u8]) -> Option<Vec<u8>> {
    if !has_dot_segment(path) {
        return None;
    }
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
    Some(joined)
}

/// As Windows reads names of files, and many a framework what it looks up: without blanks around them, and without
/// dots at their ends.
fn trim_segments(path: &[u8]) -> Option<Vec<u8>> {
    let trimmed = by_segment(path, |segment| {
        let mut name = segment.trim_ascii();
        while !matches!(name, b"." | b"..")
            && let Some(shorter) = name.strip_suffix(b".")
        {
            name = shorter.trim_ascii_end();
        }
        name
    });
    (trimmed.len() < path.len()).then_some(trimmed)
}

fn by_segment(path: &[u8], form: impl Fn(&[u8]) -> &[u8]) -> Vec<u8> {
    path.split(|byte| *byte == b'/').map(form).collect::<Vec<_>>().join(&b'/')
}

fn strip_last_slash(path: &[u8]) -> Option<Vec<u8>> {
    path.strip_suffix(b"/").filter(|bare| !bare.is_empty()).map(<[u8]>::to_vec)
}

/// What a reader in C sees, the text up to a NUL; and what one who decodes before he takes a URL apart takes for the
/// path.
fn cut_at_end_of_path(path: &[u8]) -> Option<Vec<u8>> {
    let end = path.iter().position(|byte| matches!(byte, 0 | b'?' | b'#'))?;
    path.get(..end).map(<[u8]>::to_vec)
}

/// `%u002f`, which Microsoft's servers and old JavaScript write, decoded.
fn decode_code_points(path: &[u8]) -> Option<Vec<u8>> {
    let mut rest = path;
    let mut decoded = Vec::with_capacity(path.len());
    while let Some((byte, behind)) = rest.split_first() {
        let digits = rest.strip_prefix(b"%u").or_else(|| rest.strip_prefix(b"%U"));
        let digits = digits.and_then(|digits| digits.split_at_checked(4));
        let code_point = digits.and_then(|(digits, behind)| Some((char::from_u32(number(digits)?)?, behind)));
        if let Some((one, behind)) = code_point {
            decoded.extend(one.encode_utf8(&mut [0; 4]).bytes());
            rest = behind;
        } else {
            decoded.push(*byte);
            rest = behind;
        }
    }
    (decoded.len() < path.len()).then_some(decoded)
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |number, digit| Some(number << 4 | hex_digit(*digit)?))
}

/// ASCII characters that are written in another way, in theirs: in more bytes of UTF-8 than they need (`%c0%af` for
/// `/`), in full width (U+FF0F), and the letters that become ASCII when their case is changed (Unicode's
/// `CaseFolding.txt` and `UnicodeData.txt`: U+017F and U+212A, and the Turkish U+0130 and U+0131).
fn ascii_forms(path: &[u8]) -> Option<Vec<u8>> {
    if path.is_ascii() {
        return None;
    }
    let mut rest = path;
    let mut plain = Vec::with_capacity(path.len());
    while let Some((byte, behind)) = rest.split_first() {
        let (form, behind) = overlong(rest).or_else(|| other_form(rest)).unwrap_or((*byte, behind));
        plain.push(form);
        rest = behind;
    }
    (plain.len() < path.len()).then_some(plain)
}

/// The ASCII character at the start of the text when it is encoded in two to six bytes, and what follows it. The second
/// of two need not be marked as such: old decoders do not look (`%c0%2f`).
fn overlong(text: &[u8]) -> Option<(u8, &[u8])> {
    let lead = *text.first()?;
    let length = usize::try_from(lead.leading_ones()).ok().filter(|length| (2..=6).contains(length))?;
    let (sequence, behind) = text.split_at_checked(length)?;
    let tail = sequence.get(1..)?;
    if length > 2 && tail.iter().any(|byte| byte >> 6 != 0b10) {
        return None;
    }
    // What is left of the lead after the ones and the zero that tell the length.
    let start = u32::from(lead & (0x7f >> length));
    let value = tail.iter().fold(start, |value, byte| value << 6 | u32::from(byte & 0x3f));
    u8::try_from(value).ok().filter(u8::is_ascii).map(|form| (form, behind))
}

fn other_form(text: &[u8]) -> Option<(u8, &[u8])> {
    let at_most_three = text.get(..text.len().min(3))?;
    let length = match at_most_three.first()? {
        0xc4 | 0xc5 => 2,
        0xe2 | 0xef => 3,
        _ => return None,
    };
    let (sequence, behind) = text.split_at_checked(length)?;
    let form = match std::str::from_utf8(sequence).ok()?.chars().next()? {
        '\u{17f}' => b's',
        '\u{212a}' => b'k',
        '\u{130}' | '\u{131}' => b'i',
        wide @ '\u{ff01}'..='\u{ff5e}' => {
            u8::try_from(u32::from(wide).checked_sub(0xff01)?.checked_add(0x21)?).ok()?
        }
        _ => return None,
    };
    Some((form, behind))
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
            ("/%252568ooks/v1", true),
            ("/%25252568ooks/v1", false),
            ("/hooks./v1 /", true),
            ("/hooks/%20v1%09", true),
            ("/hooks/v1...", true),
            ("/hooks/.../v1", false),
            ("/x/.../hooks/v1", true),
            ("/hooks%c0%afv1", true),
            ("/hooks%c0%2fv1", true),
            ("/hooks/v1%c0I", true),
            ("/hooks%c0Ov1", false),
            ("/hooks%U002Fv1", true),
            ("/hooks%f8%80%80%80%afv1", true),
            ("/hooks%e0%80v1", false),
            ("/hook%c5%bf/v1", true),
            ("/hoo%c5%bfs/v1", false),
            ("/hooks%e2%82%acv1", false),
            ("/hooks%u002fv1", true),
            ("/hooks%ud800v1", false),
            ("/hooks/v%u00", false),
            ("/hooks%EF%BC%8Fv1", true),
            ("/hooks/v1%3fa", true),
            ("/hooks/v1%23", true),
            ("/hooks/v1%2523%252f", true),
            ("/hooks/v1%20%2e%2f%3b", true),
        ] {
            assert_eq!(any_reading(path.as_bytes(), |reading| reading == b"/hooks/v1"), found, "{path}");
        }
        // Of a longer sequence all bytes are marked as such: this would be a `!`.
        assert!(!any_reading(b"/%e0@a", |reading| reading == b"/!"));
        // The sign of the Kelvin for a `k`.
        assert!(any_reading(b"/hoo%e2%84%aas/v1", |reading| reading == b"/hooks/v1"));
        for (length, is_too_long) in [(MAX_LENGTH, false), (MAX_LENGTH + 1, true), (MAX_LENGTH + 2, true)] {
            let long = format!("/{}", "a".repeat(length - 1));
            assert_eq!(
                any_reading(long.as_bytes(), |_| false),
                is_too_long,
                "{length}: too long to look through"
            );
        }
        assert_eq!(readings(&[b'/'; MAX_LENGTH + 1]), None);
        let many = "/x;y/%252e%2e//%255c%3b%20./%u002f%c0%af%3f/../+/%00/".repeat(9);
        assert_eq!(readings(many.as_bytes()), None, "too many to look through");
    }

    #[test]
    fn an_ordinary_path_has_one_reading_and_a_common_one_few() {
        for (path, is_so, count) in [
            ("/", true, 1),
            ("/flexdeploy/webhooks/v1", true, 1),
            ("/a_b-c/0", true, 1),
            ("/v1.2/x", false, 1),
            ("/V1", false, 1),
            ("/a/", false, 2),
            ("/hooks/My%20Repo/x", false, 2),
            ("/hooks/%E2%82%AC", false, 2),
            ("/hooks/group%252Fproject", false, 3),
            ("/hooks/100%25/", false, 4),
            ("/a b+c", false, 2),
        ] {
            assert_eq!(is_plain(path.as_bytes()), is_so, "{path}");
            assert_eq!(readings(path.as_bytes()).unwrap().len(), count, "{path}");
        }
        for path in ["", "a", "//", "/a//b", "/a%20", "/a.", "/a;b", "*"] {
            assert!(!is_plain(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn letters_that_another_system_takes_for_ascii_are_seen_through() {
        for (path, seen) in [
            ("/hook%C5%BF/v1", "/hooks/v1"),
            ("/%E2%84%AA", "/k"),
            ("/%C4%B0", "/i"),
            ("/%C4%B1", "/i"),
            ("/%EF%BD%81", "/a"),
        ] {
            assert!(any_reading(path.as_bytes(), |reading| reading == seen.as_bytes()), "{path}");
        }
    }
}
