//! A path passes under a policy, or past all of them, only if no reader between here and the application could take it for a path
//! that belongs to another policy or to none; and a path that all readers take for the same is not refused.
//!
//! The readers are played by a slow and obvious search: everything that can become of the path by what any of them is known to
//! do, in any order. Those who decode some escapes only are among them, though the guard does not know of them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use webhook_guard_core::config::{self, Configuration};
use webhook_guard_core::feed::Lists;
use webhook_guard_core::policy::HeadersOutcome;
use webhook_guard_core::request::{Facts, Headers};
use webhook_guard_fuzz::{NOW, sender};

/// Paths of policies; one that ends with a slash and a star is a prefix.
const PATHS: [(&str, &str); 5] = [
    ("hooks", "/hooks/v1/*"),
    ("admin", "/hooks/v1/admin"),
    ("deep", "/Hooks.d/A_b/*"),
    ("short", "/s"),
    ("other", "/other/*"),
];
const DECODES: usize = 3;
/// Where there are more, the guard gives up and refuses; it may count a few less.
const MANY: usize = 48;
const TOO_MANY: usize = 4000;

static CONFIGURATION: LazyLock<Configuration> = LazyLock::new(|| {
    let policy = |(name, path): &(&str, &str)| {
        let path = path.strip_suffix("/*").map_or_else(
            || serde_json::json!({ "exact": path }),
            |prefix| serde_json::json!({ "prefix": prefix }),
        );
        serde_json::json!({ "name": name, "match": { "path": path }, "require": "nothing" })
    };
    let policies: Vec<_> = PATHS.iter().map(policy).collect();
    let text = serde_json::json!({ "policies": policies, "unmatched": "pass" }).to_string();
    config::parse(text.as_bytes(), &|_| None).unwrap()
});

fuzz_target!(|bytes: &[u8]| {
    let path = [b"/", bytes].concat();
    if path.contains(&b'?') {
        return;
    }
    let verdict = verdict(&path);
    let all = readings(&path, true);
    match verdict.as_deref() {
        // Refused: it was malformed as it stands, or somebody reads it in another way, or there are too many ways to read it.
        Some("") => {
            let few = readings(&path, false);
            let is_foreign = few.keys().any(|reading| owner(reading) != owner_as_it_stands(&path));
            let is_so = is_malformed(&path) || is_foreign || few.len() > MANY || path.len() > 2048;
            assert!(is_so, "{:?} is refused, and all read it alike: {few:?}", String::from_utf8_lossy(&path));
        }
        passed => {
            let foreign = all.iter().find(|(reading, _)| owner(reading) != passed);
            assert!(
                foreign.is_none(),
                "{:?} passes to {passed:?}, and is {foreign:?}",
                String::from_utf8_lossy(&path)
            );
        }
    }
});

/// The policy that lets the path through, or nothing where it is left alone; an empty name where it is refused.
fn verdict(path: &[u8]) -> Option<String> {
    let headers = Headers::from_pairs([
        (&b":method"[..], &b"POST"[..]),
        (b":path", path),
        (b":authority", b"example.com"),
    ]);
    let facts = Facts {
        headers: &headers,
        source: None,
        client_certificate: None,
        route_policy: None,
        now: NOW,
        ends_with_headers: true,
    };
    let HeadersOutcome { step, policy, .. } =
        CONFIGURATION.policies.open(&facts, &Lists::new(&CONFIGURATION.feeds));
    match step {
        webhook_guard_core::policy::AfterHeaders::Leave => None,
        webhook_guard_core::policy::AfterHeaders::Settled(decision) if decision.verdict.code() == "allow" => {
            policy.map(|policy| policy.name.to_string())
        }
        step => {
            let webhook_guard_core::policy::AfterHeaders::Settled(decision) = step else {
                panic!("{step:?}")
            };
            assert_eq!(decision.verdict.reason_code(), "path_malformed");
            Some(String::new())
        }
    }
}

/// Whom a reading belongs to, whatever the case of its letters and with or without a slash at its end.
fn owner(reading: &[u8]) -> Option<&'static str> {
    let reading = reading.to_ascii_lowercase();
    longest(reading.strip_suffix(b"/").unwrap_or(&reading), str::to_ascii_lowercase)
}

