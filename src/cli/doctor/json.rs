//! JSON written anew, as the libraries of the usual languages write it.
//!
//! Responsible for keeping every value as it stands but for what a rewriting is about: blanks, the order of keys,
//! escapes in texts. Refuses bodies that are no JSON, or nested too deep.

const DEEPEST: usize = 200;

/// A JSON value; texts without their quotes, numbers and words as they stand.
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
    /// A blank behind each comma and colon, as Python writes it.
    Python,
    /// A line a value, indented by that many blanks.
    Lines(usize),
    /// The same with tabs.
    Tabs,
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
        let mut rest = body;
        value(&mut rest, 0)
    }

    /// Writes it.
    pub(crate) fn write(&self, blanks: Blanks, is_sorted: bool, escapes: Escapes) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_into(&mut out, blanks, is_sorted, escapes, 0);
        out
    }

    fn write_into(&self, out: &mut Vec<u8>, blanks: Blanks, is_sorted: bool, escapes: Escapes, depth: usize) {
        let inner = depth.saturating_add(1);
        match self {
            Self::Word(word) => out.extend_from_slice(word),
            Self::Text(text) => quoted(out, text, escapes),
            Self::List(items) if items.is_empty() => out.extend_from_slice(b"[]"),
            Self::Object(members) if members.is_empty() => out.extend_from_slice(b"{}"),
            Self::List(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    comma(out, blanks, index, inner);
                    item.write_into(out, blanks, is_sorted, escapes, inner);
                }
                line(out, blanks, depth);
                out.push(b']');
            }
            Self::Object(members) => {
                let mut order: Vec<&(&[u8], Tree<'_>)> = members.iter().collect();
                if is_sorted {
                    order.sort_by_key(|(key, _)| *key);
                }
                out.push(b'{');
                for (index, (key, value)) in order.into_iter().enumerate() {
                    comma(out, blanks, index, inner);
                    quoted(out, key, escapes);
                    out.extend_from_slice(if blanks == Blanks::Minified { b":" } else { b": " });
                    value.write_into(out, blanks, is_sorted, escapes, inner);
                }
                line(out, blanks, depth);
                out.push(b'}');
            }
        }
    }
}

fn comma(out: &mut Vec<u8>, blanks: Blanks, index: usize, depth: usize) {
    if index > 0 {
        out.extend_from_slice(if blanks == Blanks::Python { b", " } else { b"," });
    }
    line(out, blanks, depth);
}

fn line(out: &mut Vec<u8>, blanks: Blanks, depth: usize) {
    let (byte, count) = match blanks {
        Blanks::Minified | Blanks::Python => return,
        Blanks::Lines(indent) => (b' ', indent.saturating_mul(depth)),
        Blanks::Tabs => (b'\t', depth),
    };
    out.push(b'\n');
    out.extend(std::iter::repeat_n(byte, count));
}

fn quoted(out: &mut Vec<u8>, raw: &[u8], escapes: Escapes) {
    out.push(b'"');
    match escapes {
        Escapes::Kept => out.extend_from_slice(raw),
        _ => match unescaped(raw) {
            Some(text) => text.chars().for_each(|one| escape(out, one, escapes)),
            None => out.extend_from_slice(raw),
        },
    }
    out.push(b'"');
}

/// The text; nothing where it is none in UTF-8, such as half a surrogate pair.
fn unescaped(raw: &[u8]) -> Option<String> {
    if !raw.contains(&b'\\') {
        return std::str::from_utf8(raw).ok().map(str::to_owned);
    }
    serde_json::from_slice(&[b"\"", raw, b"\""].concat()).ok()
}

fn escape(out: &mut Vec<u8>, one: char, escapes: Escapes) {
    let ascii = matches!(escapes, Escapes::Ascii | Escapes::AsciiAndSlash);
    let slash = matches!(escapes, Escapes::Slash | Escapes::AsciiAndSlash);
    let html = escapes == Escapes::Html && matches!(one, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
    let short: Option<&[u8]> = match one {
        '"' => Some(b"\\\""),
        '\\' => Some(b"\\\\"),
        '\n' => Some(b"\\n"),
        '\r' => Some(b"\\r"),
        '\t' => Some(b"\\t"),
        '\u{8}' => Some(b"\\b"),
        '\u{c}' => Some(b"\\f"),
        '/' if slash => Some(b"\\/"),
        _ => None,
    };
    let mut buffer = [0; 4];
    if let Some(short) = short {
        out.extend_from_slice(short);
    } else if one < ' ' || html || (ascii && !one.is_ascii()) {
        let mut units = [0; 2];
        for unit in one.encode_utf16(&mut units) {
            out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
        }
    } else {
        out.extend_from_slice(one.encode_utf8(&mut buffer).as_bytes());
    }
}

fn blank(rest: &mut &[u8]) {
    *rest = rest.trim_ascii_start();
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
    blank(rest);
    match rest.first()? {
        b'"' => text(rest).map(Tree::Text),
        b'[' => {
            let mut items = Vec::new();
            take(rest, b'[')?;
            loop {
                blank(rest);
                if take(rest, b']').is_some() {
                    return Some(Tree::List(items));
                }
                if !items.is_empty() {
                    take(rest, b',')?;
                }
                items.push(value(rest, inner)?);
            }
        }
        b'{' => {
            let mut members = Vec::new();
            take(rest, b'{')?;
            loop {
                blank(rest);
                if take(rest, b'}').is_some() {
                    return Some(Tree::Object(members));
                }
                if !members.is_empty() {
                    take(rest, b',')?;
                    blank(rest);
                }
                let key = text(rest)?;
                blank(rest);
                take(rest, b':')?;
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
