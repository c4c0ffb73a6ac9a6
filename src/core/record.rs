//! What is kept of a request for the operator's eyes: its body, the digest of it, some of its headers.
//!
//! Responsible for what a policy's `record` asks for, for the names and forms of the filter state that tells it, and for
//! taking out what may be a token. A body is recorded once, at the end, from what the host still holds: here stands only
//! the digest while it streams. A policy without `record` makes nothing of all this.

use crate::budget::{Budget, Share};
use crate::request::Headers;
use crate::signature::hmac::BodyDigest;
use crate::vocabulary::object_of_texts;
use data_encoding::{BASE64, HEXLOWER};
use std::sync::Arc;

/// The most that a policy may record of a body, in bytes: receivers of OpenTelemetry's gRPC take messages of 4 MiB, and
/// base64 makes four bytes of three.
pub const MOST_BODY_BYTES: u64 = 2 << 20;

/// The default of `record.max_body_bytes`.
pub const DEFAULT_BODY_BYTES: u64 = 64 << 10;

/// The most that is recorded of all headers together, in bytes of JSON text. A sender can repeat a long one for a few bytes.
const MOST_HEADER_BYTES: usize = 16 << 10;

/// Headers that are never recorded, whatever a policy lists: they carry what lets their bearer in.
const SECRET_HEADERS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];

/// What stands in the place of a value that may be a token.
const REDACTED: &[u8] = b"REDACTED";

/// Filter state, by name.
pub type State = (&'static str, String);

/// Whose bodies are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bodies {
    /// Nobody's.
    #[default]
    None,
    /// Those of requests that are refused, or would be.
    Refused,
    /// Those of requests that are let through or answered.
    Accepted,
    /// Everybody's.
    All,
}

/// What a policy records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordTerms {
    /// Whose bodies.
    pub bodies: Bodies,
    /// How much of a body, in bytes.
    pub max_body_bytes: usize,
    /// Which headers, in lower case.
    pub headers: Vec<Arc<str>>,
}

impl RecordTerms {
    /// Whether the body of a request with that verdict is recorded.
    #[must_use]
    pub const fn takes(&self, is_accepted: bool) -> bool {
        match self.bodies {
            Bodies::None => false,
            Bodies::Refused => !is_accepted,
            Bodies::Accepted => is_accepted,
            Bodies::All => true,
        }
    }

    /// The headers as they are told: a JSON object of names in lower case, with a list where a header stands more than once.
    /// Never one that is secret by its name or by `is_secret`; `redact` takes out what may be a token in a value. Values are
    /// cut where all together would be too long, and bytes that are no UTF-8 become U+FFFD.
    pub(crate) fn headers(
        &self,
        headers: &Headers,
        is_secret: impl Fn(&str) -> bool,
        redact: impl Fn(&mut Vec<u8>),
    ) -> Option<String> {
        let mut left = MOST_HEADER_BYTES;
        let mut members: Vec<(&str, Vec<String>)> = Vec::new();
        for name in &self.headers {
            if is_secret_header(name) || is_secret(name) {
                continue;
            }
            let mut values = Vec::new();
            for value in headers.all(name.as_bytes()) {
                // An escape in JSON takes up to six bytes of one.
                let room = left.saturating_sub(name.len().saturating_add(8)) / 6;
                let mut value = value.get(..room).map_or_else(|| value.to_vec(), <[u8]>::to_vec);
                redact(&mut value);
                let text = String::from_utf8_lossy(&value).into_owned();
                left = left.saturating_sub(
                    text.len().saturating_mul(6).saturating_add(name.len()).saturating_add(8),
                );
                values.push(text);
                if left == 0 {
                    break;
                }
            }
            if !values.is_empty() {
                members.push((name, values));
            }
            if left == 0 {
                break;
            }
        }
        (!self.headers.is_empty()).then(|| object_of_texts(&members))
    }
}

/// Whether a header of that name (in lower case) is never recorded.
pub(crate) fn is_secret_header(name: &str) -> bool {
    SECRET_HEADERS.contains(&name)
}

/// What is being recorded of one request's body.
#[derive(Debug)]
pub(crate) struct Recording {
    terms: Arc<RecordTerms>,
    digest: BodyDigest,
    seen: usize,
    /// Whether the last byte has come.
    has_ended: bool,
}

