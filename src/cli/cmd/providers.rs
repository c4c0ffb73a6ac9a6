//! `webhook-guard providers`: the catalogue, or all there is to say about one provider.
//!
//! Responsible for how a provider is shown: what it signs, how we know, and what to write into a configuration. What it
//! prints for pasting is the catalogue's own text, held to the core's parser by test.

use crate::catalogue::{self, checks, written_handshakes, written_way};
use crate::output::pretty_json::pretty;
use crate::output::terminal::{Answer, Cell, Failure, Format, Table, Text, Tone};
use clap::Args;
use serde_json::{Value, json};
use webhook_guard_core::catalogue::{Checked, Evidence, Guide, Provider, Timestamp};
use webhook_guard_core::signature::Scheme;
use webhook_guard_core::signature::template::Part;

#[derive(Debug, Args)]
pub(crate) struct ProvidersArguments {
    /// One provider, such as github; without it the whole catalogue
    name: Option<String>,
    /// For people, or for programs
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl ProvidersArguments {
    pub(crate) fn run(&self) -> Result<Answer, Failure> {
        let text = match (&self.name, self.format) {
            (None, Format::Text) => table(&catalogue::all()?),
            (None, Format::Json) => lines(&json!(catalogue::all()?.iter().map(summary).collect::<Vec<_>>())),
            (Some(name), Format::Text) => page(&catalogue::get(name)?),
            (Some(name), Format::Json) => lines(&details(&catalogue::get(name)?)),
        };
        Ok(Answer { text, is_good: true })
    }
}

fn lines(value: &Value) -> Text {
    Text::of_json(&format!("{}\n", pretty(value)))
}

/// What the catalogue says about the time, in a word.
fn time(provider: &Provider) -> &'static str {
    match provider.timestamp {
        Timestamp::Signed => "signed",
        Timestamp::Unsigned => "not signed",
        Timestamp::None => "none",
    }
}

fn table(providers: &[Provider]) -> Text {
    let mut table = Table::with_head(&["name", "provider", "checks", "time", "checked against"]);
    for provider in providers {
        let kind = provider.checked.kind;
        let doubt = if kind == Evidence::Unconfirmed { Tone::Doubt } else { Tone::Plain };
        table.row([
            provider.name.into(),
            provider.title.as_str().into(),
            checks(provider).into(),
            Cell::new(time(provider), if time(provider) == "signed" { Tone::Plain } else { Tone::Faint }),
            Cell::new(kind.name(), doubt),
        ]);
    }
    table.text().own("\n`webhook-guard providers NAME` shows one of them, with a policy to start from.\n")
}

fn summary(provider: &Provider) -> Value {
    json!({
        "name": provider.name,
        "title": provider.title,
        "checks": checks(provider),
        "time": time(provider),
        "handshake": !provider.handshakes.is_empty(),
        "checked": {
            "kind": provider.checked.kind.name(),
            "source": provider.checked.source,
            "date": provider.checked.date,
        },
        "documentation": provider.documentation,
    })
}

fn details(provider: &Provider) -> Value {
    let mut all = summary(provider);
    if let Some(members) = all.as_object_mut() {
        members.insert("setup".to_owned(), json!(provider.setup));
        members.insert("guide".to_owned(), json!(provider.guide.as_ref().map(guide)));
        members.insert("addresses".to_owned(), json!(provider.addresses));
        members.insert("client_certificate".to_owned(), json!(provider.client_certificate));
        members.insert("custom".to_owned(), custom(provider));
        members.insert("handshakes".to_owned(), json!(written_handshakes(provider)));
        members.insert("configuration".to_owned(), configuration(provider));
    }
    all
}

fn guide(guide: &Guide) -> Value {
    json!({
        "secret": guide.secret,
        "test": guide.test,
        "retries": guide.retries,
        "traps": guide.traps,
        "source": guide.source,
    })
}

/// The environment variable of the examples.
fn variable(provider: &Provider) -> String {
    let what = match provider.scheme() {
        Some(scheme) if scheme.algorithm.is_public() => "PUBLIC_KEY",
        Some(_) => "SECRET",
        None => "TOKEN",
    };
    format!("{}_WEBHOOK_{what}", provider.name.to_ascii_uppercase())
}

/// Whether the URL is part of what is signed, so that the gateway must be told how the provider writes it.
fn signs_url(provider: &Provider) -> bool {
    provider.scheme().is_some_and(Scheme::covers_url)
}

/// Whether a policy to start from lets each delivery through once: where a recorded one would pass for ever, and where the
/// sender signs an id that its retries keep. What covers neither body nor id names no delivery.
fn knows_duplicates(scheme: &Scheme) -> bool {
    let signs_id = scheme.signed.has(&Part::Id);
    signs_id || (scheme.covers_body() && scheme.admits_seconds().is_none())
}

/// The URL as it would be entered at the provider.
fn public_url(provider: &Provider) -> String {
    format!("https://hooks.example.com/hooks/{}", provider.name)
}

