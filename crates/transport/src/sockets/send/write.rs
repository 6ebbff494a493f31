//! One data socket's thread: takes segments as they are dealt and writes them, header and bytes in one call. Host memory
//! goes out in place, device memory from the staging ring.

use std::{
    io,
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};

use gputcp_gpu::{MemoryKind, ReadClaim};
use gputcp_proto::{
    frame::SegmentHeader,
    send::{Carrier, Segment},
};
use socket2::Socket;

use super::{Parts, SendState, stage::StagingRing};
use crate::{
    Error, Result,
    sockets::{
        locks::{lock, read_lock},
        shared::Shared,
    },
};

/// The thread's life, until the connection closes or fails.
pub(super) fn run(shared: &Arc<Shared<SendState>>, stream: usize, ring: Option<StagingRing>) {
    let writer = Writer { shared, stream, socket: &shared.data[stream], parts: shared.parts(), ring };
    match writer.run() {
        Ok(()) => {
            // The end of the stream, at a segment's boundary.
            let _ = shared.data[stream].shutdown(std::net::Shutdown::Write);
        }
        Err(Stop::Failed(error)) => shared.fail(error),
        Err(Stop::Socket(error)) => shared.data_failed(&error),
    }
}

struct Writer<'a> {
    shared: &'a Shared<SendState>,
    stream: usize,
    socket: &'a Socket,
    parts: Arc<Parts>,
    ring: Option<StagingRing>,
}

/// Why a thread ends early.
enum Stop {
    Failed(Error),
    Socket(io::Error),
}

impl Writer<'_> {
    fn run(mut self) -> Result<(), Stop> {
        loop {
            let staged = self.ring.as_ref().is_some_and(|ring| !ring.is_empty());
            let has_room = self.ring.as_ref().is_none_or(StagingRing::has_room);
            let segment = match (staged, has_room) {
                (false, _) => match self.next_segment()? {
                    Some(segment) => Some(segment),
                    None => return Ok(()),
                },
                (true, true) => self.try_segment()?,
                (true, false) => None,
            };
            match segment {
                Some(segment) => self.take(segment)?,
                None => self.write_oldest()?,
            }
        }
    }

    /// Sleeps until there is a segment; `None` when the connection closes.
    fn next_segment(&self) -> Result<Option<Segment>, Stop> {
        let mut state = lock(&self.shared.state);
        loop {
            if self.shared.has_failed() {
                return Ok(None);
            }
            let dealt = state.side.deal(Carrier::Stream(self.stream)).map_err(too_long)?;
            // What is left, or is another stream's turn, is passed on: each that takes a segment wakes the next.
            let next = state.side.to_wake();
            if dealt.is_some() {
                drop(state);
                self.shared.wake(next);
                return Ok(dealt);
            }
            if self.shared.is_closing() {
                return Ok(None);
            }
            self.shared.wake(next);
            state.side.set_idle(self.stream, true);
            state =
                self.shared.work[self.stream].wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
            state.side.set_idle(self.stream, false);
        }
    }

    fn try_segment(&self) -> Result<Option<Segment>, Stop> {
        lock(&self.shared.state).side.deal(Carrier::Stream(self.stream)).map_err(too_long)
    }

    /// Writes a segment, or starts to stage it.
    fn take(&mut self, segment: Segment) -> Result<(), Stop> {
        if segment.is_inline() {
            return self.shared.carry_inline(segment).map_err(Stop::Failed);
        }
        let place = read_lock(&self.parts.sources[segment.slot_index()]);
        let Some(source) = place.as_ref() else { unreachable!("a dealt segment has a source") };
        if source.kind() == MemoryKind::Host {
            self.write_in_place(&segment, source)?;
            drop(place);
            self.shared.written(segment);
            return Ok(());
        }
        let Some(ring) = &mut self.ring else { unreachable!("device memory is refused without lanes") };
        match ring.stage(segment, source).map_err(Stop::Failed)? {
            None => Ok(()),
            Some(_) => unreachable!("a segment is taken only while the ring has room"),
        }
    }

    fn write_in_place(&self, segment: &Segment, source: &ReadClaim) -> Result<(), Stop> {
        let header = segment.header().encode();
        let (mut head, mut sent) = (0, 0);
        while sent < segment.bytes() {
            let (offset, left) = (segment.offset() + sent, segment.bytes() - sent);
            let taken = retry(|| source.send(self.socket.as_fd(), &header[head..], offset, left))?;
            let of_head = taken.min(SegmentHeader::BYTES - head);
            head += of_head;
            sent += (taken - of_head) as u64;
        }
        Ok(())
    }

    fn write_oldest(&mut self) -> Result<(), Stop> {
        let Some(ring) = &mut self.ring else { return Ok(()) };
        let mut staged = loop {
            match ring.oldest(Instant::now() + SLICE).map_err(Stop::Failed)? {
                Some(staged) => break staged,
                None => self.shared.check().map_err(Stop::Failed)?,
            }
        };
        let header = staged.segment().header().encode();
        let mut head = 0;
        let (slot, segment) = loop {
            let taken = retry(|| ring.lane.send(&staged, &header[head..], self.socket.as_fd()))?;
            let of_head = taken.min(SegmentHeader::BYTES - head);
            head += of_head;
            match staged.written((taken - of_head) as u64) {
                Ok(done) => break done,
                Err(rest) => staged = rest,
            }
        };
        ring.release(slot);
        self.shared.written(segment);
        Ok(())
    }
}

fn too_long(too_long: gputcp_proto::send::TooLong) -> Stop {
    Stop::Failed(Error::usage(format!("{too_long}: post a receive that is long enough")))
}

/// A blocking write, again when a signal interrupts it.
fn retry(mut write: impl FnMut() -> io::Result<usize>) -> Result<usize, Stop> {
    loop {
        match write() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map_err(Stop::Socket),
        }
    }
}

/// How long a copy is waited for before the connection is looked at again.
const SLICE: Duration = Duration::from_millis(100);