impl Recording {
    /// A body of which nothing has come; nothing where the policy records none.
    pub(crate) fn new(terms: &Arc<RecordTerms>) -> Option<Box<Self>> {
        let recording = || {
            Box::new(Self { terms: terms.clone(), digest: BodyDigest::default(), seen: 0, has_ended: false })
        };
        (terms.bodies != Bodies::None).then(recording)
    }

    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.seen = self.seen.saturating_add(piece.len());
        self.digest.update(piece);
    }

    pub(crate) const fn end(&mut self) {
        self.has_ended = true;
    }

    /// How many bytes of the start of the body are wanted for a request with that verdict.
    pub(crate) fn wanted(&self, is_accepted: bool) -> usize {
        if self.terms.takes(is_accepted) { self.seen.min(self.terms.max_body_bytes) } else { 0 }
    }

    /// What is told of the body, of which this is the start that was wanted. What is told stays in the host until the
    /// request is over: `share` has room for it, or the text is not told.
    pub(crate) fn finish(
        self,
        is_accepted: bool,
        mut start: Vec<u8>,
        redact: impl Fn(&mut Vec<u8>),
        share: &mut Share,
    ) -> Vec<State> {
        let mut told = Vec::with_capacity(4);
        if self.has_ended {
            told.push(("wasm.webhook_body_bytes", self.seen.to_string()));
            told.push(("wasm.webhook_body_sha256", HEXLOWER.encode(&self.digest.finish())));
        }
        let was_read = self.has_ended || self.seen > 0;
        if !self.terms.takes(is_accepted) || !was_read {
            return told;
        }
        let is_whole = self.has_ended && start.len() == self.seen;
        redact(&mut start);
        let (text, encoding) = text(start, is_whole);
        if share.grow(text.len()) {
            told.push(("wasm.webhook_body", text));
            told.push(("wasm.webhook_body_encoding", encoding.to_owned()));
        }
        told
    }
}

/// A share of what records may take, with a policy's headers in it where there is room for them.
pub(crate) fn headers_state(text: Option<String>, budget: &Budget) -> (Option<Share>, Vec<State>) {
    let mut share = budget.share_of_records();
    match text {
        Some(text) if share.resize(text.len()) => (Some(share), vec![("wasm.webhook_headers", text)]),
        _ => (None, Vec::new()),
    }
}

/// The text of a body, and how it is encoded: as it is where it is UTF-8, else in base64. Text that is no UTF-8 would cost a
/// strict receiver of OpenTelemetry records the whole batch.
fn text(mut start: Vec<u8>, is_whole: bool) -> (String, &'static str) {
    let cut = match std::str::from_utf8(&start) {
        // A character that was cut in two.
        Err(error) if !is_whole && error.error_len().is_none() => Some(error.valid_up_to()),
        _ => None,
    };
    if let Some(end) = cut {
        start.truncate(end);
    }
    match (String::from_utf8(start), is_whole) {
        (Ok(text), true) => (text, "text"),
        (Ok(text), false) => (text, "text+truncated"),
        (Err(error), true) => (BASE64.encode(error.as_bytes()), "base64"),
        (Err(error), false) => (BASE64.encode(error.as_bytes()), "base64+truncated"),
    }
}

/// Takes the values out that follow one of these names (in lower case) and a `=` where a query or a form could stand: an
/// operator's own URL is often part of what is sent to it, with the token in it. The `=` and what stands before the name
/// may be escaped as URLs or JSON do.
pub(crate) fn redact<'n>(bytes: &mut Vec<u8>, names: impl Iterator<Item = &'n [u8]> + Clone) {
    let begins = |byte: &u8| names.clone().any(|name| name.first() == Some(&byte.to_ascii_lowercase()));
    let mut kept: Vec<u8> = Vec::new();
    let (mut at, mut copied) = (0_usize, 0_usize);
    while let Some(next) = bytes.get(at..).and_then(|rest| rest.iter().position(begins)) {
        at = at.saturating_add(next);
        let (before, rest) = bytes.split_at_checked(at).unwrap_or_default();
        let found = names.clone().filter(|_| may_begin(before)).find_map(|name| value_after(rest, name));
        let Some(value) = found else {
            at = at.saturating_add(1);
            continue;
        };
        let value = at.saturating_add(value);
        let tail = bytes.get(value..).unwrap_or_default();
        let end = value.saturating_add(value_length(tail));
        kept.extend_from_slice(bytes.get(copied..value).unwrap_or_default());
        kept.extend_from_slice(REDACTED);
        (copied, at) = (end, end);
    }
    if copied > 0 {
        kept.extend_from_slice(bytes.get(copied..).unwrap_or_default());
        *bytes = kept;
    }
}

