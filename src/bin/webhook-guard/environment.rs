//! Where secrets come from: environment variables, or a file. Never an argument, which every user of the machine sees.
//!
//! Responsible for reading them. Refuses to know what they are for, and prints none.

#![expect(clippy::disallowed_methods, reason = "the program's one door to the environment")]

use crate::terminal::Failure;
use clap::Args;
use std::fmt;
use std::fs;
use std::path::PathBuf;

/// Variables for a configuration whose secrets say `env`.
#[derive(Debug, Args)]
pub(crate) struct EnvironmentArguments {
    /// A file of NAME=VALUE lines that stand in for environment variables
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
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line = line.strip_prefix("export ").unwrap_or(line);
            let Some((name, value)) = line.split_once('=') else {
                let number = index.saturating_add(1);
                return Err(Failure::at(path, format!("line {number}: is not NAME=VALUE")));
            };
            let quoted = |quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
            let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
            variables.push((name.trim().to_owned(), value.to_owned()));
        }
        Ok(Environment(variables))
    }
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
    #[arg(long, value_name = "NAME")]
    secret_env: Vec<String>,
    /// The file that holds the secret; more than once for several secrets
    #[arg(long, value_name = "FILE")]
    secret_file: Vec<PathBuf>,
}

/// A secret as it was found, and where. Its value is not printed.
#[derive(Clone)]
pub(crate) struct Secret {
    /// Such as `$GITHUB_SECRET` or a file's name.
    pub(crate) origin: String,
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
                Failure(format!("the environment variable {name} is not set (or not UTF-8); export it, or use --secret-file"))
            })?;
            secrets.push(Secret { origin: format!("${name}"), text });
        }
        for path in &self.secret_file {
            let text = fs::read_to_string(path).map_err(|error| Failure::at(path, error))?;
            secrets.push(Secret { origin: path.display().to_string(), text });
        }
        match secrets.iter().find(|secret| secret.text.trim().is_empty()) {
            Some(empty) => Err(Failure(format!("{}: the secret is empty", empty.origin))),
            None => Ok(secrets),
        }
    }
}
