//! A sender: what it signs, and how it writes it down, from the words of a scheme in JSON.
//!
//! Responsible for a second implementation of that, slow and obvious, with nothing of the core's: not its parsers, and other
//! packages for tags, digests and base64 (ring, base64).

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use ring::{digest, hmac};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What stands before the target in what the sender knows as the URL.
pub const BASE: &str = "https://hooks.example.com";

/// The parts of a delivery that a scheme may sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Path and query.
    pub target: Vec<u8>,
    /// The headers that are signed as they are.
    pub headers: BTreeMap<String, Vec<u8>>,
    /// The time as it is written.
    pub time: Vec<u8>,
    /// The id of the delivery.
    pub id: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
}

/// The names of the headers that a template names.
#[must_use]
pub fn signed_headers(scheme: &Value) -> Vec<String> {
    placeholders(scheme).filter_map(|name| name.strip_prefix("header:")).map(str::to_owned).collect()
}

/// Whether a template has such a placeholder.
#[must_use]
pub fn signs(scheme: &Value, name: &str) -> bool {
    placeholders(scheme).any(|one| one == name)
}

/// The pieces of a template: texts, and placeholders with their braces.
#[must_use]
pub fn pieces(template: &str) -> Vec<&str> {
    let ends = template.match_indices(['{', '}']).map(|(at, brace)| if brace == "{" { at } else { at + 1 });
    let mut pieces = Vec::new();
    let mut start = 0;
    for end in ends.chain([template.len()]).filter(|end| *end > 0) {
        pieces.extend(template.get(start..end).filter(|piece| !piece.is_empty()));
        start = end;
    }
    pieces
}

fn placeholders(scheme: &Value) -> impl Iterator<Item = &str> {
    let template = scheme["signed"].as_str().unwrap_or_default();
    template.split('{').skip(1).filter_map(|rest| rest.split('}').next())
}

/// What is signed.
#[must_use]
pub fn content(scheme: &Value, key: &[u8], delivery: &Delivery) -> Vec<u8> {
    let path = delivery.target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let mut content = Vec::new();
    let mut rest = scheme["signed"].as_str().unwrap_or_default();
    while let Some((literal, tail)) = rest.split_once('{') {
        let (name, after) = tail.split_once('}').expect("a template");
        content.extend(literal.bytes());
        match name {
            "body" => content.extend(&delivery.body),
            "form" => content.extend(form(&delivery.body)),
            "body_sha256" => content.extend(sha256_hex(&delivery.body).bytes()),
            "body_crc32" => content.extend(crc32(&delivery.body).to_string().bytes()),
            "timestamp" => content.extend(&delivery.time),
            "id" => content.extend(&delivery.id),
            "method" => content.extend(b"POST"),
            "path" => content.extend(path),
            "url" => content.extend([BASE.as_bytes(), &delivery.target].concat()),
            "url_no_query" => content.extend([BASE.as_bytes(), path].concat()),
            "secret" => content.extend(key),
            name => content.extend(&delivery.headers[name.strip_prefix("header:").expect("a placeholder")]),
        }
        rest = after;
    }
    content.extend(rest.bytes());
    content
}

/// The tag of a content.
#[must_use]
pub fn tag(scheme: &Value, key: &[u8], content: &[u8]) -> Vec<u8> {
    let algorithm = match scheme["algorithm"].as_str().expect("an algorithm") {
        "hmac-sha1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        "hmac-sha256" => hmac::HMAC_SHA256,
        "hmac-sha384" => hmac::HMAC_SHA384,
        "hmac-sha512" => hmac::HMAC_SHA512,
        "sha256" => return digest::digest(&digest::SHA256, content).as_ref().to_vec(),
        other => panic!("{other}"),
    };
    hmac::sign(&hmac::Key::new(algorithm, key), content).as_ref().to_vec()
}

/// The Fields of a signature: there may be one or a list.
#[must_use]
pub fn signature_fields(scheme: &Value) -> &[Value] {
    let field = &scheme["signature"];
    field.as_array().map_or(std::slice::from_ref(field), Vec::as_slice)
}

