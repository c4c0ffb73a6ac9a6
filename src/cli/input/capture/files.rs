//! Files that a capture names: read only where the operator allows it, since a stranger may have written the capture.
//!
//! Responsible for what may be read, and for how much of it.

use crate::input::regular_file::{self, NotRead};
use std::cell::Cell;
use std::path::Path;

/// How many bytes all files of a capture may have together.
const MOST: u64 = 64 << 20;

/// The files that a capture may name.
#[derive(Debug)]
pub(crate) struct Files<'f> {
    directory: &'f Path,
    is_allowed: bool,
    left: Cell<u64>,
}

impl<'f> Files<'f> {
    /// Those that are found from `directory`, if any may be read.
    pub(crate) const fn new(directory: &'f Path, is_allowed: bool) -> Self {
        Self { directory, is_allowed, left: Cell::new(MOST) }
    }

    /// The content of a regular file.
    ///
    /// # Errors
    /// A sentence that names the file, and the flag that is missing where none may be read.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        if !self.is_allowed {
            return Err(format!("names the file {name}: --allow-files reads what a capture names"));
        }
        let path = self.directory.join(name);
        let most = self.left.get();
        let bytes = regular_file::read(&path, most).map_err(|why| match why {
            NotRead::Unopened(error) | NotRead::Unreadable(error) => format!("{}: {error}", path.display()),
            NotRead::NotRegular => format!("{}: is not a regular file", path.display()),
            NotRead::TooLarge => {
                format!("{}: the files of the capture have more than 64 MiB", path.display())
            }
        })?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.left.set(most.saturating_sub(length));
        Ok(bytes)
    }
}
