//! One data socket at the sender: segments as they are dealt, staged several ahead where they must be.

use std::collections::VecDeque;

use crate::{
    bounce::Completion,
    connection::{
        BUFFERS_MAX, SocketEnd, SocketError,
        departure::{Departure, Stage, Work},
    },
    send::Segment,
    stage::{Staged, Staging},
    window::{Slot, Window},
};

/// The sender's part of one data socket, until the connection closes or fails.
#[derive(Debug)]
pub struct Stream<D> {
    pub(super) number: usize,
    pub(super) at: At<D>,
    pub(super) ring: Option<StagingRing<D>>,
    /// The number of segments that were taken.
    pub(super) segments: u64,
}

/// The writer's place in its stream.
#[derive(Debug)]
pub(super) enum At<D> {
    /// Between two segments.
    Between,
    /// In a segment.
    Segment(Departure<D>),
    /// The stream has failed.
    Ended(SocketEnd),
}

/// The staging buffers of a stream, and the copies under way in them, oldest first.
#[derive(Debug)]
pub(super) struct StagingRing<D> {
    free: Window<BUFFERS_MAX>,
    copies: VecDeque<Staging<D>>,
}

impl<D: Completion> StagingRing<D> {
    pub(super) fn new(buffers: usize) -> Self {
        Self { free: Window::with_depth(buffers), copies: VecDeque::with_capacity(buffers) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    pub(super) fn issue(&mut self) -> Option<Slot> {
        self.free.issue()
    }

    pub(super) const fn has_room(&self) -> bool {
        self.free.has_room()
    }

    pub(super) fn release(&mut self, slot: Slot) {
        self.free.release(slot);
    }

    /// Returns the oldest copy if it is done, or else its completion. `None` if there is none.
    pub(super) fn oldest(&mut self) -> Result<Option<Result<Staged, D>>, D::Error>
    where
        D: Clone,
    {
        let Some(copy) = self.copies.pop_front() else { return Ok(None) };
        Ok(Some(copy.poll()?.map_err(|copy| {
            let done = copy.completion().clone();
            self.copies.push_front(copy);
            done
        })))
    }

    /// Returns whether no buffer is in use.
    pub(super) const fn is_idle(&self) -> bool {
        self.free.in_flight() == 0
    }
}

impl<D: Completion> Stream<D> {
    /// Returns the writer of this data socket, with so many staging buffers.
    #[must_use]
    pub fn new(number: usize, buffers: Option<usize>) -> Self {
        Self { number, at: At::Between, ring: buffers.map(StagingRing::new), segments: 0 }
    }

    /// Returns the next thing to do.
    pub fn work(&mut self) -> Work<'_> {
        match &mut self.at {
            At::Between => Work::Connection,
            At::Ended(_) => Work::Hear,
            At::Segment(departure) => departure.work(),
        }
    }

    /// Counts bytes that the socket has taken. Returns the payload bytes that count as sent now.
    pub fn wrote(&mut self, bytes: usize) -> u64 {
        match &mut self.at {
            At::Segment(departure) => departure.wrote(bytes),
            At::Between | At::Ended(_) => 0,
        }
    }

    /// Takes the copy that was started.
    pub fn staging(&mut self, staging: Staging<D>) {
        if let Some(ring) = &mut self.ring {
            ring.copies.push_back(staging);
        }
        self.at = At::Between;
    }

    /// Takes the failure of the socket: the current segment is lost.
    pub fn failed(&mut self, error: SocketError) {
        self.at = At::Ended(SocketEnd::new(Some(error)));
    }

    /// Returns the number of segments that it has taken.
    #[must_use]
    pub const fn segments(&self) -> u64 {
        self.segments
    }

    /// Returns whether nothing is held any more: no segment, and no staging buffer.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !matches!(self.at, At::Segment(_)) && self.ring.as_ref().is_none_or(StagingRing::is_idle)
    }

    /// Takes the segment that is written in full.
    pub(super) fn take_written(&mut self) -> Option<Segment> {
        let At::Segment(departure) = &mut self.at else { return None };
        if !matches!(departure.stage, Stage::Written(..)) {
            return None;
        }
        let Stage::Written(segment, slot) = departure.take() else { unreachable!("it was a moment ago") };
        if let (Some(slot), Some(ring)) = (slot, &mut self.ring) {
            ring.release(slot);
        }
        self.at = At::Between;
        Some(segment)
    }
}
