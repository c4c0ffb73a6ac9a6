//! A request as a curl command line that a shell can be given.
//!
//! Responsible for quoting, and for naming a token by where it is kept: what is printed holds none. Refuses to know what
//! the request is for.

use crate::capture::Capture;
use crate::environment::Secret;
use crate::judge;
use crate::terminal::Failure;
use std::borrow::Cow;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// A longer body would not fit into an argument on every system; it goes into a file.
const LONGEST_ARGUMENT: usize = 64 * 1024;

/// How a token is written where only the shell may see it.
pub(crate) enum Credential {
    /// In a header of this name, behind these words.
    Header(String, &'static str),
    /// As user name and password of the Basic scheme, behind this user name, if any.
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

    /// The token within double quotes: the shell fills it in.
    fn token(&self) -> String {
        let is_plain = self.secret.text == self.secret.trimmed();
        match self.secret.origin.strip_prefix('$') {
            Some(name) if is_plain => format!("${{{name}}}"),
            // The filter takes one line end off; a header could not hold one anyway.
            Some(name) => format!("$(printf %s \"${name}\" | tr -d '\\r\\n')"),
            None => format!("$(tr -d '\\r\\n' <{})", shell_words::quote(&self.secret.origin)),
        }
    }

    fn words(&self) -> [String; 2] {
        let (token, end) = (self.token(), self.end);
        match &self.credential {
            Credential::Header(name, before) => {
                ["-H".to_owned(), format!("\"{name}: {before}{token}{end}\"")]
            }
            Credential::Basic(user) => ["-u".to_owned(), format!("\"{user}{token}{end}\"")],
        }
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
) -> Result<String, Failure> {
    let quote = |text: &str| shell_words::quote(text).into_owned();
    // Otherwise curl would take brackets for a range of URLs.
    let globbing = if capture.target.contains(['[', ']', '{', '}']) { " -g" } else { "" };
    let mut lines = vec![format!("curl -i{globbing}{} {}", method(capture), quote(url))];
    let mut header = |name: &str, value: &str| {
        let line = if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") };
        lines.push(format!("-H {}", quote(&line)));
    };
    if let Some(host) = host {
        header("host", host);
    }
    let hidden = token.map(Reference::header);
    for (name, value) in &capture.fields {
        if hidden.is_none_or(|hidden| !hidden.eq_ignore_ascii_case(name)) {
            header(name, &String::from_utf8_lossy(value));
        }
    }
    lines.extend(token.map(|token| token.words().join(" ")));
    if !capture.body.is_empty() || capture.method == "POST" {
        lines.push(data(&capture.body, file)?);
    }
    Ok(lines.join(" \\\n  "))
}

fn method(capture: &Capture) -> Cow<'_, str> {
    match capture.method.as_str() {
        "POST" => "".into(),
        method => format!(" -X {}", shell_words::quote(method)).into(),
    }
}

fn data(body: &[u8], file: Option<&Path>) -> Result<String, Failure> {
    let named =
        |path: &Path| format!("--data-binary {}", shell_words::quote(&format!("@{}", path.display())));
    if let Some(path) = file {
        return Ok(named(path));
    }
    match std::str::from_utf8(body) {
        Ok(text) if text.len() <= LONGEST_ARGUMENT && !text.contains('\0') => {
            Ok(format!("--data-raw {}", shell_words::quote(text)))
        }
        _ => {
            let path = std::env::temp_dir().join(format!("webhook-guard-{}.body", judge::now().0));
            // Never over a file, or through a link, that someone else put there.
            let file = OpenOptions::new().write(true).create_new(true).open(&path);
            file.and_then(|mut file| file.write_all(body)).map_err(|error| Failure::at(&path, error))?;
            Ok(named(&path))
        }
    }
}
