//! Test data: a pattern of (seed, iteration, offset), new in each iteration, written and verified at memory
//! speed.
//!
//! The message is cut into blocks; each block has a key drawn from seed, iteration and the block's number.
//! Word `i` of a block is `mix(key + i·STEP)`. `mix` is a bijection, so two blocks with different keys differ
//! in every word. It uses shifts, additions and exclusive-ors on 32-bit words only, so that the loops become
//! vector instructions.

mod words;

/// The choice of data: byte `i` of a message depends on the seed, the iteration and `i`, and on nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern {
    /// The run's seed.
    pub seed: u64,
    /// The iteration: data of another iteration does not verify.
    pub iteration: u64,
}

/// A difference between data and the pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "corrupt data: byte {offset} of the message is {found:#04x} and should be {expected:#04x} ({wrong_bytes} wrong bytes in all)"
)]
pub struct Mismatch {
    /// The place of the first wrong byte in the message.
    pub offset: u64,
    /// The byte that should be there.
    pub expected: u8,
    /// The byte that is there.
    pub found: u8,
    /// The total number of wrong bytes.
    pub wrong_bytes: u64,
}

impl Pattern {
    /// Writes the message's bytes from `offset` on into `out`.
    pub fn fill(&self, offset: u64, out: &mut [u8]) {
        let mut rest = out;
        let mut at = offset;
        while !rest.is_empty() {
            let (piece, later) = rest.split_at_mut(self.piece_bytes(at, rest.len()));
            self.fill_piece(at, piece);
            at += piece.len() as u64;
            rest = later;
        }
    }

    /// Compares `data` with the message's bytes from `offset` on.
    ///
    /// # Errors
    /// The first wrong byte, and the number of wrong bytes.
    pub fn verify(&self, offset: u64, data: &[u8]) -> Result<(), Mismatch> {
        let mut found: Option<Mismatch> = None;
        let mut rest = data;
        let mut at = offset;
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(self.piece_bytes(at, rest.len()));
            if !self.piece_matches(at, piece) {
                let first = self.compare(at, piece);
                let before = found.map_or(0, |found| found.wrong_bytes);
                let wrong_bytes = before + first.wrong_bytes;
                found = Some(Mismatch { wrong_bytes, ..found.unwrap_or(first) });
            }
            at += piece.len() as u64;
            rest = later;
        }
        found.map_or(Ok(()), Err)
    }

    /// Returns how many of `len` bytes from `at` are done at once, never beyond a block.
    ///
    /// These are a few bytes up to a word's start, whole words, or a few bytes of a last word.
    fn piece_bytes(&self, at: u64, len: usize) -> usize {
        let to_word = (at.wrapping_neg() % WORD_BYTES) as usize;
        if to_word != 0 {
            return to_word.min(len);
        }
        let in_block = (PIECE_BYTES - at % PIECE_BYTES) as usize;
        let whole = len.min(in_block);
        if whole < WORD_BYTES as usize { whole } else { whole - whole % WORD_BYTES as usize }
    }

    fn fill_piece(&self, at: u64, piece: &mut [u8]) {
        match self.part_of_word(at, piece.len()) {
            Some(part) => piece.copy_from_slice(&part[..piece.len()]),
            None => words::fill(self.state(at), piece),
        }
    }

    fn piece_matches(&self, at: u64, piece: &[u8]) -> bool {
        match self.part_of_word(at, piece.len()) {
            Some(part) => piece == &part[..piece.len()],
            None => words::matches(self.state(at), piece),
        }
    }

    /// Returns the bytes from `at` to the end of their word, in front, if a piece there is less than whole
    /// words.
    fn part_of_word(&self, at: u64, len: usize) -> Option<[u8; WORD_BYTES as usize]> {
        let skip = at % WORD_BYTES;
        let is_part = skip != 0 || len < WORD_BYTES as usize;
        is_part.then(|| (words::mix(self.state(at)) >> (8 * skip)).to_le_bytes())
    }

    /// Returns the first wrong byte of a piece that does not match, and the number of wrong bytes.
    fn compare(&self, at: u64, piece: &[u8]) -> Mismatch {
        let mut right = [0; PIECE_BYTES as usize];
        let right = &mut right[..piece.len()];
        self.fill_piece(at, right);
        let pairs = || piece.iter().zip(&*right);
        let wrong_bytes = pairs().map(|(found, expected)| u64::from(found != expected)).sum();
        let place = pairs().position(|(found, expected)| found != expected).unwrap_or(0);
        Mismatch { offset: at + place as u64, expected: right[place], found: piece[place], wrong_bytes }
    }

    /// Returns the state whose word holds the byte at `at`.
    fn state(&self, at: u64) -> u32 {
        words::after(self.key(at / BLOCK_BYTES), (at % BLOCK_BYTES / WORD_BYTES) as u32)
    }

    fn key(&self, block: u64) -> u32 {
        (scramble(self.hash() ^ block) >> 32) as u32
    }

    /// Returns the number that a block's key is drawn from, besides the block. The GPU's kernels are given
    /// it.
    pub(crate) const fn hash(&self) -> u64 {
        scramble(scramble(self.seed) ^ self.iteration)
    }
}

