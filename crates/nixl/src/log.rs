//! Sentences to the user, on stderr, where NIXL's own go.

use std::io::Write as _;

/// Writes a sentence.
pub(crate) fn say(sentence: &str) {
    let plain: String = sentence.chars().map(|c| if c.is_control() { '·' } else { c }).collect();
    // A program may have closed its stderr.
    let _ = writeln!(std::io::stderr(), "NIXL/GPUTCP: {plain}");
}
