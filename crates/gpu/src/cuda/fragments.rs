//! Fragment lists in the kernel's form: in a small ring of pinned memory that the kernel reads over the bus.
//!
//! Invariant: an entry is written only after all kernels that were to read its place have finished reading.

use std::{ops::Range, sync::Arc};

use gputcp_proto::bounce::Fragment;

use super::{
    context::Context,
    kernels::{BLOCK_WARPS, TILE_BYTES},
    memory::Pinned,
    sys::Address,
};
use crate::{Error, FRAGMENTS_MAX};

/// One fragment, as in unpack.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry {
    source: Address,
    destination: Address,
    bytes: u64,
}

/// The ring of lists.
#[derive(Debug)]
pub(super) struct Lists {
    memory: Arc<Pinned>,
    /// The number of entries used so far, those skipped at the ring's end included.
    used: u64,
}

/// The properties of a list that decide its launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    /// The number of fragments that are not empty.
    pub(super) count: u32,
    /// The length of the longest fragment, in bytes.
    longest: u64,
    /// Whether each fragment begins at or after the end of the one before, or all in reverse: none overlap
    /// then.
    in_order: bool,
}

/// The shape of a kernel's launch over a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// The number of warps that share a fragment.
    pub(super) parts: u32,
    pub(super) blocks: u32,
}

impl Lists {
    pub(super) fn new(context: &Arc<Context>) -> Result<Self, Error> {
        let memory = Arc::new(Pinned::allocate(context, ENTRIES * size_of::<Entry>() as u64)?);
        Ok(Self { memory, used: 0 })
    }

    /// Returns the place of a list of `count` entries, in entries since the first list's start.
    ///
    /// A list is in one piece.
    pub(super) fn next(&self, count: u32) -> Range<u64> {
        let count = u64::from(count);
        let left = ENTRIES - self.used % ENTRIES;
        let start = if left < count { self.used + left } else { self.used };
        start..start + count
    }

    /// Returns whether a list may end there, once the lists up to `read` have been read.
    pub(super) const fn has_room(end: u64, read: u64) -> bool {
        end <= read + ENTRIES
    }

    /// Returns the ring's memory, which then outlives the ring.
    pub(super) fn keep(&self) -> Arc<Pinned> {
        Arc::clone(&self.memory)
    }

    /// Returns where the last list that was written ends.
    pub(super) const fn used(&self) -> u64 {
        self.used
    }

    /// Writes a list to the place that [`Lists::next`] returned, for which there is room. Returns its
    /// address.
    pub(super) fn write(&mut self, place: Range<u64>, entries: impl Iterator<Item = Entry>) -> Address {
        let at = place.start % ENTRIES;
        // SAFETY: `at` is below the ring's length.
        let first = unsafe { self.memory.start().cast::<Entry>().add(at as usize) };
        for (i, entry) in entries.take((place.end - place.start) as usize).enumerate() {
            // SAFETY: a list ends within the ring, and no kernel is to read this place any more. Pinned
            // memory is page-aligned.
            unsafe { first.add(i).write(entry) };
        }
        self.used = place.end;
        self.memory.address() + at * size_of::<Entry>() as u64
    }
}

impl Entry {
    /// Returns the entry of a fragment, which was checked against both sides.
    pub(super) const fn new(fragment: &Fragment, source: Address, destination: Address) -> Self {
        Self {
            source: source + fragment.source_offset,
            destination: destination + fragment.destination_offset,
            bytes: fragment.bytes,
        }
    }
}

impl Summary {
    pub(super) fn of(fragments: &[Fragment]) -> Self {
        let (mut count, mut longest) = (0, 0);
        let (mut ascends, mut descends) = (true, true);
        let (mut start, mut end) = (u64::MAX, 0);
        for fragment in fragments.iter().filter(|fragment| fragment.bytes > 0) {
            let here_end = fragment.destination_offset + fragment.bytes;
            ascends &= fragment.destination_offset >= end;
            descends &= here_end <= start;
            (start, end) = (fragment.destination_offset, here_end);
            longest = longest.max(fragment.bytes);
            count += 1;
        }
        Self { count, longest, in_order: ascends || descends }
    }

