//! `sign`: what it prints is what the provider would send. The commands are read by a real shell, and compared with the
//! vectors, most of them made by the providers or their libraries.

use crate::program::{Run, file, run};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::UNIX_EPOCH;
use time::OffsetDateTime;
use webhook_guard_core::signature::hmac::HmacKind;
use webhook_guard_core::signature::key::Algorithm;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors");
const KEY: &str = "sign-test-key-0000001";

fn catalogue() -> Value {
    serde_json::from_str(include_str!("../../src/core/catalogue.json")).unwrap()
}

/// What curl would be asked to send.
#[derive(Debug, Default, PartialEq)]
struct Sent {
    url: String,
    method: String,
    headers: Vec<(String, String)>,
    user: Option<String>,
    body: Vec<u8>,
}

impl Sent {
    fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.as_str())
    }
}

/// Has a shell read the command, with a curl that hands its arguments back.
fn evaluated(command: &str, environment: &[(&str, &str)]) -> Sent {
    let script = format!("curl() {{ printf '%s\\0' \"$@\"; }}\n{command}");
    let mut shell = Command::new("sh");
    let path = std::env::var_os("PATH").unwrap();
    shell.args(["-c", &script]).env_clear().env("PATH", path).envs(environment.iter().copied());
    let output = shell.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}\n{command}");
    let mut words = output.stdout.split(|byte| *byte == 0).map(<[u8]>::to_vec);
    let mut sent = Sent { method: "POST".to_owned(), ..Sent::default() };
    let text = |word: Option<Vec<u8>>| String::from_utf8(word.unwrap()).unwrap();
    while let Some(word) = words.next() {
        match word.as_slice() {
            b"-i" | b"-g" | b"" => {}
            b"-X" => sent.method = text(words.next()),
            b"-u" => sent.user = Some(text(words.next())),
            b"-H" => {
                let line = text(words.next());
                let (name, value) = line.split_once(": ").unwrap_or_else(|| (line.trim_end_matches(';'), ""));
                sent.headers.push((name.to_owned(), value.to_owned()));
            }
            b"--data-raw" => sent.body = words.next().unwrap(),
            b"--data-binary" => sent.body = fs::read(text(words.next()).strip_prefix('@').unwrap()).unwrap(),
            _ => sent.url = text(Some(word)),
        }
    }
    sent
}

fn good(run: &Run) -> &str {
    assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{run:?}");
    &run.stdout
}

/// A delivery signed with `KEY`.
fn sign(arguments: &[&str]) -> Sent {
    let environment = [("KEY", KEY)];
    let arguments = [&["sign", "--secret-env", "KEY"], arguments].concat();
    evaluated(good(&run(&arguments, &environment, b"")), &environment)
}

/// Where a Field of the catalogue sits in a vector, without its prefix. `not` is the place of an item that is none.
fn items(field: &Value, headers: &Value, not: Option<u64>) -> Vec<String> {
    let name = field["header"].as_str().unwrap_or_default();
    let prefix = field["prefix"].as_str().unwrap_or_default();
    let given = headers.as_object().unwrap().iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
    let values = given.map(|(_, value)| value.as_str().unwrap().to_owned());
    values
        .flat_map(|value| match field["split"].as_str() {
            Some(split) => {
                let places = (0_u64..).zip(value.split(split));
                let counts =
                    |place| field["index"].as_u64().is_none_or(|index| index == place) && not != Some(place);
                places.filter(|(place, _)| counts(*place)).map(|(_, item)| item.trim().to_owned()).collect()
            }
            None => vec![value],
        })
        .filter_map(|item| item.strip_prefix(prefix).map(str::to_owned))
        .collect()
}

/// One Field, or a list of them.
fn fields(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}

/// The time of a vector as `--at` takes it, and whether the provider wrote it as we would.
fn time(unit: &str, text: &str) -> (String, bool) {
    match unit {
        "ms" => {
            let millis: i128 = text.parse().unwrap();
            let time = OffsetDateTime::from_unix_timestamp_nanos(millis * 1_000_000).unwrap();
            let at = format!("{}T{}.{:03}Z", time.date(), hms(time), time.millisecond());
            (at, true)
        }
        "s" => (text.to_owned(), true),
        "http-date" => {
            let is_ours = text.contains(',');
            let text =
                if is_ours { text.to_owned() } else { text.replacen(' ', ", ", 1).replace("UTC", "GMT") };
            let since = httpdate::parse_http_date(&text).unwrap().duration_since(UNIX_EPOCH).unwrap();
            (since.as_secs().to_string(), is_ours)
        }
        _ => (text.to_owned(), text.ends_with('Z') && !text.contains('.')),
    }
}

