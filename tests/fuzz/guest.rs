//! The core inside the module of the target `wasm`: a request in, all that is said of it out.
//!
//! Responsible for the memory that both sides see: `room` makes some for so many bytes, `answer` reads the request there and
//! leaves its answer in it, `place` says where that is.

use std::sync::{LazyLock, Mutex, PoisonError};
use webhook_guard_core::config::Configuration;
use webhook_guard_fuzz::{Request, configuration};

static CONFIGURATION: LazyLock<Configuration> = LazyLock::new(configuration);
static SHARED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

#[unsafe(no_mangle)]
extern "C" fn room(length: usize) {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.clear();
    shared.resize(length, 0);
}

#[unsafe(no_mangle)]
extern "C" fn place() -> *const u8 {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner).as_ptr()
}

#[unsafe(no_mangle)]
extern "C" fn answer() -> usize {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    *shared = Request::read(&shared).answer(&CONFIGURATION).into_bytes();
    shared.len()
}
