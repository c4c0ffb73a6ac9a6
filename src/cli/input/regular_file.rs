//! Files that someone else may have named: regular ones alone, and no more of them than there is room for.
//!
//! Responsible for never waiting: a pipe, or a terminal, would block until someone writes into it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;

/// Why a file was not read.
#[derive(Debug)]
pub(crate) enum NotRead {
    /// It cannot be opened.
    Unopened(io::Error),
    /// It was opened, and cannot be read.
    Unreadable(io::Error),
    /// It is a directory, a pipe or a device.
    NotRegular,
    /// It has more bytes than were asked for.
    TooLarge,
}

/// The content of a regular file of at most so many bytes.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>, NotRead> {
    let file = open(path).map_err(NotRead::Unopened)?;
    // Asked of what was opened: what the name stands for may have changed since.
    if !file.metadata().map_err(NotRead::Unreadable)?.is_file() {
        return Err(NotRead::NotRegular);
    }
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(NotRead::Unreadable)?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= most => Ok(bytes),
        _ => Err(NotRead::TooLarge),
    }
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}
