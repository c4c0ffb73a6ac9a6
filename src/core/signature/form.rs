//! A form (`application/x-www-form-urlencoded`) as Twilio and Mandrill sign it: its parameters sorted by name and value,
//! each name followed by its value, decoded, the same pair once (twilio.com/docs/usage/security#validating-requests,
//! twilio-python's `RequestValidator`).
//!
//! Responsible for doing so without a second copy. It cannot be sorted before it is whole, and nobody has vouched for it by then. So it is not kept while it comes: its
//! parameters are only counted, the host holds the body, and at the end it is taken over once, decoded where it stands,
//! and only places in it are sorted.

use crate::uri::percent::decode_in_place;
use std::cmp::Ordering;
use std::ops::Range;

/// More parameters than this are no delivery that anyone signs (Twilio's have some thirty).
pub const MOST_PARAMETERS: usize = 1000;

/// What sorting a form takes beside the body itself, in bytes.
pub const BESIDE_BODY: u64 = 128 << 10;

/// A form that was decoded and sorted.
#[derive(Debug)]
pub struct Form {
    text: Vec<u8>,
    pairs: Vec<Pair>,
}

#[derive(Clone, Debug)]
struct Pair {
    name: Range<usize>,
    value: Range<usize>,
}

impl Form {
    /// Decodes and sorts a whole body; nothing where it has more parameters than are looked at.
    #[must_use]
    pub fn read(mut body: Vec<u8>) -> Option<Self> {
        let mut pairs = Vec::new();
        let mut rest = 0..body.len();
        while !rest.is_empty() {
            let piece = cut(&body, rest.clone(), b'&');
            rest.start = piece.end.saturating_add(1).min(rest.end);
            if piece.is_empty() {
                continue;
            }
            if pairs.len() >= MOST_PARAMETERS {
                return None;
            }
            let name = cut(&body, piece.clone(), b'=');
            let value = name.end.saturating_add(1).min(piece.end)..piece.end;
            pairs.push(Pair { name: decode(&mut body, name), value: decode(&mut body, value) });
        }
        let mut form = Self { text: body, pairs };
        let mut pairs = std::mem::take(&mut form.pairs);
        pairs.sort_unstable_by(|one, other| form.compare(one, other));
        pairs.dedup_by(|one, other| form.compare(one, other) == Ordering::Equal);
        form.pairs = pairs;
        Some(form)
    }

    /// What is signed, in pieces.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.pairs.iter().flat_map(|pair| [&pair.name, &pair.value]).map(|range| self.at(range))
    }

    fn at(&self, range: &Range<usize>) -> &[u8] {
        self.text.get(range.clone()).unwrap_or_default()
    }

    fn compare(&self, one: &Pair, other: &Pair) -> Ordering {
        let names = self.at(&one.name).cmp(self.at(&other.name));
        names.then_with(|| self.at(&one.value).cmp(self.at(&other.value)))
    }
}

/// The part of a range before the first such byte, or all of it.
fn cut(text: &[u8], range: Range<usize>, at: u8) -> Range<usize> {
    let found = text.get(range.clone()).and_then(|part| part.iter().position(|byte| *byte == at));
    let end = found.map_or(range.end, |length| range.start.saturating_add(length));
    range.start..end
}

fn decode(text: &mut [u8], range: Range<usize>) -> Range<usize> {
    let part = text.get_mut(range.clone()).unwrap_or_default();
    part.iter_mut().filter(|byte| **byte == b'+').for_each(|byte| *byte = b' ');
    let length = decode_in_place(part);
    range.start..range.start.saturating_add(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(body: &str) -> Option<String> {
        let form = Form::read(body.as_bytes().to_vec())?;
        Some(String::from_utf8(form.pieces().flatten().copied().collect()).unwrap())
    }

    #[test]
    fn a_form_is_sorted_decoded_and_without_repetition() {
        for (body, text) in [
            ("b=2&a=1", "a1b2"),
            ("a=2&a=1&a=2", "a1a2"),
            ("To=%2B1+2&From=x%20y", "Fromx yTo+1 2"),
            ("a&b=&&c=%zz", "abc%zz"),
            ("a=b=c&", "ab=c"),
            ("%61=1&a=1", "a1"),
            ("", ""),
            ("&", ""),
        ] {
            assert_eq!(signed(body).as_deref(), Some(text), "{body}");
        }
    }

    #[test]
    fn no_more_parameters_are_sorted_than_a_delivery_can_have() {
        let form = |count: usize| "a=1&".repeat(count);
        assert!(signed(&form(MOST_PARAMETERS)).is_some());
        assert!(signed(&form(MOST_PARAMETERS + 1)).is_none());
    }
}
