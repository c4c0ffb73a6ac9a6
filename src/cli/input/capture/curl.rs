//! A curl command line, as a browser or a provider's "copy as curl" gives it.
//!
//! Responsible for the options that shape a request.

use super::files::Files;
use super::{Capture, Token};
use crate::input::env_file::{Keep, is_variable};
use data_encoding::BASE64;
use std::collections::VecDeque;
use std::str::Chars;

/// A command line taken apart.
pub(super) struct Line {
    words: Vec<String>,
    tokens: Tokens,
}

/// The tokens that a command names and does not hold, each marked in the words by its number between two marks.
struct Tokens {
    /// A character that the command does not have.
    mark: char,
    /// Where each is kept, and how it is written.
    all: Vec<(Keep, String)>,
}

impl Tokens {
    /// The text as it was written.
    fn restored(&self, text: &str) -> String {
        match self.split(text) {
            None => text.to_owned(),
            Some((before, (_, written), after)) => format!("{before}{written}{}", self.restored(after)),
        }
    }

    /// What stands before the first token, the token, and what stands after it.
    fn split<'t>(&self, text: &'t str) -> Option<(&'t str, &(Keep, String), &'t str)> {
        let (before, rest) = text.split_once(self.mark)?;
        let (number, after) = rest.split_once(self.mark)?;
        Some((before, self.all.get(number.parse::<usize>().ok()?)?, after))
    }
}

/// The words of a command line, where the text is one of curl's. Comments may stand before it.
pub(super) fn command_line(text: &str) -> Option<Line> {
    let mut text = text;
    while text.starts_with('#') {
        text = text.split_once('\n').map_or("", |(_, rest)| rest).trim_start();
    }
    let text = text.strip_prefix("$ ").unwrap_or(text);
    if !text.starts_with("curl ") && !text.starts_with("curl\t") {
        return None;
    }
    let mark = ('\u{e000}'..='\u{f8ff}').find(|mark| !text.contains(*mark))?;
    let mut tokens = Tokens { mark, all: Vec::new() };
    let words = shell_words::split(&plainly_quoted(text.trim_end(), &mut tokens)?).ok()?;
    Some(Line { words, tokens })
}

/// A token at the start of a text, as `sign` writes one (`shell.rs`), and its length.
fn token(text: &str) -> Option<(Keep, usize)> {
    let until = |start: usize, end: &str| {
        let rest = text.get(start..)?;
        let (inner, _) = rest.split_once(end)?;
        Some((inner, start.saturating_add(inner.len()).saturating_add(end.len())))
    };
    let variable =
        |(name, length): (&str, usize)| is_variable(name).then(|| (Keep::Variable(name.to_owned()), length));
    const FROM_VARIABLE: &str = "$(printf %s \"$";
    const FROM_FILE: &str = "$(tr -d '\\r\\n' <";
    if text.starts_with("${") {
        return until(2, "}").and_then(variable);
    }
    if text.starts_with(FROM_VARIABLE) {
        return until(FROM_VARIABLE.len(), "\" | tr -d '\\r\\n')").and_then(variable);
    }
    let rest = text.strip_prefix(FROM_FILE)?;
    // The first bracket that does not stand within the name.
    rest.match_indices(')').find_map(|(end, _)| {
        let words = shell_words::split(rest.get(..end)?).ok()?;
        let [name] = words.as_slice() else { return None };
        let length = FROM_FILE.len().saturating_add(end).saturating_add(1);
        (shell_words::quote(name) == rest.get(..end)?).then(|| (Keep::File(name.into()), length))
    })
}

