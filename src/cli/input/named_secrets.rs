//! Secrets that a configuration only names: by an environment variable, or by a file.
//!
//! Responsible for finding them where the command line runs, and for reading each file once, so that every part of the
//! program sees the same.

use crate::input::env_file::Environment;
use crate::input::regular_file::{self, NotRead};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use webhook_guard_core::config::Wrong;

/// The largest file that the dynamic module takes for a secret.
const MOST_BYTES: u64 = 64 << 10;

/// Where the secrets are. Prints nothing of them.
pub(crate) struct NamedSecrets<'e> {
    environment: &'e Environment,
    files: RefCell<BTreeMap<String, Result<String, Wrong>>>,
}

impl fmt::Debug for NamedSecrets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NamedSecrets(..)")
    }
}

impl<'e> NamedSecrets<'e> {
    pub(crate) const fn new(environment: &'e Environment) -> Self {
        Self { environment, files: RefCell::new(BTreeMap::new()) }
    }

    /// The value of a variable; nothing where it is not set.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.environment.get(name)
    }

    /// The content of a file, in the words of the module where it cannot be had.
    pub(crate) fn file(&self, path: &str) -> Result<String, Wrong> {
        self.files.borrow_mut().entry(path.to_owned()).or_insert_with(|| read(path)).clone()
    }

    /// The content of a file, if a configuration has read it already.
    pub(crate) fn known_file(&self, path: &str) -> Option<String> {
        self.files.borrow().get(path)?.as_ref().ok().cloned()
    }

    /// The content of every file that was read.
    pub(crate) fn known_files(&self) -> Vec<String> {
        self.files.borrow().values().filter_map(|read| read.as_ref().ok()).cloned().collect()
    }
}

fn read(path: &str) -> Result<String, Wrong> {
    let bytes = regular_file::read(Path::new(path), MOST_BYTES).map_err(|why| match why {
        NotRead::Unopened(_) => Wrong::Unreadable("the file cannot be opened"),
        NotRead::Unreadable(_) => Wrong::Unreadable("the file cannot be read"),
        NotRead::NotRegular => Wrong::Rule("is not a regular file"),
        NotRead::TooLarge => Wrong::Rule("the file has more than 64 KiB"),
    })?;
    String::from_utf8(bytes).map_err(|_| Wrong::Rule("the file is not UTF-8"))
}
