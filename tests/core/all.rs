//! The tests of the core as one program, built once for each mutant: `make mutants`.
//!
//! Left out are the vectors, a program of their own that is asked after this one, since they are slow; and architecture, which
//! reads the code's text alone.

#![expect(clippy::duplicate_mod, reason = "a program of its own has `common` once for each")]

#[path = "configs.rs"]
mod configs;
#[path = "decisions.rs"]
mod decisions;
#[path = "exchange.rs"]
mod exchange;
#[path = "feeds.rs"]
mod feeds;
#[path = "fetched_keys.rs"]
mod fetched_keys;
#[path = "jwt.rs"]
mod jwt;
#[path = "message_signatures.rs"]
mod message_signatures;
#[path = "properties.rs"]
mod properties;
#[path = "readme.rs"]
mod readme;