/// `$'…'`, which browsers write around what has newlines, quotes or other letters, as plain quotes.
/// And each token as its mark.
fn plainly_quoted(text: &str, tokens: &mut Tokens) -> Option<String> {
    let mut plain = String::new();
    let mut rest = text.chars();
    let mut quote = None;
    while let Some(one) = rest.next() {
        match (one, quote) {
            ('\\', None) if rest.as_str().starts_with(['\r', '\n']) => {
                // A line that goes on after a backslash.
                let behind = rest.as_str();
                let behind =
                    behind.strip_prefix("\r\n").or_else(|| behind.strip_prefix('\n')).unwrap_or(behind);
                rest = behind.chars();
                plain.push(' ');
                continue;
            }
            ('\\', None | Some('"')) => {
                plain.push(one);
                plain.extend(rest.next());
                continue;
            }
            ('$', None | Some('"')) if token(behind_of(text, &rest, one)).is_some() => {
                let whole = behind_of(text, &rest, one);
                let (keep, length) = token(whole)?;
                let (written, behind) = whole.split_at_checked(length)?;
                let mark = tokens.mark;
                plain.push_str(&format!("{mark}{}{mark}", tokens.all.len()));
                tokens.all.push((keep, written.to_owned()));
                rest = behind.chars();
                continue;
            }
            ('$', None) if rest.as_str().starts_with('\'') => {
                rest.next();
                plain.push_str(&shell_words::quote(&ansi(&mut rest)?));
                continue;
            }
            ('\'' | '"', None) => quote = Some(one),
            _ if quote == Some(one) => quote = None,
            _ => {}
        }
        plain.push(one);
    }
    Some(plain)
}

/// The text from the character on that was read last.
fn behind_of<'t>(text: &'t str, rest: &Chars<'t>, one: char) -> &'t str {
    let start = text.len().saturating_sub(rest.as_str().len()).saturating_sub(one.len_utf8());
    text.get(start..).unwrap_or_default()
}

