//! A record of any bytes, as a line of the access log or as OTLP, is a message within its bounds or none; one record is the same
//! message in both forms, its body is what the sender sent, and it can be sent again exactly if all of it is there. Nobody is
//! admitted to the messages but whom a slow reading of the rules admits.

#![no_main]

#[expect(dead_code, reason = "the program's own modules do more than read")]
#[path = "../../../src/messages"]
mod messages {
    pub(crate) mod access;
    pub(crate) mod message;
    #[path = "otlp/records.rs"]
    pub(crate) mod records;
}

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use messages::access::{Access, Permission, Refusal, Request, User};
use messages::message::{Message, obstacle};
use messages::{message, records};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use ring::digest;
use serde_json::{Map, Value};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;
use webhook_guard_fuzz::sender;

const MOST_FIELD: usize = 16 << 10;
const MOST_HEADERS: usize = 64 << 10;
const MOST_BODY: usize = 4 << 20;

/// The fields of a record by their names in the JSON lines and in OTLP (`envoy/access-log/`), the body's aside.
const FIELDS: [(&str, &str); 17] = [
    ("verdict", "webhook.verdict"),
    ("reason", "webhook.reason"),
    ("method", "http.request.method"),
    ("path", "http.target"),
    ("host", "http.request.header.host"),
    ("status", "http.response.status_code"),
    ("policy", "webhook.policy"),
    ("provider", "webhook.provider"),
    ("delivery_id", "webhook.delivery_id"),
    ("secret_id", "webhook.secret_id"),
    ("checks", "webhook.checks"),
    ("duplicate", "webhook.duplicate"),
    ("details", "envoy.response_code_details"),
    ("source", "client.address"),
    ("request_id", "http.request.header.x-request-id"),
    ("headers", "webhook.headers"),
    ("body_bytes", "webhook.body_bytes"),
];

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let mut input = Unstructured::new(rest);
    match first % 4 {
        0 => Message::from_json(rest).iter().for_each(is_bounded),
        1 => {
            let Ok(request) = ExportLogsServiceRequest::decode(rest) else { return };
            records::messages(request).iter().for_each(is_bounded);
        }
        2 => drop(same(&mut input)),
        _ => drop(admitted(&mut input)),
    }
});

fn is_bounded(message: &Message) {
    let Message { method, path, host, policy, provider, delivery_id, secret_id, checks, .. } = message;
    let Message { duplicate, details, source, request_id, headers, body, body_sha256, .. } = message;
    let texts = [method, path, host, policy, provider, delivery_id, secret_id, checks, duplicate, details];
    let texts = texts.into_iter().chain([source, request_id, body_sha256]).flatten();
    for text in texts.chain([&message.verdict, &message.reason]) {
        assert!(!text.is_empty() && text.len() <= MOST_FIELD);
    }
    assert!(headers.as_ref().is_none_or(|text| text.len() <= MOST_HEADERS));
    assert!(body.as_ref().is_none_or(|body| body.bytes.len() <= MOST_BODY));
    assert!(message.body_bytes.is_none_or(|bytes| bytes >= 0));
    assert!(message.weight() >= body.as_ref().map_or(0, |body| body.bytes.len()));
    assert!(message.searchable().len() <= 3 * MOST_FIELD + 3 + 3 * (64 << 10));
}

/// One record in both forms.
fn same(input: &mut Unstructured<'_>) -> Result<()> {
    let seconds = input.int_in_range(0..=4_000_000_000)?;
    let (mut line, mut attributes) = (Map::new(), Vec::new());
    let mut put = |name: &str, key: &str, text: &str| {
        line.insert(name.to_owned(), Value::from(text));
        attributes.push(attribute(key, text));
    };
    let mut given: Vec<(&str, String)> = Vec::new();
    for (name, key) in FIELDS {
        let text: &str = input.arbitrary()?;
        // Again and again, up to what is longer than what is kept.
        let most = (MOST_HEADERS + 1) / text.len().max(1) + 1;
        let text = text.repeat(most.min(1 + usize::from(input.arbitrary::<u8>()?)));
        let text = if ["status", "body_bytes"].contains(&name) {
            input.arbitrary::<u16>()?.to_string()
        } else {
            text
        };
        // So Envoy writes to OTLP what there is none of.
        if text != "-" && input.arbitrary()? {
            put(name, key, &text);
            given.push((name, text));
        }
    }
    let (is_truncated, is_other): (bool, bool) = input.arbitrary()?;
    let sent = input.bytes(input.len())?;
    let (text, encoding) = match std::str::from_utf8(sent) {
        Ok(text) => (text.to_owned(), "text"),
        Err(_) => (BASE64_STANDARD.encode(sent), "base64"),
    };
    let encoding = if is_truncated { format!("{encoding}+truncated") } else { encoding.to_owned() };
    let sha256 = sender::sha256_hex(if is_other { b"something else" } else { sent });
    put("body", "webhook.body", &text);
    put("body_encoding", "webhook.body_encoding", &encoding);
    put("body_sha256", "webhook.body_sha256", &sha256);
    line.insert("time".to_owned(), Value::from(sender::time("rfc3339", seconds)));

    let record = LogRecord {
        time_unix_nano: seconds.unsigned_abs() * 1_000_000_000,
        attributes,
        ..LogRecord::default()
    };
    let scope = ScopeLogs { log_records: vec![record], ..ScopeLogs::default() };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }],
    };
    let request = ExportLogsServiceRequest::decode(request.encode_to_vec().as_slice()).unwrap();
    let from_otlp = records::messages(request).pop();
    let message = Message::from_json(Value::from(line).to_string().as_bytes());
    assert_eq!(message, from_otlp);

    let value = |name: &str| given.iter().find(|(given, _)| *given == name).map(|(_, text)| &text[..]);
    let is_one = ["verdict", "reason"].iter().all(|name| value(name).is_some_and(|text| !text.is_empty()));
    assert_eq!(message.is_some(), is_one);
    let Some(message) = message else { return Ok(()) };
    is_bounded(&message);
    assert_eq!(message.time, seconds * 1000);
    assert_eq!(message.status.map(|status| status.to_string()).as_deref(), value("status"));
    let path = message.path.as_deref().unwrap_or_default();
    let whole = value("path").unwrap_or_default();
    // Cut at the last character that fits.
    assert!(whole.starts_with(path) && (path == whole || path.len() > MOST_FIELD - 4));
    let body = message.body.as_ref().unwrap();
    assert_eq!((&body.bytes[..], body.is_text), (sent, std::str::from_utf8(sent).is_ok()));
    let is_whole = !is_truncated && (!is_other || sent == b"something else");
    assert_eq!(obstacle(message.body.as_ref(), message.body_sha256.as_deref()).is_none(), is_whole);
    Ok(())
}