fn hms(time: OffsetDateTime) -> String {
    format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
}

#[test]
fn every_provider_is_signed_for_as_its_vectors_say() {
    let catalogue = catalogue();
    let (mut compared, mut refused) = (BTreeSet::new(), BTreeSet::new());
    let mut otherwise = Vec::new();
    for (provider, block) in catalogue.as_object().unwrap() {
        let layout = block["same_as"].as_str().map_or(block, |name| &catalogue[name]);
        let scheme = &layout["scheme"];
        let text = fs::read_to_string(format!("{VECTORS}/{provider}.json")).unwrap();
        let vectors: Value = serde_json::from_str(&text).unwrap();
        for vector in vectors["vectors"].as_array().unwrap() {
            if vector["expect"] != "ok" {
                continue;
            }
            let repeated = || {
                let count = usize::try_from(vector["body_repeat"]["count"].as_u64().unwrap()).unwrap();
                vector["body_repeat"]["unit"].as_str().unwrap().repeat(count)
            };
            let body = vector["body"].as_str().map_or_else(repeated, str::to_owned);
            let name = vector["name"].as_str().unwrap();
            let secret = vector["secret"].as_str().unwrap();
            // Two published keys are taken for placeholders, and stand in the vectors with a NUL behind them.
            let (kind, place, environment) = match secret.contains('\0') {
                true => ("--secret-file", file("sign vectors", provider, secret), vec![]),
                false => ("--secret-env", "THE_SECRET".to_owned(), vec![("THE_SECRET", secret)]),
            };
            let mut arguments: Vec<String> =
                ["sign", "--provider", provider, kind, &place, "--body", "-"].map(str::to_owned).to_vec();
            for key in ["url", "method"] {
                arguments.extend(
                    vector[key].as_str().into_iter().flat_map(|text| [format!("--{key}"), text.to_owned()]),
                );
            }
            if vector["url"].is_null() {
                // The path of vectors that do not say.
                arguments.extend(["--url", "https://hooks.example.com/hook"].map(str::to_owned));
            }
            let mut made: Vec<String> = fields(&scheme["signature"])
                .iter()
                .chain([&scheme["timestamp"], &scheme["delivery_id"], &layout["token"]])
                .filter_map(|field| field["header"].as_str().map(str::to_owned))
                .collect();
            made.push("authorization".to_owned());
            made.extend(scheme["jwt"]["header"].as_str().map(str::to_owned));
            if scheme["message_signature"].is_object() {
                made.extend(["content-digest", "signature-input", "signature"].map(str::to_owned));
            }
            for (header, value) in vector["headers"].as_object().unwrap() {
                let is_made = made.iter().any(|one| header.eq_ignore_ascii_case(one));
                let is_signed = scheme["signed"]
                    .as_str()
                    .unwrap_or_default()
                    .contains(&format!("{{header:{}}}", header.to_ascii_lowercase()));
                if !is_made || is_signed {
                    arguments
                        .extend(["--header".to_owned(), format!("{header}: {}", value.as_str().unwrap())]);
                }
            }
            let headers = &vector["headers"];
            if let Some(id) = items(&scheme["delivery_id"], headers, None).into_iter().next() {
                arguments.extend(["--delivery-id".to_owned(), id]);
            }
            let unit = scheme["timestamp"]["unit"].as_str().unwrap_or_default();
            let document: Value = serde_json::from_str(&body).unwrap_or_default();
            let in_body = scheme["timestamp"]["json"].as_str().and_then(|path| document.pointer(path));
            let stamp = items(&scheme["timestamp"], headers, None).into_iter().next();
            let stamp = stamp.or_else(|| in_body.map(Value::to_string));
            if let Some((at, is_ours)) = stamp.map(|stamp| time(unit, &stamp)) {
                arguments.extend(["--at".to_owned(), at]);
                if !is_ours {
                    otherwise.push(name.to_owned());
                }
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let run = run(&arguments, &environment, body.as_bytes());
            if ["ed25519", "ecdsa-p256-sha256", "rsa-sha256"]
                .contains(&scheme["algorithm"].as_str().unwrap_or_default())
            {
                assert!(
                    run.status == 2 && run.stderr.contains("only the provider can sign"),
                    "{name}: {run:?}"
                );
                refused.insert(provider.clone());
                continue;
            }
            assert_eq!(run.status, 0, "{name}: {run:?}");
            let sent = evaluated(&run.stdout, &environment);
            assert!(sent.body == body.as_bytes(), "{name}: another body");
            compared.insert(provider.clone());
            if layout["token"]["json"].is_string() {
                // The token is a value of the body, which is the same.
                continue;
            }
            if scheme["message_signature"].is_object() {
                same_message(name, secret, headers, &sent);
                continue;
            }
            if scheme.is_null() {
                assert!(!run.stdout.contains(secret), "{name} prints the token: {}", run.stdout);
                presents(name, &layout["token"], headers, &sent);
                continue;
            }
            if scheme["jwt"].is_object() {
                let header = scheme["jwt"]["header"].as_str().unwrap();
                let [ours, theirs] =
                    [sent.header(header).unwrap().to_owned(), items(&scheme["jwt"], headers, None).remove(0)];
                let prefix = scheme["jwt"]["prefix"].as_str().unwrap_or_default();
                same_token(name, secret, &scheme["jwt"], ours.strip_prefix(prefix).unwrap(), &theirs);
                continue;
            }
            let first = &fields(&scheme["signature"])[0];
            let ours = serde_json::to_value(
                sent.headers.iter().cloned().collect::<std::collections::BTreeMap<String, String>>(),
            );
            if first["query"].is_string() {
                let query = |url: &str| url.split_once('?').map(|(_, query)| query.to_owned());
                assert_eq!(query(&sent.url), query(vector["target"].as_str().unwrap()), "{name}");
                continue;
            }
            let is_beside = scheme["timestamp"]["header"] == first["header"];
            let not = scheme["timestamp"]["index"].as_u64().filter(|_| is_beside);
            let ours = items(first, &ours.unwrap(), not);
            let theirs: Vec<String> =
                fields(&scheme["signature"]).iter().flat_map(|field| items(field, headers, not)).collect();
            if otherwise.iter().any(|one| one == name) {
                assert_eq!(ours.len(), 1, "{name}: {ours:?}");
                continue;
            }
            let is_hex = first["encoding"] == "hex";
            let is_same = |one: &String| {
                theirs.iter().any(|other| one == other || is_hex && one.eq_ignore_ascii_case(other))
            };
            assert!(ours.len() == 1 && is_same(&ours[0]), "{name}: {ours:?} is none of {theirs:?}");
        }
    }
    assert_eq!(otherwise, OTHERWISE, "vectors whose time is not written as we write it");
    let all: BTreeSet<String> = catalogue.as_object().unwrap().keys().cloned().collect();
    let done: BTreeSet<String> = compared.union(&refused).cloned().collect();
    assert_eq!(
        all.difference(&done).collect::<Vec<_>>(),
        <Vec<&String>>::new(),
        "providers without a comparison"
    );
}

/// Box writes an offset, Twitch nanoseconds, Scalr a date of its own: another text, and so another signature. That the core
/// accepts ours must do.
const OTHERWISE: [&str; 5] = ["box-emoji", "box-secondary", "scalr-valid", "twitch-event", "twitch-no-body"];

/// Two tokens that say the same of the body and the URL, and have what must be there; ours is signed with HMAC-SHA256.
fn same_token(name: &str, secret: &str, jwt: &Value, ours: &str, theirs: &str) {
    let claims = |token: &str| -> Value {
        let payload = token.split('.').nth(1).unwrap();
        serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()).unwrap()
    };
    let (one, other) = (claims(ours), claims(theirs));
    for digest in ["body_sha256", "url_sha256"] {
        let claim = jwt[digest]["claim"].as_str().unwrap_or("none");
        let text = |claims: &Value| claims[claim].as_str().map(|text| text.trim_end_matches('=').to_owned());
        // Where there is no body, a sender may say so by its digest.
        if !one[claim].is_null() {
            assert_eq!(text(&one), text(&other), "{name}: {claim}");
        }
    }
    for claim in jwt["required"].as_array().into_iter().flatten() {
        assert!(!one[claim.as_str().unwrap()].is_null(), "{name}: {claim} is not in {one}");
    }
    assert!(jwt["issuer"].is_null() || one["iss"] == jwt["issuer"], "{name}: {one}");
    let (content, tag) = ours.rsplit_once('.').unwrap();
    let key = Algorithm::Hmac(HmacKind::Sha256).key(secret.as_bytes()).unwrap();
    let expected = key.start(content.as_bytes()).unwrap().finish();
    assert_eq!(BASE64URL_NOPAD.decode(tag.as_bytes()).unwrap(), expected, "{name}");
}