    /// Returns whether two of the summarized fragments overlap at the destination.
    ///
    /// Lists in order cost nothing; others are sorted in `spans`, which has room for any list.
    pub(super) fn overlaps(&self, fragments: &[Fragment], spans: &mut Vec<(u64, u64)>) -> bool {
        if self.in_order {
            return false;
        }
        spans.clear();
        let not_empty = fragments.iter().filter(|fragment| fragment.bytes > 0);
        spans.extend(not_empty.map(|fragment| (fragment.destination_offset, fragment.bytes)));
        spans.sort_unstable();
        spans.windows(2).any(|pair| pair[0].0 + pair[0].1 > pair[1].0)
    }

    /// Returns a shape with a tile per warp, but no more warps than keep the device busy: they do the rest in
    /// rounds.
    pub(super) fn shape(&self, multiprocessors: u32) -> Shape {
        let count = self.count.max(1);
        let most = (multiprocessors * WARPS_PER_MULTIPROCESSOR).div_ceil(count);
        let parts = self.longest.div_ceil(TILE_BYTES).clamp(1, u64::from(most)) as u32;
        Shape { parts, blocks: (count * parts).div_ceil(BLOCK_WARPS) }
    }
}

/// Two of the longest lists: one that is read and one that is written.
///
/// 2 × 16384 × 24 B = 768 KiB a lane, of which a transfer touches only as much as its chunks need.
const ENTRIES: u64 = 2 * FRAGMENTS_MAX as u64;
/// Twice the number that runs at a time (4 blocks of 8 warps).
const WARPS_PER_MULTIPROCESSOR: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn fragments(list: &[(u64, u64)]) -> Vec<Fragment> {
        let one = |&(destination_offset, bytes)| Fragment { source_offset: 0, bytes, destination_offset };
        list.iter().map(one).collect()
    }

    fn overlaps(list: &[(u64, u64)]) -> bool {
        let list = fragments(list);
        Summary::of(&list).overlaps(&list, &mut Vec::new())
    }

    #[test]
    fn overlaps_are_found_in_any_order() {
        assert!(
            !overlaps(&[])
                && !overlaps(&[(5, 5)])
                && !overlaps(&[(0, 5), (5, 5)])
                && !overlaps(&[(5, 5), (0, 5)])
        );
        assert!(!overlaps(&[(10, 5), (0, 5), (5, 5)]) && !overlaps(&[(3, 0), (0, 5), (2, 0)]));
        assert!(overlaps(&[(0, 6), (5, 5)]) && overlaps(&[(5, 5), (0, 6)]) && overlaps(&[(0, 9), (3, 1)]));
        assert!(overlaps(&[(10, 5), (0, 5), (14, 1)]) && overlaps(&[(1, 1), (1, 1)]));
    }

    #[test]
    fn a_shape_covers_its_list() {
        let shape = |list: &[(u64, u64)]| Summary::of(&fragments(list)).shape(132);
        assert_eq!(shape(&[]), Shape { parts: 1, blocks: 1 });
        assert_eq!(shape(&[(0, 1)]), Shape { parts: 1, blocks: 1 });
        assert_eq!(shape(&[(0, 512 << 10)]), Shape { parts: 128, blocks: 16 });
        assert_eq!(shape(&[(0, 1 << 40)]), Shape { parts: 8448, blocks: 1056 });
        let pages: Vec<_> = (0..FRAGMENTS_MAX as u64).map(|i| (i << 12, 4 << 10)).collect();
        assert_eq!(shape(&pages), Shape { parts: 1, blocks: FRAGMENTS_MAX as u32 / 8 });
    }

    #[test]
    fn a_list_is_in_one_piece_and_waits_for_its_room() {
        // Only the arithmetic: the memory is the driver's.
        assert!(
            Lists::has_room(ENTRIES, 0)
                && !Lists::has_room(ENTRIES + 1, 0)
                && Lists::has_room(ENTRIES + 1, 1)
        );
    }
}
