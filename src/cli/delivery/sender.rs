//! What a sender does beside signing: the content type it sends, the header in which it names the event.
//!
//! Responsible for reading that from the catalogue, and for a small body of a content type.

use serde_json::Value;
use webhook_guard_core::signature::key::Algorithm;

/// What every sender is taken to send that the catalogue does not know.
const CONTENT_TYPE: &str = "application/json";

/// The event of every delivery that is made here: GitHub's harmless one.
pub(crate) const EVENT: &str = "ping";

/// A sender's habits.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    /// The content type of its deliveries.
    pub(crate) content_type: String,
    /// The header in which it names the event.
    pub(crate) event_header: Option<String>,
}

impl Sender {
    /// The habits of a provider of the catalogue, or of anyone.
    pub(crate) fn of(provider: Option<&str>) -> Self {
        let block = provider.and_then(block).unwrap_or_default();
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        Self {
            content_type: text(block.pointer("/content_types/0")).unwrap_or_else(|| CONTENT_TYPE.to_owned()),
            event_header: text(block.get("event_type")),
        }
    }

    /// A body of its content type: as large as asked for, or as small as it can be.
    pub(crate) fn body(&self, size: usize) -> Vec<u8> {
        let (head, tail) = match self.content_type.as_str() {
            "application/json" => (r#"{"message":"sent by webhook-guard"#, r#""}"#),
            "application/x-www-form-urlencoded" => ("message=sent+by+webhook-guard", ""),
            _ => ("sent by webhook-guard", ""),
        };
        let padding = size.saturating_sub(head.len()).saturating_sub(tail.len());
        let padding = std::iter::repeat_n(b'.', padding);
        head.bytes().chain(padding).chain(tail.bytes()).collect()
    }
}

/// The block of a provider.
fn block(name: &str) -> Option<Value> {
    serde_json::from_str::<Value>(webhook_guard_core::catalogue::DATA).ok()?.get_mut(name).map(Value::take)
}

/// The algorithm of a provider of the catalogue; nothing where it sends a token, or is not in there.
pub(crate) fn algorithm(name: &str) -> Option<Algorithm> {
    let block = block(name)?;
    match block.get("same_as").and_then(Value::as_str) {
        Some(other) => algorithm(other),
        None => algorithm_of(block.get("scheme")?),
    }
}

/// The algorithm of a scheme as it is written.
pub(crate) fn algorithm_of(scheme: &Value) -> Option<Algorithm> {
    let word = scheme.get("algorithm")?.as_str()?;
    Algorithm::NAMES.iter().find(|(name, _)| *name == word).map(|(_, algorithm)| *algorithm)
}