fn owner_as_it_stands(path: &[u8]) -> Option<&'static str> {
    longest(path, str::to_owned)
}

/// The policy of the longest path that governs this one; an exact path before all.
fn longest(path: &[u8], form: fn(&str) -> String) -> Option<&'static str> {
    let governs = |pattern: &str| match form(pattern).strip_suffix("/*") {
        Some(prefix) => path == prefix.as_bytes() || path.starts_with(format!("{prefix}/").as_bytes()),
        None => path == form(pattern).as_bytes(),
    };
    let found = PATHS.iter().filter(|(_, pattern)| governs(pattern));
    found.max_by_key(|(_, pattern)| (!pattern.ends_with('*'), pattern.len())).map(|(name, _)| *name)
}

/// The contract's list of what a path must not hold as it stands.
fn is_malformed(path: &[u8]) -> bool {
    let text = String::from_utf8_lossy(path).to_ascii_lowercase();
    let is_escape = |rest: &str| sender::unhex(rest.as_bytes().get(..2).unwrap_or(b"?")).is_some();
    ["%2f", "%5c", "%2e", "%00", "\\", "//", ";"].iter().any(|one| text.contains(one))
        || text.split('/').any(|segment| segment == "." || segment == "..")
        || path.iter().any(|byte| !byte.is_ascii_graphic())
        || text.split('%').skip(1).any(|rest| !is_escape(rest))
}

/// All that can become of a path, each with what it came from last. `widely`: by readers that decode some escapes only, too.
fn readings(path: &[u8], widely: bool) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found = BTreeMap::from([(path.to_vec(), Vec::new())]);
    let mut done = BTreeSet::new();
    let mut open = vec![(path.to_vec(), DECODES)];
    while let Some((reading, decodes)) = open.pop() {
        if found.len() > TOO_MANY || !done.insert((reading.clone(), decodes)) {
            continue;
        }
        let mut next: Vec<(Vec<u8>, usize)> =
            changes(&reading).into_iter().map(|one| (one, decodes)).collect();
        if decodes > 0 {
            next.push((sender::unescaped(&reading), decodes - 1));
            if widely {
                next.push((unescaped_but_slashes(&reading), decodes - 1));
                next.push((unescaped_unreserved(&reading), decodes - 1));
            }
        }
        for (one, decodes) in next {
            // What is as long as it was and the same but for its case is the same reading.
            if one.to_ascii_lowercase() != reading.to_ascii_lowercase() {
                found.entry(one.to_ascii_lowercase()).or_insert_with(|| reading.clone());
                open.push((one, decodes));
            }
        }
    }
    let mut folded = BTreeMap::new();
    for (reading, from) in found {
        folded.entry(reading.to_ascii_lowercase()).or_insert(from);
    }
    folded
}

/// What one reader or another does besides decoding, each by itself.
fn changes(path: &[u8]) -> Vec<Vec<u8>> {
    let text: String = path.iter().copied().map(char::from).collect();
    let by_segment = |form: &dyn Fn(&str) -> String| text.split('/').map(form).collect::<Vec<_>>().join("/");
    let mut merged = text.clone();
    while merged.contains("//") {
        merged = merged.replace("//", "/");
    }
    let cut = text.find(['\0', '?', '#']).map_or(&text[..], |end| &text[..end]);
    let bare = text.strip_suffix('/').filter(|bare| !bare.is_empty()).unwrap_or(&text);
    let texts = [
        text.replace('\\', "/"),
        text.replace('+', " "),
        by_segment(&|segment| segment.split(';').next().unwrap().to_owned()),
        merged,
        resolved(&text),
        by_segment(&trimmed),
        bare.to_owned(),
        cut.to_owned(),
    ];
    let mut all: Vec<Vec<u8>> = texts
        .iter()
        .map(|text| text.chars().map(|one| u8::try_from(u32::from(one)).unwrap()).collect())
        .collect();
    all.extend([code_points(path), plain_forms(path)]);
    all
}

/// Without dot segments, from the left.
fn resolved(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    if !path.split('/').any(|segment| segment == "." || segment == "..") {
        return path.to_owned();
    }
    for segment in path.split('/').skip(1) {
        if segment == ".." {
            kept.pop();
        } else if segment != "." {
            kept.push(segment);
        }
    }
    format!("/{}", kept.join("/"))
}

