//! A value that is found in a body while it streams by is the one that a parser finds in the whole of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use webhook_guard_core::signature::json_pointer::{Answer, Search, pointer};

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (Some(path), Some(body)) = (parts.next(), parts.next()) else { return };
    let Ok(path) = std::str::from_utf8(path) else { return };
    let Some(parsed) = pointer(path) else { return };
    let search = |chunk: usize| {
        let mut search = Search::new(parsed.clone());
        body.chunks(chunk).for_each(|piece| search.update(piece));
        search.finish()
    };
    let found = search(usize::MAX);
    assert_eq!(found, search(1));
    assert_eq!(found, search(3));
    let Ok(whole) = serde_json::from_slice::<Value>(body) else { return };
    let expected = whole.pointer(path);
    match found {
        // It is there in more than one reading, or too long.
        Answer::Malformed => {}
        Answer::Text(text) => assert_eq!(expected, Some(&Value::from(String::from_utf8(text).unwrap()))),
        Answer::Word(_) => {
            assert!(expected.is_some_and(|value| value.is_number() || value.is_boolean() || value.is_null()));
        }
        Answer::Absent => assert!(expected.is_none_or(|value| value.is_object() || value.is_array())),
    }
});
