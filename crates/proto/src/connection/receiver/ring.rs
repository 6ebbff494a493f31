//! Unpacks under way on one lane, in order, and the lane's free bounce buffers.
//!
//! A buffer is freed, and its bytes counted, only by a finished unpack (invariant I2).

use std::collections::VecDeque;

use crate::{
    bounce::{Completion, Unpacking},
    connection::BUFFERS_MAX,
    recv::Placed,
    window::{Slot, Window},
};

#[derive(Debug)]
pub(super) struct BounceRing<D> {
    free: Window<BUFFERS_MAX>,
    unpacks: VecDeque<Unpacking<D>>,
}

impl<D: Completion> BounceRing<D> {
    pub(super) fn new(buffers: usize) -> Self {
        Self { free: Window::with_depth(buffers), unpacks: VecDeque::with_capacity(buffers) }
    }

    /// Adds an unpack that was launched.
    pub(super) fn push(&mut self, unpacking: Unpacking<D>) {
        self.unpacks.push_back(unpacking);
    }

    /// Returns the proof of the oldest unpack, if it is finished, and frees its buffer.
    pub(super) fn reap(&mut self) -> Result<Option<Placed>, D::Error> {
        let Some(unpacking) = self.unpacks.pop_front() else { return Ok(None) };
        match unpacking.poll()? {
            Ok((slot, placed)) => {
                self.free.release(slot);
                Ok(Some(placed))
            }
            Err(unpacking) => {
                // A lane works in order: those behind it are not finished either.
                self.unpacks.push_front(unpacking);
                Ok(None)
            }
        }
    }

    /// Returns a free buffer.
    pub(super) fn issue(&mut self) -> Option<Slot> {
        self.free.issue()
    }

    /// Returns the completion of the oldest unpack under way.
    pub(super) fn oldest(&self) -> Option<&D> {
        self.unpacks.front().map(Unpacking::completion)
    }

    /// Returns the completion of the newest unpack under way.
    pub(super) fn newest(&self) -> Option<&D> {
        self.unpacks.back().map(Unpacking::completion)
    }

    /// Returns whether no buffer is in use.
    pub(super) const fn is_idle(&self) -> bool {
        self.free.in_flight() == 0
    }
}
