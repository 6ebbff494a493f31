//! The memory that bare sockets move: the message's own where the CPU can reach it. For a GPU's message it is a region
//! beside it, which is walked from one end to the other and begun anew, so that the sockets meet memory that has left the
//! caches, as a ring that a GPU writes has.

use gputcp_gpu::{Buffer, ClaimError, ReadClaim, WriteClaim};

use crate::{failure::Failure, settings::Settings};

/// Host memory for one direction of one side.
pub struct Area {
    view: Buffer,
    /// Where the next message begins; none in the message's own memory.
    cursor: Option<u64>,
}

/// A part of an area: where it begins and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    offset: u64,
    extent: u64,
}

impl Area {
    /// The area for messages that are in `buffer`.
    ///
    /// # Errors
    /// If a region of its own is refused.
    pub fn beside(buffer: &Buffer, settings: &Settings) -> Result<Self, Failure> {
        Ok(match buffer.host_view() {
            Some(view) => Self { view, cursor: None },
            None => Self { view: Buffer::host(region_bytes(settings))?, cursor: Some(0) },
        })
    }

    /// The part for the next message: shorter than the message if the whole area is.
    pub(super) fn next(&mut self, bytes: u64) -> Part {
        let extent = bytes.min(self.view.bytes());
        let Some(cursor) = &mut self.cursor else { return Part { offset: 0, extent } };
        let offset = if *cursor + extent > self.view.bytes() { 0 } else { *cursor };
        *cursor = offset + extent;
        Part { offset, extent }
    }

    pub(super) fn read(&self, part: Part) -> Result<ReadClaim, ClaimError> {
        self.view.read(part.offset, part.extent)
    }

    pub(super) fn write(&self, part: Part) -> Result<WriteClaim, ClaimError> {
        self.view.write(part.offset, part.extent)
    }
}

impl Part {
    /// Share `index` of `shares` equal ones.
    pub(super) fn share(self, index: u64, shares: u64) -> Self {
        let [from, to] =
            [index, index + 1].map(|n| (u128::from(self.extent) * u128::from(n) / u128::from(shares)) as u64);
        Self { offset: self.offset + from, extent: to - from }
    }
}

/// A side's regions are [`REGION_BYTES`] in all, or as long as its messages.
fn region_bytes(settings: &Settings) -> u64 {
    let directions = settings.memory_bytes() / settings.buffer_bytes();
    settings.buffer_bytes().min(REGION_BYTES / directions)
}

/// More than most caches hold.
pub(super) const REGION_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_walked_and_begun_anew() {
        let mut area = Area { view: Buffer::host(10).unwrap(), cursor: Some(0) };
        let offsets: Vec<u64> = (0..5).map(|_| area.next(4).offset).collect();
        assert_eq!(offsets, [0, 4, 0, 4, 0]);
        assert_eq!(area.next(100), Part { offset: 0, extent: 10 });
        assert_eq!(area.next(10), Part { offset: 0, extent: 10 });
    }

    #[test]
    fn the_messages_own_memory_stays_in_place() {
        let mut area = Area { view: Buffer::host(10).unwrap(), cursor: None };
        assert_eq!(
            (area.next(4), area.next(4)),
            (Part { offset: 0, extent: 4 }, Part { offset: 0, extent: 4 })
        );
    }

    #[test]
    fn shares_leave_nothing_out() {
        let part = Part { offset: 3, extent: 10 };
        let shares: Vec<_> =
            (0..4).map(|n| part.share(n, 4)).map(|part| (part.offset, part.extent)).collect();
        assert_eq!(shares, [(3, 2), (5, 3), (8, 2), (10, 3)]);
    }
}