/// How a tag is written.
#[must_use]
pub fn encode(scheme: &Value, tag: &[u8]) -> String {
    match signature_fields(scheme)[0]["encoding"].as_str() {
        Some("hex") => hex(tag),
        Some("base64") => BASE64_STANDARD.encode(tag),
        _ => BASE64_URL_SAFE_NO_PAD.encode(tag),
    }
}

/// The tag that a text stands for.
#[must_use]
pub fn decode(scheme: &Value, text: &[u8]) -> Option<Vec<u8>> {
    match signature_fields(scheme)[0]["encoding"].as_str() {
        Some("hex") => unhex(text),
        Some("base64") => BASE64_STANDARD.decode(text).ok(),
        _ => BASE64_URL_SAFE_NO_PAD.decode(text).ok(),
    }
}

/// The text of a secret whose key these bytes are, as the scheme wants it written, and the key.
#[must_use]
pub fn secret(scheme: &Value, bytes: &[u8]) -> (String, Vec<u8>) {
    let form = &scheme["secret"];
    let prefix = match &form["prefix"] {
        Value::Array(prefixes) => prefixes[0].as_str(),
        prefix => prefix.as_str(),
    };
    let (text, key) = match form["encoding"].as_str() {
        Some("hex") => (hex(bytes), bytes.to_vec()),
        Some("base64") => (BASE64_STANDARD.encode(bytes), bytes.to_vec()),
        _ => {
            // Something behind it, so that no line end is taken off.
            let text = format!("{}.", String::from_utf8_lossy(bytes));
            (text.clone(), text.into_bytes())
        }
    };
    (format!("{}{text}", prefix.unwrap_or_default()), key)
}

/// The request: its headers, pseudo-headers included. `place` chooses among several places for the signature.
#[must_use]
pub fn request(
    scheme: &Value,
    delivery: &Delivery,
    signature: &[u8],
    place: usize,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut places = Places::default();
    let fields = signature_fields(scheme);
    places.put(&fields[place % fields.len()], signature);
    if scheme["timestamp"]["json"].is_null() && !scheme["timestamp"].is_null() {
        places.put(&scheme["timestamp"], &delivery.time);
    }
    let id = &scheme["delivery_id"];
    let is_signed_header = id["header"].as_str().is_some_and(|name| delivery.headers.contains_key(name));
    if !id.is_null() && id["json"].is_null() && !is_signed_header {
        places.put(id, &delivery.id);
    }
    for equality in scheme["require"].as_array().into_iter().flatten() {
        let digest = sha256_hex(&delivery.body);
        if equality["query"].is_null() {
            places.put(equality, equality["equals"].as_str().unwrap_or(&digest).as_bytes());
        }
    }
    let mut target = delivery.target.clone();
    for (name, items) in places.query {
        target.push(if target.contains(&b'?') { b'&' } else { b'?' });
        target.extend(format!("{}={}", escaped(name.as_bytes()), escaped(&joined(items))).bytes());
    }
    let pair = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
    let mut pairs = vec![
        pair(":method", b"POST"),
        pair(":path", &target),
        pair(":authority", b"hooks.example.com"),
        pair("content-length", delivery.body.len().to_string().as_bytes()),
    ];
    pairs.extend(delivery.headers.iter().map(|(name, value)| pair(name, value)));
    pairs.extend(places.headers.into_iter().map(|(name, items)| pair(&name, &joined(items))));
    pairs
}

/// What is to stand in each header and query parameter: items, with their place where they have one, and what separates them.
#[derive(Default)]
struct Places {
    headers: BTreeMap<String, Vec<Item>>,
    query: BTreeMap<String, Vec<Item>>,
}

type Item = (Option<u64>, String, Vec<u8>);

