//! The form in which everything is written that an operator or the catalogue says: JSON whose values know their places.
//!
//! Responsible for reading it strictly, and for the words of every complaint. It knows no key: what a block may say is
//! read beside the type that the block describes.

mod error;
mod json;
mod node;

pub use error::{ConfigError, Warning, Wrong};

pub(crate) use error::Faults;
pub(crate) use json::{Json, object_of_texts};
pub(crate) use node::{Node, Object, first_fault, is_header_name, is_word, near};
