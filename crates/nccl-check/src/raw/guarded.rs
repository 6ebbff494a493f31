//! Memory that the plugin fills in, between guard bytes that it may not write to. A plugin that writes too
//! much is found out, and does not break the checking process.

use gputcp_nccl_net::layout::{c_int, constants::HANDLE_BYTES};

use super::{P, UNWRITTEN};

/// The memory of a handle. NCCL's is aligned for pointers, as state may live in it.
#[derive(Debug, Clone)]
#[repr(C, align(16))]
pub struct Handle {
    before: [u8; GUARD_BYTES],
    bytes: [u8; HANDLE_BYTES],
    behind: [u8; GUARD_BYTES],
}

impl Handle {
    /// Returns a handle with these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; HANDLE_BYTES]) -> Self {
        Self { before: [GUARD; GUARD_BYTES], bytes, behind: [GUARD; GUARD_BYTES] }
    }

    /// Returns a handle of zeros, which no plugin has written.
    #[must_use]
    pub const fn empty() -> Self {
        Self::new([0; HANDLE_BYTES])
    }

    /// Returns the handle's bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; HANDLE_BYTES] {
        &self.bytes
    }

    /// Returns the address that the plugin is given.
    pub(super) fn pointer(&mut self) -> P {
        // From the whole, so that a write beside the handle is one to this memory, too.
        (&raw mut *self).wrapping_byte_add(GUARD_BYTES).cast()
    }

    /// Checks that no byte beside the handle was written.
    ///
    /// # Errors
    /// The distance of the nearest written byte from the handle, in a sentence.
    pub fn check_guards(&self) -> Result<(), String> {
        let touched = |&byte: &u8| byte != GUARD;
        if let Some(at) = self.behind.iter().position(touched) {
            return Err(format!("byte {} was written, and a handle has {HANDLE_BYTES}", HANDLE_BYTES + at));
        }
        match self.before.iter().rev().position(touched) {
            Some(at) => Err(format!("{} bytes before the handle, memory was written", at + 1)),
            None => Ok(()),
        }
    }
}

/// Room for the sizes that `test` writes, and more behind it.
#[derive(Debug, Clone)]
pub(crate) struct Sizes([c_int; SIZES_ROOM]);

impl Sizes {
    pub(crate) const fn new() -> Self {
        Self([UNWRITTEN; SIZES_ROOM])
    }

    pub(crate) const fn pointer(&mut self) -> *mut c_int {
        self.0.as_mut_ptr()
    }

    /// Returns the size of a part of the request.
    pub(crate) const fn of(&self, part: usize) -> c_int {
        self.0[part]
    }

    /// Checks that no size was written behind those of this many parts.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn check_guard(&self, parts: usize) -> Result<(), String> {
        match self.0[parts..].iter().any(|&size| size != UNWRITTEN) {
            true => Err(format!("test wrote more sizes than the request has parts: {parts}")),
            false => Ok(()),
        }
    }
}

const GUARD: u8 = 0xa5;
/// The reach of a handle that is too long.
const GUARD_BYTES: usize = 1024;
/// Far more than the parts of a request.
const SIZES_ROOM: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_beside_a_handle_are_found() {
        for (at, said) in [
            (0, None),
            (127, None),
            (128, Some("byte 128 was")),
            (-1, Some("1 bytes before")),
            (500, Some("byte 500")),
        ] {
            let mut handle = Handle::empty();
            // SAFETY: within the handle's own memory, guards included.
            unsafe { handle.pointer().cast::<u8>().offset(at).write(1) };
            match (handle.check_guards(), said) {
                (Ok(()), None) => {}
                (Err(why), Some(said)) => assert!(why.contains(said), "{why}"),
                (checked, _) => panic!("{at}: {checked:?}"),
            }
        }
    }

    #[test]
    fn sizes_behind_the_last_part_are_found() {
        let mut sizes = Sizes::new();
        // SAFETY: within the array.
        unsafe { sizes.pointer().add(1).write(7) };
        assert_eq!(sizes.of(1), 7);
        assert!(sizes.check_guard(2).is_ok() && sizes.check_guard(1).is_err());
    }
}