/// It covers what the vector's covers, and the signature is that of the base that RFC 9421 2.5 describes.
fn same_message(name: &str, secret: &str, headers: &Value, sent: &Sent) {
    let digest = sent.header("content-digest").unwrap();
    assert_eq!(digest, headers["Content-Digest"], "{name}");
    let input = sent.header("signature-input").unwrap().strip_prefix("sig1=").unwrap();
    let covered = |text: &str| text.split(')').next().unwrap().trim_start_matches("sig1=").to_owned();
    assert_eq!(covered(input), covered(headers["Signature-Input"].as_str().unwrap()), "{name}");
    let base = format!(
        "\"@method\": POST\n\"@authority\": hooks.example.com\n\"@path\": /hook\n\"content-digest\": {digest}\n\
         \"@signature-params\": {input}"
    );
    let key = Algorithm::Hmac(HmacKind::Sha256).key(secret.as_bytes()).unwrap();
    let tag = BASE64.encode(&key.start(base.as_bytes()).unwrap().finish());
    assert_eq!(sent.header("signature").unwrap(), format!("sig1=:{tag}:"), "{name}");
}

/// The token is where the vector has it.
fn presents(name: &str, token: &Value, headers: &Value, sent: &Sent) {
    let given = |header: &str| {
        let mut named =
            headers.as_object().unwrap().iter().filter(|(one, _)| one.eq_ignore_ascii_case(header));
        named.next().map(|(_, value)| value.as_str().unwrap().to_owned()).unwrap()
    };
    if token["basic"] == true {
        let credentials = given("authorization");
        let decoded = BASE64.decode(credentials.strip_prefix("Basic ").unwrap().as_bytes()).unwrap();
        assert_eq!(sent.user.as_deref(), Some(std::str::from_utf8(&decoded).unwrap()), "{name}");
        return;
    }
    let header = token["header"].as_str().unwrap_or("authorization");
    assert_eq!(sent.header(header), Some(given(header).as_str()), "{name}");
}

