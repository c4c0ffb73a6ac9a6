//! `sign`: a delivery as a provider would send it, as a curl command or sent at once; or one that has been tampered
//! with.
//!
//! Responsible for putting the question to the core's own parser, and for showing what was made, never what it was made
//! with.

use crate::delivery::outcome::{self, Expected};
use crate::delivery::sender::{EVENT, Sender};
use crate::delivery::signer::{self, Hand, Signer};
use crate::delivery::transport::{Gateway, Response};
use crate::input::capture::{self, Capture, read_file};
use crate::input::env_file::{Secret, SecretArguments};
use crate::judge::{self, Circumstances};
use crate::output::reason_text;
use crate::output::shell::{self, Command, Credential, Reference};
use crate::output::terminal::{Answer, Failure, Format, Text, Tone};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use webhook_guard_core::catalogue;
use webhook_guard_core::check::token::TokenPlace;
use webhook_guard_core::config::{self, ConfigError, Configuration, Wrong};
use webhook_guard_core::policy::{Check, PolicyCheck};
use webhook_guard_core::request::Millis;
use webhook_guard_core::signature::Scheme;
use webhook_guard_core::signature::timestamp::Unit;

/// The variable by which the secret is handed to the parser.
const SECRET: &str = "SECRET";

/// How far a tampered time lies beyond what is admitted.
const BEYOND: i64 = 60_000;

#[derive(Debug, Args)]
pub(crate) struct SignArguments {
    /// The provider of the catalogue that the delivery seems to come from
    #[arg(long, value_name = "NAME", required_unless_present = "scheme", conflicts_with = "scheme")]
    provider: Option<String>,
    /// A file with a scheme of your own: the JSON object that stands after `scheme` in a configuration
    #[arg(long, value_name = "FILE")]
    scheme: Option<PathBuf>,
    #[command(flatten)]
    secret: SecretArguments,
    /// The body, byte for byte (`-` for stdin); a small one of the provider's content type by default
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Where the delivery goes
    #[arg(long, value_name = "URL", default_value = "http://localhost:8080/")]
    url: String,
    /// The method
    #[arg(long, value_name = "METHOD", default_value = "POST")]
    method: String,
    /// A further header, or another value for one that the provider sends
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The time that is signed: RFC 3339 or seconds since 1970; now by default
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// The id of the delivery
    #[arg(long, value_name = "ID")]
    delivery_id: Option<String>,
    /// The base of the URL as the provider knows it, where it signs the URL; that of --url by default
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Make a delivery that is to be refused
    #[arg(long, value_name = "WHAT")]
    tamper: Option<Tamper>,
    /// Send it, and say what came back
    #[arg(long)]
    send: bool,
    /// Seconds to wait for the gateway
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What is wrong with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tamper {
    /// One byte of the body is changed after it was signed
    Body,
    /// The last bit of the signature is flipped; a token is one letter too long
    Signature,
    /// It is signed, but so long ago that it could be a replay
    Time,
}

/// A delivery and what should become of it.
struct Made {
    capture: Capture,
    expected: Expected,
    is_body_as_given: bool,
    notes: Vec<String>,
}

pub(crate) fn run(arguments: &SignArguments) -> Result<Answer, Failure> {
    let secrets = arguments.secret.read()?;
    let [secret] = secrets.as_slice() else {
        return Err(Failure::new("a delivery is signed with one secret; name one".to_owned()));
    };
    arguments.refuse_public_keys()?;
    let url = arguments.url()?;
    let (configuration, is_url_assumed) = arguments.configuration(secret, &url)?;
    let policy = configuration.policies.iter().next();
    let leaf = policy.and_then(|policy| policy.leaves.first());
    let leaf = leaf.ok_or_else(|| Failure::new("the scheme asks for nothing".to_owned()))?;
    let mut made = arguments.make(&configuration, leaf, secret, &url)?;
    if is_url_assumed {
        let base = base(&url);
        made.notes
            .push(format!("the provider is taken to know the URL as {base}; --public-url names another"));
    }
    let token = reference(leaf, secret, arguments.tamper);
    let host = Some(made.capture.authority.as_str()).filter(|host| *host != url.authority);
    let target = format!("{}{}", base(&url), made.capture.target);
    let given = arguments.body.as_deref().filter(|path| *path != Path::new("-"));
    let file = given.filter(|_| made.is_body_as_given);
    let curl = shell::curl(&target, &made.capture, host, token.as_ref(), file)?;
    if !arguments.send {
        return Ok(arguments.show(&made, &curl));
    }
    let gateway = Gateway::reach(&url, Duration::from_secs(arguments.timeout))?;
    let response =
        gateway.send(&made.capture, None).map_err(|what| Failure::new(format!("{gateway}: {what}")))?;
    Ok(arguments.report(&made, &target, &curl, &response))
}

impl SignArguments {
    fn refuse_public_keys(&self) -> Result<(), Failure> {
        // What is wrong with a provider's name or a scheme is said where the configuration is read.
        let scheme = match (&self.provider, self.own_scheme()?) {
            (Some(name), _) => catalogue::get(name).ok().flatten().and_then(|one| one.scheme().cloned()),
            (None, Some(json)) => {
                Scheme::from_json(json.to_string().as_bytes()).ok().map(|(scheme, _)| scheme)
            }
            (None, None) => None,
        };
        let algorithm = scheme.map(|scheme| scheme.algorithm);
        match algorithm.filter(|algorithm| algorithm.is_public()) {
            Some(algorithm) => {
                let name = self.provider.as_deref().unwrap_or("the scheme");
                Err(Failure::new(format!("{name}: {}", signer::only_the_provider(algorithm))))
            }
            None => Ok(()),
        }
    }

