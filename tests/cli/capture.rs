//! Captures in every form, as the doctor takes them: a signature covers each byte, so a form that changed one would show.

use crate::doctor::{Delivery, github, published, signed};
use crate::program::file;
use data_encoding::BASE64;
use serde_json::{Value, json};

fn outcome(test: &str, delivery: &Delivery, capture: impl AsRef<[u8]>, more: &[&str]) -> (i32, Value) {
    let arguments = [&["--format", "json"], more].concat();
    let run = delivery.diagnose(&format!("capture {test}"), capture.as_ref(), &arguments);
    assert_eq!(run.stderr, "", "{test}");
    (run.status, serde_json::from_str(&run.stdout).unwrap())
}

#[track_caller]
fn holds(test: &str, delivery: &Delivery, capture: impl AsRef<[u8]>, more: &[&str]) -> Value {
    let (status, diagnosis) = outcome(test, delivery, capture, more);
    assert_eq!((status, &diagnosis["outcome"]), (0, &json!("holds")), "{test}: {diagnosis:#}");
    diagnosis
}

#[track_caller]
fn fails(test: &str, capture: &str, words: &str) {
    let run = github().diagnose(&format!("capture {test}"), capture.as_bytes(), &[]);
    assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{test}: {run:?}");
    assert!(run.stderr.contains("request: ") && run.stderr.contains(words), "{test}: {run:?}");
}

fn signature() -> String {
    github().get("X-Hub-Signature-256").to_owned()
}

#[test]
fn raw_http_with_either_line_end() {
    let delivery = github();
    let raw = String::from_utf8(delivery.raw()).unwrap();
    holds("raw", &delivery, &raw, &[]);
    holds("raw lf", &delivery, raw.replace("\r\n", "\n"), &[]);
    holds("raw blank lines before", &delivery, format!("\r\n{raw}"), &[]);
    // An editor's newline behind a body of declared length.
    holds("raw newline", &delivery, format!("{raw}\n"), &[]);
    holds(
        "raw absolute",
        &delivery,
        raw.replacen("POST /hook", "POST https://hooks.example.com/hook", 1),
        &[],
    );
    // Nothing says where the body ends, so the newline counts, and it is said.
    let undeclared = raw.replace("Content-Length: 13\r\n", "");
    holds("raw undeclared", &delivery, &undeclared, &[]);
    let (_, diagnosis) = outcome("raw undeclared newline", &delivery, format!("{undeclared}\n"), &[]);
    assert_eq!(diagnosis["causes"][0]["code"], "body-newline-added");
    assert!(
        diagnosis["findings"][0]["text"].as_str().unwrap().contains("no content-length"),
        "{diagnosis:#}"
    );
}

#[test]
fn a_body_in_a_file_of_its_own() {
    let delivery = github();
    let raw = String::from_utf8(delivery.raw()).unwrap();
    let head = raw.split_inclusive("\r\n\r\n").next().unwrap();
    let body = file("capture body", "body", &delivery.body);
    let diagnosis = holds("body", &delivery, head, &["--body", &body]);
    assert_eq!(diagnosis["findings"], json!([]), "the length is right");
    let (_, cut) = outcome("body missing", &delivery, head, &[]);
    let text = "content-length is 13, and the body here has 0 bytes: it was changed or cut";
    assert_eq!(cut["findings"][0], json!({"code": "content-length", "text": text}));
}

#[test]
fn a_body_that_is_not_text() {
    let large = published("svix", "svix-large-262143");
    holds("large", &large, large.raw(), &[]);
    let emoji = published("easypost", "easypost-valid");
    holds("utf8", &emoji, emoji.raw(), &[]);
}

#[test]
fn chunked_bodies() {
    let delivery = github();
    let head = format!(
        "POST /hook HTTP/1.1\r\nHost: h\r\nX-Hub-Signature-256: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        signature()
    );
    for (test, chunks) in [
        ("one", "d\r\nHello, World!\r\n0\r\n\r\n"),
        ("two", "5\r\nHello\r\n8;name=value\r\n, World!\r\n0\r\n\r\n"),
        ("trailers", "D\r\nHello, World!\r\n0\r\nX-Trailer: 1\r\n\r\n"),
    ] {
        holds(&format!("chunked {test}"), &delivery, format!("{head}{chunks}"), &[]);
    }
    fails("chunked cut", &format!("{head}d\r\nHello,"), "the chunked body is broken or cut");
}

