//! The catalogue of providers for the commands that print it or try all of it.
//!
//! Responsible for complaints about a provider that is not there, and for what a provider's block says as it is written.

use crate::output::terminal::Failure;
use serde_json::Value;
use webhook_guard_core::catalogue::{self, Provider, Way};
use webhook_guard_core::check::token::TokenPlace;
use webhook_guard_core::signature::json_pointer;

/// Reads all providers.
pub(crate) fn all() -> Result<Vec<Provider>, Failure> {
    catalogue::all().collect::<Result<_, _>>().map_err(broken)
}

/// Reads the provider of that name; a complaint where there is none.
pub(crate) fn get(name: &str) -> Result<Provider, Failure> {
    catalogue::get(name).map_err(broken)?.ok_or_else(|| {
        let wrong = catalogue::unknown(name);
        Failure::new(format!("{wrong} (`webhook-guard providers` lists them)"))
    })
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::new(format!("the catalogue: {error}"))
}

/// The `scheme` or `token` by which a provider is verified, as it is written.
pub(crate) fn written_way(provider: &Provider) -> Value {
    let key = match provider.way {
        Way::Signed(..) => "scheme",
        Way::Token(_) => "token",
    };
    member(provider.way_block(), key).unwrap_or_default()
}

/// The requests with which a provider tests an endpoint, as they are written.
pub(crate) fn written_handshakes(provider: &Provider) -> Vec<Value> {
    let of = |block| member(block, "handshake");
    match of(provider.block()).or_else(|| of(provider.way_block())) {
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
        None => Vec::new(),
    }
}

fn member(block: &str, key: &str) -> Option<Value> {
    serde_json::from_str::<Value>(block).ok()?.get_mut(key).map(Value::take)
}

/// What of a provider's delivery is checked, in a few words.
pub(crate) fn checks(provider: &Provider) -> String {
    match &provider.way {
        Way::Signed(..) => signed(&written_way(provider)),
        Way::Token(TokenPlace::Header(name)) => format!("token in {name}"),
        Way::Token(TokenPlace::Bearer) => "token, Bearer".to_owned(),
        Way::Token(TokenPlace::Json(path)) => format!("token in the body, {}", json_pointer::text(path)),
        Way::Token(_) => "token, Basic".to_owned(),
    }
}

/// What a scheme checks, in a few words.
pub(crate) fn signed(scheme: &Value) -> String {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let algorithm = text(scheme, "algorithm").unwrap_or_default();
    if scheme.get("message_signature").is_some() {
        return format!("HTTP message signature, {algorithm}");
    }
    let fields = match scheme.get("signature").or_else(|| scheme.get("jwt")) {
        Some(Value::Array(list)) => list.first(),
        other => other,
    };
    let kind = if scheme.get("jwt").is_some() { "JWT, " } else { "" };
    let place = ["header", "query", "json"].iter().find_map(|key| text(fields?, key));
    format!("{kind}{algorithm} in {}", place.unwrap_or_default())
}