    /// The scheme of the file, also where it stands after its key.
    fn own_scheme(&self) -> Result<Option<Value>, Failure> {
        let Some(path) = &self.scheme else { return Ok(None) };
        let value: Value = serde_json::from_slice(&read_file(path)?)
            .map_err(|error| Failure::at(path, format!("is not JSON: {error}")))?;
        Ok(Some(value.get("scheme").cloned().unwrap_or(value)))
    }

    fn url(&self) -> Result<Capture, Failure> {
        let mut url = Capture::default();
        url.set_url(&self.url);
        let is_plain = self.url.bytes().all(|byte| byte.is_ascii_graphic());
        if url.scheme.is_none() || url.authority.is_empty() || !is_plain {
            return Err(Failure::new(format!(
                "--url: {:?} is not a URL such as http://localhost:8080/hooks",
                self.url
            )));
        }
        Ok(url)
    }

    /// A policy of one check, read as the gateway would read it; and whether the public URL is a guess.
    fn configuration(&self, secret: &Secret, url: &Capture) -> Result<(Configuration, bool), Failure> {
        let mut signature = match (&self.provider, self.own_scheme()?) {
            (Some(name), _) => json!({ "provider": name }),
            (None, scheme) => json!({ "scheme": scheme }),
        };
        let read = |signature: &Value| {
            let policy = json!({
                "name": "sign",
                "match": {"path": {"prefix": "/"}, "methods": [self.method]},
                "max_body_bytes": 200 << 20,
                "content_encodings": ["identity", "gzip", "deflate", "br", "zstd", "compress"],
                "require": {"signature": signature},
            });
            let text = json!({ "policies": [policy], "held_bytes": 256 << 20 }).to_string();
            config::parse(text.as_bytes(), &|_| Some(secret.text.clone()))
        };
        let mut set = |key: &str, value: Value| {
            if let Some(members) = signature.as_object_mut() {
                members.insert(key.to_owned(), value);
            }
            read(&signature)
        };
        let mut found = set("secrets", json!([{ "env": SECRET }]));
        if let Some(public_url) = &self.public_url {
            found = set("public_url", json!(url.whole_url(public_url)));
        }
        let lacks_url =
            |error: &ConfigError| error.wrong == Wrong::Missing && error.at.ends_with(".public_url");
        let is_url_assumed = found.as_ref().is_err_and(lacks_url);
        if is_url_assumed {
            found = set("public_url", json!(url.whole_url(&base(url))));
        }
        let configuration = found.map_err(|error| self.complaint(&error, secret))?;
        Ok((configuration, is_url_assumed))
    }

