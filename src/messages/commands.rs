//! `list`, `show` and `resubmit`: what the page does, from a terminal.
//!
//! Responsible for asking the database, which may be written to meanwhile, and for what is printed.

use crate::access::is_name;
use crate::options::{DatabaseArguments, GatewayArguments};
use crate::resubmit;
use crate::store::query::{self, Filter, Payload, Reader, Summary};
use crate::store::{self, Resubmit, StoreError};
use crate::terminal::{line, visible};
use crate::writer::now;
use crate::{advice, message};
use clap::{Args, ValueEnum};
use data_encoding::BASE64;
use serde_json::json;
use std::io::Write as _;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    database: DatabaseArguments,
    /// allow, deny, report or answer
    #[arg(long)]
    verdict: Option<String>,
    #[arg(long)]
    reason: Option<String>,
    #[arg(long)]
    policy: Option<String>,
    #[arg(long)]
    provider: Option<String>,
    /// A status, or a class such as 5xx
    #[arg(long)]
    status: Option<String>,
    /// How the path begins
    #[arg(long)]
    path: Option<String>,
    /// An id, or words of the payload
    #[arg(long, value_name = "WORDS")]
    search: Option<String>,
    /// From this time on, in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<i64>,
    /// Before this time, in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<i64>,
    /// Only messages with a smaller number: the next page
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
    /// How many, at most 500
    #[arg(long, default_value_t = 50)]
    limit: u32,
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum ListFormat {
    #[default]
    Text,
    /// A JSON object a line
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// The number of the message, or its x-request-id
    id: String,
    #[command(flatten)]
    database: DatabaseArguments,
    #[arg(long, value_enum, default_value_t)]
    format: ShowFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ShowFormat {
    #[default]
    Text,
    Json,
    /// The request as raw HTTP, for `webhook-guard explain` and `doctor`
    Request,
    /// The bytes of the body
    Body,
    /// The request as a curl command
    Curl,
}

#[derive(Debug, Args)]
pub(crate) struct ResubmitArguments {
    /// The number of the message, or its x-request-id
    id: String,
    #[command(flatten)]
    database: DatabaseArguments,
    #[command(flatten)]
    gateway: GatewayArguments,
    /// Who sends it again
    #[arg(long, value_name = "NAME")]
    by: String,
}

fn time(text: &str) -> Result<i64, String> {
    let time = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "must be such as 2027-01-31T00:00:00Z".to_owned())?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).map_err(|error| error.to_string())
}