/// Whether a parameter's name may begin behind these bytes.
fn may_begin(before: &[u8]) -> bool {
    let Some(last) = before.last() else { return true };
    if !last.is_ascii_alphanumeric() {
        return !matches!(last, b'_' | b'-' | b'.');
    }
    // `%26`, `%2526`, `%3F`, `\u0026` and the like.
    let start = before.len().saturating_sub(2);
    let (head, code) = before.split_at_checked(start).unwrap_or_default();
    let is_separator = [&b"26"[..], b"3f", b"3b", b"23", b"20", b"22", b"0a"]
        .iter()
        .any(|one| code.eq_ignore_ascii_case(one));
    is_separator && (head.ends_with(b"%") || head.ends_with(b"%25") || head.ends_with(b"u00"))
        || head.ends_with(b"\\") && code == b"n"
}

/// Where the value begins, where this is that name and what stands for a `=`.
fn value_after(rest: &[u8], name: &[u8]) -> Option<usize> {
    let (given, behind) = rest.split_at_checked(name.len())?;
    if name.is_empty() || !given.eq_ignore_ascii_case(name) {
        return None;
    }
    let equals = [&b"="[..], b"%3d", b"%253d", b"\\u003d"];
    let is_there = |equal: &&&[u8]| {
        behind.split_at_checked(equal.len()).is_some_and(|(start, _)| start.eq_ignore_ascii_case(equal))
    };
    equals.iter().find(is_there).map(|equal| name.len().saturating_add(equal.len()))
}