#[test]
fn what_is_tampered_with_is_refused_and_nothing_else_is_changed() {
    let at = ["--at", "1767225600", "--delivery-id", "d1"];
    for (provider, what, expected) in [
        ("github", "body", "401 signature_mismatch"),
        ("github", "signature", "401 signature_mismatch"),
        ("stripe", "body", "401 signature_mismatch"),
        ("stripe", "signature", "401 signature_mismatch"),
        ("stripe", "time", "401 timestamp_stale"),
        ("linear", "time", "401 timestamp_stale"),
        ("zendesk", "time", "401 timestamp_stale"),
        ("twilio", "body", "401 signature_mismatch"),
        ("twilio_json", "body", "401 requirement_not_met"),
        ("hubspot_v1", "signature", "401 signature_mismatch"),
        ("gitlab", "signature", "401 token_mismatch"),
        ("alertmanager", "signature", "401 token_mismatch"),
        ("azure_devops", "signature", "401 token_mismatch"),
    ] {
        let arguments = [&["--provider", provider], &at[..]].concat();
        let whole = sign(&arguments);
        let arguments = [&["sign", "--secret-env", "KEY", "--tamper", what], &arguments[..]].concat();
        let run = run(&arguments, &[("KEY", KEY)], b"");
        let printed = good(&run);
        assert!(printed.starts_with(&format!("# expected: {expected}\n")), "{provider} {what}: {printed}");
        let sent = evaluated(printed, &[("KEY", KEY)]);
        let differing = sent.body.iter().zip(&whole.body).filter(|(one, other)| one != other).count();
        match what {
            "body" => assert_eq!((differing, &sent.headers), (1, &whole.headers), "{provider}"),
            "signature" => {
                assert_eq!((differing, sent.body.len()), (0, whole.body.len()), "{provider}");
                assert_ne!((&sent.headers, &sent.user), (&whole.headers, &whole.user), "{provider}");
            }
            _ => assert_ne!((&sent.headers, &sent.body), (&whole.headers, &whole.body), "{provider}"),
        }
    }
}

