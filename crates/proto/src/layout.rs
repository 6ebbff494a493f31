//! The places of a message's bytes in a buffer, as a list of ranges (a scatter-gather list).
//!
//! A message may come from many ranges of a buffer, and land in many. The list is made once for a message.
//! Each segment then has its own part of it, which may begin and end inside ranges.
//!
//! Invariant: the runs of a layout follow one another in the message, each of at least one byte. Neighbours
//! in the message are none in the buffer: they were merged.

use crate::bounce::Fragment;

/// The most ranges of a layout: 16 MiB of them, ten times as many as the longest lists of paged caches.
pub const RANGES_MAX: usize = 1 << 20;

/// The ranges of a buffer that hold a message's bytes, in the message's order.
///
/// ```
/// # use gputcp_proto::layout::Layout;
/// // Offset and length of each range; the first two are neighbours.
/// let layout = Layout::of([(4096, 100), (4196, 100), (0, 50)])?;
/// assert_eq!((layout.bytes(), layout.runs(), layout.end()), (250, 2, 4296));
/// let parts = layout.slice(190, 20).expect("within the message");
/// let places: Vec<_> = parts.map(|part| (part.bytes, part.destination_offset)).collect();
/// assert_eq!(places, [(10, 4286), (10, 0)]);
/// # Ok::<(), gputcp_proto::layout::LayoutError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Layout {
    /// Never longer than `ranges_max`.
    runs: Vec<Run>,
    ranges_max: usize,
    /// The number of ranges given, those that were merged or empty included.
    ranges: usize,
    /// The message's length.
    bytes: u64,
    /// The end of the last run in the buffer; without a run the highest number, where no range begins.
    last_end: u64,
    /// The highest end of a range.
    end: u64,
}

/// One or several neighbouring ranges. A run ends in the message where the next one starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// The start in the message.
    start: u64,
    /// The start in the buffer.
    offset: u64,
}

/// The reason why a range cannot be part of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The range's end is past the highest address.
    #[error("range {index} ({bytes} bytes from {offset}) has no end: the maker of the list is at fault")]
    Wraps {
        /// The range's place in the list, from 0.
        index: usize,
        /// The range's start, in bytes.
        offset: u64,
        /// The range's length in bytes.
        bytes: u64,
    },
    /// The sum of all lengths is no number of 64 bits.
    #[error("with range {index} ({bytes} bytes) the message is longer than 2^64 bytes: split the list")]
    TooLong {
        /// The range's place in the list, from 0.
        index: usize,
        /// The range's length in bytes.
        bytes: u64,
    },
    /// There are more ranges than the layout has room for.
    #[error("a list of more than {max} ranges was given: split it")]
    TooMany {
        /// The most ranges.
        max: usize,
    },
}

impl Layout {
    /// Returns an empty layout with room for `ranges_max` ranges, at most [`RANGES_MAX`].
    ///
    /// It can be filled and cleared many times and never allocates again.
    #[must_use]
    pub fn with_room(ranges_max: usize) -> Self {
        let ranges_max = ranges_max.min(RANGES_MAX);
        let runs = Vec::with_capacity(ranges_max);
        Self { runs, ranges_max, ranges: 0, bytes: 0, last_end: u64::MAX, end: 0 }
    }

    /// Makes a layout of ranges, each given by offset and length. It grows as it is filled.
    ///
    /// # Errors
    /// As [`Layout::push`].
    pub fn of(ranges: impl IntoIterator<Item = (u64, u64)>) -> Result<Self, LayoutError> {
        let ranges = ranges.into_iter();
        let mut layout = Self::with_room(ranges.size_hint().0);
        layout.ranges_max = RANGES_MAX;
        for (offset, bytes) in ranges {
            layout.push(offset, bytes)?;
        }
        Ok(layout)
    }

    /// Appends a range; one of 0 bytes is legal and has no effect but to be counted.
    ///
    /// # Errors
    /// If the range or the message would have an end beyond 64 bits, or if there is no room. The layout is as
    /// before then.
    pub fn push(&mut self, offset: u64, bytes: u64) -> Result<(), LayoutError> {
        let index = self.ranges;
        if index == self.ranges_max {
            return Err(LayoutError::TooMany { max: self.ranges_max });
        }
        let Some(end) = offset.checked_add(bytes) else {
            return Err(LayoutError::Wraps { index, offset, bytes });
        };
        let Some(message_bytes) = self.bytes.checked_add(bytes) else {
            return Err(LayoutError::TooLong { index, bytes });
        };
        self.ranges += 1;
        if bytes > 0 {
            if offset != self.last_end {
                self.runs.push(Run { start: self.bytes, offset });
            }
            self.bytes = message_bytes;
            self.last_end = end;
            self.end = self.end.max(end);
        }
        Ok(())
    }

    /// Removes all ranges and keeps the room.
    pub fn clear(&mut self) {
        self.runs.clear();
        (self.ranges, self.bytes, self.last_end, self.end) = (0, 0, u64::MAX, 0);
    }

    /// Returns the message's length: the sum of all ranges.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the highest end of a range in the buffer: a buffer of at least this length has them all.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// Returns the number of ranges that are left after merging.
    #[must_use]
    pub const fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Returns the places of `bytes` bytes of the message from `offset`; `None` if the message has fewer.
    ///
    /// Each fragment's source is counted from the part's start, as a slab holds it. Its destination is in the
    /// buffer ([`Fragment::reversed`] exchanges them). Finding the start takes logarithmic time.
    #[must_use]
    pub fn slice(&self, offset: u64, bytes: u64) -> Option<Slice<'_>> {
        let end = offset.checked_add(bytes).filter(|&end| end <= self.bytes)?;
        let first = self.runs.partition_point(|run| run.start <= offset).saturating_sub(1);
        let runs = self.runs.get(first..).unwrap_or_default();
        Some(Slice { runs, message_bytes: self.bytes, start: offset, at: offset, end })
    }
}

/// The places of a part of a message; see [`Layout::slice`].
#[derive(Debug, Clone)]
pub struct Slice<'a> {
    /// The run that holds the next byte, and all after it.
    runs: &'a [Run],
    message_bytes: u64,
    /// The part's start, next byte and end in the message.
    start: u64,
    at: u64,
    end: u64,
}

impl Iterator for Slice<'_> {
    type Item = Fragment;

    fn next(&mut self) -> Option<Fragment> {
        if self.at == self.end {
            return None;
        }
        let (run, after) = self.runs.split_first()?;
        let run_end = after.first().map_or(self.message_bytes, |next| next.start);
        let fragment = Fragment {
            source_offset: self.at - self.start,
            bytes: run_end.min(self.end) - self.at,
            destination_offset: run.offset + (self.at - run.start),
        };
        self.at += fragment.bytes;
        self.runs = after;
        Some(fragment)
    }
}

#[cfg(test)]
mod tests;
