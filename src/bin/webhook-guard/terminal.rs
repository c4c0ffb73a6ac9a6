//! What a command says, for people first.
//!
//! Responsible for tables, colour (on a terminal only, and never with `NO_COLOR`) and failures. Refuses to know what any
//! of it means.

use anstyle::{AnsiColor, Style};
use std::fmt;
use std::io::Write as _;
use std::path::Path;

/// Whether a terminal would do something else with a character than show it: control characters (those behind ASCII
/// too), marks that turn the direction of a text, and whatever else has no shape of its own.
pub(crate) fn is_unseen(one: char) -> bool {
    // The standard library knows what can be printed; quotes and backslashes it escapes for other reasons.
    !matches!(one, '"' | '\'' | '\\') && one.escape_debug().next() != Some(one)
}

/// What a command has to say, and whether it is what the operator hoped for.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) is_good: bool,
}

/// Why there is no answer: which file, which place, what to do.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl Failure {
    /// A failure with a file.
    pub(crate) fn at(path: &Path, what: impl fmt::Display) -> Self {
        Self(format!("{}: {what}", path.display()))
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
    pub(crate) fn paint(self, text: &str) -> String {
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
        Self { text: text.into(), tone }
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

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
pub(crate) fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Writes why there is no answer.
pub(crate) fn complain(failure: &Failure) {
    let mut out = anstream::stderr().lock();
    drop(writeln!(out, "{} {}", Tone::Bad.paint("error:"), failure.0));
}
