//! `webhook-guard providers`: the catalogue, or all there is to say about one provider.
//!
//! Responsible for how a provider is shown: what it signs, how we know, and what to write into a configuration. Refuses
//! to know what a scheme means: what it prints for pasting is the catalogue's own text, held to the core's parser by test.

use crate::catalogue::{Catalogue, Provider, pretty};
use crate::output::terminal::{Answer, Cell, Failure, Format, Table, Text, Tone};
use clap::Args;
use serde_json::{Value, json};

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
        let catalogue = Catalogue::read()?;
        let text = match (&self.name, self.format) {
            (None, Format::Text) => table(&catalogue),
            (None, Format::Json) => lines(&json!(catalogue.iter().map(summary).collect::<Vec<_>>())),
            (Some(name), Format::Text) => page(catalogue.get(name)?),
            (Some(name), Format::Json) => lines(&details(catalogue.get(name)?)),
        };
        Ok(Answer { text, is_good: true })
    }
}

fn lines(value: &Value) -> Text {
    Text::of_json(&format!("{}\n", pretty(value)))
}

/// What the catalogue says about the time, in a word.
fn time(provider: Provider<'_>) -> &'static str {
    match provider.text("timestamp") {
        Some("signed") => "signed",
        Some("unsigned") => "not signed",
        _ => "none",
    }
}

fn table(catalogue: &Catalogue) -> Text {
    let mut table = Table::with_head(&["name", "provider", "checks", "time", "verified by"]);
    for provider in catalogue.iter() {
        let verified = provider.text("verified").unwrap_or_default();
        let doubt = if verified == "unverified" { Tone::Doubt } else { Tone::Plain };
        table.row([
            provider.name.into(),
            provider.text("title").unwrap_or_default().into(),
            provider.way().into(),
            Cell::new(time(provider), if time(provider) == "signed" { Tone::Plain } else { Tone::Faint }),
            Cell::new(verified, doubt),
        ]);
    }
    table.text().own("\n`webhook-guard providers NAME` shows one of them, with a policy to start from.\n")
}

fn summary(provider: Provider<'_>) -> Value {
    json!({
        "name": provider.name,
        "title": provider.text("title"),
        "checks": provider.way(),
        "time": time(provider),
        "handshake": !provider.handshakes().is_empty(),
        "verified": provider.text("verified"),
        "documentation": provider.text("documentation"),
    })
}

fn details(provider: Provider<'_>) -> Value {
    let mut all = summary(provider);
    if let Some(members) = all.as_object_mut() {
        members.insert("setup".to_owned(), json!(provider.text("setup")));
        members.insert("addresses".to_owned(), json!(provider.text("addresses")));
        members.insert("custom".to_owned(), custom(provider));
        members.insert("handshakes".to_owned(), json!(provider.handshakes()));
        members.insert("configuration".to_owned(), configuration(provider));
    }
    all
}

fn is_public_key(provider: Provider<'_>) -> bool {
    let algorithm = provider.scheme().and_then(|scheme| scheme.get("algorithm")).and_then(Value::as_str);
    matches!(algorithm, Some("ed25519" | "ecdsa-p256-sha256" | "rsa-sha256"))
}

/// The environment variable of the examples.
fn variable(provider: Provider<'_>) -> String {
    let what = match provider.scheme() {
        Some(_) if is_public_key(provider) => "PUBLIC_KEY",
        Some(_) => "SECRET",
        None => "TOKEN",
    };
    format!("{}_WEBHOOK_{what}", provider.name.to_ascii_uppercase())
}

/// Whether the URL is part of what is signed, so that the gateway must be told how the provider writes it.
fn signs_url(provider: Provider<'_>) -> bool {
    let signed = provider.scheme().and_then(|scheme| scheme.get("signed")).and_then(Value::as_str);
    signed.is_some_and(|signed| signed.contains("{url"))
}

/// The URL as it would be entered at the provider.
fn public_url(provider: Provider<'_>) -> String {
    format!("https://hooks.example.com/hooks/{}", provider.name)
}

/// The provider as a requirement that names no provider.
fn custom(provider: Provider<'_>) -> Value {
    let secrets = json!([{ "env": variable(provider) }]);
    if let Some(scheme) = provider.scheme() {
        let mut signature = json!({ "scheme": scheme, "secrets": secrets });
        if signs_url(provider) {
            set(&mut signature, "public_url", json!(public_url(provider)));
        }
        return json!({ "signature": signature });
    }
    let mut token = provider.token().cloned().unwrap_or_default();
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
fn configuration(provider: Provider<'_>) -> Value {
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
    let handshakes = provider.handshakes();
    if handshakes.iter().any(|handshake| handshake.get("verify_token").is_some()) {
        let variable = format!("{}_VERIFY_TOKEN", provider.name.to_ascii_uppercase());
        set(&mut policy, "handshake", json!({ "verify_tokens": [{ "env": variable }] }));
    } else if !handshakes.is_empty() {
        set(&mut policy, "handshake", json!("answer"));
    }
    if let Some(status) = provider.fact("deny_status") {
        set(&mut policy, "deny_status", json!({ "signature_mismatch": status }));
    }
    json!({ "policies": [policy] })
}

/// What the way of verifying a block is worth.
fn verified(word: &str) -> &'static str {
    match word {
        "published vector" => {
            "a delivery with its secret that the provider or its library published is accepted"
        }
        "vendor library" => "deliveries that the provider's own library signed are accepted",
        "documentation" => "written after the provider's documentation; no delivery of theirs was seen",
        _ => "from memory or other people's code: try it in report mode first",
    }
}

fn page(provider: Provider<'_>) -> Text {
    let mut table = Table::indented(2);
    let mut row = |name: &str, value: String| table.row([Cell::new(name, Tone::Faint), value.into()]);
    row("checks", provider.way());
    if let Some(signed) = provider.scheme().and_then(|scheme| scheme.get("signed")).and_then(Value::as_str) {
        row("signed", signed.to_owned());
    }
    let hint = match time(provider) {
        "signed" => "signed: an old delivery is refused",
        "not signed" => "sent but not signed: a delivery can be replayed at any time",
        _ => "none: a delivery can be replayed at any time",
    };
    row("time", hint.to_owned());
    let word = provider.text("verified").unwrap_or_default();
    row("verified by", format!("{word}: {}", verified(word)));
    row("handshake", handshake(provider));
    if let Some(setup) = provider.text("setup") {
        row("to know", setup.to_owned());
    }
    row("addresses", provider.text("addresses").unwrap_or("no list is known").to_owned());
    row("documentation", provider.text("documentation").unwrap_or_default().to_owned());
    let title = format!("{} ({})", provider.text("title").unwrap_or_default(), provider.name);
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

fn handshake(provider: Provider<'_>) -> String {
    let handshakes = provider.handshakes();
    if handshakes.is_empty() {
        return "none that is known".to_owned();
    }
    let word = |handshake: &&Value| {
        let method = handshake.get("method").and_then(Value::as_str).unwrap_or_default();
        let is_signed = handshake.get("signed") == Some(&Value::Bool(true));
        format!("{method}{}", if is_signed { ", signed" } else { ", unsigned" })
    };
    let words: Vec<String> = handshakes.iter().map(word).collect();
    format!("{}; answered with `handshake` in the policy", words.join("; "))
}