#[test]
fn what_cannot_be_made_is_said_with_its_place() {
    let scheme = file("sign refused", "scheme.json", r#"{"algorithm": "hmac-sha256", "signed": "{bod}"}"#);
    let own = ["--scheme", &scheme];
    let unsigned = "no time is signed, so a delivery that is recorded can be replayed at any time";
    let rows: Vec<(&[&str], &str, String)> = vec![
        (
            &["--provider", "githb"],
            KEY,
            r#"--provider: "githb" is not a provider of the catalogue; did you mean "github"?"#.into(),
        ),
        (&["--provider", "github"], "changeme", "$KEY: the secret is a placeholder".into()),
        (
            &["--provider", "svix"],
            "whsec_???",
            "$KEY: the secret is not base64, as the scheme needs it".into(),
        ),
        (
            &["--provider", "discord"],
            KEY,
            "discord: only the provider can sign: ed25519 is verified with".into(),
        ),
        (&["--provider", "github", "--tamper", "time"], KEY, format!("--tamper time: github: {unsigned}")),
        (
            &["--provider", "gitlab", "--tamper", "body"],
            KEY,
            "--tamper body: gitlab: a token covers no body".into(),
        ),
        (
            &["--provider", "plivo_v2", "--tamper", "body"],
            KEY,
            "--tamper body: plivo_v2: the signature does not cover it".into(),
        ),
        (&["--provider", "github", "--body", "no/such/file"], KEY, "no/such/file: No such file".into()),
        (
            &["--provider", "github", "--url", "localhost:8080"],
            KEY,
            "--url: \"localhost:8080\" is not a URL".into(),
        ),
        (
            &["--provider", "github", "--header", "nonsense"],
            KEY,
            "--header: \"nonsense\" is not a header".into(),
        ),
        (
            &["--provider", "github", "--public-url", "https://a.example"],
            KEY,
            "--public-url: the scheme does not sign the URL".into(),
        ),
        (
            &["--provider", "github", "--at", "yesterday"],
            KEY,
            "--at: \"yesterday\" is neither RFC 3339".into(),
        ),
        (
            &["--provider", "github", "--method", "post"],
            KEY,
            "--method: \"post\" is not a method in capital letters".into(),
        ),
        (
            &["--provider", "github", "--url", "http://a.example/x/..%2fy"],
            KEY,
            "the guard would refuse it: 404 path_malformed".into(),
        ),
        (
            &["--provider", "linear", "--body", "-"],
            KEY,
            "/webhookTimestamp is part of the body, and the body is not JSON".into(),
        ),
        (
            &["--provider", "github", "--header", "x-hub-signature-256: x"],
            KEY,
            "the header x-hub-signature-256 has a value already".into(),
        ),
        (&own, KEY, format!("{scheme}: scheme.signed: \"{{bod}}\" is not a placeholder")),
    ];
    for (arguments, secret, complaint) in rows {
        let run = run(&[&["sign", "--secret-env", "KEY"], arguments].concat(), &[("KEY", secret)], b"text");
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{arguments:?}: {run:?}");
        assert!(run.stderr.contains(&complaint), "{arguments:?}: {}", run.stderr);
        assert!(!run.stderr.contains(secret), "{arguments:?} prints the secret: {}", run.stderr);
    }
    let run = run(&["sign", "--provider", "github", "--secret-env", "NOT_SET"], &[], b"");
    assert!(run.status == 2 && run.stderr.contains("NOT_SET is not set"), "{run:?}");
}

#[test]
fn a_body_stays_the_bytes_that_it_is() {
    let binary = [b"\xff\x00'\n".as_slice(), &[7; 100]].concat();
    let path = file("sign body", "it's a body.bin", &binary);
    let arguments = ["--provider", "github", "--body", &path];
    let sent = sign(&arguments);
    assert_eq!(sent.body, binary);
    let tampered = sign(&[&arguments[..], &["--tamper", "body"]].concat());
    let differing = tampered.body.iter().zip(&binary).filter(|(one, other)| one != other).count();
    assert_eq!((tampered.body.len(), differing), (binary.len(), 1));
    assert_eq!(fs::read(&path).unwrap(), binary, "the file itself is left alone");
    let quoted = file("sign body", "quoted.json", r#"{"text": "it's $HOME `id` \\ \"x\""}"#);
    let sent = sign(&["--provider", "linear", "--body", &quoted]);
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(body["text"], "it's $HOME `id` \\ \"x\"");
}

#[test]
fn a_token_is_named_and_never_printed() {
    let path = file("sign token", "the token's file", format!("{KEY}\n"));
    for (arguments, environment) in [
        (["--secret-file", &path], vec![]),
        (["--secret-env", "KEY"], vec![("KEY", KEY.to_owned())]),
        (["--secret-env", "KEY"], vec![("KEY", format!("{KEY}\n"))]),
    ] {
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for (provider, format) in [("gitlab", "text"), ("alertmanager", "text"), ("azure_devops", "json")] {
            let arguments = [&["sign", "--provider", provider, "--format", format], &arguments[..]].concat();
            let run = run(&arguments, &environment, b"");
            let printed = good(&run);
            assert!(!printed.contains(KEY), "{provider}: {printed}");
            let command = match format {
                "json" => {
                    serde_json::from_str::<Value>(printed).unwrap()["curl"].as_str().unwrap().to_owned()
                }
                _ => printed.to_owned(),
            };
            let sent = evaluated(&command, &environment);
            let bearer = format!("Bearer {KEY}");
            match provider {
                "gitlab" => assert_eq!(sent.header("x-gitlab-token"), Some(KEY)),
                "alertmanager" => assert_eq!(sent.header("authorization"), Some(bearer.as_str())),
                _ => assert_eq!(sent.user, Some(format!("webhook-guard:{KEY}"))),
            }
        }
    }
}

#[test]
fn a_scheme_of_ones_own_is_signed_for() {
    let scheme = r#"{"scheme": {"algorithm": "hmac-sha256", "signed": "{timestamp}.{path}.{body}",
        "signature": {"header": "x-own", "split": ";", "prefix": "s=", "encoding": "hex"},
        "timestamp": {"header": "x-own", "split": ";", "prefix": "t=", "unit": "s"}}}"#;
    let path = file("sign scheme", "scheme.json", scheme);
    let at = ["--at", "1767225600", "--url", "http://127.0.0.1:1/hooks?a=1", "--header", "host: h.example"];
    let sent = sign(&[&["--scheme", &path], &at[..]].concat());
    // printf '%s' '1767225600./hooks.{"message":"sent by webhook-guard","number":"1767225600000"}' |
    //   openssl dgst -sha256 -hmac sign-test-key-0000001
    let tag = "3d073b9ac068eb42ae26b0296fdcdf5b2d7c4393521b2c16561dc1d54c568e5f";
    assert_eq!(sent.header("x-own"), Some(format!("t=1767225600;s={tag}").as_str()));
    assert_eq!(sent.header("host"), Some("h.example"));
    assert_eq!(sent.url, "http://127.0.0.1:1/hooks?a=1");
}

