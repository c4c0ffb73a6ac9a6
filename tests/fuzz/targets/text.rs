//! Times, paths, hosts, queries, and forms of any bytes: what is read of them once is read again, and nothing is made longer by it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use webhook_guard_core::signature::form::Form;
use webhook_guard_core::signature::timestamp::Unit;
use webhook_guard_core::uri::{authority, path, percent, query};

fuzz_target!(|bytes: &[u8]| {
    for unit in ["s", "ms", "rfc3339", "http-date"] {
        let unit = Unit::from_name(unit).unwrap();
        assert_eq!(unit.read(bytes), unit.read(bytes));
    }
    assert!(percent::decode(bytes).len() <= bytes.len());
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert_eq!(&*percent::decode(percent::encode(text).as_bytes()), bytes);
    }
    if let Some(host) = authority::host(bytes) {
        // What is a host once is the same host again.
        assert_eq!(authority::host(&host).as_deref(), Some(&*host));
    }
    if !path::is_malformed(bytes) && path::is_plain(bytes) {
        assert!(!path::has_dot_segment(bytes));
        let folded = bytes.to_ascii_lowercase();
        assert!(path::readings(bytes).is_some_and(|all| all.iter().all(|one| one.len() <= folded.len())));
    }
    let is_token = |name: &[u8]| name.eq_ignore_ascii_case(b"token");
    if let Some(rest) = query::without(bytes, is_token) {
        assert!(query::without(&rest, is_token).is_none(), "it is taken out at once");
    }
    if let Some(rest) = query::redacted(bytes, |name| name == b"token") {
        assert!(query::redacted(&rest, |name| name == b"token").is_none(), "it is taken out at once");
    }
    if let Some(form) = Form::read(bytes.to_vec()) {
        assert!(form.pieces().map(<[u8]>::len).sum::<usize>() <= bytes.len());
    }
});
