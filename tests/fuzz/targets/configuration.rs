//! A configuration of any bytes is read or refused, in the same words each time, and no word of it is a secret.

#![no_main]

use libfuzzer_sys::fuzz_target;
use webhook_guard_core::config;

const SECRET: &str = "0e7b41-never-said-5f2d";

fuzz_target!(|bytes: &[u8]| {
    let read = || match config::read(bytes, &|_| Some(SECRET.to_owned())) {
        Ok(configuration) => format!("{:?} {:?}", configuration.warnings, configuration.policies),
        Err(report) => format!("{report:?}"),
    };
    let said = read();
    assert_eq!(said, read());
    assert!(!said.contains(SECRET), "{said}");
});
