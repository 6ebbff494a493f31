//! The access of sockets to a message in many ranges of host memory: one call reads or writes several.

use std::{
    io::{self, IoSlice},
    os::fd::BorrowedFd,
    slice,
};

use gputcp_proto::layout::{Layout, Slice};

use super::{
    Hold, ReadClaim, WriteClaim,
    claim::host_only,
    socket::{self, PARTS_MAX, Room},
};
use crate::Error;

impl ReadClaim {
    /// Writes `header`, and `bytes` bytes from `offset` of the message in the ranges of `layout`, to the
    /// socket, in one call; either may be empty.
    ///
    /// The call takes at most 63 ranges, so that it may be short of bytes. Returns the number of bytes that
    /// the socket took, those of the header included.
    ///
    /// # Errors
    /// The error of the socket, or `Unsupported` if the memory is no host memory. `InvalidInput` if the
    /// message has no such bytes, or the claim not all of its ranges.
    pub fn send_ranges(
        &self,
        socket: BorrowedFd<'_>,
        header: &[u8],
        layout: &Layout,
        offset: u64,
        bytes: u64,
    ) -> io::Result<usize> {
        host_only(self.kind())?;
        let ranges = part_of(layout, offset, bytes, self.hold()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut parts = [IoSlice::new(&[]); PARTS_MAX];
        let mut count = 0;
        // The header is first, and takes its place if empty, too.
        let payload = ranges.map(|range| {
            let start = self.hold().at(range.destination_offset, range.bytes);
            // SAFETY: the hold keeps the bytes mapped, and as a read claim keeps all writers off them.
            unsafe { slice::from_raw_parts(start.as_ptr(), range.bytes as usize) }
        });
        for (place, part) in parts.iter_mut().zip(std::iter::once(header).chain(payload)) {
            *place = IoSlice::new(part);
            count += 1;
        }
        socket::send_parts(socket, &parts[..count])
    }
}

impl WriteClaim {
    /// Reads up to `bytes` bytes from the socket to the places from `offset` of the message in the ranges of
    /// `layout`, in one call.
    ///
    /// The call fills at most 64 ranges. Returns the number of bytes that came; 0 when the peer has closed
    /// (or when `bytes` is 0).
    ///
    /// # Errors
    /// The error of the socket, or `Unsupported` if the memory is no host memory. `InvalidInput` if the
    /// message has no such bytes, or the claim not all of its ranges.
    pub fn recv_ranges(
        &self,
        socket: BorrowedFd<'_>,
        layout: &Layout,
        offset: u64,
        bytes: u64,
    ) -> io::Result<usize> {
        host_only(self.kind())?;
        let ranges = part_of(layout, offset, bytes, self.hold()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut room = [Room::NONE; PARTS_MAX];
        let mut count = 0;
        for (place, range) in room.iter_mut().zip(ranges) {
            *place = Room::new(self.hold().at(range.destination_offset, range.bytes), range.bytes as usize);
            count += 1;
        }
        // SAFETY: the hold keeps the bytes mapped; as a write claim it excludes all readers, so no reference
        // to them exists.
        unsafe { socket::recv_parts(socket, &room[..count]) }
    }
}

/// Returns the places of a part of a message in a claim, after a check that the claim has them.
pub(crate) fn part_of<'a>(
    layout: &'a Layout,
    offset: u64,
    bytes: u64,
    claim: &Hold,
) -> Result<Slice<'a>, Error> {
    let claim_bytes = claim.bytes() as u64;
    if layout.end() > claim_bytes {
        return Err(Error::LayoutBeyondClaim { end: layout.end(), claim_bytes });
    }
    let part = layout.slice(offset, bytes).ok_or_else(|| Error::OutsideLayout {
        offset,
        bytes,
        layout_bytes: layout.bytes(),
    })?;
    if claim.has_gaps()
        && let Some(gap) = part.clone().find(|range| !claim.contains(range.destination_offset, range.bytes))
    {
        return Err(Error::LayoutInGap { offset: gap.destination_offset, bytes: gap.bytes });
    }
    Ok(part)
}
