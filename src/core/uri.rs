//! The parts of a request's target: bytes that a stranger wrote.
//!
//! Responsible for paths, queries and authorities, and for percent-decoding. Each of them says what is in the bytes; what
//! that means for a request is decided elsewhere.

pub mod authority;
pub mod path;
pub mod percent;
pub mod query;
