//! A message: what the guard recorded of one webhook.
//!
//! Responsible for reading one from a line of Envoy's JSON access log and from the attributes of an OpenTelemetry record, in
//! the names of `envoy/access-log/`. Everything in it was written by strangers; nothing here is trusted, only bounded.

use data_encoding::BASE64;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The most that is kept of a field that is not the body, in bytes.
const MOST_FIELD: usize = 16 << 10;

/// The most that is kept of a body, in bytes: the guard records at most 2 MiB.
const MOST_BODY: usize = 4 << 20;

/// What is kept of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    /// The bytes, or their start.
    pub(crate) bytes: Vec<u8>,
    /// Whether the record held them as text.
    pub(crate) is_text: bool,
    /// Whether the end is missing.
    pub(crate) is_truncated: bool,
}

/// One webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// When it came to the gateway, in milliseconds since the Unix epoch; 0 where the record does not say.
    pub(crate) time: i64,
    pub(crate) method: Option<String>,
    /// The path with the query, without tokens.
    pub(crate) path: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) status: Option<i64>,
    pub(crate) verdict: String,
    pub(crate) reason: String,
    pub(crate) policy: Option<String>,
    pub(crate) provider: Option<String>,
    pub(crate) delivery_id: Option<String>,
    pub(crate) secret_id: Option<String>,
    pub(crate) checks: Option<String>,
    pub(crate) duplicate: Option<String>,
    pub(crate) details: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) request_id: Option<String>,
    /// A JSON object of the recorded headers.
    pub(crate) headers: Option<String>,
    pub(crate) body: Option<Body>,
    pub(crate) body_sha256: Option<String>,
    pub(crate) body_bytes: Option<i64>,
}

impl Message {
    /// Reads a record, whose fields are given by their names in the JSON lines. Nothing where it is none of the guard's: other
    /// things may be logged beside it.
    pub(crate) fn read(field: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let short =
            |name: &str| field(name).filter(|text| !text.is_empty()).map(|text| cut(text, MOST_FIELD));
        let encoding = field("body_encoding");
        let body = encoding.and_then(|encoding| body(field("body").unwrap_or_default(), &encoding));
        Some(Self {
            verdict: short("verdict")?,
            reason: short("reason")?,
            time: field("time").and_then(|text| milliseconds(&text)).unwrap_or_default(),
            method: short("method"),
            path: short("path"),
            host: short("host"),
            status: field("status").and_then(|text| text.parse().ok()),
            policy: short("policy"),
            provider: short("provider"),
            delivery_id: short("delivery_id"),
            secret_id: short("secret_id"),
            checks: short("checks"),
            duplicate: short("duplicate"),
            details: short("details"),
            source: short("source"),
            request_id: short("request_id"),
            headers: field("headers").filter(|text| text.len() <= 64 << 10),
            body_sha256: short("body_sha256"),
            body_bytes: field("body_bytes").and_then(|text| text.parse().ok()).filter(|bytes| *bytes >= 0),
            body,
        })
    }

    /// Reads a line of a JSON access log.
    pub(crate) fn from_json(line: &[u8]) -> Option<Self> {
        let fields: Map<String, Value> = serde_json::from_slice(line).ok()?;
        Self::read(|name| match fields.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
    }

    /// The bytes that it takes, roughly.
    pub(crate) fn weight(&self) -> usize {
        let body = self.body.as_ref().map_or(0, |body| body.bytes.len());
        let texts =
            [&self.path, &self.headers, &self.host, &self.delivery_id, &self.checks, &self.request_id];
        texts.into_iter().flatten().map(String::len).fold(body, usize::saturating_add).saturating_add(256)
    }

    /// What it can be found by: its ids, its path, and its body where that is text.
    pub(crate) fn searchable(&self) -> String {
        let mut text = String::new();
        for part in [&self.request_id, &self.delivery_id, &self.path].into_iter().flatten() {
            text.push_str(part);
            text.push(' ');
        }
        if let Some(body) = self.body.as_ref().filter(|body| body.is_text) {
            let start = body.bytes.get(..MOST_INDEXED).unwrap_or(&body.bytes);
            text.push_str(&String::from_utf8_lossy(start));
        }
        text
    }
}

/// How much of a body can be found by what it says, in bytes.
const MOST_INDEXED: usize = 64 << 10;

/// Why a body cannot be sent again as it came.
pub(crate) fn obstacle(body: Option<&Body>, sha256: Option<&str>) -> Option<&'static str> {
    let Some(body) = body else { return Some("its body was not recorded") };
    if body.is_truncated {
        return Some("its body was recorded in part only");
    }
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(&body.bytes));
    (sha256 != Some(&digest))
        .then_some("its body is not what was sent: a token was taken out of it, or it was changed")
}

fn body(text: String, encoding: &str) -> Option<Body> {
    let (kind, is_truncated) = match encoding.strip_suffix("+truncated") {
        Some(kind) => (kind, true),
        None => (encoding, false),
    };
    let bytes = match kind {
        "text" => text.into_bytes(),
        "base64" => BASE64.decode(text.as_bytes()).ok()?,
        _ => return None,
    };
    let is_short = bytes.len() <= MOST_BODY;
    let bytes = if is_short { bytes } else { bytes.get(..MOST_BODY)?.to_vec() };
    Some(Body { bytes, is_text: kind == "text", is_truncated: is_truncated || !is_short })
}

fn cut(mut text: String, most: usize) -> String {
    let mut end = most;
    while !text.is_char_boundary(end.min(text.len())) {
        end = end.saturating_sub(1);
    }
    text.truncate(end);
    text
}

fn milliseconds(text: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_access_log_is_a_message() {
        let line = br#"{"time":"2026-01-01T00:00:00.123Z","verdict":"deny","reason":"signature_mismatch","status":401,
            "policy":null,"body":"{\"a\":1}","body_encoding":"text","body_bytes":"7","path":"/p?a=1","delivery_id":""}"#;
        let message = Message::from_json(line).unwrap();
        assert_eq!(
            (message.time, message.status, message.body_bytes),
            (1_767_225_600_123, Some(401), Some(7))
        );
        assert_eq!((message.policy, message.delivery_id), (None, None));
        let body = Body { bytes: br#"{"a":1}"#.to_vec(), is_text: true, is_truncated: false };
        assert_eq!(message.body, Some(body));
    }

    #[test]
    fn what_is_no_record_of_the_guard_is_none() {
        for line in ["", "null", "[]", "{}", "{", r#"{"verdict":"allow"}"#, r#"{"verdict":1,"reason":null}"#]
        {
            assert_eq!(Message::from_json(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_body_is_what_was_sent_or_there_is_an_obstacle() {
        let sha256 = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        for (text, encoding, digest, is_whole) in [
            ("{}", "text", Some(sha256), true),
            ("e30=", "base64", Some(sha256), true),
            ("{}", "text+truncated", Some(sha256), false),
            ("{ }", "text", Some(sha256), false),
            ("{}", "text", None, false),
            ("e3", "base64", Some(sha256), false),
            ("{}", "gzip", Some(sha256), false),
        ] {
            let body = body(text.to_owned(), encoding);
            assert_eq!(obstacle(body.as_ref(), digest).is_none(), is_whole, "{text} {encoding}");
        }
    }
}