/// Without blanks at both ends, and dots at the last one; what is only one or two dots is no name.
fn trimmed(segment: &str) -> String {
    let blanks: &[char] = &[' ', '\t', '\n', '\r', '\u{c}'];
    let mut name = segment.trim_matches(blanks);
    while name.ends_with('.') && name != "." && name != ".." {
        name = name[..name.len() - 1].trim_end_matches(blanks);
    }
    name.to_owned()
}

/// As a proxy that must not turn an escaped slash into one.
fn unescaped_but_slashes(path: &[u8]) -> Vec<u8> {
    unescaped_if(path, |byte| !matches!(byte, b'/' | b'\\'))
}

/// As RFC 3986 6.2.2.2 has a proxy normalise.
fn unescaped_unreserved(path: &[u8]) -> Vec<u8> {
    unescaped_if(path, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

fn unescaped_if(path: &[u8], is_such: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = path;
    while let Some((first, behind)) = rest.split_first() {
        let byte = behind.get(..2).filter(|_| *first == b'%').and_then(sender::unhex).map(|bytes| bytes[0]);
        match byte.filter(|byte| is_such(*byte)) {
            Some(byte) => {
                plain.push(byte);
                rest = &behind[2..];
            }
            None => {
                plain.push(*first);
                rest = behind;
            }
        }
    }
    plain
}

/// `%u` and four digits as that character, in UTF-8.
fn code_points(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let digits = rest.get(..6).filter(|six| six[0] == b'%' && six[1].eq_ignore_ascii_case(&b'u'));
        let bytes = digits.and_then(|six| sender::unhex(&six[2..]));
        let one = bytes.and_then(|bytes| char::from_u32(u32::from(bytes[0]) << 8 | u32::from(bytes[1])));
        match one {
            Some(one) => plain.extend(one.to_string().bytes()),
            None => plain.push(rest[0]),
        }
        rest = &rest[if one.is_some() { 6 } else { 1 }..];
    }
    plain
}

/// What is written in another way than ASCII writes it: in too many bytes, in full width, with a letter that another case of
/// is ASCII.
fn plain_forms(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut at = 0;
    'bytes: while at < path.len() {
        // All the texts that stand for an ASCII character, by their length.
        for length in 2..=6 {
            let Some(sequence) = path.get(at..at + length) else { break };
            if let Some(byte) = FORMS[length - 2].get(sequence) {
                plain.push(*byte);
                at += length;
                continue 'bytes;
            }
        }
        plain.push(path[at]);
        at += 1;
    }
    plain
}

/// Every other form of every ASCII character, written out.
static FORMS: LazyLock<[BTreeMap<Vec<u8>, u8>; 5]> = LazyLock::new(|| {
    let mut forms: [BTreeMap<Vec<u8>, u8>; 5] = Default::default();
    for byte in 0..=0x7f_u8 {
        let (high, low) = (byte >> 6, byte & 0x3f);
        // The last byte of two may have any high bits: old decoders do not look at them.
        for mark in [0x00, 0x40, 0x80, 0xc0] {
            forms[0].insert(vec![0xc0 | high, mark | low], byte);
        }
        forms[1].insert(vec![0xe0, 0x80 | high, 0x80 | low], byte);
        forms[2].insert(vec![0xf0, 0x80, 0x80 | high, 0x80 | low], byte);
        forms[3].insert(vec![0xf8, 0x80, 0x80, 0x80 | high, 0x80 | low], byte);
        forms[4].insert(vec![0xfc, 0x80, 0x80, 0x80, 0x80 | high, 0x80 | low], byte);
    }
    for byte in 0x21..=0x7e_u8 {
        let wide = char::from_u32(0xff01 + u32::from(byte) - 0x21).unwrap();
        forms[1].insert(wide.to_string().into_bytes(), byte);
    }
    for (one, byte) in [('\u{17f}', b's'), ('\u{130}', b'i'), ('\u{131}', b'i')] {
        forms[0].insert(one.to_string().into_bytes(), byte);
    }
    forms[1].insert("\u{212a}".as_bytes().to_vec(), b'k');
    forms
});
