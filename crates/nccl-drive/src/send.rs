//! The sending end of a plugin's connection.

use std::{fmt, ptr};

use gputcp_gpu::{Buffer, Device, ReadClaim};

use crate::{
    comm::{Comm, Pointer},
    error::Result,
    watch::watched,
};
use gputcp_nccl_net::layout::c_int;

/// The sending end. Closed when dropped.
pub(crate) struct SendComm {
    comm: Comm<ReadClaim>,
}

impl SendComm {
    pub(crate) const fn new(comm: Comm<ReadClaim>) -> Self {
        Self { comm }
    }

    /// Registers memory with the plugin, once for each buffer, until the connection is closed. `gpu` is the
    /// device that owns the memory, if one does.
    ///
    /// # Errors
    /// If the plugin takes no such memory, or fails.
    pub(crate) fn register(&mut self, buffer: &Buffer, pointer: Pointer, gpu: Option<&Device>) -> Result<()> {
        self.comm.register(buffer, pointer, gpu)
    }

    /// Posts a send of `bytes` bytes of a registered buffer. Returns false if the plugin has no free slot, or
    /// is not ready.
    ///
    /// # Errors
    /// If the part cannot be claimed, the plugin's version cannot say its length, or the plugin fails.
    pub(crate) fn isend(&mut self, buffer: &Buffer, offset: u64, bytes: u64, tag: c_int) -> Result<bool> {
        self.comm.check()?;
        let known = self.comm.find(buffer)?;
        let claim = buffer.read(offset, bytes).map_err(gputcp_gpu::Error::from)?;
        let mut request = ptr::null_mut();
        let data = claim.address().as_ptr().cast();
        let (comm, length) = (self.comm.raw(), bytes as usize);
        // SAFETY: the connection is open, the buffer registered. `posted` keeps the claim until the request
        // is done or the connection closed, and the claim keeps writers off.
        let code = watched(&"isend", || unsafe {
            self.comm.plugin.calls.isend(comm, data, length, tag, known.handle, &raw mut request)
        });
        self.comm.posted("isend", code, request, claim, known, bytes)
    }

    /// Polls the oldest send, and returns its posted length once it is done. The memory is the caller's
    /// again.
    ///
    /// # Errors
    /// If the plugin fails.
    pub(crate) fn test_oldest(&mut self) -> Result<Option<u64>> {
        // The plugin's size of a send is ignored: the receiver counts.
        Ok(self.comm.test_oldest()?.map(|over| over.bytes))
    }

    /// Returns how many sends the plugin has.
    pub(crate) fn in_flight(&self) -> usize {
        self.comm.in_flight()
    }

    /// Closes the connection, even with requests in flight.
    ///
    /// # Errors
    /// If the plugin fails. The memory that it knows is then never freed.
    pub(crate) fn close(self) -> Result<()> {
        self.comm.close()
    }
}

impl fmt::Debug for SendComm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendComm").field("plugin", &self.comm.plugin).finish_non_exhaustive()
    }
}
