//! What a command says, for people first.
//!
//! Responsible for tables, colour (on a terminal only, and never with `NO_COLOR`) and failures, and for making visible
//! what a terminal would act upon: whatever is printed is a [`Text`], and nothing gets into one in another way.

use crate::output::shell::Command;
use anstyle::{AnsiColor, Style};
use serde_json::Value;
use std::fmt;
use std::io::Write as _;
use std::path::Path;

/// Whether a terminal would do something else with a character than show it: control characters (those after ASCII
/// too), marks that turn the direction of a text, and whatever else has no shape of its own.
pub(crate) fn is_unseen(one: char) -> bool {
    // The standard library knows what can be printed; quotes and backslashes it escapes for other reasons.
    !matches!(one, '"' | '\'' | '\\') && one.escape_debug().next() != Some(one)
}

/// A text with every character that a terminal would act upon written as an escape: `\x1b`, `\n`, `\u{202e}`.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for one in text.chars() {
        match one {
            _ if !is_unseen(one) => out.push(one),
            '\n' | '\r' | '\t' => out.extend(one.escape_default()),
            _ if one.is_ascii() => out.push_str(&format!("\\x{:02x}", u32::from(one))),
            _ => out.extend(one.escape_unicode()),
        }
    }
    out
}

/// What is printed. It is made of words of this program, which are part of it, and of anything else, which is made
/// visible: there is no way in for the escape sequences or line ends of a file, an argument or an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text(String);

impl Text {
    /// Adds words of our own, as they are.
    pub(crate) fn own(mut self, words: &'static str) -> Self {
        self.0.push_str(words);
        self
    }

    /// Adds anything, made visible.
    pub(crate) fn shown(self, what: impl fmt::Display) -> Self {
        self.painted(Tone::Plain, what)
    }

    /// Adds anything, made visible, in a tone.
    pub(crate) fn painted(mut self, tone: Tone, what: impl fmt::Display) -> Self {
        self.0.push_str(&tone.paint(&visible(&what.to_string())));
        self
    }

    /// Adds another text.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.0.push_str(&other.0);
        self
    }

    /// Adds several lines: what `lines` has no line end within is one of them.
    pub(crate) fn lines(mut self, page: &str) -> Self {
        for line in page.split_inclusive('\n') {
            let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
            // Tables of man pages and completions are full of tabs, and a tab is no more than a blank.
            let shown: Vec<String> = line.split('\t').map(visible).collect();
            self.0.push_str(&shown.join("\t"));
            self.0.push_str(end);
        }
        self
    }

    /// Adds a command for a shell, whose words were refused where they are not plain.
    pub(crate) fn command(mut self, command: &Command) -> Self {
        self.0.push_str(command.as_str());
        self
    }

    /// JSON over several lines. JSON escapes what ASCII has of control characters, and the rest is escaped here.
    pub(crate) fn json(value: &Value) -> Self {
        Self::of_json(&format!("{value:#}\n"))
    }

    /// The same, for JSON that was laid out already.
    pub(crate) fn of_json(text: &str) -> Self {
        let mut out = String::with_capacity(text.len());
        for one in text.chars() {
            if one != '\n' && is_unseen(one) {
                // Outside ASCII and DEL there is nothing of that kind but within texts.
                let mut units = [0; 2];
                for unit in one.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                out.push(one);
            }
        }
        Self(out)
    }
}

/// What a command has to say, and whether it is what the operator hoped for.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: Text,
    pub(crate) is_good: bool,
}

/// Why there is no answer: which file, which place, what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    lines: Vec<String>,
}

impl Failure {
    /// A failure in one line.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self::lines([what.into()])
    }

    /// A failure of several lines.
    pub(crate) fn lines(lines: impl IntoIterator<Item = String>) -> Self {
        Self { lines: lines.into_iter().collect() }
    }

    /// A failure with a file.
    pub(crate) fn at(path: &Path, what: impl fmt::Display) -> Self {
        Self::new(format!("{}: {what}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("; "))
    }
}

/// The forms in which an answer can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// What a text says about its subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// It is as it should be.
    Good,
    /// It is worth a second look.
    Doubt,
    /// It is wrong.
    Bad,
    /// It is what the rest is about.
    Strong,
    /// It matters less than the rest.
    Faint,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Good => Style::new().fg_color(Some(AnsiColor::Green.into())),
            Self::Doubt => Style::new().fg_color(Some(AnsiColor::Yellow.into())),
            Self::Bad => Style::new().fg_color(Some(AnsiColor::Red.into())),
            Self::Strong => Style::new().bold(),
            Self::Faint => Style::new().dimmed(),
        }
    }

    /// The text in that tone; the escapes are taken out again where they do not belong.
    fn paint(self, text: &str) -> String {
        if self == Self::Plain {
            return text.to_owned();
        }
        let style = self.style();
        format!("{style}{text}{style:#}")
    }
}

/// One cell of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: visible(&text.into()), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// Rows with columns as wide as their widest cell.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
    indent: usize,
}

impl Table {
    /// A table with a head of these words.
    pub(crate) fn with_head(head: &[&str]) -> Self {
        let rows = vec![head.iter().map(|word| Cell::new(*word, Tone::Strong)).collect()];
        Self { rows, indent: 0 }
    }

    /// A table whose rows begin with blanks.
    pub(crate) fn indented(indent: usize) -> Self {
        Self { rows: Vec::new(), indent }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl Table {
    /// The table, a line a row.
    pub(crate) fn text(&self) -> Text {
        let mut text = Text::default();
        // Writing into a text never fails.
        let _ = self.write(&mut text.0);
        text
    }

    fn write(&self, f: &mut impl fmt::Write) -> fmt::Result {
        let width = |text: &str| text.chars().count();
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let column = |index: usize| self.rows.iter().filter_map(move |row| row.get(index));
        let widest = |index| column(index).map(|cell| width(&cell.text)).max();
        let widths: Vec<usize> = (0..columns).map(|column| widest(column).unwrap_or_default()).collect();
        for row in &self.rows {
            write!(f, "{:1$}", "", self.indent)?;
            let last = row.iter().rposition(|cell| !cell.text.is_empty());
            for (column, (cell, wide)) in row.iter().zip(&widths).enumerate() {
                if last.is_none_or(|last| column > last) {
                    break;
                }
                write!(f, "{}", cell.tone.paint(&cell.text))?;
                if last != Some(column) {
                    let gap = wide.saturating_sub(width(&cell.text)).saturating_add(2);
                    write!(f, "{:gap$}", "")?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Writes an answer. A reader that has gone away is no reason to complain.
pub(crate) fn print(text: &Text) {
    let mut out = anstream::stdout().lock();
    drop(out.write_all(text.0.as_bytes()).and_then(|()| out.flush()));
}

/// Writes why there is no answer.
pub(crate) fn complain(failure: &Failure) {
    let mut out = anstream::stderr().lock();
    let mut text = Text::default().painted(Tone::Bad, "error:").own(" ");
    for (index, line) in failure.lines.iter().enumerate() {
        text = text.own(if index == 0 { "" } else { "\n" }).shown(line);
    }
    drop(writeln!(out, "{}", text.0));
}

/// Writes why the arguments cannot be read: clap quotes them as they are.
pub(crate) fn complain_of_arguments(error: &clap::Error) {
    let mut out = anstream::stderr().lock();
    drop(out.write_all(Text::default().lines(&error.to_string()).0.as_bytes()));
}
