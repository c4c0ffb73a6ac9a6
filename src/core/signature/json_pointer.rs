//! A value inside a JSON body, found while the body streams by.
//!
//! Responsible for following a JSON pointer (RFC 6901) through objects and lists without keeping the body and without
//! recursion: what a body can make grow is one number. A key that occurs twice on the way, or that is written with
//! escapes, makes the answer ambiguous.

use crate::budget::heap;
use std::sync::Arc;

/// Longer keys and values are not compared or kept.
const LONGEST: usize = 1024;

/// The parts of a JSON pointer: unescaped, at least one.
pub type Pointer = Arc<[Vec<u8>]>;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// No such value.
    Absent,
    /// More than one reading: a key twice, a key or text with escapes, or a text that is too long.
    Malformed,
    /// The text of a string.
    Text(Vec<u8>),
    /// A number, `true`, `false` or `null`, as it stands.
    Word(Vec<u8>),
}

impl Answer {
    /// The value, whatever its type; nothing where there is none or more than one reading.
    #[must_use]
    pub fn value(self) -> Option<Vec<u8>> {
        match self {
            Self::Text(value) | Self::Word(value) => Some(value),
            Self::Absent | Self::Malformed => None,
        }
    }
}

/// A search in the making.
#[derive(Clone, Debug)]
pub struct Search {
    path: Pointer,
    /// How many containers are open.
    depth: usize,
    /// The open containers that lie on the path: at most as many as the pointer has parts.
    open: Vec<Container>,
    text: Option<Text>,
    /// What a string or word at this place is.
    expecting: Expecting,
    scalar: Vec<u8>,
    answer: Answer,
    /// What is found where the path leads through every entry of a list.
    each: Option<Box<Each>>,
}

/// What is found at the end of a path that leads through every entry of a list.
#[derive(Clone, Debug, Default)]
struct Each {
    values: Vec<Vec<u8>>,
    /// How many values there were.
    found: usize,
    /// How many entries the list has.
    entries: usize,
}

/// The part of a path that leads through every entry of a list.
pub const EVERY: &[u8] = b"*";

#[derive(Clone, Debug)]
struct Container {
    is_object: bool,
    /// The list entry that the path leads through, where this is a list.
    wanted: Option<usize>,
    /// Whether it is the list of which the path leads through every entry.
    is_each: bool,
    /// The index of the list entry that is being read.
    index: usize,
    /// Whether the part of the path was seen in it.
    is_seen: bool,
}

#[derive(Clone, Debug, Default)]
struct Text {
    bytes: Vec<u8>,
    is_odd: bool,
    is_escaped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expecting {
    /// Nothing that matters.
    Nothing,
    /// A key of the innermost open container.
    Key,
    /// The value that the path leads to or through.
    Value,
}

/// Reads a pointer (RFC 6901); nothing where the text is none, or leads to the whole document.
#[must_use]
pub fn pointer(text: &str) -> Option<Pointer> {
    let parts = text.strip_prefix('/')?.split('/');
    parts
        .map(|part| {
            let tildes = part.matches('~').count();
            let known = part.matches("~0").count().saturating_add(part.matches("~1").count());
            (tildes == known).then(|| part.replace("~1", "/").replace("~0", "~").into_bytes())
        })
        .collect()
}

/// The pointer as it is written.
#[must_use]
pub fn text(path: &[Vec<u8>]) -> String {
    let part = |part: &Vec<u8>| String::from_utf8_lossy(part).replace('~', "~0").replace('/', "~1");
    path.iter().map(|one| format!("/{}", part(one))).collect()
}

impl Search {
    /// A search for the value that these parts lead to.
    #[must_use]
    pub const fn new(path: Pointer) -> Self {
        Self {
            path,
            depth: 0,
            open: Vec::new(),
            text: None,
            expecting: Expecting::Value,
            scalar: Vec::new(),
            answer: Answer::Absent,
            each: None,
        }
    }

    /// A search for the values that these parts lead to, of which [`EVERY`] leads through every entry of a list.
    #[must_use]
    pub fn for_each(path: Pointer) -> Self {
        let has_every = path.iter().any(|part| part == EVERY);
        Self { each: has_every.then(Box::default), ..Self::new(path) }
    }

