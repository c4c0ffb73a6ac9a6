//! JSON: a HAR file, one entry of it, or a line of our access log.
//!
//! Responsible for both, told apart by their keys.

use super::{Capture, time};
use data_encoding::BASE64;
use serde_json::Value;

/// Reads JSON; `entry` counts from 1.
pub(super) fn read(bytes: &[u8], entry: usize) -> Result<Capture, String> {
    // More than one line of an access log: the line that is asked for.
    let mut lines = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let first = lines.next().ok_or("is empty")?.map_err(|error| format!("is not JSON: {error}"))?;
    if let Some(entries) = first.pointer("/log/entries").and_then(Value::as_array) {
        let index = entry.checked_sub(1).and_then(|index| entries.get(index));
        let chosen = index.ok_or_else(|| format!("has {} requests and no request {entry}", entries.len()))?;
        return har(chosen);
    }
    if first.get("request").is_some() {
        return har(&first);
    }
    let line = match entry {
        0 | 1 => first,
        _ => {
            let chosen = lines.nth(entry.saturating_sub(2));
            let none = || format!("has no line {entry}");
            chosen.ok_or_else(none)?.map_err(|error| format!("is not JSON: {error}"))?
        }
    };
    if line.get("path").is_some() && line.get("method").is_some() {
        return Ok(access_log(&line));
    }
    Err("is JSON, but neither a HAR file (`log.entries`) nor a line of the access log (`method`, `path`)"
        .to_owned())
}

/// An entry of a HAR file (HTTP Archive 1.2).
fn har(entry: &Value) -> Result<Capture, String> {
    let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str);
    let mut capture = Capture {
        method: text("/request/method").unwrap_or("GET").to_owned(),
        time: text("/startedDateTime").and_then(time),
        ..Capture::default()
    };
    capture.set_url(text("/request/url").ok_or("the entry has no request.url")?);
    let headers = entry.pointer("/request/headers").and_then(Value::as_array);
    for header in headers.into_iter().flatten() {
        let part = |key: &str| header.get(key).and_then(Value::as_str);
        let (Some(name), Some(value)) = (part("name"), part("value")) else {
            return Err("a header of the entry has no name or no value".to_owned());
        };
        // The URL has what HTTP/2 sends as pseudo-headers.
        if !name.starts_with(':') {
            capture.push(name, value.as_bytes());
        }
    }
    let body = text("/request/postData/text").unwrap_or_default();
    capture.body = match text("/request/postData/encoding") {
        Some("base64") => BASE64.decode(body.as_bytes()).map_err(|_| "postData.text is not base64")?,
        _ => body.as_bytes().to_vec(),
    };
    if body.is_empty() && entry.pointer("/request/postData/params").is_some() {
        let note = "the entry has form parameters without their text: the body's bytes are not known";
        capture.notes.push(note.to_owned());
    }
    Ok(capture)
}

/// A line of the access log that the shipped configurations write. It holds no headers.
fn access_log(line: &Value) -> Capture {
    let text =
        |key: &str| line.get(key).and_then(Value::as_str).filter(|text| *text != "-" && !text.is_empty());
    let mut capture = Capture {
        method: text("method").unwrap_or_default().to_owned(),
        // A host that nobody has (RFC 6761 6.4): without any, a configuration that names hosts refuses the request.
        authority: text("authority").unwrap_or("unknown.invalid").to_owned(),
        target: text("path").unwrap_or_default().to_owned(),
        time: text("time").and_then(time),
        ..Capture::default()
    };
    let source = text("source").unwrap_or_default();
    // `10.0.0.1:4711` and `[::1]:4711`; Envoy can also write the address alone.
    let address = if source.parse::<std::net::IpAddr>().is_ok() {
        source
    } else {
        source.rsplit_once(':').map_or(source, |(address, _)| address)
    };
    capture.source = Some(address.trim_matches(['[', ']']).to_owned()).filter(|address| !address.is_empty());
    let said = |key: &str| text(key).unwrap_or("-");
    capture.notes.push(format!(
        "an access-log line holds no headers and no tokens, so what depends on them cannot be judged from it; \
         the gateway said: {} {} by policy {} ({})",
        said("verdict"),
        said("reason"),
        said("policy"),
        said("checks")
    ));
    capture
}
