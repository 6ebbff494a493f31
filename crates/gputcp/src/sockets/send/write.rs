//! One data socket's task: takes segments as they are dealt and writes them, header and bytes in one call.
//! Host memory goes out in place, device memory from the staging ring.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use gputcp_gpu::MemoryKind;
use gputcp_proto::{
    frame::SegmentHeader,
    send::{Carrier, Segment, TooLong},
    stage::Staged,
};
use rustix::event::epoll::EventFlags;

use super::{Parts, SendState, stage::StagingRing};
use crate::{
    Error,
    sockets::{
        locks::{lock, read_lock},
        shared::{Shared, SocketEnd},
        task::{Next, Step, Stop, Task, attempt},
    },
};

/// The sender's part of one data socket, until the connection closes or fails.
pub(super) struct Writer {
    shared: Arc<Shared<SendState>>,
    stream: usize,
    parts: Arc<Parts>,
    ring: Option<StagingRing>,
    at: WriteState,
}

/// The writer's place in its stream.
enum WriteState {
    /// Between two segments.
    Between,
    /// The socket has taken so many bytes of this segment, its header's included.
    InPlace(Segment, u64),
    /// The socket has taken so many bytes of the header, or all of it and some of the staged bytes.
    Staged(Staged, usize),
    /// The socket has failed.
    Failed(SocketEnd),
}

impl Task for Writer {
    fn name() -> &'static str {
        "gputcp-send"
    }

    fn go_on(&mut self) -> Next {
        match std::mem::replace(&mut self.at, WriteState::Between) {
            WriteState::Between => self.begin(),
            WriteState::InPlace(segment, taken) => self.write_in_place(segment, taken),
            WriteState::Staged(staged, head) => self.write_staged(staged, head),
            WriteState::Failed(verdict) => {
                let step = self.shared.hear(&verdict);
                self.at = WriteState::Failed(verdict);
                Ok(Some(step))
            }
        }
    }

    fn socket_failed(&mut self, error: io::Error) {
        self.at = WriteState::Failed(SocketEnd::on(error));
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.shared.data[self.stream].as_fd()
    }

    fn events(&self) -> EventFlags {
        EventFlags::OUT | EventFlags::ET
    }

    fn fail(&self, error: Error) {
        self.shared.fail(error);
    }
}

impl Writer {
    pub(super) fn new(shared: &Arc<Shared<SendState>>, stream: usize, ring: Option<StagingRing>) -> Self {
        Self { parts: shared.parts(), shared: shared.clone(), stream, ring, at: WriteState::Between }
    }

    /// Takes the next segment, or the oldest copy that is done.
    fn begin(&mut self) -> Next {
        let staged = self.ring.as_ref().is_some_and(|ring| !ring.is_empty());
        let has_room = self.ring.as_ref().is_none_or(StagingRing::has_room);
        let segment = match (staged, has_room) {
            (false, _) => match self.next_segment()? {
                Ok(segment) => Some(segment),
                Err(step) => return Ok(Some(step)),
            },
            (true, true) => self.try_segment()?,
            (true, false) => None,
        };
        match segment {
            Some(segment) => self.take(segment),
            None => self.take_oldest(),
        }
    }

    /// Returns a segment, or the step that waits for work or ends the task.
    fn next_segment(&self) -> Result<Result<Segment, Step>, Stop> {
        let mut state = lock(&self.shared.state);
        state.side.set_idle(self.stream, false);
        if self.shared.has_failed() {
            return Ok(Err(Step::Ended));
        }
        let dealt = state.side.deal(Carrier::Stream(self.stream)).map_err(too_long)?;
        // A segment that is left, or is another stream's turn, is passed on: each stream that takes one wakes
        // the next.
        let (next, wanted) = (state.side.to_wake(), state.side.to_want());
        let closing = self.shared.is_closing();
        if dealt.is_none() && !closing {
            state.side.set_idle(self.stream, true);
        }
        drop(state);
        self.shared.wake(next);
        self.shared.want(wanted).map_err(Stop::Failed)?;
        Ok(match dealt {
            Some(segment) => Ok(segment),
            None if closing => {
                // The end of the stream, at a segment's boundary.
                let _ = self.shared.data[self.stream].shutdown(std::net::Shutdown::Write);
                Err(Step::Ended)
            }
            None => Err(Step::Work),
        })
    }

    fn try_segment(&self) -> Result<Option<Segment>, Stop> {
        lock(&self.shared.state).side.deal(Carrier::Stream(self.stream)).map_err(too_long)
    }

    /// Begins to write a segment, or to stage it.
    fn take(&mut self, segment: Segment) -> Next {
        if segment.is_inline() {
            return self.shared.carry_inline(segment).map(|()| None).map_err(Stop::Failed);
        }
        let place = read_lock(&self.parts.sources[segment.slot_index()]);
        let Some(source) = place.as_ref() else { unreachable!("a dealt segment has a source") };
        if source.kind() == MemoryKind::Host {
            drop(place);
            return self.write_in_place(segment, 0);
        }
        let Some(ring) = &mut self.ring else { unreachable!("device memory is refused without lanes") };
        match ring.stage(segment, source).map_err(Stop::Failed)? {
            None => Ok(None),
            Some(_) => unreachable!("a segment is taken only while the ring has room"),
        }
    }

    fn write_in_place(&mut self, segment: Segment, taken: u64) -> Next {
        let header = segment.header().encode();
        let head = taken.min(SegmentHeader::BYTES as u64);
        let sent = taken - head;
        let place = read_lock(&self.parts.sources[segment.slot_index()]);
        let Some(source) = place.as_ref() else { unreachable!("a dealt segment has a source") };
        let (offset, left) = (segment.offset() + sent, segment.bytes() - sent);
        let written = attempt(|| source.send(self.socket(), &header[head as usize..], offset, left))?;
        drop(place);
        let taken = taken + written.unwrap_or(0) as u64;
        if taken == SegmentHeader::BYTES as u64 + segment.bytes() {
            self.shared.written(segment);
            return Ok(None);
        }
        self.at = WriteState::InPlace(segment, taken);
        Ok(written.is_none().then_some(Step::Socket))
    }

    fn take_oldest(&mut self) -> Next {
        self.shared.check().map_err(Stop::Failed)?;
        let Some(ring) = &mut self.ring else { return Ok(None) };
        match ring.oldest().map_err(Stop::Failed)? {
            Ok(staged) => self.write_staged(staged, 0),
            Err(copying) => Ok(Some(Step::Lane(copying))),
        }
    }

    fn write_staged(&mut self, staged: Staged, head: usize) -> Next {
        let Some(ring) = &mut self.ring else { unreachable!("what is staged is staged in a ring") };
        let header = staged.segment().header().encode();
        let socket = self.shared.data[self.stream].as_fd();
        let written = attempt(|| ring.lane.send(&staged, &header[head..], socket))?;
        let taken = written.unwrap_or(0);
        let of_head = taken.min(SegmentHeader::BYTES - head);
        match staged.written((taken - of_head) as u64) {
            Ok((slot, segment)) => {
                ring.release(slot);
                self.shared.written(segment);
                Ok(None)
            }
            Err(rest) => {
                self.at = WriteState::Staged(rest, head + of_head);
                Ok(written.is_none().then_some(Step::Socket))
            }
        }
    }
}

fn too_long(too_long: TooLong) -> Stop {
    Stop::Failed(Error::usage(format!("{too_long}: post a receive that is long enough")))
}