/// A gateway that reads one request and says this.
fn gateway(answer: &'static str) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = thread::spawn(move || {
        // The first connection only finds out that someone is there.
        drop(listener.accept().unwrap());
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\"}") {
            let mut chunk = [0; 1024];
            let count = stream.read(&mut chunk).unwrap();
            assert!(count > 0, "the request is cut: {}", String::from_utf8_lossy(&request));
            request.extend_from_slice(&chunk[..count]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(request).unwrap()
    });
    (url, served)
}

#[test]
fn what_comes_back_is_told_apart() {
    let refusal = "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: 47\r\n\r\n\
                   {\"error\": \"Unauthorized\", \"request_id\": \"id-17\"}";
    let body = r#"{"error": "Unauthorized", "request_id": "id-17"}"#;
    assert_eq!(refusal.split("\r\n\r\n").nth(1), Some(body));
    let another = "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\n\r\n{\"error\": \"no\", \"request_id\": \"1\"}";
    for (answer, tamper, status, shown) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", false, 0, "got       204 forwarded  as expected"),
        (refusal, false, 1, "got       401 refused  WRONG"),
        (refusal, true, 0, "under the request id id-17"),
        (another, true, 1, "got       401 forwarded: not in the guard's form"),
        (another, false, 0, "401 forwarded: not in the guard's form, so another's answer  as expected"),
    ] {
        let (url, served) = gateway(answer);
        let target = format!("{url}/hooks/a%2Db?x=%7e");
        let mut arguments =
            vec!["sign", "--provider", "github", "--secret-env", "KEY", "--url", &target, "--send"];
        if tamper {
            arguments.extend(["--tamper", "signature"]);
        }
        let run = run(&arguments, &[("KEY", KEY)], b"");
        let request = served.join().unwrap();
        assert_eq!(run.status, status, "{answer}: {run:?}");
        assert!(run.stdout.contains(shown), "{answer}: {}", run.stdout);
        assert!(request.starts_with("POST /hooks/a%2Db?x=%7e HTTP/1.1\r\nhost: 127.0.0.1:"), "{request}");
        assert!(request.contains("\r\nx-hub-signature-256: sha256="), "{request}");
    }
}

