//! What the operator sees: text and tables, SARIF, commands for pasting, a sentence for each reason.
//!
//! Responsible for the form alone. Everything that a stranger wrote passes through `terminal`.

pub(crate) mod pretty_json;
pub(crate) mod reason_text;
pub(crate) mod sarif;
pub(crate) mod shell;
pub(crate) mod terminal;