    /// What the parser complains about, at the place where the operator wrote it.
    fn complaint(&self, error: &ConfigError, secret: &Secret) -> Failure {
        let place = error.at.strip_prefix("policies[0].").unwrap_or(&error.at);
        let wrong = &error.wrong;
        Failure::new(match place.strip_prefix("require.signature.") {
            Some(rest) if rest.starts_with("secrets") => format!("{}: {wrong}", secret.origin),
            Some("provider") => format!("--provider: {wrong}"),
            Some("public_url") => format!("--public-url: {wrong}"),
            Some(rest) => match &self.scheme {
                Some(path) => format!("{}: {rest}: {wrong}", path.display()),
                None => error.to_string(),
            },
            None if place.starts_with("match.methods") => format!("--method: {wrong}"),
            None => error.to_string(),
        })
    }

    fn make(
        &self,
        configuration: &Configuration,
        leaf: &PolicyCheck,
        secret: &Secret,
        url: &Capture,
    ) -> Result<Made, Failure> {
        let now = match &self.at {
            None => judge::now(),
            Some(text) => capture::time(text).ok_or_else(|| {
                let forms = "neither RFC 3339, such as 2027-01-31T00:00:00Z, nor seconds since 1970";
                Failure::new(format!("--at: {text:?} is {forms}"))
            })?,
        };
        let mut capture = self.blank(url, now)?;
        let tolerance = match &leaf.check {
            Check::Signature(check) => check.scheme.age_bounds().map(|(tolerance, _)| tolerance),
            _ => None,
        };
        let at = match self.tamper {
            Some(Tamper::Time) => {
                let none = "no time is signed, so a delivery that is recorded can be replayed at any time";
                let tolerance = tolerance.ok_or_else(|| self.cannot_tamper(none))?;
                let age = i64::from(tolerance).saturating_mul(1000).saturating_add(BEYOND);
                Millis(now.0.saturating_sub(age))
            }
            Some(Tamper::Body) if matches!(leaf.check, Check::Token(_)) => {
                let none = "a token covers no body; `--tamper signature` sends a wrong one";
                return Err(self.cannot_tamper(none));
            }
            _ => now,
        };
        let id = format!("webhook-guard-{}", now.0);
        let texts = [secret.trimmed().to_owned()];
        let delivery_id = self.delivery_id.as_deref().unwrap_or(&id);
        let forge = Signer { at, now, delivery_id, texts: &texts };
        let hand = if self.tamper == Some(Tamper::Signature) { Hand::Slips } else { Hand::Own };
        let before = capture.body.clone();
        forge.fill(&mut capture, leaf, hand).map_err(Failure::new)?;
        let mut notes = Vec::new();
        if capture.body != before {
            notes.push("the signed time is part of the body, so the body is written anew".to_owned());
        }
        if let Some(tolerance) = tolerance.filter(|_| self.tamper.is_none()) {
            let at = signer::written(Unit::Rfc3339, at);
            notes.push(format!("signed at {at}: refused when it is older than {tolerance} s"));
        }
        if self.tamper == Some(Tamper::Body) {
            signer::change_one_byte(&mut capture.body);
        }
        let circumstances = Circumstances { source: None, client_certificate: None, route_policy: None, now };
        let decision = judge::judge(configuration, &capture, circumstances);
        let expected = Expected::from(decision.as_ref());
        match (self.tamper, expected) {
            (None, Expected::Forwarded) | (Some(_), Expected::Refused(..)) => {}
            (None, Expected::Refused(status, reason)) => {
                let code = reason.code();
                return Err(Failure::new(format!(
                    "the guard would refuse it: {status} {code}, {}",
                    reason_text::of(reason)
                )));
            }
            (Some(_), _) => return Err(self.cannot_tamper("the signature does not cover it")),
            (None, other) => return Err(Failure::new(format!("the guard would not let it pass: {other}"))),
        }
        let is_body_as_given = capture.body == before;
        Ok(Made { capture, expected, is_body_as_given, notes })
    }