/// The header of GitHub's sender for that body.
fn signed_header(body: &[u8]) -> String {
    let delivery = signed(body, body);
    format!("-H 'X-Hub-Signature-256: {}'", delivery.get("X-Hub-Signature-256"))
}

#[test]
fn curl_command_lines() {
    let delivery = github();
    let header = format!("-H 'X-Hub-Signature-256: {}'", signature());
    let url = "https://hooks.example.com/hook";
    let name = file("capture curl file", "body.txt", "Hello, World!");
    for (test, line) in [
        ("data", format!("curl -X POST {url} {header} -d 'Hello, World!'")),
        ("prompt", format!("$ curl {url} {header} --data 'Hello, World!'")),
        ("raw", format!("curl --request POST --url {url} {header} --data-raw 'Hello, World!'")),
        ("binary", format!("curl -sS -XPOST {url} {header} --data-binary 'Hello, World!'")),
        ("equals", format!("curl --data-raw='Hello, World!' {header} {url}")),
        ("lines", format!("curl -i \\\n  {url} \\\n  {header} \\\n  --data-raw 'Hello, World!'\n")),
        ("windows lines", format!("curl {url} \\\r\n  {header} \\\r\n  --data-raw 'Hello, World!'\r\n")),
        ("quotes", format!("curl \"{url}\" {header} --data-raw \"Hello, World\"'!'")),
        ("ansi", format!("curl {url} {header} --data-raw $'Hello, World\\u0021'")),
        ("json", format!("curl {url} {header} --json 'Hello, World!'")),
        (
            "flags",
            format!("curl -sSLk -o /dev/null --max-time 5 -u a:b -A agent {url} {header} -d 'Hello, World!'"),
        ),
        ("binary file", format!("curl {url} {header} --data-binary @'{name}'")),
        ("file", format!("curl {url} {header} -d @'{name}'")),
    ] {
        holds(&format!("curl {test}"), &delivery, line, &["--allow-files"]);
    }
    // Quotes keep what stands in them, and browsers write `$'…'` where they must.
    for (test, body, quoted) in [
        ("continued", "a \\\nb", "'a \\\nb'"),
        ("double", "it's $5 \"x\" \\", "\"it's \\$5 \\\"x\\\" \\\\\""),
        ("ansi", "it's é 😀!\n\t\\\"", "$'it\\'s \\u00e9 \\ud83d\\ude00\\u0021\\n\\t\\\\\"'"),
        ("ansi dollars", "'$'x'", "$'\\'$\\'x\\''"),
        ("hyphens", "--boundary=1 a", "'--boundary=1 a'"),
    ] {
        let line = format!("curl {url} {} --data-raw {quoted}", signed_header(body.as_bytes()));
        holds(&format!("curl quoted {test}"), &delivery, line, &[]);
    }
    let joined = format!("curl {url} {header} -d 'Hello' -d 'World'");
    let (status, _) = outcome("curl joined", &delivery, joined, &[]);
    assert_eq!(status, 1, "several -d are joined with &, and that was not signed");
    fails(
        "curl option",
        &format!("curl {url} --data-urlencode a=b"),
        "the option --data-urlencode is not known",
    );
    fails("curl form", &format!("curl {url} -F a=b"), "capture the request as raw HTTP");
    fails("curl no url", "curl -X POST", "there is no URL");
    fails("curl two urls", &format!("curl {url} {url}"), "is a second URL");
    fails("curl stdin", &format!("curl {url} -d @-"), "give it with --body");
}

#[test]
fn the_url_of_a_curl_command_is_kept_byte_for_byte() {
    let twilio = published("twilio", "twilio-https-443");
    let body = String::from_utf8(twilio.body.clone()).unwrap();
    let signature = twilio.get("X-Twilio-Signature");
    let line = format!(
        "curl 'https://mycompany.com:443{}' -H 'X-Twilio-Signature: {signature}' -d '{body}'",
        twilio.target
    );
    holds("curl url", &twilio, line, &[]);
}

fn har(entries: &[Value]) -> String {
    json!({"log": {"version": "1.2", "entries": entries}}).to_string()
}

