//! What a request wishes to have fetched for the next of its kind. It does not wait for it.
//!
//! Responsible for saying what; a shell notes it, and fetches it when that is due.

use std::sync::Arc;

/// What a request asks a feed of certificates to do: the feed's place, and the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The place of the feed.
    pub feed: usize,
    /// The path, with its query.
    pub path: Arc<str>,
    /// What it is for.
    pub purpose: Purpose,
}

/// What a wish is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A certificate that a message names and that is not known yet.
    Certificate,
    /// A subscription is to be confirmed: nothing of the answer is read but its status.
    Confirmation,
}
