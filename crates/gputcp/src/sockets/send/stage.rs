//! Device memory → pinned ring: segments are copied several ahead of the socket, on the stream's own lane.

use std::collections::VecDeque;

use gputcp_gpu::{Done, Lane, ReadClaim, UnpackMode};
use gputcp_proto::{
    send::Segment,
    stage::{Staged, Staging},
    window::Window,
};

use crate::{Error, Result, tuning::SLABS_MAX};

/// A socket's staging ring, and the copies under way in it, oldest first.
#[derive(Debug)]
pub(super) struct StagingRing {
    pub(super) lane: Lane,
    free: Window<{ SLABS_MAX as usize }>,
    copies: VecDeque<Staging<Done>>,
    mode: UnpackMode,
}

impl StagingRing {
    pub(super) fn new(lane: Lane, slabs: usize, mode: UnpackMode) -> Self {
        Self { lane, free: Window::with_depth(slabs), copies: VecDeque::with_capacity(slabs), mode }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    /// Starts a copy. Returns the segment if no slab is free.
    pub(super) fn stage(&mut self, segment: Segment, source: &ReadClaim) -> Result<Option<Segment>> {
        let Some(slot) = self.free.issue() else { return Ok(Some(segment)) };
        self.copies.push_back(Staging::start(slot, segment, &mut self.lane.stage_from(source, self.mode))?);
        Ok(None)
    }

    /// Returns whether another copy can be started.
    pub(super) fn has_room(&self) -> bool {
        self.free.has_room()
    }

    /// Returns the oldest copy if it is done, or else its completion. The ring must not be empty.
    pub(super) fn oldest(&mut self) -> Result<Result<Staged, Done>> {
        let Some(copy) = self.copies.pop_front() else { unreachable!("asked of an empty ring") };
        Ok(copy.poll().map_err(Error::from)?.map_err(|copy| {
            let done = copy.completion().clone();
            self.copies.push_front(copy);
            done
        }))
    }

    /// Gives a written slab back.
    pub(super) fn release(&mut self, slot: gputcp_proto::window::Slot) {
        self.free.release(slot);
    }
}