/// How long a value is that stands in a query, a form, or a text around them.
fn value_length(tail: &[u8]) -> usize {
    let ends = |at: &usize| {
        let rest = tail.get(*at..).unwrap_or_default();
        let is_escaped = |escape: &[u8]| {
            rest.split_at_checked(escape.len()).is_some_and(|(start, _)| start.eq_ignore_ascii_case(escape))
        };
        rest.first().is_some_and(|byte| byte.is_ascii_whitespace() || b"&;#\"'<>\\,)}]".contains(byte))
            || [&b"%26"[..], b"%23", b"%22", b"%20"].into_iter().any(is_escaped)
    };
    (0..tail.len()).find(ends).unwrap_or(tail.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8], most: usize) -> Vec<State> {
        let terms = RecordTerms { bodies: Bodies::All, max_body_bytes: most, headers: Vec::new() };
        let mut recording = Recording::new(&Arc::new(terms)).unwrap();
        bytes.chunks(3).for_each(|piece| recording.update(piece));
        recording.end();
        let start = bytes.get(..recording.wanted(true)).unwrap().to_vec();
        recording.finish(true, start, |_| {}, &mut Budget::default().share_of_records())
    }

    fn of(told: &[State], name: &str) -> String {
        told.iter().find(|(given, _)| *given == name).map(|(_, value)| value.clone()).unwrap()
    }

    #[test]
    fn a_body_is_text_where_it_can_be_and_base64_where_not() {
        for (body, most, text, encoding) in [
            (&b"{}"[..], 10, "{}", "text"),
            (b"", 10, "", "text"),
            (b"a\0b\n\x1b\"\\", 10, "a\0b\n\x1b\"\\", "text"),
            ("naïve".as_bytes(), 6, "naïve", "text"),
            ("naïve".as_bytes(), 3, "na", "text+truncated"),
            ("naïve".as_bytes(), 4, "naï", "text+truncated"),
            (b"a\xffb", 3, "Yf9i", "base64"),
            (b"a\xffbcdef", 3, "Yf9i", "base64+truncated"),
            (b"ab\xc3", 3, "YWLD", "base64"),
            (b"abc", 0, "", "text+truncated"),
        ] {
            let told = told(body, most);
            assert_eq!(of(&told, "wasm.webhook_body"), text, "{body:?}");
            assert_eq!(of(&told, "wasm.webhook_body_encoding"), encoding, "{body:?}");
            assert_eq!(of(&told, "wasm.webhook_body_bytes"), body.len().to_string());
            let mut digest = BodyDigest::default();
            digest.update(body);
            assert_eq!(of(&told, "wasm.webhook_body_sha256"), HEXLOWER.encode(&digest.finish()), "{body:?}");
        }
    }

    #[test]
    fn a_body_that_was_not_read_to_its_end_has_no_digest() {
        let terms = RecordTerms { bodies: Bodies::Refused, max_body_bytes: 4, headers: Vec::new() };
        let mut recording = Recording::new(&Arc::new(terms)).unwrap();
        let mut share = Budget::default().share_of_records();
        recording.update(b"abc");
        assert_eq!((recording.wanted(false), recording.wanted(true)), (3, 0));
        let told = recording.finish(false, b"abc".to_vec(), |_| {}, &mut share);
        let wanted = [("wasm.webhook_body", "abc"), ("wasm.webhook_body_encoding", "text+truncated")];
        assert_eq!(told, wanted.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn without_room_the_body_is_told_by_its_digest_alone() {
        let terms = Arc::new(RecordTerms { bodies: Bodies::All, max_body_bytes: 100, headers: Vec::new() });
        let budget = Budget::new(728);
        let mut full = budget.share_of_records();
        assert!(full.resize(80));
        let mut recording = Recording::new(&terms).unwrap();
        recording.update(b"abc");
        recording.end();
        let told = recording.finish(true, b"abc".to_vec(), |_| {}, &mut budget.share_of_records());
        let names: Vec<_> = told.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["wasm.webhook_body_bytes", "wasm.webhook_body_sha256"]);
    }

    #[test]
    fn what_may_be_a_token_is_taken_out() {
        for (body, redacted) in [
            ("token=abc", "token=REDACTED"),
            ("a=1&TOKEN=abc&b=2", "a=1&TOKEN=REDACTED&b=2"),
            (r#"{"url":"https://h/x?token=abc","b":1}"#, r#"{"url":"https://h/x?token=REDACTED","b":1}"#),
            (
                r#"{"url":"https://h/x?a=1\u0026token=abc"}"#,
                r#"{"url":"https://h/x?a=1\u0026token=REDACTED"}"#,
            ),
            ("u=https%3A%2F%2Fh%2F%3Ftoken%3Dabc%26b%3D2", "u=https%3A%2F%2Fh%2F%3Ftoken%3DREDACTED%26b%3D2"),
            ("u=%2526token%253dabc", "u=%2526token%253dREDACTED"),
            ("token=", "token=REDACTED"),
            ("see <https://h/?token=a>", "see <https://h/?token=REDACTED>"),
            ("mytoken=abc&token_id=2&tokens=3", "mytoken=abc&token_id=2&tokens=3"),
            (r#"{"token":"abc"}"#, r#"{"token":"abc"}"#),
            ("", ""),
        ] {
            let mut bytes = body.as_bytes().to_vec();
            redact(&mut bytes, [&b"token"[..]].into_iter());
            assert_eq!(String::from_utf8(bytes).unwrap(), redacted);
        }
    }

    #[test]
    fn headers_are_told_as_json_and_never_those_that_are_secret() {
        let names = ["x-one", "x-two", "x-none", "authorization", "cookie", "x-token", "x-odd"];
        let terms = RecordTerms { headers: names.map(Arc::from).to_vec(), ..RecordTerms::default() };
        let headers = Headers::from_pairs([
            (&b"X-One"[..], &b"a\"b"[..]),
            (b"x-two", b"1"),
            (b"x-two", b"2"),
            (b"authorization", b"Bearer s3cret"),
            (b"cookie", b"s3cret"),
            (b"x-token", b"s3cret"),
            (b"x-odd", b"\xff?token=s3cret&a=1"),
        ]);
        let redact = |value: &mut Vec<u8>| redact(value, [&b"token"[..]].into_iter());
        let told = terms.headers(&headers, |name| name == "x-token", redact).unwrap();
        let wanted = r#"{"x-one":"a\"b","x-two":["1","2"],"x-odd":"�?token=REDACTED&a=1"}"#;
        assert_eq!(told, wanted);
    }

    #[test]
    fn headers_are_bounded_however_many_and_long_they_are() {
        let terms =
            RecordTerms { headers: vec![Arc::from("x-a"), Arc::from("x-b")], ..RecordTerms::default() };
        let long = vec![1_u8; 90_000];
        let pairs = (0..5000).map(|_| (&b"x-a"[..], &b"\x01"[..])).chain([(&b"x-b"[..], &long[..])]);
        let told = terms.headers(&Headers::from_pairs(pairs), |_| false, |_| {}).unwrap();
        assert!(told.len() <= MOST_HEADER_BYTES + 64, "{}", told.len());
    }
}