fn shown_time(milliseconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(milliseconds.div_euclid(1000)).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

fn words(StoreError(words): StoreError) -> String {
    words
}

fn find(reader: &Reader, id: &str) -> Result<Summary, String> {
    let by_number =
        id.parse().ok().map(|number| reader.message(number)).transpose().map_err(words)?.flatten();
    let found = match by_number {
        Some(message) => Some(message),
        None => reader.by_request_id(id).map_err(words)?,
    };
    found.ok_or_else(|| format!("there is no message {id}, or not any more"))
}

/// Prints a list.
pub(crate) fn list(arguments: &ListArguments) -> Result<bool, String> {
    let reader = query::open(&arguments.database.database).map_err(words)?;
    let filter = Filter {
        verdict: arguments.verdict.clone(),
        reason: arguments.reason.clone(),
        policy: arguments.policy.clone(),
        provider: arguments.provider.clone(),
        status: arguments.status.clone(),
        path: arguments.path.clone(),
        q: arguments.search.clone(),
        from: arguments.from,
        to: arguments.to,
        before: arguments.before,
        after: None,
        limit: Some(arguments.limit),
    };
    let messages = reader.list(&filter).map_err(words)?;
    let mut text = String::new();
    for message in &messages {
        match arguments.format {
            ListFormat::Json => text.push_str(&json!(message).to_string()),
            ListFormat::Text => text.push_str(&row(message)),
        }
        text.push('\n');
    }
    print(text.as_bytes())?;
    Ok(true)
}

fn row(message: &Summary) -> String {
    let or = |text: &Option<String>| line(text.as_deref().unwrap_or("-"));
    let status = message.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let (verdict, reason) = (line(&message.verdict), line(&message.reason));
    let (policy, path) = (or(&message.policy), or(&message.path));
    format!(
        "{:>8}  {}  {status:>3}  {verdict:<6}  {reason:<24}  {policy}  {path}",
        message.id,
        shown_time(message.time)
    )
}

/// Shows a message.
pub(crate) fn show(arguments: &ShowArguments) -> Result<bool, String> {
    let reader = query::open(&arguments.database.database).map_err(words)?;
    let message = find(&reader, &arguments.id)?;
    let payload = reader.payload(message.id).map_err(words)?;
    let bytes = match arguments.format {
        ShowFormat::Text => text(&reader, &message, &payload)?.into_bytes(),
        ShowFormat::Json => {
            let body = payload.body.as_ref();
            let report = json!({
                "message": message,
                "headers": advice::headers(&payload),
                "body_base64": body.map(|body| BASE64.encode(&body.bytes)),
                "truncated": body.map(|body| body.is_truncated),
                "resubmits": reader.resubmits(message.id).map_err(words)?,
            });
            format!("{report}\n").into_bytes()
        }
        ShowFormat::Request => advice::request(&message, &payload),
        ShowFormat::Curl => format!("{}\n", advice::curl(&message, &payload)).into_bytes(),
        ShowFormat::Body => payload.body.map(|body| body.bytes).ok_or("its body was not recorded")?,
    };
    print(&bytes)?;
    Ok(true)
}

fn text(reader: &Reader, message: &Summary, payload: &Payload) -> Result<String, String> {
    let mut text = String::new();
    let mut say = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("{name:<12}  {}\n", line(value)));
        }
    };
    let or = |text: &Option<String>| text.clone().unwrap_or_default();
    say("message", &message.id.to_string());
    say("time", &shown_time(message.time));
    say("request", &format!("{} {}", or(&message.method), or(&message.path)));
    say("host", &or(&message.host));
    say("from", &or(&message.source));
    say("status", &message.status.map(|status| status.to_string()).unwrap_or_default());
    say("verdict", &format!("{} {}", message.verdict, message.reason));
    let advice = advice::of(message);
    say("", advice.meaning);
    say("policy", &or(&message.policy));
    say("provider", &or(&message.provider));
    say("delivery id", &or(&message.delivery_id));
    say("secret", &or(&message.secret_id));
    say("checks", &or(&message.checks).replace(',', " "));
    say("request id", &or(&message.request_id));
    for (name, value) in advice::headers(payload) {
        say("header", &format!("{name}: {value}"));
    }
    for resubmit in reader.resubmits(message.id).map_err(words)? {
        let status = resubmit.status.map(|status| status.to_string()).unwrap_or_default();
        say(
            "sent again",
            &format!("{} by {}: {} {status}", shown_time(resubmit.at), resubmit.by, resubmit.outcome),
        );
    }
    for command in &advice.commands {
        say("next", command);
    }
    if let Some(obstacle) = message::obstacle(payload.body.as_ref(), message.body_sha256.as_deref()) {
        say("", &format!("it cannot be sent again: {obstacle}"));
    }
    if let Some(body) = &payload.body {
        let end = if body.is_truncated { ", and more that was not recorded" } else { "" };
        text.push_str(&format!("\n{} bytes{end}:\n", body.bytes.len()));
        text.push_str(&visible(&String::from_utf8_lossy(&body.bytes)));
        text.push('\n');
    }
    Ok(text)
}

/// Sends a message again. Good is an answer below 400.
pub(crate) fn resubmit(arguments: &ResubmitArguments) -> Result<bool, String> {
    if !is_name(&arguments.by) {
        return Err("--by: must be 1 to 64 of A-Z a-z 0-9 . _ @ -".to_owned());
    }
    let gateway = arguments
        .gateway
        .read()?
        .ok_or("--gateway and --operator-key-file must say where to and with which key")?;
    let reader = query::open(&arguments.database.database).map_err(words)?;
    let message = find(&reader, &arguments.id)?;
    let payload = reader.payload(message.id).map_err(words)?;
    let mut store = store::open(&arguments.database.database).map_err(words)?;
    let note = Resubmit {
        message: message.id,
        request_id: message.request_id.clone(),
        at: now(),
        by: arguments.by.clone(),
        gateway: gateway.url().to_owned(),
    };
    let request = match gateway.prepare(&message, payload, now()) {
        Ok(request) => request,
        Err(obstacle) => {
            store.note_resubmit(&note, &format!("not sent: {obstacle}")).map_err(words)?;
            print(format!("not sent: {}\n", line(&obstacle)).as_bytes())?;
            return Ok(false);
        }
    };
    let number = store.note_resubmit(&note, "sent, no answer yet").map_err(words)?;
    let sent = gateway.send(request, &resubmit::id(&message), &arguments.by, now());
    let outcome = sent.as_ref().map_or_else(Clone::clone, |_| "answered".to_owned());
    store.end_resubmit(number, sent.as_ref().ok().copied(), &outcome).map_err(words)?;
    let status = sent?;
    print(format!("message {} sent again: the gateway answers {status}\n", message.id).as_bytes())?;
    Ok(status < 400)
}

fn print(bytes: &[u8]) -> Result<(), String> {
    match std::io::stdout().lock().write_all(bytes) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(()),
    }
}
