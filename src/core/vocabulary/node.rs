//! A JSON value that knows its place, and complains about keys nobody asked for.
//!
//! Responsible for types, for unknown and duplicate keys with the near miss that was meant, and for the places in
//! messages.

use super::error::{ConfigError, Faults, Wrong};
use super::json::Json;

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node<'a> {
    at: String,
    value: &'a Json,
    faults: &'a Faults,
    /// Whether nothing that stands here or below may be quoted: a secret can be in the wrong place.
    is_hushed: bool,
}

/// An object; keys that are not known or there twice have been reported.
#[derive(Clone, Debug)]
pub(crate) struct Object<'a> {
    at: String,
    members: &'a [(String, Json)],
    faults: &'a Faults,
    is_hushed: bool,
}

impl<'a> Node<'a> {
    pub(crate) const fn root(value: &'a Json, faults: &'a Faults) -> Self {
        Self { at: String::new(), value, faults, is_hushed: false }
    }

    /// The same, and no message quotes what stands here or below.
    pub(crate) fn hushed(self) -> Self {
        Self { is_hushed: true, ..self }
    }

    pub(crate) fn at(&self) -> &str {
        &self.at
    }

    /// The place of a key of this object.
    pub(crate) fn child(&self, key: &str) -> Self {
        Self { at: format!("{}.{key}", self.at), ..self.clone() }
    }

    /// What was read; nothing once what is wrong with it has been reported, so that reading can go on for the sake of
    /// further faults. A configuration with a fault is never used.
    pub(crate) fn keep<T>(&self, read: Result<T, ConfigError>) -> Option<T> {
        read.map_err(|error| self.report(error)).ok()
    }

    pub(crate) fn report(&self, error: ConfigError) {
        self.faults.report(error);
    }

    pub(crate) fn error(&self, wrong: Wrong) -> ConfigError {
        ConfigError { at: self.at.clone(), wrong }
    }

    pub(crate) fn type_error(&self, expected: &'static str) -> ConfigError {
        self.error(Wrong::Type(expected, self.value.type_name()))
    }

    pub(crate) fn is_text(&self) -> bool {
        matches!(self.value, Json::Text(_))
    }

    pub(crate) fn is_object(&self) -> bool {
        matches!(self.value, Json::Object(_))
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self.value, Json::List(_))
    }

    /// The object. Keys that are not among these are reported.
    pub(crate) fn object(&self, known: &[&'static str]) -> Result<Object<'a>, ConfigError> {
        let Json::Object(members) = self.value else { return Err(self.type_error("an object")) };
        let object = self.as_object(members);
        for (index, (key, _)) in members.iter().enumerate() {
            if !known.contains(&key.as_str()) {
                let meant = near(key, known.iter().copied());
                self.report(match !self.is_hushed && (meant.is_some() || is_word(key)) {
                    true => ConfigError { at: object.place(key), wrong: Wrong::UnknownKey(meant) },
                    false => self.error(Wrong::UnknownMember(meant)),
                });
            } else if members.iter().take(index).any(|(earlier, _)| earlier == key) {
                self.report(ConfigError { at: object.place(key), wrong: Wrong::DuplicateKey });
            }
        }
        Ok(object)
    }

    fn as_object(&self, members: &'a [(String, Json)]) -> Object<'a> {
        Object { at: self.at.clone(), members, faults: self.faults, is_hushed: self.is_hushed }
    }

    /// The members of an object with keys of the operator's choice, each there once; at least one.
    pub(crate) fn members(&self) -> Result<Vec<(&'a str, Node<'a>)>, ConfigError> {
        let Json::Object(members) = self.value else { return Err(self.type_error("an object")) };
        if members.is_empty() {
            return Err(self.error(Wrong::EmptyObject));
        }
        let object = self.as_object(members);
        let mut named = Vec::with_capacity(members.len());
        for (index, (key, value)) in members.iter().enumerate() {
            let node = object.node(key, value);
            if members.iter().take(index).any(|(earlier, _)| earlier == key) {
                return Err(node.error(Wrong::DuplicateKey));
            }
            named.push((key.as_str(), node));
        }
        Ok(named)
    }

    /// The entries of a list, at least one.
    pub(crate) fn list(&self) -> Result<Vec<Node<'a>>, ConfigError> {
        let Json::List(items) = self.value else { return Err(self.type_error("a list")) };
        if items.is_empty() {
            return Err(self.error(Wrong::EmptyList));
        }
        let node = |(index, value)| Node { at: format!("{}[{index}]", self.at), value, ..self.clone() };
        Ok(items.iter().enumerate().map(node).collect())
    }

    /// The entries of a list, or the value itself as the only one.
    pub(crate) fn one_or_list(&self) -> Result<Vec<Node<'a>>, ConfigError> {
        if self.is_list() { self.list() } else { Ok(vec![self.clone()]) }
    }

    pub(crate) fn boolean(&self) -> Result<bool, ConfigError> {
        match self.value {
            Json::Boolean(boolean) => Ok(*boolean),
            _ => Err(self.type_error("a boolean")),
        }
    }

    pub(crate) fn text(&self) -> Result<&'a str, ConfigError> {
        match self.value {
            Json::Text(text) => Ok(text),
            _ => Err(self.type_error("a string")),
        }
    }

    pub(crate) fn filled_text(&self) -> Result<&'a str, ConfigError> {
        let text = self.text()?;
        if text.is_empty() { Err(self.error(Wrong::EmptyText)) } else { Ok(text) }
    }

    /// A whole number in these bounds; `complaint` where it is not.
    pub(crate) fn whole(&self, least: u64, most: u64, complaint: &'static str) -> Result<u64, ConfigError> {
        let number = match self.value {
            Json::Unsigned(number) => Some(*number),
            // A Struct has no integers, and `1e6` is one in JSON.
            Json::Number(number) if number.fract() == 0.0 => format!("{number:.0}").parse().ok(),
            Json::Number(_) => None,
            _ => return Err(self.type_error("a number")),
        };
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| self.error(Wrong::Rule(complaint)))
    }

    /// What the word stands for.
    pub(crate) fn choice<T: Copy>(&self, words: &[(&'static str, T)]) -> Result<T, ConfigError> {
        let word = self.text()?;
        let found = words.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
        found.ok_or_else(|| self.not_one_of(words.iter().map(|(name, _)| *name)))
    }

    /// The complaint that the text is none of these words.
    pub(crate) fn not_one_of<'w>(&self, words: impl Iterator<Item = &'w str> + Clone) -> ConfigError {
        let word = self.text().unwrap_or_default();
        let list: Vec<String> = words.clone().map(|name| format!("{name:?}")).collect();
        let meant = near(word, words).map(str::to_owned);
        if self.is_hushed || !(meant.is_some() || is_word(word)) {
            return self.error(Wrong::NotOneOf(list.join(", ")));
        }
        self.error(Wrong::Choice(word.to_owned(), list.join(", "), meant))
    }

    /// The name of a header, in lower case (RFC 9110 5.1).
    pub(crate) fn header_name(&self) -> Result<String, ConfigError> {
        let name = self.filled_text()?;
        match is_header_name(name) {
            true => Ok(name.to_ascii_lowercase()),
            false => Err(self.error(Wrong::Value(name.to_owned(), "is not the name of a header"))),
        }
    }
}

