//! A request that was captured: as raw HTTP, as a curl command line, in a HAR file, or as a line of our access log.
//!
//! Responsible for telling the forms apart, and for keeping the bytes as they were: a signature covers every one.

mod curl;
pub(crate) mod files;
mod har;
mod raw;

use crate::input::env_file::Keep;
use crate::output::terminal::Failure;
use files::Files;
use http::uri::Authority;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use webhook_guard_core::request::{Headers, Millis};
use webhook_guard_core::signature::timestamp;

/// A request as the gateway would have got it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capture {
    /// The method.
    pub(crate) method: String,
    /// `http` or `https`, where the form tells.
    pub(crate) scheme: Option<String>,
    /// The host, with its port where one was given.
    pub(crate) authority: String,
    /// The path with its query.
    pub(crate) target: String,
    /// The headers in order, without the host.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    /// The body.
    pub(crate) body: Vec<u8>,
    /// What follows the body in the capture, where content-length names less.
    pub(crate) behind: Vec<u8>,
    /// What content-length names, where the capture ends before.
    pub(crate) cut: Option<usize>,
    /// What the capture tells beside the request.
    pub(crate) source: Option<String>,
    /// When it was captured, where the form tells.
    pub(crate) time: Option<Millis>,
    /// What the reader of the answer should know about the form.
    pub(crate) notes: Vec<String>,
    /// The tokens that a curl command names and does not hold.
    pub(crate) tokens: Vec<Token>,
}

/// A token that a header names by where it is kept, as the commands of `sign` do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// The header, in lower case.
    header: String,
    keep: Keep,
    /// How the command names it.
    written: String,
    before: String,
    after: String,
    /// Whether all of it is the credentials of the Basic scheme.
    is_basic: bool,
}

/// A captured request.
#[derive(Debug, clap::Args)]
pub(crate) struct CaptureArguments {
    /// The captured request: raw HTTP, a curl command line, a HAR file or a line of the access log (`-` for stdin)
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// The body, where it is not part of the capture
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Which request of a HAR file, counted from 1
    #[arg(long, value_name = "N", default_value_t = 1)]
    entry: usize,
    /// Read the files that a curl command line names, such as `-d @FILE`: regular files, 64 MiB at most
    #[arg(long)]
    allow_files: bool,
}

impl CaptureArguments {
    /// Reads the request and its body, and refuses one that was cut.
    pub(crate) fn read(&self) -> Result<Capture, Failure> {
        let capture = self.read_as_it_is()?;
        match capture.cut {
            Some(declared) => {
                let length = capture.body.len();
                let what = format!("the body has {length} bytes, and content-length says {declared}");
                Err(Failure::at(&self.request, what))
            }
            None => Ok(capture),
        }
    }

    /// Reads the request and its body, cut or not.
    pub(crate) fn read_as_it_is(&self) -> Result<Capture, Failure> {
        let bytes = read_file(&self.request)?;
        let mut capture =
            read(&bytes, &self.files(), self.entry).map_err(|what| Failure::at(&self.request, what))?;
        if let Some(path) = &self.body {
            capture.body = read_file(path)?;
            capture.behind.clear();
            capture.cut = None;
        }
        Ok(capture)
    }

    fn files(&self) -> Files<'_> {
        Files::new(self.request.parent().unwrap_or(Path::new(".")), self.allow_files)
    }

    /// The token in a file that a capture names, where such files may be read.
    pub(crate) fn read_token(&self, path: &Path) -> Result<String, Failure> {
        let name = path.to_str().unwrap_or_default();
        let bytes = self.files().read(name).map_err(|what| Failure::at(&self.request, what))?;
        String::from_utf8(bytes).map_err(|_| Failure::at(path, "is not UTF-8"))
    }
}

/// The bytes of a file, or of standard input.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(|error| Failure::at(path, error))?;
        return Ok(bytes);
    }
    fs::read(path).map_err(|error| Failure::at(path, error))
}

/// Reads a capture of any form.
pub(crate) fn read(bytes: &[u8], files: &Files<'_>, entry: usize) -> Result<Capture, String> {
    let start = bytes.trim_ascii_start();
    if start.is_empty() {
        return Err("is empty".to_owned());
    }
    if start.starts_with(b"{") {
        return har::read(start, entry);
    }
    match std::str::from_utf8(start).ok().and_then(curl::command_line) {
        Some(line) => curl::read(&line, files),
        None => raw::read(start),
    }
}

impl Capture {
    /// The URL as it was entered at the sender: `public_url` as it is where it ends with the target, else as its base.
    pub(crate) fn whole_url(&self, public_url: &str) -> String {
        match public_url.ends_with(&self.target) {
            true => public_url.to_owned(),
            false => format!("{}{}", public_url.trim_end_matches('/'), self.target),
        }
    }

