//! Whatever a scheme signs: a delivery of plain values that a second implementation signs passes, one of which anything signed is
//! changed is refused, and no two deliveries have one signature because a piece of one part was moved into the part beside it.

#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use webhook_guard_core::config;
use webhook_guard_fuzz::sender::{self, BASE, Delivery};
use webhook_guard_fuzz::{NOW, judge, words};

const SECRET: &str = "of-the-sender-4f1c";
const PARTS: [&str; 12] = [
    "{timestamp}",
    "{id}",
    "{method}",
    "{path}",
    "{url}",
    "{url_no_query}",
    "{header:x-a}",
    "{header:x-b}",
    ".",
    ":",
    "v0",
    "\n",
];
const BODIES: [&str; 5] = ["{body}", "{form}", "{body_sha256}", "{body_crc32}", ""];
const PLAIN: &[u8] = b"abXY019-_";
const WIDE: &[u8] = b"ab019-_ ,:.+=/{}?&%v\"~";

fuzz_target!(|bytes: &[u8]| {
    let _ = run(&mut Unstructured::new(bytes));
});

fn run(input: &mut Unstructured<'_>) -> Result<()> {
    let scheme = scheme(input)?;
    let template = scheme["signed"].as_str().unwrap();
    let is_exact: bool = input.arbitrary()?;
    let is_plain: bool = input.arbitrary()?;
    let alphabet = if is_plain { PLAIN } else { WIDE };
    let mut target = b"/hooks".to_vec();
    if !is_exact && input.arbitrary()? {
        target.extend([&b"/"[..], &sender::text(input, b"ab019", 6)?].concat());
    }
    let mut urls = vec![BASE.to_owned()];
    if input.arbitrary()? {
        urls = vec![format!("{BASE}/hooks"), format!("{BASE}/hooks/a")];
        target = if input.arbitrary()? || is_exact { b"/hooks".to_vec() } else { b"/hooks/a".to_vec() };
    }
    let mut signature = json!({ "scheme": scheme, "secrets": [{ "value": SECRET }] });
    if template.contains("{url") {
        signature["public_url"] = json!(urls);
    }
    let path = if is_exact { json!({ "exact": "/hooks" }) } else { json!({ "prefix": "/hooks" }) };
    let policy = json!({ "name": "p", "match": { "path": path }, "require": { "signature": signature } });
    let text = json!({ "policies": [policy] }).to_string();
    let Ok(configuration) = config::parse(text.as_bytes(), &|_| None) else { return Ok(()) };

    let unit = scheme["timestamp"]["unit"].as_str().unwrap_or("s");
    let time = sender::time(unit, NOW.0 / 1000 - input.int_in_range(-60..=300)?).into_bytes();
    let mut headers = BTreeMap::new();
    for name in sender::signed_headers(&scheme) {
        headers.insert(name, sender::text(input, alphabet, 12)?);
    }
    let id = sender::text(input, alphabet, 12)?;
    let (choice, bit): (u8, u16) = input.arbitrary()?;
    let (choice, bit) = (usize::from(choice), usize::from(bit));
    let rest = input.bytes(input.len())?;
    let body = if is_plain { [b"{", rest, b"}"].concat() } else { rest.to_vec() };
    let delivery = Delivery { target, headers, time, id, body };

    let content = |delivery: &Delivery| sender::content(&scheme, SECRET.as_bytes(), delivery);
    let signed = content(&delivery);
    let tag = sender::encode(&scheme, &sender::tag(&scheme, SECRET.as_bytes(), &signed));
    let verdict = |delivery: &Delivery| {
        let pairs = sender::request(&scheme, delivery, tag.as_bytes(), 0);
        let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let pieces = judge(&configuration, &pairs, &delivery.body, bit.max(1));
        assert_eq!(pieces, judge(&configuration, &pairs, &delivery.body, usize::MAX));
        words(pieces.as_ref())
    };
    let own = verdict(&delivery);
    // A parameter of the query is part of the URL, and of the target that follows it.
    let has_query =
        [&scheme["timestamp"], &scheme["delivery_id"]].iter().any(|field| field["query"].is_string());
    if is_plain && !(has_query && template.contains("{url}")) {
        assert_eq!(own, ("allow", "ok"), "{text} {delivery:?}");
    }
    if own.0 != "allow" {
        return Ok(());
    }

    let pieces = sender::pieces(template);
    let names: Vec<&str> = pieces.iter().filter_map(|piece| name(piece)).collect();
    if let Some(name) = names.get(choice % names.len().max(1)) {
        let mut changed = delivery.clone();
        if let Some(value) = value(&mut changed, name) {
            *value = sender::flipped(value, bit);
        }
        if content(&changed) != signed {
            assert_eq!(verdict(&changed).0, "deny", "{text} {delivery:?} {changed:?}");
        }
    }
    for pair in pieces.windows(2) {
        let (Some(left), Some(right)) = (name(pair[0]), name(pair[1])) else { continue };
        for count in 1..=4 {
            for is_to_right in [false, true] {
                let moved = moved(&delivery, (left, right), count, is_to_right);
                let Some(moved) = moved.filter(|moved| content(moved) == signed) else { continue };
                assert_eq!(verdict(&moved).0, "deny", "{text} {delivery:?} {moved:?}");
            }
        }
    }
    Ok(())
}