/// The provider as a requirement that names no provider.
fn custom(provider: &Provider) -> Value {
    let secrets = json!([{ "env": variable(provider) }]);
    if provider.scheme().is_some() {
        let mut signature = json!({ "scheme": written_way(provider), "secrets": secrets });
        if signs_url(provider) {
            set(&mut signature, "public_url", json!(public_url(provider)));
        }
        return json!({ "signature": signature });
    }
    let mut token = written_way(provider);
    // The catalogue's `basic` admits every user name; a configuration names one.
    if token.get("basic").is_some() {
        token = json!({ "basic": { "username": "webhook" } });
    }
    set(&mut token, "secrets", secrets);
    json!({ "token": token })
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(key.to_owned(), value);
    }
}

/// A whole configuration with one policy for the provider.
fn configuration(provider: &Provider) -> Value {
    let mut signature = json!({ "provider": provider.name, "secrets": [{ "env": variable(provider) }] });
    if signs_url(provider) {
        set(&mut signature, "public_url", json!(public_url(provider)));
    }
    let path = format!("/hooks/{}", provider.name);
    let mut policy = json!({
        "name": provider.name,
        "match": { "path": path },
        "require": { "signature": signature },
    });
    let handshakes = &provider.handshakes;
    if handshakes.iter().any(|handshake| handshake.verify_token.is_some()) {
        let variable = format!("{}_VERIFY_TOKEN", provider.name.to_ascii_uppercase());
        set(&mut policy, "handshake", json!({ "verify_tokens": [{ "env": variable }] }));
    } else if !handshakes.is_empty() {
        set(&mut policy, "handshake", json!("answer"));
    }
    if provider.scheme().is_some_and(knows_duplicates) {
        set(&mut policy, "duplicates", json!({}));
    }
    if let Some(status) = provider.deny_status {
        set(&mut policy, "deny_status", json!({ "signature_mismatch": status }));
    }
    json!({ "policies": [policy] })
}

/// What a block was checked against, and what that is worth.
fn checked(checked: &Checked) -> String {
    let worth = match checked.kind {
        Evidence::PublishedVector => "a delivery that was published with its secret is accepted",
        Evidence::VendorLibrary => "the provider's own library and this agree on fresh deliveries",
        Evidence::VendorCode => "written after the provider's own code",
        Evidence::Documentation => {
            "written after the provider's documentation; no delivery of theirs was seen"
        }
        Evidence::IndependentReceiver => {
            "written after the code or page of somebody who receives its deliveries; try it in report mode first"
        }
        Evidence::Unconfirmed => "nothing that can be cited: try it in report mode first",
    };
    let kind = checked.kind.name();
    match (&checked.source, &checked.date) {
        (Some(source), Some(date)) => format!("{kind}: {worth} ({date}: {source})"),
        _ => format!("{kind}: {worth}"),
    }
}

fn page(provider: &Provider) -> Text {
    let mut table = Table::indented(2);
    let mut row = |name: &str, value: String| table.row([Cell::new(name, Tone::Faint), value.into()]);
    row("checks", checks(provider));
    if let Some(signed) = written_way(provider).get("signed").and_then(Value::as_str) {
        row("signed", signed.to_owned());
    }
    let hint = match provider.timestamp {
        Timestamp::Signed => "signed: an old delivery is refused",
        Timestamp::Unsigned => "sent but not signed: a delivery can be replayed at any time",
        Timestamp::None => "none: a delivery can be replayed at any time",
    };
    row("time", hint.to_owned());
    row("checked against", checked(&provider.checked));
    row("handshake", handshake(provider));
    if let Some(setup) = &provider.setup {
        row("to know", setup.clone());
    }
    if let Some(guide) = &provider.guide {
        let known = [
            ("its secret", &guide.secret),
            ("its test", &guide.test),
            ("retries", &guide.retries),
            ("traps", &guide.traps),
        ];
        for (name, text) in known {
            if let Some(text) = text {
                row(name, text.clone());
            }
        }
        row("all that from", guide.source.clone());
    }
    let addresses = provider.addresses.join(", ");
    row("addresses", if addresses.is_empty() { "no list is known".to_owned() } else { addresses });
    if let Some(certificate) = &provider.client_certificate {
        row("certificate", certificate.clone());
    }
    row("documentation", provider.documentation.clone());
    let title = format!("{} ({})", provider.title, provider.name);
    Text::default()
        .painted(Tone::Strong, title)
        .own("\n")
        .and(&table.text())
        .own("\n")
        .painted(Tone::Strong, "A configuration to start from")
        .own("\n")
        .and(&lines(&configuration(provider)))
        .own("\n")
        .painted(Tone::Strong, "The same without the catalogue, for `require`")
        .own("\n")
        .and(&lines(&custom(provider)))
}

fn handshake(provider: &Provider) -> String {
    if provider.handshakes.is_empty() {
        return "none that is known".to_owned();
    }
    let words = provider.handshakes.iter().map(|handshake| {
        let signed = if handshake.is_signed { "signed" } else { "unsigned" };
        format!("{}, {signed}", handshake.method)
    });
    let words: Vec<String> = words.collect();
    format!("{}; answered with `handshake` in the policy", words.join("; "))
}
