//! JSON written anew, as the libraries of the usual languages write it.
//!
//! Responsible for keeping every value as it stands but for what a rewriting is about: blanks, the order of keys,
//! escapes in texts. Bodies that are no JSON, or nested too deep, are not rewritten.

use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};
use std::io::{self, Write};

const DEEPEST: usize = 200;

/// A JSON value; texts without their quotes, numbers and words as they stand.
///
/// `serde_json` says what is JSON, and writes blanks and texts. This tree and its reading are made by hand: in a `Value`
/// a number loses how it was written, a text its escapes, a key that stands twice its first value, and a body that is
/// not UTF-8, or has half a surrogate pair, cannot be one.
pub(crate) enum Tree<'b> {
    Word(&'b [u8]),
    Text(&'b [u8]),
    List(Vec<Tree<'b>>),
    Object(Vec<(&'b [u8], Tree<'b>)>),
}

/// What stands between values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blanks {
    /// Nothing.
    Minified,
    /// A blank after each comma and colon, as Python writes it.
    Python,
    /// A line a value, indented by that.
    Lines(&'static [u8]),
}

/// How texts are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escapes {
    /// As they came.
    Kept,
    /// Only what must be.
    Least,
    /// All but ASCII, as Python and PHP write it.
    Ascii,
    /// The slash too, as PHP writes it.
    AsciiAndSlash,
    /// The slash, and nothing else that need not be.
    Slash,
    /// `<`, `>` and `&`, as Go writes them.
    Html,
}

impl<'b> Tree<'b> {
    /// Reads a body that is JSON and nothing else.
    pub(crate) fn read(body: &'b [u8]) -> Option<Self> {
        serde_json::from_slice::<serde::de::IgnoredAny>(body).ok()?;
        value(&mut &*body, 0)
    }

    /// Writes it.
    pub(crate) fn write(&self, blanks: Blanks, is_sorted: bool, escapes: Escapes) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let indented = |indent| PrettyFormatter::with_indent(indent);
        match blanks {
            Blanks::Minified => self.put(&mut out, &mut CompactFormatter, is_sorted, escapes),
            Blanks::Python => self.put(&mut out, &mut PythonFormatter, is_sorted, escapes),
            Blanks::Lines(indent) => self.put(&mut out, &mut indented(indent), is_sorted, escapes),
        }?;
        Ok(out)
    }

    fn put(
        &self,
        out: &mut Vec<u8>,
        form: &mut impl Formatter,
        is_sorted: bool,
        escapes: Escapes,
    ) -> io::Result<()> {
        match self {
            Self::Word(word) => out.write_all(word),
            Self::Text(text) => out.write_all(&quoted(text, escapes)),
            Self::List(items) => {
                form.begin_array(out)?;
                for (index, item) in items.iter().enumerate() {
                    form.begin_array_value(out, index == 0)?;
                    item.put(out, form, is_sorted, escapes)?;
                    form.end_array_value(out)?;
                }
                form.end_array(out)
            }
            Self::Object(members) => {
                let mut order: Vec<&(&[u8], Tree<'_>)> = members.iter().collect();
                if is_sorted {
                    order.sort_by_key(|(key, _)| *key);
                }
                form.begin_object(out)?;
                for (index, (key, value)) in order.into_iter().enumerate() {
                    form.begin_object_key(out, index == 0)?;
                    out.write_all(&quoted(key, escapes))?;
                    form.end_object_key(out)?;
                    form.begin_object_value(out)?;
                    value.put(out, form, is_sorted, escapes)?;
                    form.end_object_value(out)?;
                }
                form.end_object(out)
            }
        }
    }
}

/// The blanks of Python's `json.dumps`.
struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, is_first: bool) -> io::Result<()> {
        out.write_all(if is_first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, is_first: bool) -> io::Result<()> {
        self.begin_array_value(out, is_first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

/// The text in quotes; as it stands where it is none in UTF-8, such as half a surrogate pair.
fn quoted(raw: &[u8], escapes: Escapes) -> Vec<u8> {
    let kept = [b"\"", raw, b"\""].concat();
    if escapes == Escapes::Kept {
        return kept;
    }
    let read: Option<String> = serde_json::from_slice(&kept).ok();
    // What must be escaped is; all else that is asked for occurs in no escape.
    let Some(least) = read.and_then(|text| serde_json::to_string(&text).ok()) else { return kept };
    let is_ascii = matches!(escapes, Escapes::Ascii | Escapes::AsciiAndSlash);
    let has_slash = matches!(escapes, Escapes::Slash | Escapes::AsciiAndSlash);
    let mut text = String::with_capacity(least.len());
    for one in least.chars() {
        let is_html = escapes == Escapes::Html && matches!(one, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        if one == '/' && has_slash {
            text.push_str("\\/");
        } else if is_html || (is_ascii && !one.is_ascii()) {
            text.extend(one.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            text.push(one);
        }
    }
    text.into_bytes()
}

/// Skips what stands between values: the body is known to be JSON.
fn skip(rest: &mut &[u8]) {
    let is_between = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b':');
    let start = rest.iter().position(|byte| !is_between(byte)).unwrap_or(rest.len());
    *rest = rest.get(start..).unwrap_or_default();
}

fn take(rest: &mut &[u8], byte: u8) -> Option<()> {
    *rest = rest.strip_prefix(&[byte])?;
    Some(())
}

fn value<'b>(rest: &mut &'b [u8], depth: usize) -> Option<Tree<'b>> {
    if depth > DEEPEST {
        return None;
    }
    let inner = depth.saturating_add(1);
    skip(rest);
    match rest.first()? {
        b'"' => text(rest).map(Tree::Text),
        b'[' => {
            let mut items = Vec::new();
            take(rest, b'[')?;
            loop {
                skip(rest);
                if take(rest, b']').is_some() {
                    return Some(Tree::List(items));
                }
                items.push(value(rest, inner)?);
            }
        }
        b'{' => {
            let mut members = Vec::new();
            take(rest, b'{')?;
            loop {
                skip(rest);
                if take(rest, b'}').is_some() {
                    return Some(Tree::Object(members));
                }
                let key = text(rest)?;
                members.push((key, value(rest, inner)?));
            }
        }
        _ => {
            let end = rest.iter().position(|byte| b",]} \t\r\n".contains(byte)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at_checked(end)?;
            *rest = behind;
            Some(Tree::Word(word))
        }
    }
}

/// A text without its quotes, as it stands.
fn text<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    take(rest, b'"')?;
    let mut is_escaped = false;
    let end = rest.iter().position(|byte| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    })?;
    let (text, behind) = rest.split_at_checked(end)?;
    *rest = behind;
    take(rest, b'"')?;
    Some(text)
}
