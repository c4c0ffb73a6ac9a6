//! What is made of the definitions alone: completions, the man page, the JSON Schema of the configuration.
//!
//! Responsible for printing them. Refuses to know the sub-commands: they are clap's.

use crate::terminal::{Answer, Failure};
use clap::Args;
use clap_complete::Shell;

/// The schema that `make test` holds to the parser.
const SCHEMA: &str = include_str!("../../../envoy/webhook-guard.schema.json");

#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn schema() -> Answer {
    Answer { text: SCHEMA.to_owned(), is_good: true }
}

pub(crate) fn completions(arguments: &CompletionsArguments) -> Answer {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut crate::definition(), "webhook-guard", &mut text);
    Answer { text: String::from_utf8_lossy(&text).into_owned(), is_good: true }
}

pub(crate) fn man() -> Result<Answer, Failure> {
    let mut text = Vec::new();
    let page = clap_mangen::Man::new(crate::definition());
    page.render(&mut text).map_err(|error| Failure(format!("the man page: {error}")))?;
    Ok(Answer { text: String::from_utf8_lossy(&text).into_owned(), is_good: true })
}
