//! The memory of an end: regions, and the bytes that each must have.

use gputcp_proto::onesided::{
    key::{Key, Rights, Space},
    regions::Regions,
};

/// A region's memory, while it is registered.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) key: Key,
    pub(super) bytes: Vec<u8>,
    /// The place from which no transfer has a block yet.
    pub(super) free: u64,
    /// Its owner has asked for its end.
    pub(super) is_revoked: bool,
    /// Its end has come: nothing may touch it.
    pub(super) is_gone: bool,
}

impl Region {
    pub(super) fn register(rng: &mut fastrand::Rng, regions: &mut Regions) -> Self {
        let rights = rng.choice([Rights::Read, Rights::Write, Rights::ReadWrite, Rights::ReadWrite]);
        let rights = rights.unwrap_or(Rights::ReadWrite);
        let space = if rng.bool() { Space::Host } else { Space::Device };
        let mut secret = [0; 16];
        rng.fill(&mut secret);
        let mut bytes = vec![0; rng.usize(1..2000)];
        rng.fill(&mut bytes);
        let key = regions.register(bytes.len() as u64, rights, space, secret);
        Self { key, bytes, free: 0, is_revoked: false, is_gone: false }
    }

    /// Takes `bytes` bytes that no other transfer has, for one to write: of the first half. Returns their
    /// start.
    pub(super) fn take(&mut self, bytes: u64) -> Option<u64> {
        let start = self.free;
        let end = start.checked_add(bytes).filter(|&end| end <= self.key.bytes() / 2)?;
        self.free = end;
        Some(start)
    }

    /// Draws the start of `bytes` bytes to be read: of the second half, which is never written.
    pub(super) fn source(&self, rng: &mut fastrand::Rng, bytes: u64) -> Option<u64> {
        let (half, all) = (self.key.bytes() / 2, self.key.bytes());
        Some(rng.u64(half..=all.checked_sub(bytes).filter(|&last| last >= half)?))
    }
}
