//! Regions: the memory that transfers may touch, and its end.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use gputcp_gpu::{Buffer, MemoryKind};
use gputcp_proto::onesided::key::{Key, Rights, Space};

use super::{job::Memory, state::Shared};
use crate::{Error, Result, sockets::random_token};

/// Registered memory. Dropped, it is revoked as by [`Region::deregister`], without waiting.
#[derive(Debug)]
pub struct Region {
    shared: Arc<Shared>,
    pub(super) memory: Arc<Memory>,
}

impl Region {
    pub(super) fn register(shared: &Arc<Shared>, buffer: &Buffer, rights: Rights) -> Result<Self> {
        let kind = buffer.kind();
        if kind != MemoryKind::Host && shared.device_kind != Some(kind) {
            return Err(Error::usage(format!(
                "memory of {kind:?} was registered, and the endpoint was made without that device"
            )));
        }
        let buffer = buffer.share()?;
        let secret = random_token()?.0;
        let mut state = shared.lock();
        let space = if kind == MemoryKind::Host { Space::Host } else { Space::Device };
        let key = state.regions.register(buffer.bytes(), rights, space, secret);
        let memory = Arc::new(Memory { key, buffer });
        state.keep(&memory);
        drop(state);
        Ok(Self { shared: shared.clone(), memory })
    }

    /// Returns the key by which a peer names the region. A peer that has it may use the region.
    #[must_use]
    pub fn key(&self) -> Key {
        self.memory.key
    }

    /// Returns the region's length in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.memory.key.bytes()
    }

    /// Ends the region: no transfer begins with it any more, and those under way are waited for.
    ///
    /// # Errors
    /// If some are still under way at the end of `timeout`. The memory stays theirs until they end.
    pub fn deregister(self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let mut state = self.shared.lock();
        state.regions.revoke(&self.memory.key);
        while !state.forget(&self.memory.key) {
            if Instant::now() >= deadline {
                return Err(Error::Timeout {
                    what: "the end of the transfers of a region",
                    peer: "its peers".into(),
                    after: timeout,
                });
            }
            state = self.shared.wait(state, deadline);
        }
        drop(state);
        // The endpoint's thread may be about to let go of it.
        while Arc::strong_count(&self.memory) > 1 && Instant::now() < deadline {
            thread::sleep(Duration::from_micros(50));
        }
        Ok(())
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.regions.revoke(&self.memory.key);
        state.forget(&self.memory.key);
    }
}