#[test]
fn a_gateway_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let config = file(
        "sign nobody",
        "guard.json",
        r#"{"policies": [{"name": "p", "match": {"path": "/"}, "require": "nothing"}]}"#,
    );
    for arguments in [
        &["sign", "--provider", "github", "--secret-env", "KEY", "--send", "--url", &url][..],
        &["try", "--config", &config, "--url", &url],
    ] {
        let run = run(arguments, &[("KEY", KEY)], b"");
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{run:?}");
        let complaint = format!("{url}: Connection refused");
        assert!(run.stderr.contains(&complaint) && run.stderr.contains("is the gateway running"), "{run:?}");
    }
    for (arguments, complaint) in [
        (["--url", "http://127.0.0.1:1/hooks", "--policy", "p"], "the paths are the policies'"),
        (["--url", &url, "--policy", "q"], "--policy: \"q\" is none of the configuration's: p"),
    ] {
        let run = run(&[&["try", "--config", &config], &arguments[..]].concat(), &[], b"");
        assert!(run.status == 2 && run.stderr.contains(complaint), "{run:?}");
    }
}

/// A gateway on this address that forwards everything.
pub(crate) fn lenient(address: &str) -> String {
    let listener = TcpListener::bind(address).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut request = [0; 65536];
                if stream.read(&mut request).unwrap_or_default() > 0 {
                    drop(stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n"));
                }
            });
        }
    });
    let (host, _) = address.rsplit_once(':').unwrap();
    format!("http://{host}:{port}")
}

/// Another address of this machine is one of the same family; IPv6 has no other one on the loopback.
#[test]
fn a_gateway_on_ipv6_is_tried_from_ipv6() {
    let config = file(
        "try ipv6",
        "guard.json",
        r#"{"policies": [{"name": "p", "match": {"path": "/"}, "require": {"source_ip": {"allow": ["::1", "127.0.0.1"]}}}]}"#,
    );
    for (address, is_moved) in [("127.0.0.1:0", true), ("[::1]:0", false), ("[::ffff:127.0.0.1]:0", true)] {
        let url = lenient(address);
        let run = run(&["try", "--config", &config, "--url", &url], &[], b"");
        assert!(run.stdout.contains("good"), "{address}: {run:?}");
        assert!(!run.stdout.contains("no answer"), "{address}: {run:?}");
        assert_eq!(run.stdout.contains("from another address"), is_moved, "{address}: {run:?}");
    }
    let url = lenient("[::1]:0");
    let run = run(
        &["sign", "--provider", "github", "--secret-env", "KEY", "--send", "--url", &url],
        &[("KEY", KEY)],
        b"",
    );
    assert!(run.status == 0 && run.stdout.contains("204 forwarded"), "{run:?}");
}

