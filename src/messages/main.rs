//! `webhook-guard-messages`: what the gateway recorded of each webhook, kept for a week, shown, and sent again.
//!
//! Responsible for the commands and the exit status: 0 where all is well, 1 where the answer is no, 2 where the question could
//! not be read or answered. It is a program beside the gateway, which does not notice whether it is there.

mod access;
mod advice;
mod commands;
mod follow;
mod listen;
mod message;
mod options;
mod otlp;
mod resubmit;
mod serve;
mod store;
mod terminal;
mod web;
mod writer;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Receives, keeps and shows what webhook-guard records of webhooks, and sends one again.
#[derive(Debug, Parser)]
#[command(name = "webhook-guard-messages", version, max_term_width = 100, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive records, keep them, and serve the page
    Serve(serve::ServeArguments),
    /// List messages, the newest first
    List(commands::ListArguments),
    /// Show one message, or its request for `explain` and `doctor`
    Show(commands::ShowArguments),
    /// Send a message to the gateway again
    Resubmit(commands::ResubmitArguments),
}

fn main() -> ExitCode {
    let answer = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(arguments).map(|()| true),
        Command::List(arguments) => commands::list(&arguments),
        Command::Show(arguments) => commands::show(&arguments),
        Command::Resubmit(arguments) => commands::resubmit(&arguments),
    };
    match answer {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(words) => {
            eprintln!("webhook-guard-messages: {}", terminal::visible(&words));
            ExitCode::from(2)
        }
    }
}