fn attribute(key: &str, text: &str) -> KeyValue {
    let value = any_value::Value::StringValue(text.to_owned());
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

const URL: &str = "https://messages.example.com";
const USERS: [(&str, &str); 2] = [("anna", "token-of-anna-0123"), ("bob", "token-of-bob-01234")];

static ACCESS: LazyLock<Access> = LazyLock::new(|| {
    let user = |(name, token): (&str, &str)| {
        let digest = digest::digest(&digest::SHA256, token.as_bytes()).as_ref().try_into().unwrap();
        (User { name: name.to_owned(), may: vec![Permission::List] }, digest)
    };
    let listen = SocketAddr::from(([0, 0, 0, 0], 8095));
    let proxies = vec!["10.0.0.0/8".parse().unwrap()];
    Access::new(listen, USERS.map(user).to_vec(), "me", false, proxies, Some(URL)).unwrap()
});

fn admitted(input: &mut Unstructured<'_>) -> Result<()> {
    let v4: [u8; 4] = input.arbitrary()?;
    let [a, b, c, d] = if input.arbitrary()? { [10, v4[1], v4[2], v4[3]] } else { v4 };
    let v4 = Ipv4Addr::new(a, b, c, d);
    let peer = match input.int_in_range(0..=2)? {
        0 => IpAddr::V4(v4),
        1 => IpAddr::V6(v4.to_ipv6_mapped()),
        _ => IpAddr::V6(Ipv6Addr::from(input.arbitrary::<u128>()?)),
    };
    let (is_change, is_page): (bool, bool) = input.arbitrary()?;
    let host = one_of(input, &["messages.example.com", "MESSAGES.example.com", "messages.example.com:443"])?;
    let origin =
        one_of(input, &[URL, "HTTPS://messages.example.com", "http://messages.example.com", "null"])?;
    let site = one_of(input, &["same-origin", "none", "same-site", "cross-site"])?;
    let pairs = ["anna:token-of-anna-0123", "bob:token-of-anna-0123", ":token-of-bob-01234", "bob:"];
    let basic = pairs.map(|pair| format!("Basic {}", BASE64_STANDARD.encode(pair)));
    let mut tokens = vec!["Bearer token-of-bob-01234", "bearer token-of-bob-01234", "Bearer token-of-bob"];
    tokens.extend(basic.iter().map(String::as_str));
    let authorization = one_of(input, &tokens)?;
    let request = Request {
        peer,
        host: host.as_deref(),
        origin: origin.as_deref(),
        site: site.as_deref(),
        authorization: authorization.as_deref(),
        is_change,
        is_page,
    };
    let text =
        |value: &Option<Vec<u8>>| value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned());
    let is = |value: &Option<Vec<u8>>, known: &str| {
        text(value).is_some_and(|text| text.eq_ignore_ascii_case(known))
    };
    let is_proxy = match peer {
        IpAddr::V4(v4) => v4.octets()[0] == 10,
        IpAddr::V6(v6) => v6.octets()[..13] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10],
    };
    let is_bearer = text(&authorization).is_some_and(|text| text.starts_with("Bearer "));
    let is_same_origin = match &origin {
        Some(_) => is(&origin, URL),
        None => !is_change || is_bearer,
    };
    let is_same_site =
        is_page || site.as_deref().is_none_or(|site| site == b"same-origin" || site == b"none");
    let user = USERS.iter().find(|(name, token)| {
        let named = format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{token}")));
        [format!("Bearer {token}"), named].map(Some).contains(&text(&authorization))
    });
    let expected = match user {
        _ if !is_proxy => Err(Refusal::Proxy),
        _ if !is(&host, "messages.example.com") => Err(Refusal::Host),
        _ if !is_same_origin || !is_same_site => Err(Refusal::Origin),
        Some((name, _)) => Ok(*name),
        None => Err(Refusal::Nobody),
    };
    assert_eq!(ACCESS.admit(request).map(|user| &user.name[..]), expected, "{request:?}");
    Ok(())
}

/// One of these, anything else, or nothing.
fn one_of(input: &mut Unstructured<'_>, known: &[&str]) -> Result<Option<Vec<u8>>> {
    Ok(match input.int_in_range(0..=3)? {
        0 => None,
        1 => Some(input.arbitrary::<&[u8]>()?.to_vec()),
        _ => Some(input.choose(known)?.as_bytes().to_vec()),
    })
}
