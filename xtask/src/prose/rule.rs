//! The rule of the house for prose, as four measures that a program can take.
//!
//! A sentence's subject is a named thing. Two measures stand for the opposite: the words for a person without
//! a name, wherever they are, and sentences that begin with "What" or "Whatever". A relative "whose" behind a
//! named thing passes, as does "what" within a sentence. Code between backticks is not judged.

use super::paragraph::{Paragraph, Sentence};

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Measure {
    /// A word for a person without a name: [`PERSONS`], and [`LEADING`] where it begins a sentence.
    Who,
    /// A sentence that begins with "What" or "Whatever".
    What,
    /// A line longer than [`COLUMNS`].
    Wide,
    /// A sentence longer than [`WORDS`].
    Long,
}

impl Measure {
    /// Returns the demand that is missed.
    pub(super) fn demand(self) -> String {
        match self {
            Self::Who => {
                "the subject is a named thing, not who, whoever, nobody, somebody and the like".into()
            }
            Self::What => "a sentence does not begin with What or Whatever".into(),
            Self::Wide => format!("a line has at most {COLUMNS} columns"),
            Self::Long => format!("a sentence has at most {WORDS} words"),
        }
    }
}

/// Returns the faults of a paragraph, each with its line and the sentence.
pub(super) fn faults(paragraph: &Paragraph) -> Vec<(Measure, usize, String)> {
    let mut found = Vec::new();
    for sentence in paragraph.sentences() {
        let mut add = |measure, times| {
            found.extend((0..times).map(|_| (measure, sentence.line, sentence.text.to_owned())));
        };
        add(Measure::Who, persons(&sentence));
        add(Measure::What, usize::from(WHAT.contains(&first_word(&sentence).as_str())));
        add(Measure::Long, usize::from(words(&sentence) > WORDS));
    }
    found
}

/// Whether a line is too long.
pub(super) fn is_wide(line: &str) -> bool {
    line.chars().count() > COLUMNS
}

fn persons(sentence: &Sentence<'_>) -> usize {
    let words: Vec<String> = plain_words(sentence.judged).collect();
    let single = words.iter().filter(|word| PERSONS.contains(&word.as_str())).count();
    let no_one = words.windows(2).filter(|pair| pair[0] == "no" && pair[1] == "one").count();
    single + no_one + usize::from(LEADING == first_word(sentence))
}

fn first_word(sentence: &Sentence<'_>) -> String {
    plain_words(sentence.judged).next().unwrap_or_default()
}

/// Returns the words in lower case, without the punctuation around them.
fn plain_words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric() && c != '`' && c != '_')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// Returns how many words a reader reads: what spaces separate and holds a letter or a digit.
fn words(sentence: &Sentence<'_>) -> usize {
    sentence.judged.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count()
}

const PERSONS: [&str; 10] =
    ["who", "whoever", "whom", "nobody", "somebody", "someone", "everybody", "everyone", "anybody", "anyone"];
const LEADING: &str = "whose";
const WHAT: [&str; 2] = ["what", "whatever"];
pub(super) const COLUMNS: usize = 110;
const WORDS: usize = 25;

#[cfg(test)]
mod tests {
    use super::*;

    fn measures(text: &str) -> Vec<Measure> {
        let mut paragraph = Paragraph::default();
        paragraph.push(1, text);
        let paragraph = paragraph.take().expect("some text");
        faults(&paragraph).iter().map(|(measure, _, _)| *measure).collect()
    }

    #[test]
    fn the_examples_of_the_house_style() {
        assert_eq!(measures("Whoever waits reads the control socket; standby stays away."), [Measure::Who]);
        assert_eq!(measures("Nothing where nobody knows the sockets."), [Measure::Who]);
        for good in [
            "The waiting thread reads the control socket.",
            "While a caller polls, the background reader disarms its epoll registration.",
            "`None` if the transport does not expose TCP counters.",
            "Returns the connection whose peer died, and what it had sent.",
        ] {
            assert_eq!(measures(good), [], "{good}");
        }
    }

    #[test]
    fn what_begins_no_sentence() {
        assert_eq!(
            measures("What a frame says. Says what it is. Whatever comes is read. (What else?)"),
            [Measure::What; 3]
        );
    }

    #[test]
    fn words_for_persons_are_whole_words_outside_of_code() {
        assert_eq!(measures("The whole of `who` and `nobody`, `WHOSE`."), []);
        assert_eq!(measures("Whose turn? No one's: everyone, anybody, whom."), [Measure::Who; 5]);
        assert_eq!(measures("NOBODY asks."), [Measure::Who]);
    }

    #[test]
    fn twenty_five_words_pass() {
        let words = |count: usize| format!("{}.", vec!["word"; count].join(" "));
        assert_eq!(measures(&words(25)), []);
        assert_eq!(measures(&words(26)), [Measure::Long]);
        assert_eq!(
            measures(&format!("{} — `a b c` {}", words(25).trim_end_matches('.'), words(25))),
            [Measure::Long]
        );
        assert_eq!(measures(&format!("{} {}", words(25), words(25))), []);
    }

    #[test]
    fn a_hundred_and_ten_columns_pass() {
        assert!(!is_wide(&"é".repeat(110)));
        assert!(is_wide(&"é".repeat(111)));
    }
}
