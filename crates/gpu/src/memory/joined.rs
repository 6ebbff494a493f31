//! Several buffers as one: a message's ranges may lie in all of them.

use std::sync::Arc;

use super::{
    Buffer, ReadClaim, WriteClaim,
    hold::{Hold, Region},
    table::Access,
};
use crate::{ClaimError, Error, MemoryKind};

/// The memory of several shared buffers of one kind. Its bytes are counted from the lowest address, and those
/// between the buffers are no part of it.
///
/// ```
/// # use gputcp_gpu::{Buffer, Joined};
/// let (one, other) = (Buffer::host(100)?, Buffer::host(200)?);
/// let joined = Joined::of(vec![one.share()?, other.share()?])?;
/// assert_eq!(joined.offset_of(&one).min(joined.offset_of(&other)), 0);
/// # Ok::<(), gputcp_gpu::Error>(())
/// ```
#[derive(Debug)]
pub struct Joined {
    region: Arc<Region>,
    kind: MemoryKind,
}

impl Joined {
    /// Joins buffers that are shared ([`Buffer::share`]). They may overlap.
    ///
    /// # Errors
    /// If there are none, their kinds differ, or the claims on one of them are exclusive.
    pub fn of(parts: Vec<Buffer>) -> Result<Self, Error> {
        let first = parts.first().ok_or(Error::NotJoinable)?;
        let (kind, gpu) = (first.kind(), first.region.gpu().cloned());
        if parts.iter().any(|part| part.kind() != kind || part.region.exclusive()) {
            return Err(Error::NotJoinable);
        }
        let mut ranges: Vec<_> = parts.iter().map(|part| (address_of(part), part.bytes())).collect();
        ranges.sort_unstable();
        let Some(start) = parts.iter().map(Buffer::address).min() else { return Err(Error::NotJoinable) };
        let base = ranges[0].0;
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
        for (from, bytes) in ranges {
            let (from, end) = (from - base, (from - base).saturating_add(bytes));
            match merged.last_mut() {
                // A range may run from one into the next.
                Some(last) if last.1 >= from => last.1 = last.1.max(end),
                _ => merged.push((from, end)),
            }
        }
        let region = Region::joined(start, merged.into_boxed_slice(), gpu.as_ref(), Arc::new(parts));
        Ok(Self { region, kind })
    }

    /// Returns the place of a buffer that is a part of it.
    #[must_use]
    pub fn offset_of(&self, part: &Buffer) -> u64 {
        address_of(part) - self.region.start().addr().get() as u64
    }

    /// Claims all of it for reading. The claim's bytes are reached by a layout.
    ///
    /// # Errors
    /// If there are too many claims.
    pub fn read(&self) -> Result<ReadClaim, ClaimError> {
        self.claim(Access::Read).map(ReadClaim::new)
    }

    /// Claims all of it for writing, as [`Self::read`] does.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn write(&self) -> Result<WriteClaim, ClaimError> {
        self.claim(Access::Write).map(WriteClaim::new)
    }

    /// Returns the kind of the memory.
    #[must_use]
    pub const fn kind(&self) -> MemoryKind {
        self.kind
    }

    fn claim(&self, access: Access) -> Result<Hold, ClaimError> {
        Hold::take(&self.region, self.kind, 0, self.region.bytes(), access)
    }
}

fn address_of(buffer: &Buffer) -> u64 {
    buffer.address().addr().get() as u64
}

#[cfg(test)]
mod tests {
    use gputcp_proto::layout::Layout;

    use super::*;
    use crate::{Device, SoftOptions, memory::part_of};

    #[test]
    fn a_range_between_the_parts_is_refused() {
        let whole = Buffer::host(300).unwrap();
        let base = whole.address();
        let keeper = Arc::new(whole);
        let part = |from: usize, bytes| {
            let start = base.map_addr(|at| at.saturating_add(from));
            // SAFETY: within the buffer, which the keeper has.
            unsafe { Buffer::foreign_host(start, bytes, keeper.clone()) }.unwrap().share().unwrap()
        };
        // 200..250 abuts on 250..300, and both overlap with 220..260.
        let parts = vec![part(200, 50), part(0, 100), part(250, 50), part(220, 40)];
        let joined = Joined::of(parts.clone()).unwrap();
        assert_eq!(parts.iter().map(|part| joined.offset_of(part)).collect::<Vec<_>>(), [200, 0, 250, 220]);
        let claim = joined.write().unwrap();
        let check = |offset, bytes| {
            let layout = Layout::of([(0, 1), (offset, bytes)]).unwrap();
            part_of(&layout, 0, layout.bytes(), claim.hold()).map(drop)
        };
        assert_eq!(check(10, 90), Ok(()));
        assert_eq!(check(200, 100), Ok(()));
        for (offset, bytes) in [(10, 91), (100, 1), (199, 2), (150, 20)] {
            assert_eq!(check(offset, bytes), Err(Error::LayoutInGap { offset, bytes }), "{offset}");
        }
        assert!(matches!(check(290, 11), Err(Error::LayoutBeyondClaim { .. })));
    }

    #[test]
    fn buffers_of_different_kinds_or_with_exclusive_claims_do_not_join() {
        let device = Device::soft(SoftOptions::default());
        let shared = |buffer: Buffer| buffer.share().unwrap();
        let (host, soft) = (Buffer::host(10).unwrap(), device.allocate(10).unwrap());
        assert_eq!(Joined::of(vec![]).err(), Some(Error::NotJoinable));
        assert_eq!(Joined::of(vec![host.clone()]).err(), Some(Error::NotJoinable));
        assert_eq!(Joined::of(vec![shared(host), shared(soft)]).err(), Some(Error::NotJoinable));
    }
}
