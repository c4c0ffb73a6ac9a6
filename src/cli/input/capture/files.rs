//! Files that a capture names: read only where the operator allows it, since a stranger may have written the capture.
//!
//! Responsible for what may be read, and for how much of it.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::Read as _;
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
        let fail = |error: std::io::Error| format!("{}: {error}", path.display());
        let file = open(&path).map_err(fail)?;
        // Asked of what was opened: what the name stands for may have changed since.
        if !file.metadata().map_err(fail)?.is_file() {
            return Err(format!("{}: is not a regular file", path.display()));
        }
        let mut bytes = Vec::new();
        let most = self.left.get();
        file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(fail)?;
        let left = most.checked_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let too_much = || format!("{}: the files of the capture have more than 64 MiB", path.display());
        self.left.set(left.ok_or_else(too_much)?);
        Ok(bytes)
    }
}

/// Opens a file without waiting: a pipe would block until someone writes into it.
#[cfg(unix)]
fn open(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).open(path)
}
