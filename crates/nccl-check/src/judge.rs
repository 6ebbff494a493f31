//! Makes one outcome of the ends of a check's sides: the cause counts, not its consequences.

use std::time::Duration;

use crate::outcome::{Outcome, Told, Word};

/// The end of a side.
#[derive(Debug)]
pub(crate) enum End {
    /// The side told its end itself.
    Told(Told),
    /// The side crashed: in words, the signal and the running function.
    Crashed(String),
    /// The side hung: in words, how long and in which function.
    Hung(String),
    /// The side died as planned, or was ended because the other side had failed.
    Gone,
}

/// A side's end, and whether it came beyond NCCL's demands.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) end: End,
    pub(crate) beyond: bool,
}

impl Ended {
    /// Returns whether the other side has no reason to go on. A side that heard nothing in time is no cause:
    /// the other side has until the limit to show where it hangs.
    pub(crate) fn ends_the_check(&self) -> bool {
        match &self.end {
            End::Told(told) => !matches!(told.word, Word::Pass | Word::Unheard),
            End::Crashed(_) | End::Hung(_) | End::Gone => true,
        }
    }

    /// Makes the outcome of a demand that is not met.
    fn unmet(&self, seen: &str) -> Outcome {
        let stricter = self.beyond || matches!(&self.end, End::Told(told) if told.word == Word::Stricter);
        if stricter { Outcome::Stricter(seen.to_owned()) } else { Outcome::Fail(seen.to_owned()) }
    }

    fn told(&self, word: Word) -> Option<&Told> {
        match &self.end {
            End::Told(told) if told.word == word => Some(told),
            _ => None,
        }
    }
}

/// Makes one outcome of the sides' ends.
pub(crate) fn judge(limit: Duration, sides: &[Ended]) -> Outcome {
    // A side that crashed or hung is the reason why the other side gave up.
    for side in sides {
        if let End::Crashed(how) = &side.end {
            return side.unmet(how);
        }
    }
    for side in sides {
        if let End::Hung(how) = &side.end {
            return side.unmet(&how.replacen("hung", &format!("hung for {} s", limit.as_secs_f64()), 1));
        }
    }
    // Failures after the first one are consequences.
    let unmet = sides.iter().filter_map(|side| {
        let told = [Word::Fail, Word::Stricter, Word::Unloadable].iter().find_map(|&word| side.told(word))?;
        Some((side, told))
    });
    if let Some((side, told)) = unmet.min_by_key(|(_, told)| told.at_ns) {
        return side.unmet(&told.seen);
    }
    let all = |word: Word| {
        let mut seen: Vec<&str> = sides
            .iter()
            .filter_map(|side| side.told(word))
            .map(|told| told.seen.as_str())
            .filter(|seen| !seen.is_empty())
            .collect();
        // Both sides may tell the same.
        seen.dedup();
        seen.join("; ")
    };
    let has = |word: Word| sides.iter().any(|side| side.told(word).is_some());
    if has(Word::Skipped) {
        return Outcome::Skipped(all(Word::Skipped));
    }
    if has(Word::Unheard) {
        return Outcome::Fail("one side waited for the other until the time limit".into());
    }
    if has(Word::Alone) || !has(Word::Pass) {
        return Outcome::Fail("the sides lost each other, and neither said why".into());
    }
    Outcome::Pass(all(Word::Pass))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(end: End) -> Ended {
        Ended { end, beyond: false }
    }

    fn told(word: Word, seen: &str) -> Ended {
        side(End::Told(Told::now(word, seen.into())))
    }

    fn hung() -> Ended {
        side(End::Hung("hung in accept (receiving side)".into()))
    }

    fn judged(sides: &[Ended]) -> Outcome {
        judge(Duration::from_secs(10), sides)
    }

    #[test]
    fn the_cause_comes_before_its_consequences() {
        let blocked = Outcome::Fail("hung for 10 s in accept (receiving side)".into());
        assert_eq!(judged(&[told(Word::Fail, "gave up"), hung()]), blocked);
        assert_eq!(judged(&[told(Word::Unheard, ""), hung()]), blocked);
        assert_eq!(
            judged(&[told(Word::Alone, ""), told(Word::Fail, "bad data")]),
            Outcome::Fail("bad data".into())
        );
        assert_eq!(
            judged(&[told(Word::Unheard, ""), told(Word::Fail, "never done")]),
            Outcome::Fail("never done".into())
        );
        assert_eq!(judged(&[told(Word::Pass, "fine"), side(End::Gone)]), Outcome::Pass("fine".into()));
        assert_eq!(
            judged(&[told(Word::Skipped, "none"), told(Word::Alone, "")]),
            Outcome::Skipped("none".into())
        );
        for sides in [
            [told(Word::Alone, ""), told(Word::Alone, "")],
            [told(Word::Unheard, ""), told(Word::Pass, "fine")],
            [side(End::Gone), side(End::Gone)],
        ] {
            assert!(matches!(judged(&sides), Outcome::Fail(_)), "{sides:?}");
        }
    }

    #[test]
    fn what_goes_beyond_nccl_is_no_failure() {
        let beyond = |side: Ended| Ended { beyond: true, ..side };
        let crash = || side(End::Crashed("crashed: SIGSEGV in isend (sending side)".into()));
        assert!(matches!(judged(&[beyond(crash()), told(Word::Alone, "")]), Outcome::Stricter(_)));
        assert!(matches!(judged(&[beyond(told(Word::Pass, "")), crash()]), Outcome::Fail(_)));
        assert!(matches!(judged(&[beyond(hung()), told(Word::Unheard, "")]), Outcome::Stricter(_)));
        assert_eq!(
            judged(&[told(Word::Stricter, "only with test"), told(Word::Pass, "")]),
            Outcome::Stricter("only with test".into())
        );
        assert_eq!(judged(&[beyond(told(Word::Pass, "fine"))]), Outcome::Pass("fine".into()));
        // The earlier one is the cause.
        let first = told(Word::Stricter, "first");
        assert_eq!(judged(&[told(Word::Fail, "second"), first]), Outcome::Stricter("first".into()));
    }

    #[test]
    fn only_what_ends_a_check_ends_the_other_side() {
        assert!(!told(Word::Pass, "").ends_the_check() && !told(Word::Unheard, "").ends_the_check());
        assert!(told(Word::Fail, "").ends_the_check() && side(End::Gone).ends_the_check());
    }
}