fn scheme(input: &mut Unstructured<'_>) -> Result<Value> {
    let mut parts = |most: usize| -> Result<String> {
        (0..input.int_in_range(0..=most)?).map(|_| input.choose(&PARTS).copied()).collect()
    };
    let (before, after) = (parts(4)?, parts(3)?);
    let template = format!("{before}{}{after}", input.choose(&BODIES)?);
    let mut signature =
        json!({ "header": "x-signature", "encoding": input.choose(&["hex", "base64", "base64url"])? });
    let is_split: bool = input.arbitrary()?;
    if is_split {
        signature["split"] = json!(",");
        signature["prefix"] = json!("v1=");
    }
    let mut scheme = json!({
        "algorithm": input.choose(&["hmac-sha256", "hmac-sha512", "hmac-sha384", "hmac-sha1"])?,
        "signature": signature,
        "signed": template,
    });
    if template.contains("{timestamp}") {
        let mut field = match input.int_in_range(0..=2)? {
            0 if is_split => json!({ "header": "x-signature", "split": ",", "prefix": "t=" }),
            1 => json!({ "query": "time" }),
            _ => json!({ "header": "x-time" }),
        };
        // A date of HTTP has a comma.
        let units: &[&str] = if field["split"].is_null() {
            &["s", "ms", "rfc3339", "http-date"]
        } else {
            &["s", "ms", "rfc3339"]
        };
        field["unit"] = json!(input.choose(units)?);
        scheme["timestamp"] = field;
    }
    if template.contains("{id}") {
        scheme["delivery_id"] =
            if input.arbitrary()? { json!({ "header": "x-id" }) } else { json!({ "query": "id" }) };
    }
    Ok(scheme)
}

/// The name of a placeholder.
fn name(piece: &str) -> Option<&str> {
    piece.strip_prefix('{')?.strip_suffix('}')
}

/// The value that a placeholder stands for, where somebody who plays a delivery again can choose another.
fn value<'d>(delivery: &'d mut Delivery, name: &str) -> Option<&'d mut Vec<u8>> {
    match name {
        "timestamp" => Some(&mut delivery.time),
        "id" => Some(&mut delivery.id),
        "body" => Some(&mut delivery.body),
        "path" | "url" | "url_no_query" => Some(&mut delivery.target),
        _ => delivery.headers.get_mut(name.strip_prefix("header:")?),
    }
}

/// A delivery of which so many bytes of one part are moved into the part beside it.
fn moved(
    delivery: &Delivery,
    (left, right): (&str, &str),
    count: usize,
    is_to_right: bool,
) -> Option<Delivery> {
    let mut moved = delivery.clone();
    // Any text is a form: a name without a value, escaped.
    let as_form = [left, right].contains(&"form");
    if as_form {
        moved.body = sender::form(&moved.body);
    }
    let (left, right) = [left, right].map(|name| if name == "form" { "body" } else { name }).into();
    let is_located = |name: &str| matches!(name, "path" | "url" | "url_no_query");
    if is_located(right) || left == right {
        // It would begin with something else than a slash.
        return None;
    }
    if is_to_right {
        let from = value(&mut moved, left)?;
        let piece = from.split_off(from.len().checked_sub(count)?);
        let to = value(&mut moved, right)?;
        to.splice(0..0, piece);
    } else {
        let from = value(&mut moved, right)?;
        let piece: Vec<u8> = (from.len() >= count).then(|| from.drain(..count).collect())?;
        value(&mut moved, left)?.extend(piece);
    }
    if as_form {
        moved.body = sender::escaped(&moved.body).into_bytes();
    }
    Some(moved)
}
