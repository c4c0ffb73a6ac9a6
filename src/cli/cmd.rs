//! The sub-commands, one file each: what they are asked and what they answer.
//!
//! Responsible for nothing else: `doctor` has a folder of its own.

pub(crate) mod addresses;
pub(crate) mod check;
pub(crate) mod explain;
pub(crate) mod manual;
pub(crate) mod messages;
pub(crate) mod providers;
pub(crate) mod sign;
pub(crate) mod smoke_test;
