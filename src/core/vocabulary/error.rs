//! What can be wrong with a configuration, in the operator's words.
//!
//! Responsible for the text of every message. The text of a secret is in none: no variant has room for it.

use std::cell::RefCell;
use std::fmt;

/// Something wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The place, such as `policies[2].require.source_ip.allow[0]`; empty for the whole.
    pub at: String,
    /// What is wrong there.
    pub wrong: Wrong,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The text is not JSON; the parser's words, which name line and column.
    NotJson(String),
    /// The key means nothing here; what was probably meant.
    UnknownKey(Option<&'static str>),
    /// The object has a key that means nothing there and is not quoted; what was probably meant.
    UnknownMember(Option<&'static str>),
    /// The key occurs twice.
    DuplicateKey,
    /// The key must be there.
    Missing,
    /// The value has another type: the one that is expected, the one that it has.
    Type(&'static str, &'static str),
    /// A list without an entry.
    EmptyList,
    /// An empty text.
    EmptyText,
    /// An object without a member.
    EmptyObject,
    /// A rule that is broken, in words that need no value.
    Rule(&'static str),
    /// A value that is not what it should be: the value (never of a secret), and the complaint.
    Value(String, &'static str),
    /// A word that is not in the list: the word, the list, what was probably meant.
    Choice(String, String, Option<String>),
    /// A word that is not in the list and is not quoted: the list.
    NotOneOf(String),
    /// A provider that the catalogue does not have (nothing where it is not quoted), and what was probably meant.
    Provider(Option<String>, Option<String>),
    /// An address feed that the configuration does not have, and what was probably meant.
    Feed(String, Option<String>),
    /// An address feed that the catalogue does not have, and what was probably meant.
    CatalogueFeed(String, Option<&'static str>),
    /// A network with bits set after its prefix: as written, as it should be.
    HostBits(String, String),
    /// A form larger than `held_bytes` can afford: the most that it can, in bytes.
    FormTooLarge(u64),
    /// A text that stands where a secret should.
    Placeholder,
    /// An environment variable that is not set; nothing where its name could be a secret.
    Unset(Option<String>),
    /// A file that cannot be opened or read: which of the two.
    Unreadable(&'static str),
    /// The policy of this place has the name already.
    NameTaken(String),
    /// Another policy governs the same requests.
    Rival(String),
}

impl Wrong {
    /// The kind of mistake in one stable word, for tools.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotJson(_) => "not-json",
            Self::UnknownKey(_) | Self::UnknownMember(_) => "unknown-key",
            Self::DuplicateKey => "duplicate-key",
            Self::Missing => "missing-key",
            Self::Type(..) => "wrong-type",
            Self::EmptyList | Self::EmptyText | Self::EmptyObject => "empty",
            Self::Rule(_) | Self::Value(..) | Self::FormTooLarge(_) => "invalid-value",
            Self::Choice(..) | Self::NotOneOf(_) => "unknown-word",
            Self::Provider(..) => "unknown-provider",
            Self::Feed(..) | Self::CatalogueFeed(..) => "unknown-feed",
            Self::HostBits(..) => "host-bits",
            Self::Placeholder => "placeholder-secret",
            Self::Unset(_) => "unset-variable",
            Self::Unreadable(_) => "unreadable-file",
            Self::NameTaken(_) => "name-taken",
            Self::Rival(_) => "rival-policy",
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(message) => write!(f, "is not JSON: {message}"),
            Self::UnknownKey(None) => f.write_str("is not a key that is known here"),
            Self::UnknownKey(Some(meant)) => {
                write!(f, "is not a key that is known here; did you mean `{meant}`?")
            }
            Self::UnknownMember(None) => f.write_str("has a key that is not known here"),
            Self::UnknownMember(Some(meant)) => {
                write!(f, "has a key that is not known here; did you mean `{meant}`?")
            }
            Self::DuplicateKey => f.write_str("is there twice"),
            Self::Missing => f.write_str("is required"),
            Self::Type(expected, found) => write!(f, "must be {expected}, not {found}"),
            Self::EmptyList => f.write_str("must not be an empty list"),
            Self::EmptyText => f.write_str("must not be empty"),
            Self::EmptyObject => f.write_str("must have at least one member"),
            Self::Rule(text) | Self::Unreadable(text) => f.write_str(text),
            Self::Value(value, complaint) => write!(f, "{value:?} {complaint}"),
            Self::Choice(word, list, None) => write!(f, "{word:?} is not one of {list}"),
            Self::Choice(word, list, Some(meant)) => {
                write!(f, "{word:?} is not one of {list}; did you mean {meant:?}?")
            }
            Self::NotOneOf(list) => write!(f, "is not one of {list}"),
            Self::Provider(name, meant) => {
                if let Some(name) = name {
                    write!(f, "{name:?} ")?;
                }
                f.write_str("is not a provider of the catalogue; ")?;
                match meant {
                    None => f.write_str("any other fits into a `scheme`"),
                    Some(meant) => write!(f, "did you mean {meant:?}?"),
                }
            }
            Self::Feed(name, meant) => {
                write!(f, "{name:?} is not one of the `feeds` of this configuration")?;
                meant.as_ref().map_or(Ok(()), |meant| write!(f, "; did you mean {meant:?}?"))
            }
            Self::CatalogueFeed(name, meant) => {
                write!(f, "{name:?} is not a feed of the catalogue; ")?;
                match meant {
                    None => f.write_str("any other needs `cluster`, `authority`, `path`, and `json` or `lines`"),
                    Some(meant) => write!(f, "did you mean {meant:?}?"),
                }
            }
            Self::HostBits(written, meant) => {
                write!(f, "{written:?} has bits set behind its prefix; write {meant:?}")
            }
            Self::FormTooLarge(most) => write!(
                f,
                "the provider signs a form, which is sorted whole: `held_bytes` affords at most {most} bytes"
            ),
            Self::Placeholder => f.write_str("the secret is a placeholder"),
            Self::Unset(Some(variable)) => {
                write!(f, "the environment variable {variable:?} is not set for the guard (a Wasm VM has an environment of its own)")
            }
            Self::Unset(None) => {
                f.write_str("the environment variable of that name is not set for the guard (a Wasm VM has an environment of its own)")
            }
            Self::NameTaken(name) => write!(f, "{name:?} is the name of an earlier policy"),
            Self::Rival(name) => {
                write!(f, "governs the same requests as the policy {name:?}: same path, host and method")
            }
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() {
            write!(f, "configuration: {}", self.wrong)
        } else {
            write!(f, "{}: {}", self.at, self.wrong)
        }
    }
}

impl std::error::Error for ConfigError {}

/// Everything wrong that was found so far.
#[derive(Debug, Default)]
pub(crate) struct Faults(RefCell<Vec<ConfigError>>);

impl Faults {
    pub(crate) fn count(&self) -> usize {
        self.0.borrow().len()
    }

    pub(crate) fn report(&self, error: ConfigError) {
        self.0.borrow_mut().push(error);
    }

    /// All of them, in the order in which they were found. A key that is missing only because it is misspelled is not
    /// said twice.
    pub(crate) fn into_list(self) -> Vec<ConfigError> {
        let all = self.0.into_inner();
        let parent = |at: &str| at.rsplit_once('.').map_or(String::new(), |(parent, _)| format!("{parent}."));
        let meant = |error: &ConfigError| match error.wrong {
            Wrong::UnknownKey(Some(key)) => Some(format!("{}{key}", parent(&error.at))),
            Wrong::UnknownMember(Some(key)) => Some(format!("{}.{key}", error.at)),
            _ => None,
        };
        let misspelled: Vec<String> = all.iter().filter_map(meant).collect();
        let is_said = |error: &ConfigError| error.wrong == Wrong::Missing && misspelled.contains(&error.at);
        all.into_iter().filter(|error| !is_said(error)).collect()
    }
}

/// Something that is allowed but worth a second look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The place.
    pub at: String,
    /// The kind in one stable word, for tools.
    pub code: &'static str,
    /// What it is about.
    pub text: &'static str,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.text)
    }
}
