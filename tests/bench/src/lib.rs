//! What the rig and the filters `core` and `timing` have in common.

pub mod core;
pub mod timing;