    /// The delivery before anything is signed.
    fn blank(&self, url: &Capture, now: Millis) -> Result<Capture, Failure> {
        let sender = Sender::of(self.provider.as_deref());
        let body = self.body.as_deref().map_or_else(|| Ok(sender.body(0, now.0)), read_file)?;
        let mut capture = Capture { method: self.method.clone(), body, ..url.clone() };
        for line in &self.headers {
            let is_plain =
                |text: &str| text.bytes().all(|byte| byte == b'\t' || (b' '..0x7f).contains(&byte));
            let (name, value) = line
                .split_once(':')
                .filter(|(name, value)| !name.trim().is_empty() && is_plain(name) && is_plain(value))
                .ok_or_else(|| {
                    Failure::new(format!("--header: {line:?} is not a header such as 'x-name: value'"))
                })?;
            capture.push(name.trim(), value.trim().as_bytes());
        }
        let habits = [("content-type", Some(sender.content_type.as_str()))].into_iter();
        let event = sender.event_header.as_deref().map(|name| (name, Some(EVENT)));
        for (name, value) in habits.chain(event) {
            if let Some(value) = value.filter(|_| capture.field(name).is_none()) {
                capture.push(name, value.as_bytes());
            }
        }
        Ok(capture)
    }

    fn cannot_tamper(&self, why: &str) -> Failure {
        let name = self.provider.as_deref().unwrap_or("the scheme");
        let what = self.tamper.and_then(|tamper| tamper.to_possible_value());
        let what = what.as_ref().map_or("", |value| value.get_name());
        Failure::new(format!("--tamper {what}: {name}: {why}"))
    }

    fn show(&self, made: &Made, curl: &Command) -> Answer {
        let text = match self.format {
            Format::Json => Text::json(&self.document(made, curl, None)),
            Format::Text => {
                let head = std::iter::once(format!("expected: {}", made.expected));
                let lines = head.chain(made.notes.iter().cloned());
                let comments = lines.fold(Text::default(), |text, line| {
                    text.painted(Tone::Faint, format!("# {line}")).own("\n")
                });
                comments.command(curl).own("\n")
            }
        };
        Answer { text, is_good: true }
    }

    fn report(&self, made: &Made, target: &str, curl: &Command, response: &Response) -> Answer {
        let is_good = made.expected.is_met(response);
        let text = match self.format {
            Format::Json => Text::json(&self.document(made, curl, Some(response))),
            Format::Text => {
                let tone = if is_good { Tone::Good } else { Tone::Bad };
                let result = if is_good { "as expected" } else { "WRONG" };
                let mut text = Text::default()
                    .shown(format!("{} {target}", made.capture.method))
                    .own("\nexpected  ")
                    .shown(made.expected)
                    .own("\ngot       ")
                    .shown(outcome::got(response))
                    .own("  ")
                    .painted(tone, result)
                    .own("\n");
                if let Some(id) = response.refusal() {
                    text = text
                        .own("          the reason is in the gateway's access log, under the request id ")
                        .shown(id)
                        .own("\n");
                }
                text
            }
        };
        Answer { text, is_good }
    }

    fn document(&self, made: &Made, curl: &Command, response: Option<&Response>) -> Value {
        let mut document = json!({
            "expected": made.expected.to_string(),
            "curl": curl.as_str(),
            "notes": made.notes,
        });
        if let (Some(members), Some(response)) = (document.as_object_mut(), response) {
            let refusal = response.refusal();
            members.insert(
                "response".to_owned(),
                json!({
                    "status": response.status,
                    "refused": refusal.is_some(),
                    "request_id": refusal,
                    "as_expected": made.expected.is_met(response),
                }),
            );
        }
        document
    }
}

/// Scheme and host of a URL.
fn base(url: &Capture) -> String {
    format!("{}://{}", url.scheme.as_deref().unwrap_or("http"), url.authority)
}

/// How the command names the token, where the provider sends one.
fn reference<'r>(leaf: &PolicyCheck, secret: &'r Secret, tamper: Option<Tamper>) -> Option<Reference<'r>> {
    let Check::Token(check) = &leaf.check else { return None };
    let credential = match &check.place {
        TokenPlace::Header(name) => Credential::Header(name.to_string(), ""),
        TokenPlace::Bearer => Credential::Header("authorization".to_owned(), "Bearer "),
        TokenPlace::Basic { .. } | TokenPlace::BasicAny if secret.trimmed().contains(':') => {
            Credential::Basic("")
        }
        TokenPlace::Basic { .. } | TokenPlace::BasicAny => Credential::Basic(signer::ANYONE),
        TokenPlace::Query(_) | TokenPlace::Json(_) => return None,
    };
    let end = if tamper == Some(Tamper::Signature) { signer::WRONG_END } else { "" };
    Some(Reference { credential, secret, end })
}
