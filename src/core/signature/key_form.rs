//! How the text of a secret becomes a key.
//!
//! Responsible for what a scheme says of that in `secret`: the prefixes that are taken off, and the encoding.

use super::key::{Algorithm, Key};
use super::public_key::pem;
use crate::vocabulary::{ConfigError, Node, Wrong};
use data_encoding::{BASE64_NOPAD, HEXLOWER_PERMISSIVE};

/// How a configured text becomes a key.
#[derive(Clone, Debug, Default)]
pub struct KeyForm {
    /// How the key is written.
    pub encoding: KeyEncoding,
    /// What is taken off the text, the longest first; not part of the key.
    pub prefixes: Vec<String>,
}

/// How a key is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyEncoding {
    /// The bytes of the text are the key.
    #[default]
    Utf8,
    /// In hexadecimal digits.
    Hex,
    /// In base64, padded or not.
    Base64,
}

impl KeyEncoding {
    /// The words for them in a configuration.
    pub const NAMES: [(&'static str, Self); 3] =
        [("utf8", Self::Utf8), ("hex", Self::Hex), ("base64", Self::Base64)];
}

impl KeyForm {
    /// Reads `secret` of a scheme.
    pub(crate) fn parse(node: &Node<'_>) -> Result<Self, ConfigError> {
        let object = node.object(&["encoding", "prefix"])?;
        if object.is_empty() {
            return Err(node.error(Wrong::EmptyObject));
        }
        let encoding =
            object.get("encoding").map_or(Ok(KeyEncoding::Utf8), |node| node.choice(&KeyEncoding::NAMES))?;
        let mut prefixes = Vec::new();
        if let Some(node) = object.get("prefix") {
            for entry in node.one_or_list()? {
                prefixes.push(entry.filled_text()?.to_owned());
            }
        }
        // `v1,whsec_` before `v1,`: the longest one that fits is the one that is meant.
        prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
        Ok(Self { encoding, prefixes })
    }

    /// The key of that algorithm that a text stands for.
    ///
    /// # Errors
    /// The complaint, in which nothing of the text is.
    pub fn key(&self, text: &str, algorithm: Algorithm) -> Result<Key, &'static str> {
        let bare = self.prefixes.iter().find_map(|prefix| text.strip_prefix(prefix.as_str())).unwrap_or(text);
        let decoded = match self.encoding {
            _ if algorithm.is_public() && bare.contains("-----BEGIN ") => pem(bare),
            KeyEncoding::Utf8 => Some(bare.as_bytes().to_vec()),
            KeyEncoding::Hex => HEXLOWER_PERMISSIVE.decode(bare.as_bytes()).ok(),
            KeyEncoding::Base64 => BASE64_NOPAD.decode(bare.trim_end_matches('=').as_bytes()).ok(),
        };
        let complaint = match self.encoding {
            _ if algorithm.is_public() => {
                "is not a strong public key of the scheme's kind, in its encoding or in PEM"
            }
            KeyEncoding::Hex => "the secret is not hexadecimal, as the scheme needs it",
            KeyEncoding::Base64 | KeyEncoding::Utf8 => "the secret is not base64, as the scheme needs it",
        };
        let bytes = decoded.ok_or(complaint)?;
        if bytes.is_empty() {
            return Err("the secret is empty after its prefix");
        }
        algorithm.key(&bytes).ok_or(complaint)
    }
}