/// Applies the finalizer of splitmix64: a bijection of the 64-bit words that spreads every bit.
pub(crate) const fn scramble(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

const WORD_BYTES: u64 = 4;
/// The bytes of a block, which has one key.
const BLOCK_BYTES: u64 = 1 << 20;
/// The bytes that are compared at once before a mismatch is known.
const PIECE_BYTES: u64 = 4 << 10;
const _: () = assert!(BLOCK_BYTES.is_multiple_of(PIECE_BYTES) && PIECE_BYTES.is_multiple_of(WORD_BYTES));

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const P: Pattern = Pattern { seed: 5, iteration: 9 };

    /// Returns a byte from the definition alone.
    fn model(pattern: Pattern, at: u64) -> u8 {
        let word = words::mix(words::after(pattern.key(at >> 20), (at as u32 & 0xf_ffff) / 4));
        word.to_le_bytes()[(at % 4) as usize]
    }

    fn offsets() -> impl Strategy<Value = u64> {
        let near = |at: u64| (0..6000u64).prop_map(move |x| (at + x).saturating_sub(3000));
        prop_oneof![0..9000u64, near(1 << 20), near(5 << 20), near(1 << 34), near(1 << 62)]
    }

    proptest! {
        #[test]
        fn any_part_is_the_same_bytes(at in offsets(), len in 0..9000usize) {
            let mut data = vec![0xaa; len];
            P.fill(at, &mut data);
            let expected: Vec<u8> = (0..len as u64).map(|i| model(P, at + i)).collect();
            prop_assert_eq!(&data, &expected);
            prop_assert_eq!(P.verify(at, &data), Ok(()));
        }

        #[test]
        fn wrong_bytes_are_counted_and_the_first_is_named(
            at in offsets(),
            len in 1..9000usize,
            hits in prop::collection::btree_map(0..9000usize, 1..=255u8, 1..20),
        ) {
            let mut data = vec![0; len];
            P.fill(at, &mut data);
            let hits: std::collections::BTreeMap<_, _> = hits.into_iter().map(|(i, flip)| (i % len, flip)).collect();
            for (&i, flip) in &hits {
                data[i] ^= flip;
            }
            let (&first, flip) = hits.iter().next().unwrap();
            let expected = data[first] ^ flip;
            prop_assert_eq!(P.verify(at, &data), Err(Mismatch {
                offset: at + first as u64,
                expected,
                found: data[first],
                wrong_bytes: hits.len() as u64,
            }));
        }
    }

    #[test]
    fn other_data_differs_in_every_word() {
        let bytes = 3 << 20;
        let mut data = vec![0; bytes];
        P.fill(0, &mut data);
        for other in [Pattern { iteration: 10, ..P }, Pattern { iteration: 8, ..P }, Pattern { seed: 6, ..P }]
        {
            let mut against = vec![0; bytes];
            other.fill(0, &mut against);
            let same = data.chunks(4).zip(against.chunks(4)).filter(|(one, other)| one == other).count();
            assert_eq!(same, 0);
            let mismatch = other.verify(0, &data).unwrap_err();
            assert!(mismatch.offset < 4 && mismatch.wrong_bytes > bytes as u64 / 100 * 97, "{mismatch:?}");
        }
        // A shift of the data by a byte, a word, a page, a segment or a block does not verify either.
        for shift in [1, 4, 4096, 256 << 10, 1 << 20] {
            let wrong = P.verify(0, &data[shift..]).unwrap_err().wrong_bytes;
            assert!(wrong > (bytes - shift) as u64 / 100 * 97, "{wrong} wrong bytes at a shift of {shift}");
        }
    }
}
