//! Where secrets come from: environment variables, or a file. Never an argument, which every user of the machine sees.
//!
//! Responsible for reading them.

#![expect(clippy::disallowed_methods, reason = "the program's one door to the environment")]

use crate::output::terminal::Failure;
use clap::Args;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Variables for a configuration whose secrets say `env`.
#[derive(Debug, Args)]
pub(crate) struct EnvironmentArguments {
    /// A file of NAME=VALUE lines that stand in for environment variables
    ///
    /// `export` before a name and comments (`#` at the start of a line or after a blank) are left out. A value with
    /// blanks or a `#` stands in quotes: 'single' ones keep every character, "double" ones and a bare value read \n, \",
    /// \', \\, \$ and a backslash before a blank. Nothing is filled in: `$` is an ordinary character everywhere. A quoted
    /// value may go over several lines. Of two lines with the same name the first one counts.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
}

/// The variables that a configuration may name. Prints nothing of them.
pub(crate) struct Environment(Vec<(String, String)>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment(..)")
    }
}

impl EnvironmentArguments {
    /// Reads the file, if there is one.
    pub(crate) fn read(&self) -> Result<Environment, Failure> {
        let Some(path) = &self.env_file else { return Ok(Environment(Vec::new())) };
        let text = fs::read_to_string(path).map_err(|error| Failure::at(path, error))?;
        let mut variables = Vec::new();
        for Entry { line, text } in entries(&text) {
            // The library quotes what it cannot read, which may be a secret.
            let wrong = |_| {
                let form =
                    "is not NAME=VALUE with the value in quotes where it has blanks, quotes or backslashes";
                Failure::at(path, format!("line {line}: {form}"))
            };
            for variable in dotenvy::from_read_iter(text.as_bytes()) {
                variables.push(variable.map_err(wrong)?);
            }
        }
        Ok(Environment(variables))
    }
}

/// One variable of an env file, or a line without one.
struct Entry {
    /// Where it begins, counted from 1.
    line: usize,
    text: String,
}

/// Takes an env file apart, so that a fault has a line, and writes it so that dotenvy fills in no variables, which it
/// does not let one turn off: a `$` in a secret is a `$`. Comments are left out, and single quotes become double ones
/// with escapes, which stand for the same in the library's parser and in its search for the end of a line.
fn entries(text: &str) -> Vec<Entry> {
    enum State {
        Bare,
        Single,
        Double,
        Comment,
    }
    let mut entries = Vec::new();
    let mut entry = Entry { line: 1, text: String::new() };
    let (mut state, mut line, mut is_behind_blank) = (State::Bare, 1_usize, true);
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text).chars();
    while let Some(one) = rest.next() {
        if one == '\n' {
            line = line.saturating_add(1);
        }
        match (&state, one) {
            (State::Bare | State::Comment, '\n') => {
                entry.text.push(one);
                entries.push(std::mem::replace(&mut entry, Entry { line, text: String::new() }));
                state = State::Bare;
            }
            (State::Comment, _) => {}
            (State::Bare, '#') if is_behind_blank => state = State::Comment,
            (State::Bare, '\'') => {
                state = State::Single;
                entry.text.push('"');
            }
            (State::Single, '\'') => {
                state = State::Bare;
                entry.text.push('"');
            }
            (State::Bare, '"') => {
                state = State::Double;
                entry.text.push(one);
            }
            (State::Double, '"') => {
                state = State::Bare;
                entry.text.push(one);
            }
            (State::Single, '\\' | '"' | '$') | (State::Bare | State::Double, '$') => {
                entry.text.extend(['\\', one]);
            }
            (State::Bare | State::Double, '\\') => {
                entry.text.push(one);
                // A backslash at the end of a line is a fault, and stays one.
                if !rest.as_str().starts_with(['\r', '\n']) {
                    entry.text.extend(rest.next());
                }
            }
            _ => entry.text.push(one),
        }
        is_behind_blank = one.is_whitespace();
    }
    entry.text.push('\n');
    entries.push(entry);
    entries
}

impl Environment {
    /// The value of a variable: the file's before the process' own.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let listed = self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone());
        listed.or_else(|| std::env::var(name).ok())
    }
}

/// One secret, or several to choose from.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct SecretArguments {
    /// The environment variable that holds the secret; more than once for several secrets
    #[arg(long, value_name = "NAME", value_parser = variable)]
    secret_env: Vec<String>,
    /// The file that holds the secret; more than once for several secrets
    #[arg(long, value_name = "FILE")]
    secret_file: Vec<PathBuf>,
}

/// The name of a variable: it is printed for a shell to read.
fn variable(text: &str) -> Result<String, String> {
    if is_variable(text) {
        return Ok(text.to_owned());
    }
    Err("it is not the name of an environment variable: letters, digits and `_`, and no digit first"
        .to_owned())
}

/// Whether a text is a name that a shell takes for a variable's (POSIX.1 XBD 3.216).
pub(crate) fn is_variable(text: &str) -> bool {
    text.starts_with(|one: char| one.is_ascii_alphabetic() || one == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Where a secret is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// In the environment variable of this name, which [`is_variable`] has seen.
    Variable(String),
    /// In a file, of which it is all but the line end.
    File(PathBuf),
}

impl Keep {
    /// Whether both are the same place, seen from this directory.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        match (self, other) {
            (Self::File(one), Self::File(other)) => whole(one) == whole(other),
            _ => self == other,
        }
    }
}

/// A secret as it was found, and where. Its value is not printed.
#[derive(Clone)]
pub(crate) struct Secret {
    /// Such as `$GITHUB_SECRET` or a file's name, for people.
    pub(crate) origin: String,
    /// Where it is kept.
    pub(crate) keep: Keep,
    /// Every byte of it: a newline at the end may be the whole problem.
    pub(crate) text: String,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.origin)
    }
}

impl Secret {
    /// The text as the filter takes it: without one newline at its end.
    pub(crate) fn trimmed(&self) -> &str {
        let text = self.text.strip_suffix('\n').unwrap_or(&self.text);
        text.strip_suffix('\r').unwrap_or(text)
    }
}

impl SecretArguments {
    /// Reads all of them, at least one.
    pub(crate) fn read(&self) -> Result<Vec<Secret>, Failure> {
        let mut secrets = Vec::new();
        for name in &self.secret_env {
            let text = std::env::var(name).map_err(|_| {
                Failure::new(format!("the environment variable {name} is not set (or not UTF-8); export it, or use --secret-file"))
            })?;
            secrets.push(Secret { origin: format!("${name}"), keep: Keep::Variable(name.clone()), text });
        }
        for path in &self.secret_file {
            let text = fs::read_to_string(path).map_err(|error| Failure::at(path, error))?;
            let origin = path.display().to_string();
            secrets.push(Secret { origin, keep: Keep::File(path.clone()), text });
        }
        match secrets.iter().find(|secret| secret.text.trim().is_empty()) {
            Some(empty) => Err(Failure::new(format!("{}: the secret is empty", empty.origin))),
            None => Ok(secrets),
        }
    }
}