    /// The values that were found since this was last asked, where the search is for those of every entry.
    pub fn take_values(&mut self) -> Vec<Vec<u8>> {
        self.each.as_mut().map(|each| std::mem::take(&mut each.values)).unwrap_or_default()
    }

    /// What was found, where the search is for the values of every entry: nothing while there is an entry without one, or no
    /// entry.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let each = self.each.as_ref();
        self.answer != Answer::Malformed
            && each.is_some_and(|each| each.found > 0 && each.found == each.entries)
    }

    /// Whether the search is for the values of every entry of a list.
    #[must_use]
    pub const fn is_for_each(&self) -> bool {
        self.each.is_some()
    }

    /// Reads the next bytes of the body.
    pub fn update(&mut self, chunk: &[u8]) {
        for byte in chunk {
            match &mut self.text {
                Some(text) => {
                    if text.push(*byte) {
                        self.end_text();
                    }
                }
                None => self.outside(*byte),
            }
        }
    }

    /// What was found.
    #[must_use]
    pub fn finish(mut self) -> Answer {
        self.end_scalar();
        self.answer
    }

    /// The bytes on the heap that are kept of the body, which is less than four times the longest value.
    pub(crate) fn kept_bytes(&self) -> usize {
        let text = self.text.as_ref().map_or(0, |text| heap(&text.bytes));
        let answer = match &self.answer {
            Answer::Text(value) | Answer::Word(value) => heap(value),
            Answer::Absent | Answer::Malformed => 0,
        };
        let each = self.each.as_ref().map_or(0, |each| {
            let values: usize = each.values.iter().map(heap).sum();
            size_of::<Each>().saturating_add(16).saturating_add(heap(&each.values)).saturating_add(values)
        });
        [heap(&self.open), heap(&self.scalar), text, answer, each].into_iter().fold(0, usize::saturating_add)
    }

    fn outside(&mut self, byte: u8) {
        match byte {
            b'"' => self.text = Some(Text::default()),
            b'{' | b'[' => self.enter(byte == b'{'),
            b'}' | b']' => {
                self.end_scalar();
                self.leave();
            }
            b',' => {
                self.end_scalar();
                self.next();
            }
            b':' | b' ' | b'\t' | b'\n' | b'\r' => self.end_scalar(),
            _ if self.expecting == Expecting::Value && self.scalar.len() <= LONGEST => self.scalar.push(byte),
            _ => {}
        }
    }

    /// Whether the innermost open container is one of the path's.
    const fn is_on_path(&self) -> bool {
        self.depth == self.open.len()
    }

    fn enter(&mut self, is_object: bool) {
        let leads_on = self.is_on_path() && self.expecting == Expecting::Value;
        self.depth = self.depth.saturating_add(1);
        if leads_on && self.open.len() < self.path.len() {
            let part = self.path.get(self.open.len()).filter(|_| !is_object);
            let wanted = part.and_then(|part| index(part));
            let is_each = self.each.is_some() && part.is_some_and(|part| part == EVERY);
            self.open.push(Container { is_object, wanted, is_each, index: 0, is_seen: false });
            self.expect_in_container();
        } else {
            self.expecting = Expecting::Nothing;
        }
    }

    fn leave(&mut self) {
        if self.is_on_path()
            && let Some(list) = self.open.pop().filter(|container| container.is_each)
            && let Some(each) = &mut self.each
        {
            each.entries = each.entries.saturating_add(list.index).saturating_add(1);
        }
        self.depth = self.depth.saturating_sub(1);
        self.expecting = Expecting::Nothing;
    }

    fn next(&mut self) {
        if self.is_on_path() {
            if let Some(container) = self.open.last_mut() {
                container.index = container.index.saturating_add(1);
            }
            self.expect_in_container();
        }
    }

    /// What comes at the start of a member or entry.
    fn expect_in_container(&mut self) {
        self.expecting = match self.open.last() {
            Some(container) if container.is_object => Expecting::Key,
            Some(container) if container.is_each || container.wanted == Some(container.index) => {
                Expecting::Value
            }
            _ => Expecting::Nothing,
        };
    }

