//! Proves the command line as its users meet it: the program itself, its output and its exit status.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "what does not work must fail the test loudly"
)]

mod addresses;
mod capture;
mod check;
mod check_native;
mod doctor;
mod explain;
mod hostile;
mod manual;
mod program;
mod providers;
mod readme;
mod sign;
