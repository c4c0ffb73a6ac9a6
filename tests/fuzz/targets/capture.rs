//! A captured request of any bytes is read or refused, alike each time, without a file that it names, and judged; and one request
//! is the same request whichever form it was captured in: raw, chunked, as a HAR file, as a curl command of the program's own or
//! of a browser's.

#![no_main]

#[expect(dead_code, reason = "the program's own modules do more than read")]
#[path = "../../../src/cli/input"]
mod input {
    pub(crate) mod capture;
    pub(crate) mod env_file;
    pub(crate) mod regular_file;
}
#[expect(dead_code, reason = "the program's own modules do more than read")]
#[path = "../../../src/cli/output"]
mod output {
    pub(crate) mod shell;
    pub(crate) mod terminal;
}
#[path = "../../../src/cli/judge.rs"]
mod judge;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use input::capture::files::Files;
use input::capture::{Capture, read};
use judge::Circumstances;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use output::shell;
use output::terminal::is_unseen;
use serde_json::json;
use std::path::Path;
use std::sync::LazyLock;
use webhook_guard_core::config::Configuration;
use webhook_guard_fuzz::{NOW, configuration, sender, words};

const HOST: &str = "hooks.example.com:8443";

static CONFIGURATION: LazyLock<Configuration> = LazyLock::new(configuration);

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    if first % 2 == 0 {
        any(rest);
    } else {
        let _ = same(&mut Unstructured::new(rest));
    }
});

fn files() -> Files<'static> {
    Files::new(Path::new("/"), false)
}

fn any(bytes: &[u8]) {
    let capture = read(bytes, &files(), 1);
    assert_eq!(capture, read(bytes, &files(), 1));
    let Ok(capture) = capture else { return };
    let circumstances = Circumstances {
        source: capture.source.as_deref(),
        client_certificate: None,
        route_policy: None,
        now: NOW,
    };
    let decision = judge::judge(&CONFIGURATION, &capture, circumstances);
    assert_ne!(words(decision.as_ref()).0, "allow");
    assert!(capture.cut.is_none_or(|length| length > capture.body.len()));
    assert!(capture.cut.is_none() || capture.behind.is_empty());
    assert!(capture.body.len() <= bytes.len());
}

fn same(input: &mut Unstructured<'_>) -> Result<()> {
    let method = *input.choose(&["POST", "GET", "PUT"])?;
    let printable: Vec<u8> = (b'!'..=b'~').filter(|byte| *byte != b'#').collect();
    let length = input.int_in_range(0..=20)?;
    let target = if length == 0 { Vec::new() } else { sender::text(input, &printable, length)? };
    let target = format!("/{}", String::from_utf8(target).unwrap());
    let mut fields = vec![("Content-Type".to_owned(), b"text/plain".to_vec())];
    for name in ["x-a", "X-B"].iter().take(input.int_in_range(0..=2)?) {
        let value = sender::text(input, b"ab;:,@$'\"\\!{}%()<>|&*? \t=", 12)?;
        fields.push(((*name).to_owned(), value.trim_ascii().to_vec()));
    }
    let bytes = input.bytes(input.len())?;
    let text = String::from_utf8_lossy(bytes);
    let expected = Capture {
        method: method.to_owned(),
        authority: HOST.to_owned(),
        target,
        fields,
        body: bytes.to_vec(),
        ..Capture::default()
    };
    let of_text = Capture { body: text.clone().into_owned().into_bytes(), ..expected.clone() };

    is_read(&raw(&expected, false), &expected);
    is_read(&raw(&expected, true), &expected);
    is_read(har(&expected, true).as_bytes(), &expected);
    is_read(har(&of_text, false).as_bytes(), &of_text);
    let url = format!("https://{HOST}{}", expected.target);
    // A body that cannot be shown would be put into a file.
    if text.chars().all(|one| matches!(one, '\n' | '\t') || !is_unseen(one))
        && let Ok(command) = shell::curl(&url, &of_text, None, None, None)
    {
        is_read(command.as_str().as_bytes(), &of_text);
    }
    is_read(browser(&url, &of_text).as_bytes(), &of_text);
    Ok(())
}

/// What is read is the request, whatever the form says beside it.
fn is_read(written: &[u8], expected: &Capture) {
    let read = read(written, &files(), 1);
    let shown = String::from_utf8_lossy(written);
    let read = read.unwrap_or_else(|error| panic!("{error}: {shown}"));
    let framing = |name: &str| ["content-length", "transfer-encoding"].contains(&name);
    let mut fields = read.fields;
    fields.retain(|(name, _)| !framing(name));
    let request =
        |capture: &Capture| (capture.method.clone(), capture.authority.clone(), capture.target.clone());
    let (method, authority, target) = request(expected);
    assert_eq!((read.method, read.authority, read.target), (method, authority, target), "{shown}");
    assert_eq!(fields, expected.fields, "{shown}");
    assert_eq!(read.body, expected.body, "{shown}");
    assert!(read.behind.is_empty() && read.cut.is_none() && read.tokens.is_empty(), "{shown}");
}

fn raw(capture: &Capture, is_chunked: bool) -> Vec<u8> {
    let mut raw = format!("{} {} HTTP/1.1\r\nHost: {HOST}\r\n", capture.method, capture.target).into_bytes();
    for (name, value) in &capture.fields {
        raw.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    if is_chunked {
        raw.extend(b"transfer-encoding: chunked\r\n\r\n");
        for piece in capture.body.chunks(5) {
            raw.extend(format!("{:x}\r\n", piece.len()).bytes());
            raw.extend([piece, b"\r\n"].concat());
        }
        raw.extend(b"0\r\n\r\n");
    } else {
        raw.extend(format!("content-length: {}\r\n\r\n", capture.body.len()).bytes());
        raw.extend(&capture.body);
    }
    raw
}

fn har(capture: &Capture, is_base64: bool) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let header = |(name, value): &(String, Vec<u8>)| json!({ "name": name, "value": text(value) });
    let headers: Vec<_> = capture.fields.iter().map(header).collect();
    let data = match is_base64 {
        true => json!({ "text": BASE64_STANDARD.encode(&capture.body), "encoding": "base64" }),
        false => json!({ "text": text(&capture.body) }),
    };
    let url = format!("https://{HOST}{}", capture.target);
    let request = json!({ "method": capture.method, "url": url, "headers": headers, "postData": data });
    json!({ "log": { "entries": [{ "request": request }] } }).to_string()
}

/// As browsers write it: what is not plain in the quotes of bash that know escapes.
fn browser(url: &str, capture: &Capture) -> String {
    let quoted = |text: &str| -> String {
        let one = |one: char| match one {
            ' '..='~' if !"'\\!".contains(one) => one.to_string(),
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            '\'' | '\\' => format!("\\{one}"),
            _ => one.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        };
        format!("$'{}'", text.chars().map(one).collect::<String>())
    };
    let mut command = format!("curl {} \\\n  -X {}", quoted(url), capture.method);
    for (name, value) in &capture.fields {
        let value = std::str::from_utf8(value).unwrap();
        let line = if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") };
        command.push_str(&format!(" \\\n  -H {}", quoted(&line)));
    }
    format!("{command} \\\n  --data-raw {}", quoted(std::str::from_utf8(&capture.body).unwrap()))
}