/// The text of `$'…'` up to its end; nothing where it has none, or an escape that is not text.
fn ansi(rest: &mut Chars<'_>) -> Option<String> {
    let mut text = String::new();
    loop {
        match rest.next()? {
            '\'' => return Some(text),
            '\\' => match rest.next()? {
                'n' => text.push('\n'),
                'r' => text.push('\r'),
                't' => text.push('\t'),
                'u' => text.push(code_point(rest, 4)?),
                'U' => text.push(code_point(rest, 8)?),
                // Bytes that are not ASCII could be anything.
                'x' => text.push(code_point(rest, 2).filter(char::is_ascii)?),
                other if other.is_ascii_alphanumeric() => return None,
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
}

/// The character that at most so many hexadecimal digits name. A browser writes one outside the basic plane as two.
fn code_point(rest: &mut Chars<'_>, most: usize) -> Option<char> {
    let first = digits(rest, most)?;
    let decoded = char::from_u32(first);
    if decoded.is_some() {
        return decoded;
    }
    *rest = rest.as_str().strip_prefix("\\u")?.chars();
    let units = [u16::try_from(first).ok()?, u16::try_from(digits(rest, most)?).ok()?];
    char::decode_utf16(units).next()?.ok()
}

fn digits(rest: &mut Chars<'_>, most: usize) -> Option<u32> {
    let text = rest.as_str();
    let count = text.bytes().take(most).take_while(u8::is_ascii_hexdigit).count();
    let (digits, behind) = text.split_at_checked(count)?;
    *rest = behind.chars();
    u32::from_str_radix(digits, 16).ok()
}

/// Options with a value that do not shape the request.
const IGNORED: [&str; 12] = [
    "-o",
    "--output",
    "-w",
    "--write-out",
    "-m",
    "--max-time",
    "--connect-timeout",
    "--retry",
    "--resolve",
    "--cacert",
    "-x",
    "--proxy",
];
/// Options without a value that do not shape the request.
const IGNORED_FLAGS: [&str; 18] = [
    "-s",
    "--silent",
    "-S",
    "--show-error",
    "-v",
    "--verbose",
    "-i",
    "--include",
    "-k",
    "--insecure",
    "-L",
    "--location",
    "-f",
    "--fail",
    "-g",
    "--globoff",
    "--http1.1",
    "--http2",
];

/// The headers of a command: those of its own, and those that curl sends where there is none of that name.
#[derive(Default)]
struct Headers {
    /// The names in lower case that `-H` names, be it to leave the header out.
    own: Vec<String>,
    /// What other options ask for; the last one of a name counts.
    others: Vec<(&'static str, Value)>,
}

/// A header's value, with the token that it may name.
#[derive(Default)]
struct Value {
    text: Vec<u8>,
    token: Option<Token>,
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self { text: text.as_bytes().to_vec(), token: None }
    }
}

impl Headers {
    fn other(&mut self, name: &'static str, value: Value) {
        self.others.retain(|(known, _)| *known != name);
        self.others.push((name, value));
    }

    fn finish(self, capture: &mut Capture) {
        for (name, value) in self.others {
            if !self.own.iter().any(|own| own == name) {
                push(capture, name, value);
            }
        }
    }
}

fn push(capture: &mut Capture, name: &str, value: Value) {
    capture.push(name, &value.text);
    capture.tokens.extend(value.token.map(|token| Token { header: name.to_ascii_lowercase(), ..token }));
}

/// Reads the words after `curl`.
pub(super) fn read(line: &Line, files: &Files<'_>) -> Result<Capture, String> {
    let mut capture = Capture { method: String::new(), ..Capture::default() };
    let tokens = &line.tokens;
    let mut url = None;
    let mut data: Option<Vec<u8>> = None;
    let mut headers = Headers::default();
    let mut cookies: Vec<String> = Vec::new();
    let mut add = |bytes: Vec<u8>, is_json: bool| match &mut data {
        None => data = Some(bytes),
        Some(data) => {
            data.extend_from_slice(if is_json { b"" } else { b"&" });
            data.extend(bytes);
        }
    };
    let mut rest = Words { left: line.words.get(1..).unwrap_or_default().iter(), glued: VecDeque::new() };
    let mut form = None;
    while let Some(word) = rest.option() {
        let word = tokens.restored(&word);
        let mut marked = || rest.value().ok_or_else(|| format!("curl: {word} has no value"));
        let mut value = || marked().map(|text| tokens.restored(&text));
        match word.as_str() {
            "-X" | "--request" => capture.method = value()?,
            "-H" | "--header" => header(&mut capture, &mut headers, tokens, &marked()?)?,
            "-u" | "--user" => headers.other("authorization", credentials(tokens, &marked()?)),
            "-A" | "--user-agent" => headers.other("user-agent", value()?.as_str().into()),
            "-e" | "--referer" => headers.other("referer", value()?.as_str().into()),
            "-b" | "--cookie" => {
                let text = value()?;
                if !text.contains('=') {
                    return Err(
                        "curl: reads its cookies from a file; capture the request as raw HTTP".to_owned()
                    );
                }
                cookies.push(text);
            }
            "--data-raw" => {
                form.get_or_insert("application/x-www-form-urlencoded");
                add(value()?.into_bytes(), false);
            }
            "--data-binary" => {
                form.get_or_insert("application/x-www-form-urlencoded");
                add(content(&value()?, files)?, false);
            }
            // curl takes line ends out of a file that `-d` names.
            "-d" | "--data" | "--data-ascii" => {
                let value = value()?;
                let bytes = content(&value, files)?;
                let is_file = value.starts_with('@');
                form.get_or_insert("application/x-www-form-urlencoded");
                add(bytes.into_iter().filter(|byte| !is_file || !b"\r\n\0".contains(byte)).collect(), false);
            }
            "--json" => {
                form = Some("application/json");
                add(content(&value()?, files)?, true);
                headers.other("accept", "application/json".into());
            }
            "--url" => url = Some(value()?),
            "--compressed" => headers.other("accept-encoding", "gzip".into()),
            "-I" | "--head" => capture.method = "HEAD".to_owned(),
            option if IGNORED.contains(&option) => drop(value()?),
            flag if IGNORED_FLAGS.contains(&flag) => {}
            option if option.starts_with('-') && option != "-" => {
                return Err(format!(
                    "curl: the option {option} is not known here; capture the request as raw HTTP"
                ));
            }
            _ if url.is_some() => return Err(format!("curl: {word:?} is a second URL")),
            _ => url = Some(word),
        }
    }
    if let Some(form) = form {
        headers.other("content-type", form.into());
    }
    if !cookies.is_empty() {
        headers.other("cookie", cookies.join("; ").as_str().into());
    }
    headers.finish(&mut capture);
    if capture.method.is_empty() {
        capture.method = if data.is_none() { "GET" } else { "POST" }.to_owned();
    }
    capture.body = data.unwrap_or_default();
    let host = std::mem::take(&mut capture.authority);
    capture.set_url(&url.ok_or("curl: there is no URL")?);
    if !host.is_empty() {
        capture.authority = host;
    }
    Ok(capture)
}

/// What is left of the words. Only an option is split: a value may begin with a hyphen, as the bodies of many forms do.
struct Words<'l> {
    left: std::slice::Iter<'l, String>,
    /// What stood in one word with the last option.
    glued: VecDeque<String>,
}

impl Words<'_> {
    fn option(&mut self) -> Option<String> {
        if self.glued.is_empty() {
            self.glued.extend(split(self.left.next()?));
        }
        self.glued.pop_front()
    }

    fn value(&mut self) -> Option<String> {
        self.glued.pop_front().or_else(|| self.left.next().cloned())
    }
}

/// `-sSXPOST` as `-s`, `-S`, `-X`, `POST`, and `--header=x` as two words.
fn split(word: &str) -> Vec<String> {
    if word.starts_with("--") {
        let parts = word.split_once('=').map(|(name, value)| vec![name.to_owned(), value.to_owned()]);
        return parts.unwrap_or_else(|| vec![word.to_owned()]);
    }
    let Some(letters) = word.strip_prefix('-') else { return vec![word.to_owned()] };
    let mut words = Vec::new();
    for (index, letter) in letters.char_indices() {
        let option = format!("-{letter}");
        let has_value = !IGNORED_FLAGS.contains(&option.as_str()) && option != "-I";
        words.push(option);
        let behind = letters.get(index.saturating_add(letter.len_utf8())..).unwrap_or_default();
        if has_value {
            words.extend(Some(behind.to_owned()).filter(|value| !value.is_empty()));
            break;
        }
    }
    if words.is_empty() { vec![word.to_owned()] } else { words }
}

/// A header of the command's own. `name:` leaves one out, and `name;` sends an empty one.
fn header(capture: &mut Capture, headers: &mut Headers, tokens: &Tokens, marked: &str) -> Result<(), String> {
    let line = tokens.restored(marked);
    if line.starts_with('@') {
        return Err("curl: reads headers from a file; capture the request as raw HTTP".to_owned());
    }
    let Some((name, value)) = marked.split_once(':') else {
        let name = line.strip_suffix(';').ok_or_else(|| format!("curl: {line:?} is not a header"))?;
        headers.own.push(name.trim().to_ascii_lowercase());
        capture.push(name.trim(), b"");
        return Ok(());
    };
    let name = tokens.restored(name);
    headers.own.push(name.trim().to_ascii_lowercase());
    let value = value.trim();
    if !value.is_empty() {
        push(capture, name.trim(), named(tokens, value, false));
    }
    Ok(())
}

fn credentials(tokens: &Tokens, marked: &str) -> Value {
    let mut value = named(tokens, marked, true);
    value.text = basic(&value.text).into_bytes();
    value
}

/// The value of the Basic scheme (RFC 7617).
pub(super) fn basic(credentials: &[u8]) -> String {
    format!("Basic {}", BASE64.encode(credentials))
}

/// A text with the one token that it may name.
fn named(tokens: &Tokens, marked: &str, is_basic: bool) -> Value {
    let text = tokens.restored(marked).into_bytes();
    let token = tokens.split(marked).filter(|(.., after)| tokens.split(after).is_none());
    let token = token.map(|(before, (keep, written), after)| Token {
        header: String::new(),
        keep: keep.clone(),
        written: written.clone(),
        before: before.to_owned(),
        after: after.to_owned(),
        is_basic,
    });
    Value { text, token }
}

/// The value, or the content of the file that `@` names.
fn content(value: &str, files: &Files<'_>) -> Result<Vec<u8>, String> {
    match value.strip_prefix('@') {
        Some("-") => Err("curl: reads its body from stdin; give it with --body".to_owned()),
        Some(name) => files.read(name).map_err(|what| format!("curl: {what}")),
        None => Ok(value.as_bytes().to_vec()),
    }
}
