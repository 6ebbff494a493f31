//! Enumerates every path of choices, depth first.
//!
//! States that were met before are not walked again, as all that can follow them is known. So every state and
//! every step between two states is still visited.

use std::{
    collections::HashSet,
    fmt::{Debug, Write},
    hash::{DefaultHasher, Hasher},
};

/// The choices of the current run, and the position where the next one differs.
#[derive(Default)]
pub(crate) struct Choices {
    path: Vec<(usize, usize)>,
    at: usize,
    runs: u64,
    seen: HashSet<u64>,
}

impl Choices {
    /// Prepares the next run; false when there is none left.
    pub(crate) fn next_run(&mut self) -> bool {
        self.at = 0;
        if self.runs > 0 {
            loop {
                match self.path.pop() {
                    None => return false,
                    Some((value, bound)) if value + 1 < bound => {
                        self.path.push((value + 1, bound));
                        break;
                    }
                    Some(_) => {}
                }
            }
        }
        self.runs += 1;
        true
    }

    /// Returns one of `0..bound`; over all runs each of them.
    pub(crate) fn pick(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "there is something to choose");
        if self.at == self.path.len() {
            self.path.push((0, bound));
        }
        let (value, expected) = self.path[self.at];
        assert_eq!(expected, bound, "the same choices lead to the same state");
        self.at += 1;
        value
    }

    /// Returns whether another run has been in this state, which its `Debug` form must describe in full: end
    /// the run then.
    pub(crate) fn known(&mut self, state: &impl Debug) -> bool {
        if self.at < self.path.len() {
            return false; // On the way to the first new step.
        }
        let mut hash = Hashing(DefaultHasher::new());
        write!(hash, "{state:?}").expect("hashing does not fail");
        !self.seen.insert(hash.0.finish())
    }

    /// Returns how many runs there were.
    pub(crate) const fn runs(&self) -> u64 {
        self.runs
    }

    /// Returns how many different states were met.
    pub(crate) fn states(&self) -> usize {
        self.seen.len()
    }
}

struct Hashing(DefaultHasher);

impl Write for Hashing {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

#[test]
fn every_path_is_taken_once() {
    let mut choices = Choices::default();
    let mut paths = vec![];
    while choices.next_run() {
        let first = choices.pick(3);
        let rest: Vec<_> = (0..first).map(|_| choices.pick(2)).collect();
        paths.push((first, rest));
    }
    assert_eq!(paths.len(), 1 + 2 + 4);
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len() as u64, choices.runs());
}

#[test]
fn a_known_state_ends_a_run() {
    // Ten coin flips, of which only the number of heads counts: 2^10 paths, but a triangle of states.
    let mut choices = Choices::default();
    while choices.next_run() {
        let mut heads = 0;
        for flips in 0..10 {
            if choices.known(&(flips, heads)) {
                break;
            }
            heads += choices.pick(2);
        }
    }
    assert_eq!(choices.states(), 10 * 11 / 2);
    assert!(choices.runs() <= 2 * 10 * 11 / 2);
}