impl Places {
    fn put(&mut self, field: &Value, text: &[u8]) {
        let text = [field["prefix"].as_str().unwrap_or_default().as_bytes(), text].concat();
        let split = field["split"].as_str().unwrap_or_default().to_owned();
        let item = (field["index"].as_u64(), split, text);
        match field["header"].as_str() {
            Some(name) => self.headers.entry(name.to_ascii_lowercase()).or_default().push(item),
            None => {
                self.query.entry(field["query"].as_str().expect("a place").to_owned()).or_default().push(item)
            }
        }
    }
}

fn joined(mut items: Vec<Item>) -> Vec<u8> {
    // Those that have a place come first.
    items.sort_by_key(|(index, ..)| index.is_none());
    let split = items[0].1.clone();
    let mut texts: Vec<Vec<u8>> = Vec::new();
    for (index, _, text) in items {
        let index = index.map_or(texts.len(), |index| usize::try_from(index).unwrap());
        texts.resize(texts.len().max(index + 1), Vec::new());
        texts[index] = text;
    }
    texts.join(split.as_bytes())
}

/// A form's parameters, sorted by name and value, the same one once, decoded.
#[must_use]
pub fn form(body: &[u8]) -> Vec<u8> {
    let mut parameters = BTreeSet::new();
    for piece in body.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty()) {
        let mut halves = piece.splitn(2, |byte| *byte == b'=');
        let mut half = || unescaped(&halves.next().unwrap_or_default().to_vec().replace(b'+', b' '));
        parameters.insert((half(), half()));
    }
    parameters.into_iter().flat_map(|(name, value)| [name, value]).flatten().collect()
}

trait Replace {
    fn replace(self, from: u8, to: u8) -> Self;
}

impl Replace for Vec<u8> {
    fn replace(self, from: u8, to: u8) -> Self {
        self.into_iter().map(|byte| if byte == from { to } else { byte }).collect()
    }
}

/// Every `%` with two hexadecimal digits as the byte that it stands for.
#[must_use]
pub fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let byte = text.get(at + 1..at + 3).filter(|_| text[at] == b'%').and_then(unhex);
        at += if byte.is_some() { 3 } else { 1 };
        plain.push(byte.map_or_else(|| text[at - 1], |byte| byte[0]));
    }
    plain
}

/// Every byte as `%` with two hexadecimal digits.
#[must_use]
pub fn escaped(text: &[u8]) -> String {
    text.iter().map(|byte| format!("%{byte:02X}")).collect()
}

/// In hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Out of them.
#[must_use]
pub fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let byte =
        |pair: &[u8]| Some(u8::try_from(digit(&pair[0])? * 16 + digit(pair.get(1)?)?).expect("a byte"));
    text.chunks(2).map(byte).collect()
}

/// The SHA-256 in hexadecimal digits.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// A time in whole seconds as it is written in a unit.
#[must_use]
pub fn time(unit: &str, seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let clock = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
    let (year, month, day) = civil(days);
    let weekday =
        ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][usize::try_from(days.rem_euclid(7)).unwrap()];
    let name =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][month - 1];
    match unit {
        "s" => seconds.to_string(),
        "ms" => (seconds * 1000).to_string(),
        "rfc3339" => format!("{year:04}-{month:02}-{day:02}T{clock}Z"),
        _ => format!("{weekday}, {day:02} {name} {year:04} {clock} GMT"),
    }
}

/// Year, month and day of so many days after the first of 1970, counted one year and month after the other.
fn civil(days: i64) -> (i64, usize, i64) {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let (mut year, mut left) = (1970, days);
    while left < 0 {
        year -= 1;
        left += 365 + i64::from(is_leap(year));
    }
    while left >= 365 + i64::from(is_leap(year)) {
        left -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + i64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

/// A text of such characters, of a length from 1 on.
pub fn text(input: &mut Unstructured<'_>, alphabet: &[u8], most: usize) -> Result<Vec<u8>> {
    (0..input.int_in_range(1..=most)?).map(|_| input.choose(alphabet).copied()).collect()
}

/// One bit of some bytes turned; the same where there are none.
#[must_use]
pub fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    let length = flipped.len().max(1);
    if let Some(byte) = flipped.get_mut(at / 8 % length) {
        *byte ^= 1 << (at % 8);
    }
    flipped
}
