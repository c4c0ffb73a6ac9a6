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
