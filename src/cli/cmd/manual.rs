//! What is made of the definitions alone: completions, the man page, the JSON Schema of the configuration.
//!
//! Responsible for printing them.

use crate::output::terminal::{Answer, Failure, Text};
use clap::Args;
use clap_complete::Shell;
use clap_mangen::Man;
use std::io::Write;

/// The schema that `make test` holds to the parser.
const SCHEMA: &str = include_str!("../../../envoy/webhook-guard.schema.json");

#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn schema() -> Answer {
    Answer { text: Text::default().own(SCHEMA), is_good: true }
}

pub(crate) fn completions(arguments: &CompletionsArguments) -> Answer {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut crate::definition(), "webhook-guard", &mut text);
    let text = String::from_utf8_lossy(&text);
    // clap_complete takes the hyphen of the program's name for one between a command and its sub-command in half of the
    // names that it makes for bash, so that no sub-command is found.
    let text = text.replace("webhook__subcmd__guard", "webhook__guard");
    Answer { text: Text::default().lines(&text), is_good: true }
}

/// What no definition tells.
const MORE: &str = r#".SH "EXIT STATUS"
.TP
0
The answer is good.
.TP
1
It is not: the configuration has an error, the request is refused, the signature does not match.
.TP
2
There is no answer: a file, an option or a secret could not be read. Standard error says which, and what to do.
.SH ENVIRONMENT
.TP
NO_COLOR
Where it is set, nothing is coloured. On anything but a terminal nothing is coloured either.
.PP
Secrets come from the variables that \-\-secret\-env names, or from a file, and never from an argument, which every user of
the machine can see. None is ever printed.
.SH EXAMPLES
.TP
webhook\-guard check envoy.yaml
What is wrong with the configuration in there, with line and column.
.TP
webhook\-guard explain \-\-config envoy.yaml \-\-request delivery.http
Which policy governs a captured request, and why it is refused.
.TP
webhook\-guard doctor \-\-provider github \-\-secret\-env GITHUB_WEBHOOK_SECRET \-\-request delivery.http
Why its signature does not match.
.TP
webhook\-guard sign \-\-provider github \-\-secret\-env GITHUB_WEBHOOK_SECRET \-\-body delivery.json \-\-url https://hooks.example.com/github
A delivery as the provider would send it, as a curl command.
.TP
webhook\-guard try \-\-config envoy.yaml \-\-url https://hooks.example.com
Whether a running gateway takes good deliveries and refuses bad ones.
.TP
webhook\-guard providers stripe
All about one provider, with a configuration to start from.
"#;

/// One page with all sub-commands: who looks for an option does not know which page it would be on.
pub(crate) fn man() -> Result<Answer, Failure> {
    let mut whole = crate::definition().disable_help_subcommand(true);
    whole.build();
    let render = || -> std::io::Result<String> {
        let page = Man::new(whole.clone());
        let mut head = Vec::new();
        page.render_title(&mut head)?;
        let mut text = String::from_utf8_lossy(&head).into_owned();
        text.push_str(&section(".SH NAME", |out| page.render_name_section(out))?);
        text.push_str(&section(".SH SYNOPSIS", |out| page.render_synopsis_section(out))?);
        text.push_str(".SH COMMANDS\n");
        for command in whole.get_subcommands() {
            // Every command has --help: said once is enough.
            let page = Man::new(command.clone().mut_arg("help", |help| help.hide(true)));
            let heading = format!(".SS \"webhook\\-guard {}\"", command.get_name());
            text.push_str(&section(&heading, |out| page.render_description_section(out))?);
            text.push_str(&section(".PP", |out| page.render_synopsis_section(out))?);
            if command.get_arguments().any(|argument| argument.get_id() != "help") {
                text.push_str(&section(".PP", |out| page.render_options_section(out))?);
            }
        }
        text.push_str(&section(".SH OPTIONS", |out| page.render_options_section(out))?);
        text.push_str(MORE);
        Ok(text)
    };
    let text = render().map_err(|error| Failure::new(format!("the man page: {error}")))?;
    Ok(Answer { text: Text::default().lines(&text), is_good: true })
}

/// A section under another heading, without the head of a page that each one comes with.
fn section(heading: &str, render: impl Fn(&mut dyn Write) -> std::io::Result<()>) -> std::io::Result<String> {
    let mut out = Vec::new();
    render(&mut out)?;
    let text = String::from_utf8_lossy(&out);
    let is_head = |line: &&str| [".SH ", ".ie ", ".el "].iter().any(|start| line.starts_with(start));
    let body: Vec<&str> = text.lines().filter(|line| !is_head(line)).collect();
    Ok(format!("{heading}\n{}\n", body.join("\n")))
}
