//! Segments in many ranges of a buffer: the unpack scatters them, and the staging gathers them.
//!
//! A segment is one launch, whatever the number of its ranges, up to [`FRAGMENTS_MAX`] at a time. Its
//! fragments are listed in the lane's own room (I4).
//!
//! The calling thread itself copies to and from host memory in mode [`UnpackMode::Host`], and where the lane
//! does not reach that memory. It is done when the call returns.

use std::mem;

use gputcp_proto::{
    bounce::{Fragment, Unpack},
    layout::{Layout, Slice},
    recv::Landing,
    send::Segment,
    stage::Stage,
};

use super::{Done, FRAGMENTS_MAX, Lane, UnpackMode};
use crate::{
    Error, MemoryKind, ReadClaim, WriteClaim,
    host::{Stores, copy_bytes},
    memory::{Hold, part_of},
};

/// Unpacks slabs of a lane into the ranges of a message in a destination.
#[derive(Debug)]
pub struct ScatterInto<'a> {
    lane: &'a mut Lane,
    destination: &'a WriteClaim,
    layout: &'a Layout,
    mode: UnpackMode,
}

/// Copies parts of a message, whose ranges lie in a source, into slabs of a lane.
#[derive(Debug)]
pub struct GatherFrom<'a> {
    lane: &'a mut Lane,
    source: &'a ReadClaim,
    layout: &'a Layout,
    mode: UnpackMode,
}

impl Unpack for ScatterInto<'_> {
    type Done = Done;
    type Error = Error;

    fn launch(&mut self, index: usize, landing: &Landing) -> Result<Done, Error> {
        let parts = part_of(self.layout, landing.offset(), landing.bytes(), self.destination.hold())?;
        self.lane.scatter_slab(index, landing.bytes(), parts, self.destination, self.mode)
    }
}

impl Stage for GatherFrom<'_> {
    type Done = Done;
    type Error = Error;

    fn launch(&mut self, index: usize, segment: &Segment) -> Result<Done, Error> {
        let parts = part_of(self.layout, segment.offset(), segment.bytes(), self.source.hold())?;
        self.lane.gather_slab(index, segment.bytes(), parts, self.source, self.mode)
    }
}

impl Lane {
    /// Returns an adapter that unpacks filled slabs into the ranges of `layout` in `destination`, each
    /// segment with one launch.
    ///
    /// A segment of more than [`FRAGMENTS_MAX`] ranges takes several launches. In mode [`UnpackMode::Copy`]
    /// each range is a copy. Where ranges overlap, either value may be found there.
    pub const fn scatter_into<'a>(
        &'a mut self,
        destination: &'a WriteClaim,
        layout: &'a Layout,
        mode: UnpackMode,
    ) -> ScatterInto<'a> {
        ScatterInto { lane: self, destination, layout, mode }
    }

    /// Returns an adapter that stages the segments of a message in the ranges of `layout` in `source`, each
    /// with one launch in mode [`UnpackMode::Kernel`].
    ///
    /// A segment of more than [`FRAGMENTS_MAX`] ranges takes several launches. In the other modes each range
    /// is a copy. Ranges may overlap.
    pub const fn gather_from<'a>(
        &'a mut self,
        source: &'a ReadClaim,
        layout: &'a Layout,
        mode: UnpackMode,
    ) -> GatherFrom<'a> {
        GatherFrom { lane: self, source, layout, mode }
    }

    fn scatter_slab(
        &mut self,
        index: usize,
        bytes: u64,
        parts: Slice<'_>,
        destination: &WriteClaim,
        mode: UnpackMode,
    ) -> Result<Done, Error> {
        let slab = self.idle_slab(index, bytes);
        let parts = parts.map(|part| Fragment { source_offset: slab + part.source_offset, ..part });
        let slabs = self.memory.hold().clone();
        if mode == UnpackMode::None {
            return Err(Error::NothingToUnpack);
        }
        if self.leaves_to_the_cpu(destination.hold(), mode) {
            let stores = Stores::for_unpack_into(destination.hold().buffer_bytes());
            parts.for_each(|part| copy(&slabs, destination.hold(), part, stores));
            return Ok(self.stream.start());
        }
        self.launch_lists(index, parts, |lane, list| lane.unpack(&slabs, list, destination, mode).map(drop))
    }

    fn gather_slab(
        &mut self,
        index: usize,
        bytes: u64,
        parts: Slice<'_>,
        source: &ReadClaim,
        mode: UnpackMode,
    ) -> Result<Done, Error> {
        let slab = self.idle_slab(index, bytes);
        let parts = parts
            .map(Fragment::reversed)
            .map(|part| Fragment { destination_offset: slab + part.destination_offset, ..part });
        if self.leaves_to_the_cpu(source.hold(), mode) {
            parts.for_each(|part| copy(source.hold(), self.memory.hold(), part, Stores::Cached));
            return Ok(self.stream.start());
        }
        self.launch_lists(index, parts, |lane, list| {
            lane.stream.stage(source.hold(), lane.memory.hold(), list, mode)
        })
    }

    /// Launches the work on a slab, list by list. Returns the end of the last.
    fn launch_lists(
        &mut self,
        index: usize,
        mut parts: impl Iterator<Item = Fragment>,
        mut launch: impl FnMut(&mut Self, &[Fragment]) -> Result<(), Error>,
    ) -> Result<Done, Error> {
        let mut list = mem::take(&mut self.list);
        let launched = loop {
            list.clear();
            list.extend(parts.by_ref().take(FRAGMENTS_MAX));
            if list.is_empty() {
                break Ok(());
            }
            if let Err(error) = launch(self, &list) {
                break Err(error);
            }
        };
        self.list = list;
        // Also if a launch was refused: those before it are on their way.
        self.slabs[index].pending = self.stream.launched();
        launched.map(|()| self.stream.now())
    }

    /// Returns whether the calling thread copies between a slab and that memory.
    fn leaves_to_the_cpu(&self, memory: &Hold, mode: UnpackMode) -> bool {
        memory.kind() == MemoryKind::Host && (mode == UnpackMode::Host || !self.stream.reaches(memory))
    }
}

/// Copies a fragment between a slab and host memory.
fn copy(source: &Hold, destination: &Hold, part: Fragment, stores: Stores) {
    let from = source.at(part.source_offset, part.bytes);
    let to = destination.at(part.destination_offset, part.bytes);
    // SAFETY: both ranges are within host memory whose holds live through the call. A slab is the lane's own,
    // so the two do not overlap and no reference leads there. No work is pending on the slab. A read claim
    // keeps writers off the other side, a write claim readers.
    unsafe { copy_bytes(from.as_ptr(), to.as_ptr(), part.bytes as usize, stores) };
}

#[cfg(test)]
mod tests;
