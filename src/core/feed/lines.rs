//! A list as text: one network a line.
//!
//! Responsible for finding the lines of an answer that comes in pieces, of which no more than one line is kept.

use super::{Fault, quoted};

/// A longer line is no network: the longest has 43 characters.
const LONGEST: usize = 128;

/// A text on its way.
#[derive(Debug, Default)]
pub(super) struct Lines {
    open: Vec<u8>,
}

impl Lines {
    /// Reads the next bytes, and calls `add` with each line that says something.
    pub(super) fn update(
        &mut self,
        piece: &[u8],
        mut add: impl FnMut(&str) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        for byte in piece {
            if *byte == b'\n' {
                line(&self.open, &mut add)?;
                self.open.clear();
            } else if self.open.first() == Some(&b'#') {
                // A remark may be of any length, and is not kept.
            } else if self.open.len() < LONGEST {
                self.open.push(*byte);
            } else {
                return Err(Fault::NoNetwork(quoted(&String::from_utf8_lossy(&self.open))));
            }
        }
        Ok(())
    }

    /// Ends the text: its last line need not be ended.
    pub(super) fn finish(self, mut add: impl FnMut(&str) -> Result<(), Fault>) -> Result<(), Fault> {
        line(&self.open, &mut add)
    }
}

fn line(bytes: &[u8], add: &mut impl FnMut(&str) -> Result<(), Fault>) -> Result<(), Fault> {
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::NotUtf8)?.trim_matches([' ', '\t', '\r']);
    if text.is_empty() || text.starts_with('#') { Ok(()) } else { add(text) }
}
