//! Times, paths, hosts, queries, forms and items of any bytes: what is read of them is what a slow reading finds, it is read once
//! and for all, and nothing is made longer by it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use webhook_guard_core::request::Millis;
use webhook_guard_core::signature::field::{Field, Place};
use webhook_guard_core::signature::form::{Form, MOST_PARAMETERS};
use webhook_guard_core::signature::timestamp::Unit;
use webhook_guard_core::uri::{authority, path, percent, query};
use webhook_guard_fuzz::sender;

/// The last second of the year 9999, and the first of the year 0.
const SECONDS: (i64, i64) = (253_402_300_799, -62_167_219_200);

fuzz_target!(|bytes: &[u8]| {
    times(bytes);
    items(bytes);
    let decoded = percent::decode(bytes);
    assert_eq!(decoded, sender::unescaped(bytes));
    let mut own = bytes.to_vec();
    let length = percent::decode_in_place(&mut own);
    assert_eq!(&own[..length], &*decoded);
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert_eq!(&*percent::decode(percent::encode(text).as_bytes()), bytes);
    }
    if let Some(host) = authority::host(bytes) {
        // What is a host once is the same host again.
        assert_eq!(authority::host(&host).as_deref(), Some(&*host));
    }
    if !path::is_malformed(bytes) && path::is_plain(bytes) {
        assert!(!path::has_dot_segment(bytes));
        assert!(path::readings(bytes).is_some_and(|all| all.iter().all(|one| one.len() <= bytes.len())));
    }
    let is_token = |name: &[u8]| name.eq_ignore_ascii_case(b"token");
    if let Some(rest) = query::without(bytes, is_token) {
        assert!(query::without(&rest, is_token).is_none(), "it is taken out at once");
    }
    if let Some(rest) = query::redacted(bytes, |name| name == b"token") {
        assert!(query::redacted(&rest, |name| name == b"token").is_none(), "it is taken out at once");
    }
    let pieces = bytes.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty()).count();
    let form = Form::read(bytes.to_vec());
    assert_eq!(form.is_some(), pieces <= MOST_PARAMETERS);
    if let Some(form) = form {
        assert_eq!(form.pieces().collect::<Vec<_>>().concat(), sender::form(bytes));
    }
});

/// A time that is written is read as what it was, and any text is a time in one unit at most, or none.
fn times(bytes: &[u8]) {
    let unit = |name: &str| Unit::from_name(name).unwrap();
    let digits =
        std::str::from_utf8(bytes).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse::<i64>().ok());
    assert_eq!(unit("ms").read(bytes), number.map(Millis));
    assert_eq!(unit("s").read(bytes), number.and_then(|number| number.checked_mul(1000)).map(Millis));
    if number.is_some() {
        assert_eq!(["rfc3339", "http-date"].map(|name| unit(name).read(bytes)), [None, None]);
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && text.trim() == text
        && !text.ends_with(" UTC")
    {
        let date = httpdate::parse_http_date(text).ok().and_then(|date| date.duration_since(UNIX_EPOCH).ok());
        let millis = date.map(|since| Millis(i64::try_from(since.as_millis()).unwrap()));
        assert_eq!(unit("http-date").read(bytes), millis);
    }
    let Some((seconds, rest)) = bytes.split_first_chunk() else { return };
    let (last, first) = SECONDS;
    let seconds = first + i64::from_le_bytes(*seconds).rem_euclid(last - first + 1);
    let read = |name: &str, text: &str| unit(name).read(text.as_bytes());
    let text = sender::time("rfc3339", seconds);
    assert_eq!(read("rfc3339", &text), Some(Millis(seconds * 1000)), "{text}");
    // With a fraction and an offset it is that much later and earlier.
    let &[hour, minute, fraction, ..] = rest else { return };
    let (hour, minute, fraction) = (i64::from(hour) % 24, i64::from(minute) % 60, i64::from(fraction));
    let offset = format!(".{fraction:03}+{hour:02}:{minute:02}");
    let expected = seconds * 1000 + fraction - (hour * 60 + minute) * 60_000;
    assert_eq!(read("rfc3339", &text.replace('Z', &offset)), Some(Millis(expected)), "{text} {offset}");
    if seconds >= 0 {
        let text = sender::time("http-date", seconds);
        assert_eq!(read("http-date", &text), Some(Millis(seconds * 1000)), "{text}");
        let scalr = text.replace(',', "").replace("GMT", "UTC");
        assert_eq!(read("http-date", &scalr), Some(Millis(seconds * 1000)), "{scalr}");
        for name in ["s", "ms"] {
            let text = sender::time(name, seconds);
            assert_eq!(read(name, &text), Some(Millis(seconds * 1000)), "{text}");
        }
    }
}

/// The items of a Field: the first bytes say what separates and begins them, and which of them counts.
fn items(bytes: &[u8]) {
    let [split, index, prefix, value @ ..] = bytes else { return };
    let (split, prefix) = (char::from(split % 0x80), char::from(prefix % 0x80));
    let index = usize::from(*index);
    let field = Field {
        split: Some(u8::try_from(split).unwrap()),
        index: (index < 16).then_some(index),
        prefix: (prefix > ' ').then(|| Arc::from(prefix.to_string())),
        ..Field::whole(Place::Header(Arc::from("x")))
    };
    // Every byte as one character.
    let text: String = value.iter().copied().map(char::from).collect();
    let blanks: &[char] = &[' ', '\t', '\n', '\r', '\u{c}'];
    let mut expected: Vec<String> = Vec::new();
    for (place, item) in text.split(split).enumerate() {
        let item = item.trim_matches(blanks);
        let counts = if index < 16 { place == index } else { !item.is_empty() };
        let bare = if prefix > ' ' { item.strip_prefix(prefix) } else { Some(item) };
        expected.extend(bare.filter(|_| counts).map(str::to_owned));
    }
    expected.truncate(16);
    let found = field.items(value).into_iter();
    let found: Vec<String> = found.map(|item| item.iter().copied().map(char::from).collect()).collect();
    assert_eq!(found, expected);
}
