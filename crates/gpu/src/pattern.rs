//! Test data: a pattern of (seed, iteration, offset), new in each iteration, written and verified at memory speed.
//!
//! The message is cut into blocks; each block has a key drawn from seed, iteration and the block's number. Word `i` of
//! a block is `mix(key + i·STEP)`. `mix` is a bijection, so two blocks with different keys differ in every word.
//! Shifts, additions and exclusive-ors on 32-bit words only: any x86-64 has them as vector instructions.

/// Which data: byte `i` of a message depends on the seed, the iteration and `i`, and on nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern {
    /// The run's seed.
    pub seed: u64,
    /// The iteration: data of another iteration does not verify.
    pub iteration: u64,
}

/// Data that is not what the pattern says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "corrupt data: byte {offset} of the message is {found:#04x} and should be {expected:#04x} ({wrong_bytes} wrong bytes in all)"
)]
pub struct Mismatch {
    /// The first wrong byte's place in the message.
    pub offset: u64,
    /// What should be there.
    pub expected: u8,
    /// What is there.
    pub found: u8,
    /// How many bytes are wrong in all.
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
    /// The first wrong byte, and how many are wrong.
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

    /// How much of `len` bytes from `at` is done at once: a few bytes up to a word's start, whole words, or a few bytes
    /// of a last word. Never beyond a block.
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
        let start = self.word_state(at);
        if !at.is_multiple_of(WORD_BYTES) || piece.len() < WORD_BYTES as usize {
            let word = mix(start).to_le_bytes();
            let skip = (at % WORD_BYTES) as usize;
            piece.copy_from_slice(&word[skip..skip + piece.len()]);
            return;
        }
        let (words, _) = piece.as_chunks_mut::<{ WORD_BYTES as usize }>();
        for (i, word) in words.iter_mut().enumerate() {
            *word = mix(start.wrapping_add((i as u32).wrapping_mul(STEP))).to_le_bytes();
        }
    }

    fn piece_matches(&self, at: u64, piece: &[u8]) -> bool {
        let start = self.word_state(at);
        if !at.is_multiple_of(WORD_BYTES) || piece.len() < WORD_BYTES as usize {
            let word = mix(start).to_le_bytes();
            let skip = (at % WORD_BYTES) as usize;
            return piece == &word[skip..skip + piece.len()];
        }
        let (words, _) = piece.as_chunks::<{ WORD_BYTES as usize }>();
        let mut difference = 0;
        for (i, word) in words.iter().enumerate() {
            difference |= mix(start.wrapping_add((i as u32).wrapping_mul(STEP))) ^ u32::from_le_bytes(*word);
        }
        difference == 0
    }

    /// The first wrong byte of a piece that does not match, and how many are wrong.
    fn compare(&self, at: u64, piece: &[u8]) -> Mismatch {
        let mut right = [0; PIECE_BYTES as usize];
        let right = &mut right[..piece.len()];
        self.fill_piece(at, right);
        let pairs = || piece.iter().zip(&*right);
        let wrong_bytes = pairs().map(|(found, expected)| u64::from(found != expected)).sum();
        let place = pairs().position(|(found, expected)| found != expected).unwrap_or(0);
        Mismatch { offset: at + place as u64, expected: right[place], found: piece[place], wrong_bytes }
    }

    /// What is mixed to give the word at `at`.
    fn word_state(&self, at: u64) -> u32 {
        let word_in_block = (at % BLOCK_BYTES / WORD_BYTES) as u32;
        self.key(at / BLOCK_BYTES).wrapping_add(word_in_block.wrapping_mul(STEP))
    }

    fn key(&self, block: u64) -> u32 {
        let hash = scramble(scramble(scramble(self.seed) ^ self.iteration) ^ block);
        (hash >> 32) as u32
    }
}

/// One step of Marsaglia's xorshift: a bijection of the 32-bit words.
const fn mix(mut x: u32) -> u32 {
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    x
}

/// The finalizer of splitmix64: a bijection of the 64-bit words that spreads every bit.
pub(crate) const fn scramble(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

const WORD_BYTES: u64 = 4;
/// A block has one key.
const BLOCK_BYTES: u64 = 1 << 20;
/// What is compared at once before it is known whether there is a mismatch.
const PIECE_BYTES: u64 = 4 << 10;
/// 2³² divided by the golden ratio, and odd: the states of neighbouring words are far apart.
const STEP: u32 = 0x9e37_79b9;
const _: () = assert!(BLOCK_BYTES.is_multiple_of(PIECE_BYTES) && PIECE_BYTES.is_multiple_of(WORD_BYTES));
