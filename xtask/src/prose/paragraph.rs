//! A paragraph: running text that remembers the line of each of its words, so that a finding has a place.
//!
//! Invariant: `judged` and `text` have the same length in bytes. Only `judged` lacks code and link targets.

/// Running text from consecutive lines of one file.
#[derive(Debug, Default)]
pub(super) struct Paragraph {
    text: String,
    judged: String,
    /// The offset of each line's first byte, and the line's number.
    lines: Vec<(usize, usize)>,
}

/// One sentence of a paragraph.
#[derive(Debug, PartialEq)]
pub(super) struct Sentence<'a> {
    pub(super) line: usize,
    pub(super) text: &'a str,
    /// The same without code and link targets.
    pub(super) judged: &'a str,
}

impl Paragraph {
    pub(super) fn push(&mut self, line: usize, text: &str) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.lines.push((self.text.len(), line));
        self.text.push_str(text.trim());
    }

    /// Ends the paragraph: returns it unless it is empty, and leaves an empty one behind.
    pub(super) fn take(&mut self) -> Option<Self> {
        let mut taken = std::mem::take(self);
        taken.judged = without_code(&taken.text);
        (!taken.text.is_empty()).then_some(taken)
    }

    /// Returns the sentences, each with the line on which it begins.
    pub(super) fn sentences(&self) -> Vec<Sentence<'_>> {
        let mut found = Vec::new();
        let mut from = 0;
        for end in ends(&self.judged).chain([self.judged.len()]) {
            from += self.judged[from..end].len() - self.judged[from..end].trim_start().len();
            if from < end {
                let (text, judged) = (self.text[from..end].trim_end(), self.judged[from..end].trim_end());
                found.push(Sentence { line: self.line_at(from), text, judged });
            }
            from = end;
        }
        found
    }

    fn line_at(&self, offset: usize) -> usize {
        let before = self.lines.partition_point(|(first, _)| *first <= offset);
        self.lines[before.saturating_sub(1)].1
    }
}

/// Returns the offset behind each sentence but the last. A full stop, question mark or exclamation mark ends
/// one if a space follows, unless it closes an abbreviation.
fn ends(text: &str) -> impl Iterator<Item = usize> {
    text.match_indices(' ').map(|(space, _)| space).filter(|&space| {
        let before = &text[..space];
        let word = before.rsplit(' ').next().unwrap_or(before);
        before.trim_end_matches(CLOSERS).ends_with(['.', '?', '!'])
            && !ABBREVIATIONS.contains(&word.trim_start_matches(OPENERS))
    })
}

/// Returns `text` with the inside of code spans as a row of `x` and link targets as spaces, byte for byte.
fn without_code(text: &str) -> String {
    let (mut made, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(['`', ']']) {
        let (opening, closing, filler) =
            if rest[at..].starts_with("](") { ("](", ')', " ") } else { ("`", '`', "x") };
        let inside =
            rest[at..].strip_prefix(opening).and_then(|inside| Some((inside, inside.find(closing)?)));
        let Some((inside, bytes)) = inside else {
            made.push_str(&rest[..at + 1]);
            rest = &rest[at + 1..];
            continue;
        };
        // A link's brackets vanish with its target, so that a full stop behind it ends the sentence.
        let marks = if filler == " " { [" "; 2] } else { ["`"; 2] };
        made.push_str(&rest[..at]);
        made.push_str(&marks[0].repeat(opening.len()));
        made.push_str(&filler.repeat(bytes));
        made.push_str(marks[1]);
        rest = &inside[bytes + 1..];
    }
    made + rest
}

const CLOSERS: [char; 5] = [')', '"', '\'', '*', '_'];
const OPENERS: [char; 3] = ['(', '"', '*'];
const ABBREVIATIONS: [&str; 6] = ["e.g.", "i.e.", "etc.", "vs.", "cf.", "approx."];

#[cfg(test)]
mod tests {
    use super::*;

    fn sentences(lines: &[&str]) -> Vec<(usize, String)> {
        let mut paragraph = Paragraph::default();
        for (number, line) in lines.iter().enumerate() {
            paragraph.push(number + 1, line);
        }
        let taken = paragraph.take();
        taken.iter().flat_map(Paragraph::sentences).map(|one| (one.line, one.text.to_owned())).collect()
    }

    #[test]
    fn sentences_know_their_lines() {
        let found = sentences(&["One ends here. The second", "goes on. Third?"]);
        assert_eq!(
            found,
            [(1, "One ends here.".into()), (1, "The second goes on.".into()), (2, "Third?".into())]
        );
    }

    #[test]
    fn versions_and_abbreviations_end_no_sentence() {
        assert_eq!(sentences(&["NCCL 2.28.9, e.g. on Linux (i.e. here), is (\"fine.\") And more"]).len(), 2);
    }

    #[test]
    fn code_and_link_targets_are_not_judged_and_keep_their_length() {
        for text in ["a `who. b` [c](d.md#e). `f", "`` ` ``", "](", "] `", "[`é`](ü) ü`ü`", "a [b] (c) d](e"]
        {
            let judged = without_code(text);
            assert_eq!(judged.len(), text.len(), "{text}");
            assert!(!judged.contains("who"), "{judged}");
        }
        assert_eq!(without_code("see `who` in [page](x.md). Then"), "see `xxx` in [page       . Then");
        assert_eq!(sentences(&["Read [page](x.md). Then `a. b` go."]).len(), 2);
    }

    #[test]
    fn nothing_is_no_paragraph() {
        assert!(Paragraph::default().take().is_none());
        assert_eq!(sentences(&["  "]), []);
    }
}
