//! The memory that bare sockets move: the message's own, where the CPU or a pipeline can reach it. For
//! round trips of a GPU's messages it is a region of host memory beside them. The region is walked from one
//! end to the other and begun anew, so that the socket meets memory that has left the caches.

use gputcp_gpu::{Buffer, ClaimError, ReadClaim, WriteClaim};

use crate::{failure::Failure, settings::Settings};

/// Memory for one direction of one side.
pub struct Area {
    view: Buffer,
    /// The place of the next message; none in the message's own memory.
    cursor: Option<u64>,
}

/// A part of an area: where it begins and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    offset: u64,
    extent: u64,
}

impl Area {
    /// Makes the area for messages that are in `buffer`.
    ///
    /// # Errors
    /// If a region of its own is refused.
    pub fn of(buffer: &Buffer, settings: &Settings) -> Result<Self, Failure> {
        if settings.ceiling_is_pipeline() {
            return Ok(Self { view: buffer.clone(), cursor: None });
        }
        Ok(match buffer.host_view() {
            Some(view) => Self { view, cursor: None },
            None => Self { view: Buffer::host(region_bytes(settings))?, cursor: Some(0) },
        })
    }

    /// Returns the part for the next message: shorter than the message if the whole area is.
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
    /// Returns share `index` of `shares`.
    pub(super) fn share(self, index: u64, shares: u64) -> Self {
        let (from, to) = cut(self.extent, index, shares);
        Self { offset: self.offset + from, extent: to - from }
    }

    /// Returns its length in bytes.
    pub(super) const fn extent(self) -> u64 {
        self.extent
    }

    /// Returns the same in pieces of at most so many bytes.
    pub(super) fn pieces(self, most: u64) -> impl Iterator<Item = Self> {
        let pieces = (0..self.extent.div_ceil(most)).map(move |index| index * most);
        pieces.map(move |at| Self { offset: self.offset + at, extent: most.min(self.extent - at) })
    }
}

/// Returns where share `index` of `shares` begins and ends in so many bytes. The shares are equal and cut
/// at a page's start, because a GPU copies slowly from odd places.
pub(super) fn cut(bytes: u64, index: u64, shares: u64) -> (u64, u64) {
    let start = |n: u64| {
        let exact = (u128::from(bytes) * u128::from(n) / u128::from(shares)) as u64;
        if n == shares { bytes } else { exact - exact % PAGE_BYTES }
    };
    (start(index), start(index + 1))
}

const PAGE_BYTES: u64 = 4 << 10;

/// Returns the length of a region. A side's regions are [`REGION_BYTES`] in all, or as long as its
/// messages.
fn region_bytes(settings: &Settings) -> u64 {
    settings.buffer_bytes().min(REGION_BYTES / settings.flow.directions())
}

/// More than most caches hold.
pub(super) const REGION_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{
        Memory, SocketSettings, asked::MeasureArgs, environment::Environment, request::MeasureRequest,
    };

    #[test]
    fn a_region_is_walked_and_begun_anew() {
        let mut area = Area { view: Buffer::host(10).unwrap(), cursor: Some(0) };
        let offsets: Vec<u64> = (0..5).map(|_| area.next(4).offset).collect();
        assert_eq!(offsets, [0, 4, 0, 4, 0]);
        assert_eq!(area.next(100), Part { offset: 0, extent: 10 });
        assert_eq!(area.next(10), Part { offset: 0, extent: 10 });
    }

    #[test]
    fn a_region_is_a_part_of_what_there_is_whatever_the_rings_take() {
        let args = MeasureArgs { latency: true, size: Some(1), ..Default::default() };
        let asked = MeasureRequest::new(args, &Environment::default()).unwrap().settings;
        let short = Settings { memory: Memory::Cuda, ..asked };
        let rings = SocketSettings { slabs: Some(16), segment_bytes: Some(64 << 20), ..Default::default() };
        let longest = Settings { streams: 64, sockets: rings, ..short.clone() };
        for settings in [&short, &longest] {
            assert_eq!((settings.check(), region_bytes(settings)), (Ok(()), 256), "all of the messages");
        }
        let large = Settings { sizes: vec![1 << 30], ..short };
        assert_eq!(region_bytes(&large), REGION_BYTES / 2, "one for each direction");
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
        let of = |extent: u64, shares: u64| {
            let part = Part { offset: 3, extent };
            (0..shares)
                .map(|n| part.share(n, shares))
                .map(|part| (part.offset, part.extent))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(10, 1), [(3, 10)]);
        assert_eq!(of((5 << 12) + 7, 2), [(3, 2 << 12), (3 + (2 << 12), (3 << 12) + 7)]);
        assert_eq!(of(64 << 20, 4)[3], (3 + (48 << 20), 16 << 20));
        for (bytes, shares) in [(256 << 10, 3), ((1 << 20) + 1, 7), (u64::MAX >> 16, 256)] {
            let all = of(bytes, shares);
            assert_eq!(all.iter().map(|(_, extent)| extent).sum::<u64>(), bytes);
            assert!(all.windows(2).all(|two| two[0].0 + two[0].1 == two[1].0));
        }
    }

    #[test]
    fn pieces_leave_nothing_out() {
        let pieces = |extent: u64| -> Vec<_> {
            Part { offset: 3, extent }.pieces(4).map(|piece| (piece.offset, piece.extent)).collect()
        };
        assert_eq!(pieces(10), [(3, 4), (7, 4), (11, 2)]);
        assert_eq!((pieces(4), pieces(0)), (vec![(3, 4)], vec![]));
    }
}
