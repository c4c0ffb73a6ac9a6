//! `check`: is this configuration one that the gateway would take, and one that an operator would want?
//!
//! Responsible for finding everything there is to say about the files, with line and column. What surrounds a
//! configuration is looked at in `check/host.rs` and `check/dynamic_module.rs`, the filters before and behind it in
//! `check/chain.rs`, the TLS listener under it in `check/certificates.rs`, routes in `check/routes.rs`, its policies beside each other in `check/policies.rs`.

mod certificates;
mod chain;
mod dynamic_module;
mod host;
mod policies;
mod routes;

use crate::input::config_files::{self, File, Plugin};
use crate::input::env_file::EnvironmentArguments;
use crate::input::located_yaml::Position;
use crate::input::named_secrets::NamedSecrets;
use crate::output::terminal::{Answer, Failure, Text, Tone};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use webhook_guard_core::config::Wrong;

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Configurations: JSON, or files of Envoy, Istio or Envoy Gateway that hold them; give those that belong together
    /// in one call (`-` for stdin)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    environment: EnvironmentArguments,
    /// Fail on warnings too, on variables that are not set, and on files of secrets that cannot be read
    #[arg(long)]
    strict: bool,
    #[arg(long, value_enum, default_value_t)]
    format: CheckFormat,
}

/// The forms in which the findings can be asked for.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum CheckFormat {
    /// One line a finding, for people and editors.
    #[default]
    Text,
    /// A list of findings, for programs.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// The gateway refuses the configuration.
    Error,
    /// The gateway takes it; an operator should look again.
    Warning,
    /// Something could not be looked at from here.
    Note,
}

impl Severity {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }

    const fn tone(self) -> Tone {
        match self {
            Self::Error => Tone::Bad,
            Self::Warning => Tone::Doubt,
            Self::Note => Tone::Faint,
        }
    }
}

/// Something to say about a file.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) path: PathBuf,
    pub(crate) position: Position,
    pub(crate) severity: Severity,
    /// Stable across releases: what CI and dashboards filter by.
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// Collects what there is to say about one file.
#[derive(Debug)]
struct Findings<'f> {
    path: &'f Path,
    list: &'f mut Vec<Finding>,
}

impl Findings<'_> {
    fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        position: Position,
        message: impl Into<String>,
    ) {
        let path = self.path.to_owned();
        self.list.push(Finding { path, position, severity, code, message: message.into() });
    }

    fn warn(&mut self, code: &'static str, position: Position, message: impl Into<String>) {
        self.add(Severity::Warning, code, position, message);
    }
}

pub(crate) fn run(arguments: &CheckArguments) -> Result<Answer, Failure> {
    let environment = arguments.environment.read()?;
    let files = arguments.files.iter().map(|path| config_files::read(path)).collect::<Result<Vec<_>, _>>()?;
    if files.iter().all(|file| file.plugins.is_empty()) {
        let names: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
        return Err(Failure::new(format!(
            "{}: no configuration of webhook-guard is in there",
            names.join(", ")
        )));
    }
    let secrets = NamedSecrets::new(&environment);
    let mut list = Vec::new();
    for file in &files {
        let mut findings = Findings { path: &file.path, list: &mut list };
        for plugin in &file.plugins {
            own(plugin, &secrets, &mut findings);
            policies::look(plugin, &secrets, &mut findings);
            host::look_around(plugin, &files, &mut findings);
        }
        chain::look(file, &files, &mut findings);
        certificates::look(file, &files, &mut findings);
        dynamic_module::look_at_registrations(file, &files, &mut findings);
        routes::look(file, &files, &mut findings);
    }
    // By place, the more important first; `check a b` keeps the order of its files.
    let order = |path: &Path| arguments.files.iter().position(|given| given == path);
    list.sort_by_key(|one| (order(&one.path), one.position, one.severity));
    list.dedup_by(|one, other| {
        (&one.path, one.position, one.code, &one.message)
            == (&other.path, other.position, other.code, &other.message)
    });
    let is_bad = |finding: &Finding| finding.severity == Severity::Error || arguments.strict;
    let is_good = !list.iter().any(is_bad);
    let text = match arguments.format {
        CheckFormat::Text => text(&list, &files),
        CheckFormat::Json => Text::json(&list.iter().map(to_json).collect()),
        CheckFormat::Sarif => Text::json(&crate::output::sarif::report(&list)),
    };
    Ok(Answer { text, is_good })
}

/// What the filter itself says about a configuration.
fn own(plugin: &Plugin, secrets: &NamedSecrets<'_>, findings: &mut Findings<'_>) {
    let (errors, warnings) = match plugin.configuration(secrets) {
        Ok(configuration) => (Vec::new(), configuration.warnings),
        Err(report) => ([vec![report.first], report.others].concat(), report.warnings),
    };
    for error in &errors {
        let at = plugin.position(error);
        let (severity, text) = match &error.wrong {
            Wrong::Unset(variable) => {
                let variable = variable.as_deref().unwrap_or("the variable");
                let text =
                    format!("{}: {variable} is not set here, so the secret was not looked at", error.at);
                (Severity::Note, text)
            }
            Wrong::Unreadable(_) => {
                (Severity::Note, format!("{error} here, so the secret was not looked at"))
            }
            _ => (Severity::Error, error.to_string()),
        };
        findings.add(severity, error.wrong.code(), at, text);
    }
    for warning in warnings {
        findings.warn(warning.code, plugin.locate(&warning.at, false), warning.to_string());
    }
}

fn text(list: &[Finding], files: &[File]) -> Text {
    let mut text = Text::default();
    // What is not to be had here is counted: a gateway has many secrets.
    let not_here = [
        (
            Wrong::Unset(None).code(),
            "the variables are not set here (--env-file gives them, --format json names them)",
        ),
        (
            Wrong::Unreadable("").code(),
            "the files cannot be read here (--format json says where they are named)",
        ),
    ];
    let is_counted = |finding: &Finding| not_here.iter().any(|(code, _)| finding.code == *code);
    for Finding { path, position, severity, code, message } in list.iter().filter(|one| !is_counted(one)) {
        let Position { line, column } = position;
        text = text.shown(format!("{}:{line}:{column}: ", path.display()));
        text = text.painted(severity.tone(), severity.word());
        text = text.own("[").shown(code).own("]: ").shown(message).own("\n");
    }
    let count = |severity| list.iter().filter(|finding| finding.severity == severity).count();
    let number = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    };
    for (code, why) in not_here {
        let missing = list.iter().filter(|finding| finding.code == code).count();
        if missing > 0 {
            text = text.painted(Tone::Faint, "note").own(": ").shown(match missing {
                1 => "1 secret was".to_owned(),
                _ => format!("{missing} secrets were"),
            });
            text = text.own(" not looked at: ").own(why).own("\n");
        }
    }
    let plugins = files.iter().map(|file| file.plugins.len()).sum();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let tone = match (errors, warnings) {
        (0, 0) => Tone::Good,
        (0, _) => Tone::Doubt,
        _ => Tone::Bad,
    };
    let summary = format!(
        "{}: {}, {}",
        number(plugins, "configuration"),
        number(errors, "error"),
        number(warnings, "warning")
    );
    text.painted(tone, summary).own("\n")
}

fn to_json(finding: &Finding) -> Value {
    json!({
        "file": finding.path.display().to_string(),
        "line": finding.position.line,
        "column": finding.position.column,
        "severity": finding.severity.word(),
        "code": finding.code,
        "message": finding.message,
    })
}