    fn end_text(&mut self) {
        let Some(text) = self.text.take() else { return };
        if !self.is_on_path() {
            return;
        }
        match self.expecting {
            Expecting::Nothing => {}
            Expecting::Key => self.key(&text),
            Expecting::Value => {
                let answer = if text.is_odd { Answer::Malformed } else { Answer::Text(text.bytes) };
                self.settle(answer);
            }
        }
    }

    fn key(&mut self, text: &Text) {
        self.expecting = Expecting::Nothing;
        if text.is_odd {
            // It could be the same key once more, in disguise.
            self.answer = Answer::Malformed;
            return;
        }
        let part = self.open.len().checked_sub(1).and_then(|at| self.path.get(at));
        if part != Some(&text.bytes) {
            return;
        }
        if let Some(container) = self.open.last_mut() {
            if std::mem::replace(&mut container.is_seen, true) {
                self.answer = Answer::Malformed;
            }
            self.expecting = Expecting::Value;
        }
    }

    fn end_scalar(&mut self) {
        let scalar = std::mem::take(&mut self.scalar);
        if scalar.len() > LONGEST {
            self.settle(Answer::Malformed);
        } else if !scalar.is_empty() && self.expecting == Expecting::Value && self.is_on_path() {
            self.settle(Answer::Word(scalar));
        }
    }

    /// A scalar where the path leads on is no value of it.
    fn settle(&mut self, answer: Answer) {
        self.expecting = Expecting::Nothing;
        if self.open.len() == self.path.len() && self.answer != Answer::Malformed {
            match (&mut self.each, answer) {
                (Some(each), Answer::Text(value) | Answer::Word(value)) => {
                    each.found = each.found.saturating_add(1);
                    each.values.push(value);
                }
                (_, answer) => self.answer = answer,
            }
        }
    }
}

/// The list index that a part of a pointer names: digits without a leading zero (RFC 6901 4).
fn index(part: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(part).ok()?;
    let is_canonical = text == "0" || !text.starts_with(['0', '+']);
    if is_canonical { text.parse().ok() } else { None }
}

