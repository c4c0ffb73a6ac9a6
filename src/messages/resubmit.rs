//! A message that is sent to the gateway again.
//!
//! Responsible for what may be sent again, for the signature of the operator, and for the note of who did it: written before
//! the request is sent, so that nothing is sent of which there is no note.

use crate::access::{is_name, read_token};
use crate::message;
use crate::store::query::{Payload, Summary};
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Map, Value};
use sha2::Sha256;
use std::path::Path;
use std::time::Duration;
use ureq::http::Uri;
use webhook_guard_core::resubmit::{BY, OF, SIGNATURE, TIME};

/// How long the gateway may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Headers that are made anew, or that are about the connection.
const OWN: [&str; 9] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "expect",
];

/// Where messages are sent again, and with which key.
#[derive(Clone)]
pub(crate) struct Gateway {
    base: String,
    key: Vec<u8>,
    /// How old a message may be, in milliseconds.
    within: i64,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gateway({})", self.base)
    }
}

/// A request that can be sent.
pub(crate) struct Prepared {
    url: Uri,
    method: String,
    host: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    path: String,
}

impl Gateway {
    /// A gateway by its URL, with the operator's key from a file.
    ///
    /// # Errors
    /// Where the URL has a path or is none, or the key cannot be read.
    pub(crate) fn new(base: &str, key: &Path, within: i64) -> Result<Self, String> {
        let base = base.trim_end_matches('/');
        let uri: Uri = base.parse().map_err(|_| format!("--gateway: {base:?} is no URL"))?;
        let has_scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        if !has_scheme
            || uri.authority().is_none()
            || !matches!(uri.path(), "" | "/")
            || uri.query().is_some()
        {
            return Err(format!(
                "--gateway: {base:?} must be such as https://gateway.example.com, without a path"
            ));
        }
        Ok(Self { base: base.to_owned(), key: read_token(key)?.into_bytes(), within })
    }

    /// The URL.
    pub(crate) fn url(&self) -> &str {
        &self.base
    }

    /// A message as it can be sent again, or why it cannot.
    pub(crate) fn prepare(&self, message: &Summary, payload: Payload, now: i64) -> Result<Prepared, String> {
        if now.saturating_sub(message.time) > self.within {
            return Err("it is too old (--resubmit-within)".to_owned());
        }
        if let Some(obstacle) = message::obstacle(payload.body.as_ref(), message.body_sha256.as_deref()) {
            return Err(obstacle.to_owned());
        }
        let target = message.path.as_deref().filter(|path| path.starts_with('/'));
        let target = target.ok_or("its path was not recorded")?;
        let url: Uri =
            format!("{}{target}", self.base).parse().map_err(|_| "its path is no path of a URL")?;
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let method = message.method.clone().unwrap_or_else(|| "POST".to_owned());
        if !method.bytes().all(|byte| byte.is_ascii_uppercase()) || method == "CONNECT" {
            return Err("its method cannot be sent again".to_owned());
        }
        let mut headers = headers(payload.headers.as_deref());
        if !headers.iter().any(|(name, _)| name == "content-type") {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        let body = payload.body.map(|body| body.bytes).unwrap_or_default();
        Ok(Prepared { url, method, host: message.host.clone(), headers, body, path })
    }

    /// Sends it. Returns the status of the answer, or why there was none.
    pub(crate) fn send(&self, request: Prepared, of: &str, by: &str, now: i64) -> Result<u16, String> {
        let Prepared { url, method, host, headers, body, path } = request;
        if !is_name(by) {
            return Err("the name of who sends it again must be 1 to 64 of A-Z a-z 0-9 . _ @ -".to_owned());
        }
        let time = now.div_euclid(1000).to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).map_err(|error| error.to_string())?;
        for part in ["v1", &time, of, by, &method, &path] {
            mac.update(part.as_bytes());
            mac.update(b"\n");
        }
        mac.update(&body);
        let signature = format!("v1={}", HEXLOWER.encode(&mac.finalize().into_bytes()));
        let mut request = ureq::http::Request::builder().method(method.as_str()).uri(url);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        for (name, value) in [(OF, of), (BY, by), (TIME, &time), (SIGNATURE, &signature)] {
            request = request.header(name, value);
        }
        let request = request.body(body).map_err(|error| format!("it cannot be sent: {error}"))?;
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .allow_non_standard_methods(true)
            .timeout_global(Some(PATIENCE))
            .user_agent("webhook-guard-messages")
            .build();
        let answer = ureq::Agent::new_with_config(agent).run(request).map_err(|error| error.to_string())?;
        Ok(answer.status().as_u16())
    }
}

/// The id by which the application knows the message: that of the request, or else its number here.
pub(crate) fn id(message: &Summary) -> String {
    let is_header = |id: &&String| id.len() <= 256 && id.bytes().all(|byte| byte.is_ascii_graphic());
    message
        .request_id
        .clone()
        .as_ref()
        .filter(is_header)
        .cloned()
        .unwrap_or_else(|| format!("message-{}", message.id))
}

/// The recorded headers, but for those that are made anew.
fn headers(text: Option<&str>) -> Vec<(String, String)> {
    let recorded: Map<String, Value> =
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut headers = Vec::new();
    for (name, value) in recorded {
        let is_own =
            OWN.contains(&name.as_str()) || name.starts_with("x-webhook-guard-") || name.starts_with(':');
        let values = match value {
            _ if is_own => continue,
            Value::String(value) => vec![value],
            Value::Array(values) => {
                values.into_iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
            }
            _ => continue,
        };
        headers.extend(values.into_iter().map(|value| (name.clone(), value)));
    }
    headers
}
