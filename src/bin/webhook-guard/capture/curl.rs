//! A curl command line, as a browser or a provider's "copy as curl" gives it.
//!
//! Responsible for the options that shape a request. Refuses to guess at any other: an option that is not known could
//! be the one that matters.

use super::{Capture, read_file};
use data_encoding::BASE64;
use std::path::Path;
use std::str::Chars;

/// The words of a command line, where the text is one of curl's.
pub(super) fn command_line(text: &str) -> Option<Vec<String>> {
    let text = text.strip_prefix("$ ").unwrap_or(text);
    if !text.starts_with("curl ") && !text.starts_with("curl\t") {
        return None;
    }
    shell_words::split(&plainly_quoted(text.trim_end())?).ok()
}

/// `$'…'`, which browsers write around what has newlines, quotes or other letters, as plain quotes.
fn plainly_quoted(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = text.chars();
    let mut quote = None;
    while let Some(one) = rest.next() {
        match (one, quote) {
            ('\\', None) if rest.as_str().starts_with(['\r', '\n']) => {
                // A line that goes on behind a backslash.
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

/// Reads the words behind `curl`.
pub(super) fn read(words: &[String], directory: &Path) -> Result<Capture, String> {
    let mut capture = Capture { method: String::new(), ..Capture::default() };
    let mut url = None;
    let mut data: Vec<Vec<u8>> = Vec::new();
    let mut is_form = false;
    let mut rest = words.iter().skip(1).flat_map(|word| split(word));
    while let Some(word) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("curl: {word} has no value"));
        match word.as_str() {
            "-X" | "--request" => capture.method = value()?,
            "-H" | "--header" => header(&mut capture, &value()?)?,
            "-u" | "--user" => {
                let credentials = BASE64.encode(value()?.as_bytes());
                capture.push("authorization", format!("Basic {credentials}").as_bytes());
            }
            "-A" | "--user-agent" => capture.push("user-agent", value()?.as_bytes()),
            "-e" | "--referer" => capture.push("referer", value()?.as_bytes()),
            "-b" | "--cookie" => capture.push("cookie", value()?.as_bytes()),
            "--data-raw" => data.push(value()?.into_bytes()),
            "--data-binary" => data.push(content(&value()?, directory)?),
            // curl takes line ends out of a file that `-d` names.
            "-d" | "--data" | "--data-ascii" => {
                let value = value()?;
                let bytes = content(&value, directory)?;
                let is_file = value.starts_with('@');
                data.push(bytes.into_iter().filter(|byte| !is_file || !b"\r\n\0".contains(byte)).collect());
            }
            "--json" => {
                is_form = true;
                data.push(content(&value()?, directory)?);
                for (name, text) in [("content-type", "application/json"), ("accept", "application/json")] {
                    if capture.field(name).is_none() {
                        capture.push(name, text.as_bytes());
                    }
                }
            }
            "--url" => url = Some(value()?),
            "--compressed" => capture.push("accept-encoding", b"gzip"),
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
    capture.body = data.join(&b"&"[..]);
    if !data.is_empty() && !is_form && capture.field("content-type").is_none() {
        capture.push("content-type", b"application/x-www-form-urlencoded");
    }
    if capture.method.is_empty() {
        capture.method = if data.is_empty() { "GET" } else { "POST" }.to_owned();
    }
    let host = std::mem::take(&mut capture.authority);
    capture.set_url(&url.ok_or("curl: there is no URL")?);
    if !host.is_empty() {
        capture.authority = host;
    }
    Ok(capture)
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

fn header(capture: &mut Capture, line: &str) -> Result<(), String> {
    match line.split_once(':') {
        Some((name, value)) => capture.push(name.trim(), value.trim().as_bytes()),
        None => {
            let name = line.strip_suffix(';').ok_or_else(|| format!("curl: {line:?} is not a header"))?;
            capture.push(name, b"");
        }
    }
    Ok(())
}

/// The value, or the content of the file that `@` names.
fn content(value: &str, directory: &Path) -> Result<Vec<u8>, String> {
    match value.strip_prefix('@') {
        Some("-") => Err("curl: reads its body from stdin; give it with --body".to_owned()),
        Some(name) => read_file(&directory.join(name)).map_err(|failure| failure.0),
        None => Ok(value.as_bytes().to_vec()),
    }
}
