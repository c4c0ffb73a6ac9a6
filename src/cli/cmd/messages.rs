//! `messages`: another program, which keeps what was recorded of webhooks.
//!
//! Responsible for finding it and for becoming it. It stands beside this one, or on the PATH: it has a database and a web server
//! in it, which nobody needs who only checks a configuration.

use crate::output::terminal::{Answer, Failure};
use clap::Args;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

/// Its name.
const PROGRAM: &str = "webhook-guard-messages";

#[derive(Debug, Args)]
pub(crate) struct MessagesArguments {
    /// What it is asked: `webhook-guard messages list --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

/// Does not return where the program is found.
pub(crate) fn run(arguments: &MessagesArguments) -> Result<Answer, Failure> {
    let own = std::env::current_exe().ok();
    let beside = own.map(|path| path.with_file_name(PROGRAM)).filter(|path| path.is_file());
    let program = beside.unwrap_or_else(|| PathBuf::from(PROGRAM));
    let error = Command::new(program).args(&arguments.arguments).exec();
    Err(Failure::new(format!(
        "{PROGRAM} is neither beside this program nor on the PATH (make messages-cli): {error}"
    )))
}
