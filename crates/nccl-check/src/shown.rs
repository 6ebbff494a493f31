//! Text of a plugin's making, for a terminal.

/// Returns the text in one line, with a dot for each character that does not show as itself. These are
/// control characters, marks that turn the text around them, and replaced bytes that were no text.
pub(crate) fn shown(text: &str) -> String {
    text.chars().map(|c| if shows(c) { c } else { '·' }).collect()
}

fn shows(c: char) -> bool {
    let plain = c.escape_debug().len() == 1 || matches!(c, '\'' | '"' | '\\');
    plain && c != char::REPLACEMENT_CHARACTER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_shows_is_shown() {
        for (text, seen) in [
            ("it's \"4\" µs → \\", "it's \"4\" µs → \\"),
            ("a\x1b[31m\nb\0", "a·[31m·b·"),
            ("\u{202e}x\u{200b}\u{feff}\u{fffd}\u{e000}", "·x····"),
        ] {
            assert_eq!(shown(text), seen);
        }
    }
}
