//! What becomes of a panic: it ends the hook that it came from, and nothing else.
//!
//! Responsible for keeping it from Envoy, which an unwinding panic would abort, and for what is printed of it: where it was,
//! and nothing of what it was about, since that may be a piece of a request.

use crate::abi::{self, LogLevel};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Sets what a panic prints. It is this library's own hook: Rust code elsewhere in the process has another.
pub(crate) fn set_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        abi::log(LogLevel::Error, &format!("the guard panicked at {place}: please report this"));
    }));
}

/// Runs a hook; nothing where it panicked. What it left behind must be taken for a refusal.
pub(crate) fn guarded<T>(hook: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(hook)).ok()
}
