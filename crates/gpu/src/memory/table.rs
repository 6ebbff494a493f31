//! The claims table of a buffer: the parts of it that are being read or written.
//!
//! Invariant: a part being written overlaps no other part in the table.
//!
//! Its size is fixed, so that a claim in the hot path allocates nothing. A claim reads only the entries in
//! use.

use crate::ClaimError;

/// The most claims that a buffer has at a time.
///
/// A connection has at most 32 sends and 32 receives in flight, so one buffer serves four connections at full
/// windows. Lanes share the claims of the request they work for.
pub const CLAIMS_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct ClaimTable {
    buffer_bytes: u64,
    /// One bit per entry in use.
    used: [u64; WORDS],
    parts: [Part; CLAIMS_MAX],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

impl ClaimTable {
    pub(super) const fn new(buffer_bytes: u64) -> Self {
        Self {
            buffer_bytes,
            used: [0; WORDS],
            parts: [Part { start: 0, end: 0, access: Access::Read }; CLAIMS_MAX],
        }
    }

    /// Enters a part, and returns its place in the table.
    pub(super) fn take(&mut self, offset: u64, bytes: u64, access: Access) -> Result<usize, ClaimError> {
        let end = offset.checked_add(bytes).filter(|&end| end <= self.buffer_bytes);
        let Some(end) = end else {
            return Err(ClaimError::OutOfRange { offset, bytes, buffer_bytes: self.buffer_bytes });
        };
        let part = Part { start: offset, end, access };
        if self.entries().any(|entry| self.parts[entry].excludes(&part)) {
            return Err(ClaimError::Overlap { offset, bytes });
        }
        let word = self.used.iter().position(|&word| word != u64::MAX).ok_or(ClaimError::TooMany)?;
        let bit = self.used[word].trailing_ones() as usize;
        self.used[word] |= 1 << bit;
        self.parts[word * 64 + bit] = part;
        Ok(word * 64 + bit)
    }

    /// Frees an entry.
    pub(super) fn give_back(&mut self, entry: usize) {
        let bit = 1 << (entry % 64);
        assert_ne!(self.used[entry / 64] & bit, 0, "an entry is given back once");
        self.used[entry / 64] &= !bit;
    }

    fn entries(&self) -> impl Iterator<Item = usize> {
        self.used.into_iter().enumerate().flat_map(|(word, mut bits)| {
            std::iter::from_fn(move || {
                let bit = bits.checked_ilog2()? as usize;
                bits &= !(1 << bit);
                Some(word * 64 + bit)
            })
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Part {
    start: u64,
    end: u64,
    access: Access,
}

impl Part {
    const fn excludes(&self, other: &Self) -> bool {
        let overlaps = self.start < other.end && other.start < self.end;
        let empty = self.start == self.end || other.start == other.end;
        let reads = matches!((self.access, other.access), (Access::Read, Access::Read));
        overlaps && !empty && !reads
    }
}

const WORDS: usize = CLAIMS_MAX / 64;
const _: () = assert!(CLAIMS_MAX.is_multiple_of(64), "the bits fill their words");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BYTES: u64 = 100;

    #[derive(Debug, Clone)]
    enum Step {
        Take(u64, u64, Access),
        GiveBack(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let access = prop_oneof![3 => Just(Access::Read), 1 => Just(Access::Write)];
        let take =
            (0..BYTES + 5, 0..20u64, access).prop_map(|(at, bytes, access)| Step::Take(at, bytes, access));
        prop::collection::vec(prop_oneof![2 => take, 1 => any::<usize>().prop_map(Step::GiveBack)], 0..200)
    }

    proptest! {
        /// The model keeps one count per byte: the number of its readers, and whether it is being written.
        #[test]
        fn agrees_with_a_count_per_byte(steps in steps()) {
            let mut table = ClaimTable::new(BYTES);
            let mut taken: Vec<(usize, u64, u64, Access)> = Vec::new();
            for step in steps {
                match step {
                    Step::Take(offset, bytes, access) => {
                        let fits = offset + bytes <= BYTES;
                        let uses = |byte: u64, which| {
                            taken.iter().any(|&(_, at, n, a)| a == which && (at..at + n).contains(&byte))
                        };
                        let is_free = (offset..offset + bytes)
                            .all(|byte| !uses(byte, Access::Write) && (access == Access::Read || !uses(byte, Access::Read)));
                        match table.take(offset, bytes, access) {
                            Ok(entry) => {
                                prop_assert!(fits && is_free);
                                prop_assert!(taken.iter().all(|&(other, ..)| other != entry));
                                taken.push((entry, offset, bytes, access));
                            }
                            Err(ClaimError::OutOfRange { .. }) => prop_assert!(!fits),
                            Err(ClaimError::Overlap { .. }) => prop_assert!(fits && !is_free),
                            Err(ClaimError::TooMany) => prop_assert!(false, "fewer than {}", CLAIMS_MAX),
                        }
                    }
                    Step::GiveBack(which) if !taken.is_empty() => {
                        let (entry, ..) = taken.swap_remove(which % taken.len());
                        table.give_back(entry);
                    }
                    Step::GiveBack(_) => {}
                }
            }
        }
    }

    #[test]
    fn is_full_at_its_capacity_and_not_before() {
        let mut table = ClaimTable::new(1);
        let entries: Vec<_> = (0..CLAIMS_MAX).map(|_| table.take(0, 1, Access::Read).unwrap()).collect();
        assert_eq!(table.take(0, 1, Access::Read), Err(ClaimError::TooMany));
        table.give_back(entries[77]);
        assert_eq!(table.take(0, 1, Access::Read), Ok(entries[77]));
    }

    #[test]
    fn offsets_do_not_wrap() {
        let mut table = ClaimTable::new(10);
        for (offset, bytes) in [(u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX), (11, 0), (5, 6)] {
            let error = ClaimError::OutOfRange { offset, bytes, buffer_bytes: 10 };
            assert_eq!(table.take(offset, bytes, Access::Read), Err(error));
        }
    }
}
