//! Text that the other side has worded, made fit for a terminal and for a frame.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The reason of a refusal or of giving up. It is printable and bounded, whichever side worded it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct Reason(String);

impl Reason {
    /// Returns the reason in a text that the other side may have worded.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(printable(text))
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Returns text of the other side, fit for a terminal and for a frame. It has no control characters,
/// nothing that turns the direction of text, and no endless lines. As JSON it takes at most `TEXT_BYTES`.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut bytes = 0;
    let shown = text.chars().map(|c| if c.is_control() || turns(c) { '·' } else { c });
    shown
        .take_while(|c| {
            // Without control characters only these two grow in JSON.
            bytes += if matches!(c, '"' | '\\') { 2 } else { c.len_utf8() };
            bytes <= TEXT_BYTES
        })
        .collect()
}

/// Returns whether it changes the direction of the text around it.
const fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A long sentence; what is around it in a frame is far shorter than the rest of the frame's bound.
const TEXT_BYTES: usize = 1200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_is_made_printable() {
        assert_eq!(printable("a\x1b[31m\nb"), "a·[31m·b");
        assert_eq!(printable("a\u{202e}b"), "a·b");
    }
}
