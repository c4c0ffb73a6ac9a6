//! Where the secrets of a configuration are: the process' environment, and files.
//!
//! Responsible for reading them, once, while the configuration is made. A configuration lists in `environment` what it
//! reads of the process' variables; the core sees to that.

use std::fs::{self, File};
use std::io::Read as _;
use webhook_guard_core::config::{self, ConfigError, Configuration, SecretSources, Wrong};

/// The largest file that is taken for a secret. RSA keys of 16384 bits have 3 kB.
const MOST_BYTES: u64 = 64 << 10;

/// Reads a configuration with the secrets that it names.
pub(crate) fn configuration(bytes: &[u8]) -> Result<Configuration, ConfigError> {
    #[expect(clippy::disallowed_methods, reason = "a shell reads the environment for the core")]
    let variable = |name: &str| std::env::var(name).ok();
    config::parse_with(bytes, &SecretSources { variable: &variable, file: Some(&read), is_process: true })
}

fn read(path: &str) -> Result<String, Wrong> {
    // Before it is opened: to open a pipe waits for whoever writes into it, and Envoy's main thread with it.
    let cannot_open = |_| Wrong::Unreadable("the file cannot be opened");
    if !fs::metadata(path).map_err(cannot_open)?.is_file() {
        return Err(Wrong::Rule("is not a regular file"));
    }
    let file = File::open(path).map_err(cannot_open)?;
    let mut bytes = Vec::new();
    let read = file.take(MOST_BYTES.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|_| Wrong::Unreadable("the file cannot be read"))?;
    if u64::try_from(bytes.len()).map_or(true, |length| length > MOST_BYTES) {
        return Err(Wrong::Rule("the file has more than 64 KiB"));
    }
    String::from_utf8(bytes).map_err(|_| Wrong::Rule("the file is not UTF-8"))
}
