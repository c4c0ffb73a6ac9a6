//! Proves the command line as its users meet it: the program itself, its output and its exit status.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what does not work must fail the test loudly")]

mod check;
mod manual;
mod program;
