//! `webhook-guard`: what an operator asks beside the gateway, answered by the core that the gateway runs.
//!
//! Responsible for the sub-commands and the exit status: 0 where the answer is good, 1 where it is not, 2 where there
//! is none because the question could not be read.

mod catalogue;
mod cmd;
mod delivery;
mod doctor;
mod input;
mod judge;
mod output;

use crate::cmd::{addresses, check, explain, manual, messages, providers, sign, smoke_test};
use crate::output::terminal::{self, Answer, Failure};
use clap::{CommandFactory as _, Parser, Subcommand};
use std::process::ExitCode;

/// Checks, explains and tries what webhook-guard does in the gateway.
#[derive(Debug, Parser)]
#[command(name = "webhook-guard", version, max_term_width = 100, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find what is wrong with configurations, and what an operator should look at again
    Check(check::CheckArguments),
    /// Judge a captured request offline: which policy, how each check goes, what follows
    Explain(explain::ExplainArguments),
    /// Find out why the signature of a captured delivery does not match
    Doctor(doctor::DoctorArguments),
    /// Show the catalogue of providers, or all about one of them
    Providers(providers::ProvidersArguments),
    /// Print the addresses that a provider publishes, for `allow`, or say what a configuration lacks of them
    Addresses(addresses::AddressesArguments),
    /// Make a delivery as a provider would send it: a curl command, or sent at once
    Sign(sign::SignArguments),
    /// Send one good and many bad deliveries for every policy to a running gateway: does it do what it should?
    Try(smoke_test::SmokeTestArguments),
    /// Receive, list, show and send again what was recorded of webhooks: the program webhook-guard-messages
    Messages(messages::MessagesArguments),
    /// Print the JSON Schema of the configuration, for an editor
    Schema,
    /// Print the shell's completions
    Completions(manual::CompletionsArguments),
    /// Print the man page, in roff
    Man,
}

impl Command {
    fn run(&self) -> Result<Answer, Failure> {
        match self {
            Self::Check(arguments) => check::run(arguments),
            Self::Explain(arguments) => explain::run(arguments),
            Self::Doctor(arguments) => doctor::run(arguments),
            Self::Providers(arguments) => arguments.run(),
            Self::Addresses(arguments) => arguments.run(),
            Self::Sign(arguments) => sign::run(arguments),
            Self::Try(arguments) => smoke_test::run(arguments),
            Self::Messages(arguments) => messages::run(arguments),
            Self::Schema => Ok(manual::schema()),
            Self::Completions(arguments) => Ok(manual::completions(arguments)),
            Self::Man => manual::man(),
        }
    }
}

const HELP: clap::error::ErrorKind = clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;

/// The definition of all arguments, for completions and the man page.
pub(crate) fn definition() -> clap::Command {
    Arguments::command()
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // What quotes no argument: help and the version.
        Err(error) if !error.use_stderr() || error.kind() == HELP => error.exit(),
        Err(error) => {
            terminal::complain_of_arguments(&error);
            return ExitCode::from(2);
        }
    };
    match arguments.command.run() {
        Ok(answer) => {
            terminal::print(&answer.text);
            if answer.is_good { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(failure) => {
            terminal::complain(&failure);
            ExitCode::from(2)
        }
    }
}
