//! Percent-coding (RFC 3986 2.1).
//!
//! Responsible for decoding and encoding, for everyone. What is not an escape stays as it is when it is decoded, `+`
//! included: only a form means a blank by it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use std::borrow::Cow;

/// All but the unreserved characters (RFC 3986 2.3).
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The text, decoded once; borrowed where it has no escape.
#[must_use]
pub fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    percent_decode(text).into()
}

/// Decodes where the text stands, and says how many bytes at its beginning are then the decoded text.
pub fn decode_in_place(text: &mut [u8]) -> usize {
    let (mut from, mut to) = (0_usize, 0_usize);
    while let Some(byte) = text.get(from).copied() {
        let value = if byte == b'%' { escaped(text, from) } else { None };
        if let Some(slot) = text.get_mut(to) {
            *slot = value.unwrap_or(byte);
        }
        from = from.saturating_add(if value.is_some() { 3 } else { 1 });
        to = to.saturating_add(1);
    }
    to
}

/// The text with an escape, in capitals, for every byte that is not unreserved.
#[must_use]
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, &RESERVED).to_string()
}

/// The byte that the escape whose `%` is at that place stands for; nothing when its digits are none.
pub(crate) fn escaped(text: &[u8], at: usize) -> Option<u8> {
    let high = hex_digit(*text.get(at.checked_add(1)?)?)?;
    let low = hex_digit(*text.get(at.checked_add(2)?)?)?;
    u8::try_from(high << 4 | low).ok()
}

/// What a hexadecimal digit counts; nothing when it is none.
pub(crate) fn hex_digit(byte: u8) -> Option<u32> {
    char::from(byte).to_digit(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_decoded_once_and_what_is_no_escape_stays() {
        for (text, decoded) in [
            ("a%41", "aA"),
            ("%2541", "%41"),
            ("a+b", "a+b"),
            ("%", "%"),
            ("%4", "%4"),
            ("%%41", "%A"),
            ("%+4", "%+4"),
            ("%4%41", "%4A"),
        ] {
            assert_eq!(decode(text.as_bytes()), decoded.as_bytes(), "{text}");
            let mut own = text.as_bytes().to_vec();
            let length = decode_in_place(&mut own);
            assert_eq!(&own[..length], decoded.as_bytes(), "{text}, in place");
        }
    }

    #[test]
    fn a_text_is_encoded_but_for_unreserved_characters() {
        assert_eq!(encode("aZ09-._~ +/%&=ä\n"), "aZ09-._~%20%2B%2F%25%26%3D%C3%A4%0A");
    }
}
