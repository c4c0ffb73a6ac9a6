//! The texts that are made of the definitions.

use crate::program::run;

#[test]
fn the_schema_is_the_shipped_one() {
    let shipped = include_str!("../../envoy/webhook-guard.schema.json");
    let run = run(&["schema"], &[], b"");
    assert_eq!((run.status, run.stdout.as_str()), (0, shipped));
}

#[test]
fn nonsense_is_a_usage_error() {
    let run = run(&["no-such-command"], &[], b"");
    assert_eq!(run.status, 2, "{run:?}");
    assert!(run.stderr.contains("unrecognized subcommand"), "{run:?}");
    assert!(run.stdout.is_empty(), "{run:?}");
}
