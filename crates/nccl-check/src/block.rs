//! Memory that is lent to the plugin: bytes of a pattern, between guards that neither side may write to.
//!
//! The memory is never freed: a plugin's late write is then a finding, and does not break the checking
//! process.

use crate::{
    raw::P,
    stop::{Stop, fail},
};

/// A piece of memory. Copies are the same piece.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    start: *mut u8,
    pub(crate) bytes: usize,
    /// Its registration; NULL is a legal one.
    pub(crate) mhandle: P,
}

// SAFETY: the memory is never freed, and the side reads or writes it only while the plugin may not.
unsafe impl Send for Block {}

impl Block {
    /// Returns memory for a message, cleared.
    pub(crate) fn new(bytes: usize) -> Self {
        let whole = vec![GUARD; bytes + 2 * GUARD_BYTES].leak();
        whole[GUARD_BYTES..GUARD_BYTES + bytes].fill(0);
        Self { start: whole[GUARD_BYTES..].as_mut_ptr(), bytes, mhandle: std::ptr::null_mut() }
    }

    /// Returns memory that is not the CPU's, to be posted.
    pub(crate) const fn lent(start: *mut u8, bytes: usize, mhandle: P) -> Self {
        Self { start, bytes, mhandle }
    }

    pub(crate) fn fill(&self, message: u64) {
        for (at, byte) in (0..).zip(self.slice()) {
            *byte = pattern(message, at);
        }
    }

    /// Fills it with one byte, far faster than with a message.
    pub(crate) fn fill_with(&self, byte: u8) {
        self.slice().fill(byte);
    }

    /// Returns whether all bytes have this value.
    pub(crate) fn is_all(&self, byte: u8) -> bool {
        let same = [byte; PIECE_BYTES];
        self.slice().chunks(PIECE_BYTES).all(|piece| *piece == same[..piece.len()])
    }

    pub(crate) const fn pointer(&self) -> P {
        self.start.cast()
    }

    /// Checks that the first bytes are those of a message, and that the rest and the guards are untouched.
    pub(crate) fn check(&self, bytes: usize, message: u64) -> Result<(), String> {
        let here = self.slice();
        if let Some(at) = (0..bytes).find(|&at| here[at] != pattern(message, at)) {
            let wrong = (at..bytes).filter(|&at| here[at] != pattern(message, at)).count();
            return Err(format!(
                "byte {at} of {bytes} is not the one that was sent, nor are {} others",
                wrong - 1
            ));
        }
        if let Some(at) = here[bytes..].iter().position(|&byte| byte != 0) {
            return Err(format!("byte {} was written, behind a message of {bytes}", bytes + at));
        }
        self.check_guards()
    }

    /// Fails a check if the memory does not hold a message and nothing else.
    pub(crate) fn holds(&self, bytes: usize, message: u64) -> Result<(), Stop> {
        self.check(bytes, message).or_else(|why| fail(format!("in message {message}, {why}")))
    }

    /// Checks that the guards before and behind the memory are untouched.
    pub(crate) fn check_guards(&self) -> Result<(), String> {
        let guard = |from: usize| {
            // SAFETY: within the allocation, which is never freed; the request that lent it has ended.
            unsafe { std::slice::from_raw_parts(self.start.sub(GUARD_BYTES).add(from), GUARD_BYTES) }
        };
        let touched = |guard: &[u8]| guard.iter().any(|&byte| byte != GUARD);
        if touched(guard(0)) || touched(guard(GUARD_BYTES + self.bytes)) {
            return Err("memory beside the message was written".into());
        }
        Ok(())
    }

    /// Reads a byte while the plugin may be writing it.
    pub(crate) fn peek(&self, at: usize) -> u8 {
        assert!(at < self.bytes, "within the message");
        // SAFETY: within the allocation; volatile, as another thread may write it.
        unsafe { self.start.add(at).read_volatile() }
    }

    #[expect(clippy::mut_from_ref, reason = "a piece of memory, of which copies are the same")]
    fn slice(&self) -> &mut [u8] {
        // SAFETY: within the allocation, which is never freed. A side looks at a message before it lends it,
        // and after the plugin has said that it is done.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.bytes) }
    }
}

/// Returns a byte of a message. Messages differ, and have no period that a plugin's length could hit.
pub(crate) const fn pattern(message: u64, at: usize) -> u8 {
    let mut x =
        message.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (at as u64 / 8).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 29;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    // Never 0: the memory holds zeros before.
    match (x >> (8 * (at % 8))) as u8 {
        0 => 1,
        byte => byte,
    }
}

/// The bytes that are compared at a time.
const PIECE_BYTES: usize = 4096;
const GUARD: u8 = 0xa5;
/// The reach of a message that is too long.
const GUARD_BYTES: usize = 16 << 10;
