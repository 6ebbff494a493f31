//! Bounce ring → destination: unpacks under way on one stream's lane, in order, and the ring's free buffers.
//! A buffer is freed, and its bytes counted, only by a finished unpack (invariant I2). The socket's task
//! looks here when it needs a buffer, a waiter when it waits; so neither depends on the other.

use std::{collections::VecDeque, sync::Mutex, time::Instant};

use gputcp_gpu::Done;
use gputcp_proto::{
    bounce::Unpacking,
    window::{Slot, Window},
};

use super::RecvState;
use crate::{
    Error, Result,
    sockets::{locks::lock, shared::Shared, task::LANE_LOOK},
    tuning::SLABS_MAX,
};

#[derive(Debug)]
pub(crate) struct BounceRing {
    free: Window<{ SLABS_MAX as usize }>,
    unpacks: VecDeque<Unpacking<Done>>,
}

impl BounceRing {
    pub(super) fn new(slabs: usize) -> Self {
        Self { free: Window::with_depth(slabs), unpacks: VecDeque::with_capacity(slabs) }
    }

    /// Adds an unpack that was launched.
    pub(super) fn push(&mut self, unpacking: Unpacking<Done>) {
        self.unpacks.push_back(unpacking);
    }
}

impl Shared<RecvState> {
    /// Counts the unpacks that are finished and frees their buffers.
    pub(super) fn reap(&self, ring: &mut BounceRing) -> Result<()> {
        while let Some(unpacking) = ring.unpacks.pop_front() {
            match unpacking.poll().map_err(Error::from)? {
                Ok((slot, placed)) => {
                    ring.free.release(slot);
                    self.placed(placed);
                }
                Err(unpacking) => {
                    // A lane works in order: those behind it are not finished either.
                    ring.unpacks.push_front(unpacking);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Returns a free bounce buffer of a stream, or else the completion of the unpack that will free one.
    pub(super) fn bounce_slot(&self, ring: &Mutex<BounceRing>) -> Result<Result<Slot, Done>> {
        loop {
            self.check()?;
            let mut ring = lock(ring);
            self.reap(&mut ring)?;
            if let Some(slot) = ring.free.issue() {
                return Ok(Ok(slot));
            }
            if let Some(oldest) = ring.unpacks.front() {
                return Ok(Err(oldest.completion().clone()));
            }
            // A waiter has just found the lane lost, and is about to fail the connection.
            drop(ring);
            std::thread::yield_now();
        }
    }

    /// Returns a free bounce buffer, and waits for the unpack that will free it if need be.
    pub(super) fn wait_for_bounce_slot(&self, ring: &Mutex<BounceRing>) -> Result<Slot> {
        loop {
            match self.bounce_slot(ring)? {
                Ok(slot) => return Ok(slot),
                Err(oldest) => drop(oldest.wait(Instant::now() + LANE_LOOK)?),
            }
        }
    }

    /// Returns the completion of the newest unpack under way, on any stream.
    pub(super) fn newest_unpack(&self) -> Option<Done> {
        let parts = self.parts();
        parts
            .rings
            .iter()
            .find_map(|ring| lock(ring).unpacks.back().map(|unpacking| unpacking.completion().clone()))
    }
}
