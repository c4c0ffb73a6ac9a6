//! The conditions that a policy can impose: where a request comes from, over whose connection, what it presents, what signed
//! it.
//!
//! Each check looks at facts and says that it holds, or why not. None knows of the others, of policies, or of what
//! follows from its answer; their order, the cheapest first, is in `policy/evaluation.rs`.

pub mod client_certificate;
pub mod source_ip;
pub mod token;
