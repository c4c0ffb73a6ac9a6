//! YAML and JSON as one tree that knows lines and columns.
//!
//! Responsible for positions, also of JSON that stands inside a YAML text.

use saphyr::{MarkedYaml, Scalar, YamlData, YamlLoader};
use saphyr_parser::{Marker, Parser};
use serde_json::{Map, Value};

/// A place in a file, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Position {
    /// Where a file begins.
    pub(crate) const START: Self = Self { line: 1, column: 1 };
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) at: Position,
    pub(crate) value: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// A null, a boolean or a number.
    Plain(Value),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Tree>),
    /// An object: each key with its place.
    Object(Vec<(String, Position, Tree)>),
}

/// Reads all documents of a YAML text, or the one of a JSON text.
pub(crate) fn read(text: &str) -> Result<Vec<Tree>, String> {
    // YAML admits no tabs where JSON does; a tab is as wide as a blank in a column count.
    let is_json = text.trim_start().starts_with('{');
    let blank;
    let text = if is_json {
        blank = text.replace('\t', " ");
        &blank
    } else {
        text
    };
    let mut loader = YamlLoader::<MarkedYaml<'_>>::default();
    loader.allow_duplicate_keys(is_json);
    Parser::new_from_str(text).load(&mut loader, true).map_err(|error| error.to_string())?;
    if let Some(error) = loader.error() {
        return Err(error.to_string());
    }
    Ok(loader.into_documents().iter().map(|document| tree(document)).collect())
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line(), column: marker.col().saturating_add(1) }
}

fn tree(node: &MarkedYaml<'_>) -> Tree {
    let at = position(&node.span.start);
    let value = match &node.data {
        YamlData::Value(Scalar::String(text)) => Kind::Text(text.to_string()),
        YamlData::Value(Scalar::Boolean(boolean)) => Kind::Plain(Value::Bool(*boolean)),
        YamlData::Value(Scalar::Integer(number)) => Kind::Plain(Value::from(*number)),
        YamlData::Value(Scalar::FloatingPoint(number)) => Kind::Plain(Value::from(number.into_inner())),
        YamlData::Sequence(items) => Kind::List(items.iter().map(|item| tree(item)).collect()),
        YamlData::Mapping(members) => Kind::Object(
            members
                .iter()
                .map(|(key, value)| {
                    let name = match &key.data {
                        YamlData::Value(Scalar::String(text)) => text.to_string(),
                        YamlData::Value(Scalar::Integer(number)) => number.to_string(),
                        YamlData::Value(Scalar::Boolean(boolean)) => boolean.to_string(),
                        _ => String::new(),
                    };
                    (name, position(&key.span.start), tree(value))
                })
                .collect(),
        ),
        YamlData::Tagged(_, inner) => tree(inner).value,
        _ => Kind::Plain(Value::Null),
    };
    Tree { at, value }
}

impl Tree {
    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Kind::Object(members) => members.iter().find(|(name, ..)| name == key).map(|(.., value)| value),
            _ => None,
        }
    }

    /// The value that these keys lead to.
    pub(crate) fn path(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |tree, key| tree.get(key))
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is this boolean.
    pub(crate) fn is(&self, boolean: bool) -> bool {
        matches!(self.value, Kind::Plain(Value::Bool(given)) if given == boolean)
    }

    /// The entries, if it is a list; none otherwise.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    /// Itself and everything in it, from the outside in.
    pub(crate) fn all(&self) -> Vec<&Self> {
        let mut all = vec![self];
        match &self.value {
            Kind::List(items) => all.extend(items.iter().flat_map(Self::all)),
            Kind::Object(members) => all.extend(members.iter().flat_map(|(.., value)| value.all())),
            Kind::Plain(_) | Kind::Text(_) => {}
        }
        all
    }

    /// The value without its places.
    pub(crate) fn to_json(&self) -> Value {
        match &self.value {
            Kind::Plain(value) => value.clone(),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Kind::Object(members) => {
                let members = members.iter().map(|(name, _, value)| (name.clone(), value.to_json()));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }

    /// The JSON that this text holds, with places in the file. Where the text is escaped in the file, all of them are
    /// where it begins.
    pub(crate) fn embedded(&self) -> Option<Self> {
        let text = self.text()?;
        let mut tree = read(text).ok()?.into_iter().next()?;
        let empty = text.lines().take_while(|line| line.trim().is_empty()).count();
        let start = self.at;
        let is_block = text.contains('\n');
        tree.shift(&|at: Position| match is_block {
            true => Position {
                line: at.line.saturating_add(start.line).saturating_sub(empty).saturating_sub(1),
                column: at.column.saturating_add(start.column).saturating_sub(1),
            },
            false => start,
        });
        Some(tree)
    }

    /// The JSON of a text that this value stands for, with every place where it begins.
    pub(crate) fn holding(&self, text: &str) -> Option<Self> {
        let mut tree = read(text).ok()?.into_iter().next()?;
        tree.shift(&|_| self.at);
        Some(tree)
    }

    fn shift(&mut self, to: &impl Fn(Position) -> Position) {
        self.at = to(self.at);
        match &mut self.value {
            Kind::List(items) => items.iter_mut().for_each(|item| item.shift(to)),
            Kind::Object(members) => {
                for (_, at, value) in members {
                    *at = to(*at);
                    value.shift(to);
                }
            }
            Kind::Plain(_) | Kind::Text(_) => {}
        }
    }

    /// The place of `policies[2].require.token`: of the last part of it that is there. `of_key` asks for a key's own
    /// place instead of its value's.
    pub(crate) fn locate(&self, place: &str, of_key: bool) -> Position {
        if place.is_empty() {
            return self.at;
        }
        if let Some(rest) = place.strip_prefix('[') {
            let Some((index, rest)) = rest.split_once(']') else { return self.at };
            let item = index.parse::<usize>().ok().and_then(|index| self.items().get(index));
            return item.map_or(self.at, |item| item.locate(rest, of_key));
        }
        let place = place.strip_prefix('.').unwrap_or(place);
        let Kind::Object(members) = &self.value else { return self.at };
        // A key can hold a dot: the longest one that fits is the one that is meant.
        let fits = |name: &str| {
            let rest = place.strip_prefix(name)?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
        };
        let found = members.iter().filter_map(|(name, at, value)| Some((name.len(), at, value, fits(name)?)));
        match found.max_by_key(|(length, ..)| *length) {
            Some((_, at, _, "")) if of_key => *at,
            Some((.., value, rest)) => value.locate(rest, of_key),
            None => self.at,
        }
    }
}
