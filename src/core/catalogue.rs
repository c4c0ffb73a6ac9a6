//! The catalogue of providers: data in the operator's own vocabulary, in `src/core/catalogue.json`.
//!
//! Responsible for handing the data over. Refuses to know what is in it: a provider is a saved `signature` block, read
//! by the parser that reads a custom scheme.

use crate::vocabulary::{ConfigError, Json};

/// The data, as it stands in the file.
pub const DATA: &str = include_str!("catalogue.json");

/// What a provider's block may say: its `scheme` or `token`, and facts about the provider that no check needs.
pub(crate) const KEYS: [&str; 14] = [
    "title",
    "documentation",
    "addresses",
    "event_type",
    "content_types",
    "verified",
    "deny_status",
    "timestamp",
    "same_as",
    "handshake",
    "setup",
    "scheme",
    "token",
    "delivery_id",
];

/// The whole catalogue: an object with one block a provider.
pub(crate) fn catalogue() -> Result<Json, ConfigError> {
    Json::read(DATA.as_bytes())
}
