//! What a sender does beside signing: the content type it sends, the header in which it names the event.
//!
//! Responsible for taking that from the catalogue, and for a small body of a content type.

use webhook_guard_core::catalogue;

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
        let provider = provider.and_then(|name| catalogue::get(name).ok()?);
        let (content_types, event_header) =
            provider.map(|one| (one.content_types, one.event_type)).unwrap_or_default();
        let content_type = content_types.into_iter().next().unwrap_or_else(|| CONTENT_TYPE.to_owned());
        Self { content_type, event_header }
    }

    /// A body of its content type: as large as asked for, or as small as it can be. `number` makes it another than any
    /// before: a gateway may let each delivery through once.
    pub(crate) fn body(&self, size: usize, number: i64) -> Vec<u8> {
        let (head, tail) = match self.content_type.as_str() {
            "application/json" => {
                (format!(r#"{{"message":"sent by webhook-guard","number":"{number}"#), r#""}"#)
            }
            "application/x-www-form-urlencoded" => {
                (format!("message=sent+by+webhook-guard&number={number}"), "")
            }
            _ => (format!("sent by webhook-guard, {number}"), ""),
        };
        let padding = size.saturating_sub(head.len()).saturating_sub(tail.len());
        let padding = std::iter::repeat_n(b'.', padding);
        head.bytes().chain(padding).chain(tail.bytes()).collect()
    }
}