fn entry(post: Value, headers: &[(&str, &str)]) -> Value {
    let headers: Vec<Value> =
        headers.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({
        "startedDateTime": "2026-01-01T00:00:00.000Z",
        "request": {"method": "POST", "url": "https://hooks.example.com/hook", "headers": headers, "postData": post},
    })
}

#[test]
fn har_files() {
    let delivery = github();
    let signature = signature();
    let signed = [(":authority", "h"), ("x-hub-signature-256", signature.as_str())];
    let good = entry(json!({"mimeType": "text/plain", "text": "Hello, World!"}), &signed);
    let encoded = json!({"text": BASE64.encode(b"Hello, World!"), "encoding": "base64"});
    let packed = entry(encoded, &signed);
    let other = entry(json!({"text": "Hello"}), &signed);
    holds("har", &delivery, har(std::slice::from_ref(&good)), &[]);
    holds("har base64", &delivery, har(&[packed]), &[]);
    holds("har entry", &delivery, good.to_string(), &[]);
    let several = har(&[other.clone(), good]);
    holds("har second", &delivery, &several, &["--entry", "2"]);
    assert_eq!(outcome("har first", &delivery, &several, &[]).0, 1);
    let run = delivery.diagnose("capture har third", several.as_bytes(), &["--entry", "3"]);
    assert!(run.status == 2 && run.stderr.contains("has 2 requests and no request 3"), "{run:?}");
    let parameters = entry(json!({"params": [{"name": "a", "value": "b"}]}), &signed);
    let (_, diagnosis) = outcome("har params", &delivery, har(&[parameters]), &[]);
    assert!(
        diagnosis["findings"][0]["text"].as_str().unwrap().contains("without their text"),
        "{diagnosis:#}"
    );
}

#[test]
fn the_time_of_a_har_entry_is_the_clock() {
    let mut slack = published("slack", "slack-docs");
    let at = |time: &str| {
        let headers: Vec<(&str, &str)> =
            slack.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut entry = entry(json!({"text": String::from_utf8(slack.body.clone()).unwrap()}), &headers);
        entry["startedDateTime"] = json!(time);
        har(&[entry])
    };
    let (then, later) = (at("2018-07-12T18:36:59Z"), at("2018-07-12T20:37:00Z"));
    slack = slack.without_now();
    holds("har time", &slack, then, &[]);
    let (_, diagnosis) = outcome("har late", &slack, later, &[]);
    assert_eq!(diagnosis["causes"][0]["code"], "stale", "{diagnosis:#}");
    let cause = diagnosis["causes"][0]["cause"].as_str().unwrap();
    assert!(cause.contains("2 h before the time of the capture"), "{cause}");
}

#[test]
fn a_line_of_the_access_log_says_that_it_has_no_headers() {
    let line = json!({
        "time": "2026-01-01T00:00:00Z", "method": "POST", "path": "/hook", "authority": "hooks.example.com",
        "source": "192.0.2.1:4711", "verdict": "deny", "reason": "signature_mismatch", "policy": "github", "checks": "-",
    });
    let (status, diagnosis) = outcome("log", &github(), line.to_string(), &[]);
    let findings = diagnosis["findings"].to_string();
    assert_eq!((status, &diagnosis["reason"]), (1, &json!("signature_missing")), "{diagnosis:#}");
    assert!(findings.contains("the gateway said: deny signature_mismatch by policy github"), "{findings}");
    let two = format!("{line}\n{line}\n");
    assert_eq!(outcome("log second", &github(), &two, &["--entry", "2"]).1["reason"], "signature_missing");
    let run = github().diagnose("capture log third", two.as_bytes(), &["--entry", "3"]);
    assert!(run.status == 2 && run.stderr.contains("has no line 3"), "{run:?}");
}

#[test]
fn what_is_no_capture_is_refused() {
    fails("empty", "", "is empty");
    fails(
        "text",
        "Hello, World!",
        "is none of raw HTTP, a curl command line, a HAR file and an access-log line",
    );
    fails("json", "{\"a\": 1}", "is JSON, but neither a HAR file");
    fails("broken json", "{\"a\":", "is not JSON");
    fails("head", "POST /hook HTTP/1.1\r\nHost: h\r\n", "ends before the empty line behind the headers");
}
