//! No request that is made up passes: nobody knows the secrets. Whatever it is, whole or in pieces it is judged alike.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use webhook_guard_core::config::Configuration;
use webhook_guard_core::decision::Decision;
use webhook_guard_fuzz::{Request, configuration, words};

static CONFIGURATION: LazyLock<Configuration> = LazyLock::new(configuration);

fuzz_target!(|bytes: &[u8]| {
    let request = Request::read(bytes);
    let [whole, pieces] = [true, false].map(|is_whole| request.judge(&CONFIGURATION, is_whole));
    let word = |decision: &Option<Decision>| words(decision.as_ref());
    assert_eq!(word(&whole), word(&pieces));
    assert_ne!(word(&whole).0, "allow");
    assert_ne!(word(&whole).0, "leave");
    assert_eq!(
        CONFIGURATION.policies.held_bytes(),
        0,
        "what was held has been given back, but for what is decided"
    );
});