/// What `sign` prints is a capture: for every provider that it can sign for, with the secret from either place.
#[test]
fn what_is_printed_can_be_explained() {
    let name = "the token's $file";
    let path = file("sign round", name, format!("{KEY}\n"));
    let catalogue = catalogue();
    for (provider, block) in catalogue.as_object().unwrap() {
        let run_sign = |secret: &[&str], value: &str| {
            run(&[&["sign", "--provider", provider], secret].concat(), &[("KEY", value)], b"")
        };
        let layout = block["same_as"].as_str().map_or(block, |name| &catalogue[name]);
        let key = match layout["scheme"]["secret"]["encoding"].as_str() {
            Some("hex") => "00112233445566778899aabbccddeeff",
            Some("base64") => "d2ViaG9vay1ndWFyZCB0ZXN0IGtleQ==",
            _ => KEY,
        };
        let printed = run_sign(&["--secret-env", "KEY"], key);
        if printed.status != 0 {
            assert!(printed.stderr.contains("only the provider can sign"), "{provider}: {printed:?}");
            continue;
        }
        let configuration = |public_url: bool| {
            let mut signature = serde_json::json!({"provider": provider, "secrets": [{"env": "KEY"}]});
            if public_url {
                signature["public_url"] = "http://localhost:8080".into();
            }
            serde_json::json!({"policies": [{"name": "p", "match": {"path": "/"}, "require": {"signature": signature}}]})
        };
        let needs_url = printed.stdout.contains("# the provider is taken to know the URL");
        let config = file("sign round", "guard.json", configuration(needs_url).to_string());
        let is_token = !printed.stdout.contains(key) && printed.stdout.contains("KEY");
        let mut deliveries = vec![(printed, key.to_owned(), vec![])];
        if is_token {
            deliveries.push((
                run_sign(&["--secret-env", "KEY"], &format!("{key}\n")),
                format!("{key}\n"),
                vec![],
            ));
            if key == KEY {
                deliveries.push((
                    run_sign(&["--secret-file", &path], key),
                    key.to_owned(),
                    vec!["--allow-files"],
                ));
            }
        }
        for (printed, value, more) in deliveries {
            let capture = file("sign round", "curl.txt", good(&printed));
            let arguments = ["explain", "--config", &config, "--request", &capture];
            let explained = run(&[&arguments[..], &more].concat(), &[("KEY", &value)], b"");
            assert_eq!(explained.status, 0, "{provider}: {}{explained:?}", printed.stdout);
            let secret = if more.is_empty() { ["--secret-env", "KEY"] } else { ["--secret-file", &path] };
            let url = ["--public-url", "http://localhost:8080"];
            let arguments = [
                &["doctor", "--provider", provider, "--request", &capture],
                &secret[..],
                &url[..if needs_url { 2 } else { 0 }],
            ]
            .concat();
            let diagnosed = run(&arguments, &[("KEY", &value)], b"");
            assert_eq!(diagnosed.status, 0, "{provider}: {}{diagnosed:?}", printed.stdout);
            assert!(!format!("{explained:?}{diagnosed:?}").contains(key), "{provider}: the secret is shown");
        }
    }
}

/// A reference counts where `sign` writes one and nowhere else: a capture is no way to have variables read.
#[test]
fn a_capture_names_no_other_variable() {
    let config = file(
        "sign reference",
        "guard.json",
        r#"{"policies": [{"name": "p", "match": {"path": {"prefix": "/"}}, "require": {"token": {"header": "x-t", "secrets": [{"env": "KEY"}]}}}]}"#,
    );
    for (line, status) in [
        (r#"curl -X POST http://h/ -H "x-t: ${KEY}""#, 0),
        (r#"curl -X POST http://h/ -H 'x-t: '"${KEY}""#, 0),
        (r#"curl -X POST http://h/ -H 'x-t: ${KEY}'"#, 1),
        (r#"curl -X POST http://h/ -H "x-t: \${KEY}""#, 1),
        (r#"curl -X POST http://h/ -H "x-other: ${KEY}""#, 1),
        (r#"curl -X POST http://h/ -H "x-t: ${OTHER}""#, 1),
        (r#"curl -X POST "http://h/${KEY}" -d "${KEY}" -H "x-t: ${KEY}""#, 0),
        (r#"curl -X "${KEY}" "http://h/${KEY}""#, 1),
        (
            r#"curl -X POST http://h/ -H "x-t: $(tr -d '
' </etc/hostname)""#,
            1,
        ),
    ] {
        let capture = file("sign reference", "capture", line);
        let run = run(
            &["explain", "--config", &config, "--request", &capture],
            &[("KEY", KEY), ("OTHER", "other-0123456789")],
            b"",
        );
        assert_eq!(run.status, status, "{line}: {run:?}");
        assert!(
            !format!("{run:?}").contains(KEY) && !format!("{run:?}").contains("other-0123"),
            "{line}: {run:?}"
        );
    }
}
