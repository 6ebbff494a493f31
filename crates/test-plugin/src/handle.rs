//! The handle: 128 bytes from `listen` to `connect`.
//!
//! The host keeps them in place while `connect` says "not yet", and `connect` counts its calls in them. A
//! host that passes a fresh copy each time never gets a connection.

use gputcp_nccl_net::{ResultCode, layout::constants::HANDLE_BYTES};

use crate::wire::{bytes_of, words_of};

/// The handle's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handle {
    pub(crate) port: u16,
    pub(crate) listener: u64,
    /// The number of times that `connect` has said "not yet".
    pub(crate) calls: u32,
}

impl Handle {
    /// Writes the handle to the host's memory.
    ///
    /// # Safety
    /// `at` is valid for writing 128 bytes.
    pub(crate) unsafe fn write(self, at: *mut u8) {
        let bytes: [u8; HANDLE_BYTES] = bytes_of([MAGIC, self.port.into(), self.listener, self.calls.into()]);
        // SAFETY: the caller's promise; bytes have no alignment.
        unsafe { at.copy_from_nonoverlapping(bytes.as_ptr(), HANDLE_BYTES) };
    }

    /// Reads a handle from the host's memory.
    ///
    /// # Safety
    /// `at` is valid for reading 128 bytes.
    pub(crate) unsafe fn read(at: *const u8) -> Result<Self, ResultCode> {
        let mut bytes = [0; HANDLE_BYTES];
        // SAFETY: the caller's promise; bytes have no alignment.
        unsafe { bytes.as_mut_ptr().copy_from_nonoverlapping(at, HANDLE_BYTES) };
        let [magic, port, listener, calls] = words_of(&bytes);
        if magic != MAGIC {
            return Err(ResultCode::InvalidArgument);
        }
        Ok(Self { port: port as u16, listener, calls: calls as u32 })
    }
}

const MAGIC: u64 = u64::from_ne_bytes(*b"gptcphdl");
