//! The end of a check: a side's message to its parent, and the outcome of both sides' messages.

use gputcp_nccl_drive::foreign::one_line;

use crate::stop::{Seen, Stop};

/// The end of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The plugin meets the demand: the evidence.
    Pass(String),
    /// The plugin does not meet the demand, and NCCL does not make it: the evidence.
    Stricter(String),
    /// The plugin does not meet the demand: the evidence.
    Fail(String),
    /// The demand does not apply: the reason.
    Skipped(String),
}

/// A side's message to its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// The time of the end in nanoseconds, on the system's monotonic clock, which both sides share.
    pub(crate) at_ns: u64,
    pub(crate) word: Word,
    pub(crate) seen: String,
}

/// The end of a side, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Pass,
    Fail,
    Stricter,
    Skipped,
    /// The other side said nothing in time.
    Unheard,
    /// The other side has stopped, and tells the reason.
    Alone,
    /// The plugin's file is of no use.
    Unloadable,
}

impl From<Seen> for Told {
    fn from(seen: Seen) -> Self {
        let (word, seen) = match seen {
            Ok(seen) => (Word::Pass, seen),
            Err(Stop::Failed(seen)) => (Word::Fail, seen),
            Err(Stop::Stricter(seen)) => (Word::Stricter, seen),
            Err(Stop::Skipped(seen)) => (Word::Skipped, seen),
            Err(Stop::Unheard) => (Word::Unheard, String::new()),
            Err(Stop::Alone) => (Word::Alone, String::new()),
        };
        Self::now(word, seen)
    }
}

impl Told {
    pub(crate) fn now(word: Word, seen: String) -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let at_ns = now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned();
        Self { at_ns, word, seen }
    }

    pub(crate) fn encode(&self) -> String {
        let seen: String = self.seen.chars().take(SEEN_CHARS).collect();
        let word = WORDS.iter().find(|(word, _)| *word == self.word).map_or("", |(_, text)| text);
        format!("{} {word} {}\n", self.at_ns, seen.replace('\n', " "))
    }

    /// Reads a side's message; `None` if the text is none.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let (at, said) = text.strip_suffix('\n')?.split_once(' ')?;
        let (at_ns, (word, seen)) = (at.parse().ok()?, said.split_once(' ')?);
        let word = WORDS.iter().find(|(_, text)| *text == word)?.0;
        Some(Self { at_ns, word, seen: one_line(seen) })
    }
}

const WORDS: [(Word, &str); 7] = [
    (Word::Pass, "pass"),
    (Word::Fail, "fail"),
    (Word::Stricter, "stricter"),
    (Word::Skipped, "skipped"),
    (Word::Unheard, "unheard"),
    (Word::Alone, "alone"),
    (Word::Unloadable, "unloadable"),
];
/// The most characters of the evidence; more is no sentence.
const SEEN_CHARS: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_side_tells_survives_the_pipe() {
        for seen in [
            Ok("fine".to_owned()),
            Err(Stop::Failed("bad\nnews\x1b".into())),
            Err(Stop::Stricter("more than asked".into())),
            Err(Stop::Skipped("not here".into())),
            Err(Stop::Unheard),
            Err(Stop::Alone),
        ] {
            let told = Told::from(seen.clone());
            let back = Told::decode(&told.encode()).unwrap();
            assert_eq!(back.word, told.word);
            assert!(!back.seen.contains(['\n', '\x1b']), "{back:?}");
        }
        // A plugin without a name is told by its version, its devices and a space.
        let nameless = Told::from(Ok("11 1 ".to_owned())).encode();
        assert_eq!(Told::decode(&nameless).unwrap().seen, "11 1 ");
        for nonsense in ["", "pass", "pass fine\n", "1 pass fine", "1 maybe yes\n"] {
            assert_eq!(Told::decode(nonsense), None, "{nonsense:?}");
        }
    }
}
