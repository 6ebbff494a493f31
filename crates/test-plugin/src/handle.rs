//! The handle: 128 bytes from `listen` to `connect`.
//!
//! The host keeps them in place while `connect` says "not yet", and `connect` counts its calls in them. A
//! host that passes a fresh copy each time never gets a connection.

use gputcp_nccl_net::{ResultCode, layout::constants::HANDLE_BYTES};

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
        let mut bytes = [0; HANDLE_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&self.port.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.listener.to_ne_bytes());
        bytes[64..68].copy_from_slice(&self.calls.to_ne_bytes());
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
        if bytes[..8] != MAGIC {
            return Err(ResultCode::InvalidArgument);
        }
        let mut listener = [0; 8];
        listener.copy_from_slice(&bytes[16..24]);
        let mut calls = [0; 4];
        calls.copy_from_slice(&bytes[64..68]);
        Ok(Self {
            port: u16::from_ne_bytes([bytes[8], bytes[9]]),
            listener: u64::from_ne_bytes(listener),
            calls: u32::from_ne_bytes(calls),
        })
    }
}

const MAGIC: [u8; 8] = *b"gptcphdl";