impl Text {
    /// Takes the next byte; true when the text is over.
    fn push(&mut self, byte: u8) -> bool {
        if std::mem::take(&mut self.is_escaped) {
            return false;
        }
        match byte {
            b'"' => return true,
            b'\\' => {
                self.is_escaped = true;
                self.is_odd = true;
            }
            _ if self.bytes.len() < LONGEST => self.bytes.push(byte),
            _ => self.is_odd = true,
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Answer {
        Answer::Text(text.as_bytes().to_vec())
    }

    fn word(text: &str) -> Answer {
        Answer::Word(text.as_bytes().to_vec())
    }

    #[test]
    fn a_pointer_leads_to_its_value_under_every_chunking() {
        let deep = format!("{{\"x\":{}1{},\"t\":5}}", "[".repeat(5000), "]".repeat(5000));
        let rows: Vec<(&str, &str, Answer)> = vec![
            ("/t", r#"{"t": 17}"#, word("17")),
            ("/t", r#"{"t":"17"}"#, text("17")),
            ("/t", "{\"a\":[{\"t\":1}],\n\"t\"\t:\t17\n}", word("17")),
            ("/t", r#"{"a":{"t":1},"b":"t","t":true}"#, word("true")),
            ("/a/t", r#"{"t":1,"a":{"b":{"t":2},"t":3}}"#, word("3")),
            ("/a/1/t", r#"{"a":[{"t":1},{"t":2},{"t":3}]}"#, word("2")),
            ("/0", "[7,8]", word("7")),
            ("/a~1b", r#"{"a/b":1}"#, word("1")),
            ("/t", r#"{"t":{"a":1}}"#, Answer::Absent),
            ("/t", r#"{"T":1}"#, Answer::Absent),
            ("/t", r#"[{"t":1}]"#, Answer::Absent),
            ("/t/u", r#"{"t":1}"#, Answer::Absent),
            ("/t", "17", Answer::Absent),
            ("/t", "", Answer::Absent),
            ("/t", r#"{"a":"\"t\":1"}"#, Answer::Absent),
            ("/t", r#"{"t":1,"t":1}"#, Answer::Malformed),
            ("/t", r#"{"t":1,"t":{}}"#, Answer::Malformed),
            ("/a/t", r#"{"a":{"t":1},"a":{}}"#, Answer::Malformed),
            ("/t", r#"{"t":1,"\u0074":2}"#, Answer::Malformed),
            ("/t", r#"{"t":"\u0031"}"#, Answer::Malformed),
            ("/t", r#"{"a":{"t":1,"t":2},"t":3}"#, word("3")),
            ("/t", &deep, word("5")),
        ];
        for (path, body, answer) in rows {
            for size in [1, 2, 3, 7, body.len().max(1)] {
                let mut search = Search::new(pointer(path).unwrap());
                body.as_bytes().chunks(size).for_each(|chunk| search.update(chunk));
                let shown: String = body.chars().take(60).collect();
                assert_eq!(search.finish(), answer, "{path} in {shown} by {size}");
            }
        }
    }

    #[test]
    fn no_value_is_longer_than_the_longest_and_what_is_elsewhere_may_be() {
        let (longest, longer) = ("1".repeat(LONGEST), "1".repeat(LONGEST + 1));
        for (body, answer) in [
            (format!(r#"{{"t":{longest}}}"#), word(&longest)),
            (format!(r#"{{"t":{longer}}}"#), Answer::Malformed),
            (format!(r#"{{"t":"{longest}"}}"#), text(&longest)),
            (format!(r#"{{"t":"{longer}"}}"#), Answer::Malformed),
            (format!(r#"{{"a":{longer},"t":1}}"#), word("1")),
            (format!(r#"{{"a":"{longer}","t":1}}"#), word("1")),
            (r#"{"t":{"\u0061":1}}"#.to_owned(), Answer::Absent),
        ] {
            let mut search = Search::new(pointer("/t").unwrap());
            search.update(body.as_bytes());
            let shown: String = body.chars().take(60).collect();
            assert_eq!(search.finish(), answer, "{shown}");
        }
    }

    #[test]
    fn a_pointer_is_written_as_it_is_read() {
        for pointed in ["/a", "/a~1b/m~0n/0", "/~01"] {
            assert_eq!(super::text(&pointer(pointed).unwrap()), pointed);
        }
    }

    #[test]
    fn the_values_of_every_entry_are_found_and_a_missing_one_is_told() {
        let rows: [(&str, &[&str], bool); 13] = [
            (r#"{"v":[{"s":"a"},{"s":"b","x":{"s":"c"}}]}"#, &["a", "b"], true),
            (r#"{"v":[{"x":[1,{"s":"c"}],"s":1}]}"#, &["1"], true),
            (r#"{"v":[]}"#, &[], false),
            (r#"{"v":{}}"#, &[], false),
            (r#"{"v":{"*":{"s":"a"}}}"#, &["a"], false),
            ("{}", &[], false),
            (r#"{"v":[{"s":"a"},{}]}"#, &["a"], false),
            (r#"{"v":[{"s":"a"},1]}"#, &["a"], false),
            (r#"{"v":[{"s":"a"},[{"s":"b"}]]}"#, &["a"], false),
            (r#"{"v":[{"s":"a","s":"b"},{}]}"#, &["a"], false),
            (r#"{"v":[{"s":"a","\u0073":"b"}]}"#, &["a"], false),
            (r#"{"v":[{"s":"a"}],"v":[{"s":"b"}]}"#, &["a"], false),
            (r#"{"v":[{"s":"a"}"#, &["a"], false),
        ];
        for (body, values, is_complete) in rows {
            for size in [1, 3, body.len()] {
                let mut search = Search::for_each(pointer("/v/*/s").unwrap());
                body.as_bytes().chunks(size).for_each(|chunk| search.update(chunk));
                assert_eq!(search.is_complete(), is_complete, "{body} by {size}");
                let found = search.take_values();
                let found: Vec<&str> = found.iter().map(|one| std::str::from_utf8(one).unwrap()).collect();
                assert!(!is_complete || found == values, "{body} by {size}: {found:?}");
            }
        }
        assert!(!Search::for_each(pointer("/v/0/s").unwrap()).is_for_each());
    }

    #[test]
    fn what_is_no_pointer_is_none() {
        for text in ["", "t", "/a~", "/a~2"] {
            assert_eq!(pointer(text), None, "{text}");
        }
    }
}
