//! A request as a curl command line that a shell can be given.
//!
//! Responsible for quoting, and for naming a token by where it is kept: what is printed holds none.

use crate::input::capture::Capture;
use crate::input::env_file::{Keep, Secret};
use crate::judge;
use crate::output::terminal::{Failure, is_unseen};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// A longer body would not fit into an argument on every system; it goes into a file.
const LONGEST_ARGUMENT: usize = 64 * 1024;

/// How a token is written where only the shell may see it.
pub(crate) enum Credential {
    /// In a header of this name, after these words.
    Header(String, &'static str),
    /// As user name and password of the Basic scheme, after this user name, if any.
    Basic(&'static str),
}

/// A token that a command names and does not hold.
pub(crate) struct Reference<'r> {
    pub(crate) credential: Credential,
    pub(crate) secret: &'r Secret,
    /// What follows the token, so that it is a wrong one.
    pub(crate) end: &'static str,
}

impl Reference<'_> {
    /// The header that is left out of what is printed.
    pub(crate) fn header(&self) -> &str {
        match &self.credential {
            Credential::Header(name, _) => name,
            Credential::Basic(_) => "authorization",
        }
    }

    /// The token within double quotes: the shell fills it in. `capture/curl.rs` knows these forms again.
    fn token(&self) -> Result<String, Failure> {
        let is_plain = self.secret.text == self.secret.trimmed();
        Ok(match &self.secret.keep {
            Keep::Variable(name) if is_plain => format!("${{{name}}}"),
            // The filter takes one line end off; a header could not hold one anyway.
            Keep::Variable(name) => format!("$(printf %s \"${name}\" | tr -d '\\r\\n')"),
            Keep::File(path) => format!("$(tr -d '\\r\\n' <{})", quote(&name_of(path)?)?),
        })
    }

    fn words(&self) -> Result<String, Failure> {
        let (token, end) = (self.token()?, self.end);
        let (option, before) = match &self.credential {
            Credential::Header(name, before) => ("-H", format!("{name}: {before}")),
            Credential::Basic(user) => ("-u", (*user).to_owned()),
        };
        let before = if before.is_empty() { String::new() } else { quote(&before)? };
        Ok(format!("{option} {before}\"{token}{end}\""))
    }
}

/// A word of a command. Every one that is not written down in here passes through this.
///
/// # Errors
/// Where the word holds what would do something to a terminal: it cannot be shown, and must not be changed.
fn quote(text: &str) -> Result<String, Failure> {
    if is_plain(text) {
        return Ok(shell_words::quote(text).into_owned());
    }
    let what = "holds characters that no command should show; use --send, or leave them out";
    Err(Failure::new(format!("{text:?} {what}")))
}

/// Whether a terminal shows the text as it is.
fn is_plain(text: &str) -> bool {
    text.chars().all(|one| one == '\n' || one == '\t' || !is_unseen(one))
}

/// A file's name as it is found from any directory.
fn name_of(path: &Path) -> Result<String, Failure> {
    let whole = std::path::absolute(path).map_err(|error| Failure::at(path, error))?;
    let name = whole.to_str().ok_or_else(|| Failure::at(path, "the name is not UTF-8"))?;
    Ok(name.to_owned())
}

/// A command, all of whose words are quoted and can be shown.
#[derive(Debug)]
pub(crate) struct Command(String);

impl Command {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The command that sends the request. `file` is where its body stands as it is; any other body is part of the command,
/// or put into a file of its own.
pub(crate) fn curl(
    url: &str,
    capture: &Capture,
    host: Option<&str>,
    token: Option<&Reference<'_>>,
    file: Option<&Path>,
) -> Result<Command, Failure> {
    // Otherwise curl would take brackets for a range of URLs.
    let globbing = if capture.target.contains(['[', ']', '{', '}']) { " -g" } else { "" };
    let mut lines = vec![format!("curl -i{globbing}{} {}", method(capture)?, quote(url)?)];
    let mut header = |name: &str, value: &str| -> Result<(), Failure> {
        let line = if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") };
        lines.push(format!("-H {}", quote(&line)?));
        Ok(())
    };
    if let Some(host) = host {
        header("host", host)?;
    }
    let hidden = token.map(Reference::header);
    for (name, value) in &capture.fields {
        if hidden.is_none_or(|hidden| !hidden.eq_ignore_ascii_case(name)) {
            header(name, &String::from_utf8_lossy(value))?;
        }
    }
    lines.extend(token.map(Reference::words).transpose()?);
    if !capture.body.is_empty() || capture.method == "POST" {
        lines.push(data(&capture.body, file)?);
    }
    Ok(Command(lines.join(" \\\n  ")))
}

fn method(capture: &Capture) -> Result<String, Failure> {
    match capture.method.as_str() {
        "POST" => Ok(String::new()),
        method => Ok(format!(" -X {}", quote(method)?)),
    }
}

fn data(body: &[u8], file: Option<&Path>) -> Result<String, Failure> {
    let named = |path: &Path| Ok(format!("--data-binary {}", quote(&format!("@{}", name_of(path)?))?));
    if let Some(path) = file {
        return named(path);
    }
    match std::str::from_utf8(body) {
        Ok(text) if text.len() <= LONGEST_ARGUMENT && is_plain(text) => {
            Ok(format!("--data-raw {}", quote(text)?))
        }
        _ => {
            let path = std::env::temp_dir().join(format!("webhook-guard-{}.body", judge::now().0));
            // Never over a file, or through a link, that someone else put there.
            let file = OpenOptions::new().write(true).create_new(true).open(&path);
            file.and_then(|mut file| file.write_all(body)).map_err(|error| Failure::at(&path, error))?;
            named(&path)
        }
    }
}