    /// The first value of a header, whatever its case.
    pub(crate) fn field(&self, name: &str) -> Option<&[u8]> {
        let mut named = self.fields.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.as_slice())
    }

    /// The same where it is UTF-8.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.field(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Puts tokens in place of their names: those that `read` finds for a header in lower case. What it does not find
    /// stays as it is written, and a note says so.
    pub(crate) fn fill_in(
        &mut self,
        mut read: impl FnMut(&str, &Keep) -> Result<Option<String>, Failure>,
    ) -> Result<(), Failure> {
        for Token { header, keep, written, before, after, is_basic } in std::mem::take(&mut self.tokens) {
            let value = |token: &str| match (format!("{before}{token}{after}"), is_basic) {
                (credentials, true) => curl::basic(credentials.as_bytes()),
                (value, false) => value,
            };
            let own = value(&written);
            let Some(token) = read(&header, &keep)? else {
                self.notes.push(format!(
                    "the command names {written} in {header}, where no token is looked for, or which is not set: it is \
                     taken as it is written"
                ));
                continue;
            };
            let mut fields = self.fields.iter_mut();
            let same = |(name, value): &&mut (String, Vec<u8>)| {
                name.eq_ignore_ascii_case(&header) && value.as_slice() == own.as_bytes()
            };
            if let Some((_, field)) = fields.find(same) {
                *field = value(&token.replace(['\r', '\n'], "")).into_bytes();
            }
        }
        Ok(())
    }

    /// The headers as the filter gets them: host and request line as pseudo-headers, names in lower case.
    pub(crate) fn headers(&self) -> Headers {
        let pseudo = [
            (":method", self.method.as_bytes()),
            (":path", self.target.as_bytes()),
            (":authority", self.authority.as_bytes()),
        ];
        let scheme = self.scheme.as_deref().map(|scheme| (":scheme".to_owned(), scheme.as_bytes().to_vec()));
        let fields = self.fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
        let length = (!self.body.is_empty() && self.field("content-length").is_none())
            .then(|| ("content-length".to_owned(), self.body.len().to_string().into_bytes()));
        let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.to_vec()));
        let all: Vec<(String, Vec<u8>)> =
            pseudo.into_iter().chain(scheme).chain(fields).chain(length).collect();
        Headers::from_pairs(all.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())))
    }

    /// Takes an absolute URL apart into scheme, authority and target, byte for byte: nothing is normalised.
    pub(crate) fn set_url(&mut self, url: &str) {
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_owned()), rest),
            None => (None, url),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let target = target.split('#').next().unwrap_or_default();
        self.scheme = scheme;
        self.authority = authority.rsplit('@').next().unwrap_or_default().to_owned();
        // A tunnel has no path, and Envoy hands none over.
        self.target = if target.starts_with('/') || (target.is_empty() && self.method == "CONNECT") {
            target.to_owned()
        } else {
            format!("/{target}")
        };
    }

    /// Adds a header; the host goes where it belongs, and HTTP/2's pseudo-headers too.
    pub(crate) fn push(&mut self, name: &str, value: &[u8]) {
        let text = || String::from_utf8_lossy(value).into_owned();
        match name.to_ascii_lowercase().as_str() {
            "host" | ":authority" => self.authority = text(),
            ":method" => self.method = text(),
            ":path" => self.target = text(),
            ":scheme" => self.scheme = Some(text()),
            _ => self.fields.push((name.to_owned(), value.to_vec())),
        }
    }
}

/// A time as logs write it (RFC 3339), or in seconds since 1970.
pub(crate) fn time(text: &str) -> Option<Millis> {
    let seconds = || text.parse::<i64>().ok().and_then(|seconds| seconds.checked_mul(1000)).map(Millis);
    timestamp::rfc3339(text).or_else(seconds)
}

/// Host (an IPv6 address in its brackets) and port (with its colon, or empty) of an authority; nothing where it is none,
/// or has a port that is none.
pub(crate) fn host_and_port(authority: &str) -> Option<(&str, &str)> {
    let parsed: Authority = authority.parse().ok()?;
    let (host, port) = authority.split_at_checked(parsed.host().len())?;
    let is_such = host == parsed.host() && (port.is_empty() || parsed.port().is_some());
    is_such.then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_taken_apart_as_it_is_written() {
        for (authority, parts) in [
            ("Example.com", Some(("Example.com", ""))),
            ("a_b:080", Some(("a_b", ":080"))),
            ("[::1]", Some(("[::1]", ""))),
            ("[2001:DB8::1]:443", Some(("[2001:DB8::1]", ":443"))),
            (":80", Some(("", ":80"))),
            ("", None),
            ("a:", None),
            ("a:65536", None),
            ("a:b", None),
            ("a:1:2", None),
            ("::1", None),
            ("[::1", None),
            ("[::1]80", None),
            ("user@a", None),
            ("a b", None),
        ] {
            assert_eq!(host_and_port(authority), parts, "{authority}");
        }
    }
}
