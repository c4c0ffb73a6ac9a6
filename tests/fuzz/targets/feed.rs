//! An answer to the request for a list is taken or refused alike, in whatever pieces it comes, and what is shared of it is the same list.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use webhook_guard_core::config::Configuration;
use webhook_guard_core::feed::{Fault, Intake, List};
use webhook_guard_fuzz::{NOW, configuration};

static CONFIGURATION: LazyLock<Configuration> = LazyLock::new(configuration);

fuzz_target!(|bytes: &[u8]| {
    let Some((first, body)) = bytes.split_first() else { return };
    let feeds = &CONFIGURATION.feeds;
    let Some(feed) = feeds.get(usize::from(*first) % feeds.len()) else { return };
    let read = |chunk: usize| -> Result<List, Fault> {
        let mut intake = Intake::of(feed, None, Some("/SimpleNotificationService-1.pem"), None)?;
        for piece in body.chunks(chunk) {
            intake.update(piece)?;
        }
        intake.finish(NOW)
    };
    let whole = read(usize::MAX);
    for chunk in [1, 7] {
        // Of two faults a piece may show another one first.
        assert_eq!(whole.as_ref().ok(), read(chunk).as_ref().ok());
    }
    if let Ok(list) = whole {
        let mut again = List::default();
        assert!(again.replace(list.bytes()));
        assert_eq!(again, list);
    }
    // What another version, or anyone else, has put there.
    let _ = List::default().replace(body);
});
