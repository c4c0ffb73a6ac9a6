//! Replies: to a refused request, the same for every reason of a status, and to a handshake.
//!
//! Responsible for status, headers and body. The reason is not its business: that is for the operator, in log, metric
//! and filter state, never for the sender.

use http::StatusCode;
use std::sync::Arc;

/// A reply, ready for the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// JSON with `error` and `request_id`, or the answer to a handshake.
    pub body: String,
}

impl Reply {
    /// The reply to a refused request: of this status, with the methods that a 405 names, the seconds after which a new
    /// attempt makes sense, and the id of the request as [`request_id`] gives it.
    #[must_use]
    pub fn refusal(status: u16, allow: &[Arc<str>], retry_after: Option<u32>, request_id: &str) -> Self {
        let phrase = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        let mut headers = vec![header("content-type", "application/json")];
        if status == 401 {
            // RFC 9110 11.6.1: a 401 names a challenge. There is none to offer to a stranger but the name.
            headers.push(header("www-authenticate", "Webhook"));
        }
        if let Some(seconds) = retry_after {
            headers.push(header("retry-after", &seconds.to_string()));
        }
        if status == 405 {
            headers.push(header("allow", &allow.join(", ")));
        }
        let phrase = phrase.unwrap_or("Refused");
        let body = format!(r#"{{"error": "{phrase}", "request_id": "{request_id}"}}"#);
        Self { status, headers, body }
    }

    /// The same without its body.
    #[must_use]
    pub fn without_body(mut self) -> Self {
        self.headers.retain(|(name, _)| name != "content-type");
        self.body.clear();
        self
    }

    /// The answer to a handshake as text, with a header of the provider's where there is one.
    #[must_use]
    pub fn plain(status: u16, body: &str, extra: Option<(&str, &str)>) -> Self {
        let mut headers = Vec::new();
        if !body.is_empty() {
            headers.push(header("content-type", "text/plain"));
        }
        headers.push(header("x-content-type-options", "nosniff"));
        headers.extend(extra.map(|(name, value)| header(name, value)));
        Self { status, headers, body: body.to_owned() }
    }

    /// What is said of a delivery that was accepted before: all is well.
    #[must_use]
    pub fn duplicate(request_id: &str) -> Self {
        Self {
            status: 200,
            headers: vec![header("content-type", "application/json")],
            body: format!(r#"{{"duplicate":true,"request_id":"{request_id}"}}"#),
        }
    }

    /// The answer to a handshake as JSON.
    #[must_use]
    pub fn json(status: u16, body: String) -> Self {
        let headers =
            vec![header("content-type", "application/json"), header("x-content-type-options", "nosniff")];
        Self { status, headers, body }
    }
}

fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// A request id that can stand in a log line and in JSON as it is; empty where the header holds anything else.
#[must_use]
pub fn request_id(header: Option<&[u8]>) -> &str {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    header
        .filter(|bytes| bytes.len() <= 128 && bytes.iter().all(plain))
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_405_names_the_methods_and_an_unknown_status_has_a_phrase() {
        let reply = Reply::refusal(405, &[Arc::from("GET"), Arc::from("POST")], None, "");
        assert!(reply.headers.contains(&header("allow", "GET, POST")));
        let odd = Reply::refusal(498, &[], None, "");
        assert_eq!(odd.body, r#"{"error": "Refused", "request_id": ""}"#);
    }

    #[test]
    fn a_refusal_without_a_body_says_no_more_than_its_status() {
        let reply = Reply::refusal(401, &[], None, "id-1").without_body();
        assert_eq!((reply.status, reply.body.as_str()), (401, ""));
        assert_eq!(reply.headers, [header("www-authenticate", "Webhook")]);
    }

    #[test]
    fn a_request_id_that_could_break_a_line_or_json_is_left_out() {
        for (header, id) in
            [(&b"5f0c-1"[..], "5f0c-1"), (b"a\"b", ""), (b"a\nb", ""), (b"\xff", ""), (&[b'a'; 129], "")]
        {
            assert_eq!(request_id(Some(header)), id, "{header:?}");
        }
        assert_eq!(request_id(None), "");
    }
}
