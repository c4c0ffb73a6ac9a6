//! What an operator does next about a message.
//!
//! Responsible for a sentence on each reason, for the commands that know more, and for the request as a curl command and as
//! raw HTTP, which `webhook-guard explain` and `doctor` read.

use crate::message::Body;
use crate::store::query::{Payload, Summary};
use data_encoding::BASE64;
use serde::Serialize;
use serde_json::{Map, Value};

/// What is said of a message.
#[derive(Debug, Serialize)]
pub(crate) struct Advice {
    /// What its reason means.
    pub(crate) meaning: &'static str,
    /// Commands that know more; none where there is nothing to find out.
    pub(crate) commands: Vec<String>,
}

/// What a reason means, and what to look at.
const MEANINGS: [(&str, &str); 30] = [
    ("ok", "Every check of the policy held."),
    ("no_policy", "No policy governs this path, host and method: a wrong URL at the sender, or a stranger."),
    ("path_malformed", "The path or host can be read in more than one way, so no policy is chosen for it."),
    ("method_not_allowed", "A policy governs the path, for other methods."),
    ("upgrade_not_allowed", "What follows an upgrade or CONNECT could not be judged."),
    ("content_type_not_allowed", "The content type is not in the policy's list."),
    ("content_encoding_not_allowed", "The content encoding is not in the policy's list."),
    ("body_too_large", "The body is longer than the policy's max_body_bytes."),
    ("source_ip_unknown", "The gateway knows no source address, or a feed has not been fetched yet."),
    (
        "source_ip_not_allowed",
        "The source address is not in the allowlist: new addresses of the provider, a proxy in front whose \
      hops are not set (xff_num_trusted_hops), or a stranger.",
    ),
    ("client_certificate_missing", "The sender showed no TLS certificate that the gateway verified."),
    ("client_certificate_not_allowed", "The sender's TLS certificate is another one."),
    ("token_missing", "There is no token in the place where the policy looks for one."),
    ("token_ambiguous", "The token is there more than once."),
    ("token_mismatch", "The token is none of the configured ones: rotated at one end only, or a guess."),
    (
        "signature_missing",
        "There is no signature: the secret is not set at the sender, or it is another provider's policy.",
    ),
    ("signature_ambiguous", "A header or parameter that is signed is there more than once."),
    ("signature_malformed", "The signature, or something that is signed, cannot be read."),
    (
        "signature_mismatch",
        "The signature does not match: another secret at one end, or the body was changed on its way.",
    ),
    ("timestamp_missing", "The signed time is not there."),
    ("timestamp_malformed", "The signed time cannot be read."),
    ("timestamp_stale", "The signed time is too old: a replay, a slow retry, or a clock that is wrong."),
    ("timestamp_future", "The signed time lies ahead: the clock of the gateway or of the sender is wrong."),
    ("requirement_not_met", "An equality that the scheme demands beside the signature does not hold."),
    (
        "no_alternative_held",
        "No branch of an any_of holds: neither the sender's own, nor the operator's where there is one.",
    ),
    ("handshake_refused", "The test of the endpoint is not of the provider's shape, or its token is wrong."),
    ("duplicate_delivery", "The same delivery was accepted before, or is on its way."),
    ("overloaded", "As much was held for requests as may be held (held_bytes)."),
    ("memory_unavailable", "The memory of deliveries could not be asked."),
    ("host_cannot_hold", "The gateway does not deliver bodies: allow_on_headers_stop_iteration is missing."),
];

/// What is said of a message.
pub(crate) fn of(message: &Summary) -> Advice {
    let known = MEANINGS.iter().find(|(reason, _)| *reason == message.reason);
    let meaning =
        known.map_or("The gateway or its configuration is at fault: see its log.", |(_, meaning)| meaning);
    let save = format!("webhook-guard messages show {} --format request > request.http", message.id);
    let about_signature = ["signature_", "timestamp_", "requirement_", "no_alternative_"];
    let is_signature = about_signature.iter().any(|start| message.reason.starts_with(start));
    let provider = message.provider.as_deref().filter(|provider| is_word(provider));
    let ask = match (message.reason.as_str(), provider) {
        ("ok" | "overloaded" | "memory_unavailable" | "host_cannot_hold" | "duplicate_delivery", _) => None,
        (_, Some(provider)) if is_signature => Some(format!(
            "webhook-guard doctor --provider {provider} --secret-env NAME --request request.http"
        )),
        _ => Some("webhook-guard explain --config FILE --request request.http".to_owned()),
    };
    let commands = ask.map_or_else(Vec::new, |ask| vec![save, ask]);
    Advice { meaning, commands }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The recorded headers, in order.
pub(crate) fn headers(payload: &Payload) -> Vec<(String, String)> {
    let text = payload.headers.as_deref();
    let recorded: Map<String, Value> =
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let values = |value: Value| match value {
        Value::String(value) => vec![value],
        Value::Array(values) => {
            values.into_iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    };
    let pairs = recorded.into_iter().map(|(name, value)| (name, values(value)));
    pairs.flat_map(|(name, values)| values.into_iter().map(move |value| (name.clone(), value))).collect()
}

/// The request as a command for a shell.
pub(crate) fn curl(message: &Summary, payload: &Payload) -> String {
    let host = message.host.as_deref().unwrap_or("localhost");
    let url = format!("https://{host}{}", message.path.as_deref().unwrap_or("/"));
    let method = message.method.as_deref().unwrap_or("POST");
    let mut command = format!("curl -X {} {}", quoted(method), quoted(&url));
    for (name, value) in headers(payload) {
        command.push_str(&format!(" \\\n  -H {}", quoted(&format!("{name}: {value}"))));
    }
    match &payload.body {
        None => command,
        Some(Body { bytes, .. }) => match std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
        {
            Some(text) => format!("{command} \\\n  --data-binary {}", quoted_data(text)),
            None => format!(
                "echo {} | base64 -d | {command} \\\n  --data-binary @-",
                quoted(&BASE64.encode(bytes))
            ),
        },
    }
}

/// Text as one word of a POSIX shell, on however many lines.
fn quoted(text: &str) -> String {
    let visible: String = text.chars().map(|one| if one.is_control() { '\u{fffd}' } else { one }).collect();
    format!("'{}'", visible.replace('\'', r"'\''"))
}

/// The same for a body: curl would take what begins with `@` for the name of a file, and a control character could steer the
/// terminal that it is pasted into.
fn quoted_data(text: &str) -> String {
    let is_plain = |one: char| !one.is_control() || one == '\n' || one == '\t';
    if text.starts_with('@') || !text.chars().all(is_plain) {
        return format!("\"$(echo {} | base64 -d)\"", quoted(&BASE64.encode(text.as_bytes())));
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The request as it stood on the wire, as far as it was recorded.
pub(crate) fn request(message: &Summary, payload: &Payload) -> Vec<u8> {
    // What a stranger wrote must not end a line.
    let plain = |text: &str| text.replace(['\r', '\n'], " ");
    let or = |text: &Option<String>, other: &str| plain(text.as_deref().unwrap_or(other));
    let (method, path) = (or(&message.method, "POST"), or(&message.path, "/"));
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", or(&message.host, "localhost"));
    for (name, value) in headers(payload) {
        if !["host", "content-length", "transfer-encoding"].contains(&name.as_str()) {
            head.push_str(&format!("{}: {}\r\n", plain(&name), plain(&value)));
        }
    }
    let body = payload.body.as_ref().map(|body| body.bytes.as_slice()).unwrap_or_default();
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    [head.as_bytes(), body].concat()
}