/// Reads a value that stands on its own, at this place.
///
/// # Errors
/// The first thing that is wrong.
pub(crate) fn first_fault<T>(
    at: &str,
    value: &Json,
    read: impl FnOnce(&Node<'_>) -> Result<Option<T>, ConfigError>,
) -> Result<T, ConfigError> {
    let faults = Faults::default();
    let node = Node { at: at.to_owned(), ..Node::root(value, &faults) };
    let read = node.keep(read(&node)).flatten();
    match (faults.into_list().into_iter().next(), read) {
        (None, Some(read)) => Ok(read),
        (Some(fault), _) => Err(fault),
        (None, None) => Err(ConfigError { at: at.to_owned(), wrong: Wrong::Missing }),
    }
}

/// Whether a text is a header's name, which is a token (RFC 9110 5.6.2).
pub(crate) fn is_header_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

impl<'a> Object<'a> {
    /// The place of a key. An unknown key is the operator's text: it is kept to one line, and short.
    fn place(&self, key: &str) -> String {
        let key: String = key.chars().take(64).flat_map(char::escape_debug).collect();
        if self.at.is_empty() { key } else { format!("{}.{key}", self.at) }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn get(&self, key: &str) -> Option<Node<'a>> {
        let (_, value) = self.members.iter().find(|(name, _)| name == key)?;
        Some(self.node(key, value))
    }

    fn node(&self, key: &str, value: &'a Json) -> Node<'a> {
        Node { at: self.place(key), value, faults: self.faults, is_hushed: self.is_hushed }
    }

    pub(crate) fn required(&self, key: &str) -> Result<Node<'a>, ConfigError> {
        self.get(key).ok_or_else(|| ConfigError { at: self.place(key), wrong: Wrong::Missing })
    }

    /// The one of these keys that is there; an error where none is, or more than one.
    pub(crate) fn exactly_one(
        &self,
        keys: &[&'static str],
        complaint: &'static str,
    ) -> Result<(&'static str, Node<'a>), ConfigError> {
        let mut present = keys.iter().filter_map(|key| Some((*key, self.get(key)?)));
        match (present.next(), present.next()) {
            (Some(found), None) => Ok(found),
            _ => Err(ConfigError { at: self.at.clone(), wrong: Wrong::Rule(complaint) }),
        }
    }
}

/// Whether a text could be a misspelt word of the vocabulary. What could not may be a secret in the wrong place: it is
/// not quoted.
pub(crate) fn is_word(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let is_of_a_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    text.len() <= 20 && digits <= 3 && text.bytes().all(is_of_a_word)
}

/// The word that was probably meant: the nearest one, if it is near enough.
pub(crate) fn near<'w>(word: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let word = word.to_ascii_lowercase();
    let far = word.len().div_ceil(3).max(1);
    let nearest = words.map(|one| (strsim::damerau_levenshtein(&word, one), one)).min()?;
    (nearest.0 <= far).then_some(nearest.1)
}
