//! What is written to a terminal.
//!
//! Responsible for keeping what strangers wrote from steering it.

/// A text with every character that could steer a terminal, or hide what stands beside it, as its escape.
pub(crate) fn visible(text: &str) -> String {
    let steers = |one: char| {
        one.is_control() && one != '\n' && one != '\t'
            || matches!(one, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut shown = String::with_capacity(text.len());
    for one in text.chars() {
        if steers(one) { shown.extend(one.escape_default()) } else { shown.push(one) }
    }
    shown
}

/// The same on one line.
pub(crate) fn line(text: &str) -> String {
    visible(text).replace('\n', "\\n").replace('\t', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(visible("a\x1b[31m\r\x07b\u{202e}c\nd"), "a\\u{1b}[31m\\r\\u{7}b\\u{202e}c\nd");
        assert_eq!(line("a\nb"), "a\\nb");
    }
}
