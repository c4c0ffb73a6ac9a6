//! What the rig and the filter `core` have in common.

pub mod core;
