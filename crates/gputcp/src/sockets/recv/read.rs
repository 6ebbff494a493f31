//! One data socket's task: reads a header, has it checked, and reads the segment's bytes. They go to a host
//! destination in place, or into a bounce buffer whose unpack the task launches.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, atomic::Ordering},
};

use gputcp_gpu::{Lane, MemoryKind};
use gputcp_proto::{
    bounce::Filling,
    frame::SegmentHeader,
    recv::{InPlace, Landing},
};
use rustix::{event::epoll::EventFlags, net::RecvFlags};

use super::{Parts, RecvState};
use crate::{
    Error,
    sockets::{
        locks::{lock, read_lock},
        shared::{Shared, SocketEnd},
        task::{Next, Step, Stop, Task, attempt},
    },
};

/// The receiver's part of one data socket, until the peer closes the stream or the connection fails.
pub(super) struct StreamReader {
    shared: Arc<Shared<RecvState>>,
    stream: usize,
    parts: Arc<Parts>,
    lane: Option<Lane>,
    /// The bytes that have come of the next header.
    header: [u8; SegmentHeader::BYTES],
    have: usize,
    at: ReadState,
}

/// The reader's place in its stream.
enum ReadState {
    /// In a header, or before one.
    Header,
    /// In a segment whose destination is read into.
    InPlace(InPlace),
    /// Before a segment that needs a bounce buffer.
    Landing(Landing),
    /// In a segment that is read into a bounce buffer.
    Filling(Filling),
    /// The socket has failed, or ended.
    Ended(SocketEnd),
}

impl Task for StreamReader {
    fn name() -> &'static str {
        "gputcp-recv"
    }

    fn go_on(&mut self) -> Next {
        match std::mem::replace(&mut self.at, ReadState::Header) {
            ReadState::Header => self.read_header(),
            ReadState::InPlace(in_place) => self.read_in_place(in_place),
            ReadState::Landing(landing) => self.take_buffer(landing),
            ReadState::Filling(filling) => self.fill(filling),
            ReadState::Ended(verdict) => {
                let step = self.shared.hear(&verdict);
                self.at = ReadState::Ended(verdict);
                Ok(Some(step))
            }
        }
    }

    fn socket_failed(&mut self, error: io::Error) {
        self.at = ReadState::Ended(SocketEnd::on(error));
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.shared.data[self.stream].as_fd()
    }

    fn events(&self) -> EventFlags {
        EventFlags::IN | EventFlags::ET
    }

    fn fail(&self, error: Error) {
        self.shared.fail(error);
    }
}

impl StreamReader {
    pub(super) fn new(shared: &Arc<Shared<RecvState>>, stream: usize, lane: Option<Lane>) -> Self {
        let header = [0; SegmentHeader::BYTES];
        Self {
            parts: shared.parts(),
            shared: shared.clone(),
            stream,
            lane,
            header,
            have: 0,
            at: ReadState::Header,
        }
    }

    fn read_header(&mut self) -> Next {
        let (socket, rest) = (&self.shared.data[self.stream], &mut self.header[self.have..]);
        match attempt(|| Ok(rustix::net::recv(socket, &mut *rest, RecvFlags::empty())?.0))? {
            None => return Ok(Some(Step::Socket)),
            Some(0) if self.have == 0 => {
                lock(&self.shared.state).side.stream_ended();
                self.shared.doorbell.ring_all();
                self.at = ReadState::Ended(SocketEnd::on_end());
                return Ok(None);
            }
            Some(0) => return Err(Stop::Socket(io::ErrorKind::UnexpectedEof.into())),
            Some(got) => self.have += got,
        }
        if self.have < SegmentHeader::BYTES {
            return Ok(None);
        }
        self.have = 0;
        let misbehaved = |violation| Stop::Failed(self.shared.misbehaved(violation));
        let header = SegmentHeader::decode(&self.header).map_err(misbehaved)?;
        let mut state = lock(&self.shared.state);
        let landing = state.side.begin(&header);
        let done = state.side.done();
        drop(state);
        self.begin(landing.map_err(misbehaved)?, done)
    }

    /// Begins a segment. `done` is the number of receives that were finished when it came.
    fn begin(&mut self, landing: Landing, done: u64) -> Next {
        if landing.offset() == 0 {
            self.parts.came_short.store(false, Ordering::Relaxed);
            let begun =
                self.shared.tell(&self.parts, |announcer| announcer.begun(landing.seq(), false, done));
            begun.map_err(Stop::Failed)?;
        }
        let place = read_lock(&self.parts.destinations[landing.slot_index()]);
        let Some(destination) = place.as_ref() else { unreachable!("a posted receive has a destination") };
        let on_host = destination.kind() == MemoryKind::Host;
        drop(place);
        if on_host { self.read_in_place(InPlace::new(landing)) } else { self.take_buffer(landing) }
    }

    fn read_in_place(&mut self, in_place: InPlace) -> Next {
        let landing = in_place.landing();
        let place = read_lock(&self.parts.destinations[landing.slot_index()]);
        let Some(destination) = place.as_ref() else { unreachable!("a posted receive has a destination") };
        let socket = self.shared.data[self.stream].as_fd();
        let offset = landing.offset() + in_place.have();
        let got = attempt(|| destination.recv(socket, offset, in_place.missing()))?;
        drop(place);
        let Some(got) = got else {
            self.at = ReadState::InPlace(in_place);
            return Ok(Some(Step::Socket));
        };
        let got = self.count(got)?;
        match in_place.advance(got) {
            Ok(placed) => self.shared.placed(placed),
            Err(rest) => self.at = ReadState::InPlace(rest),
        }
        Ok(None)
    }

    fn take_buffer(&mut self, landing: Landing) -> Next {
        match self.shared.bounce_slot(&self.parts.rings[self.stream]).map_err(Stop::Failed)? {
            Ok(slot) => self.fill(Filling::new(slot, landing)),
            Err(unpacking) => {
                self.at = ReadState::Landing(landing);
                Ok(Some(Step::Lane(unpacking)))
            }
        }
    }

    /// Reads into a bounce buffer, and launches its unpack when that is full.
    fn fill(&mut self, filling: Filling) -> Next {
        let Some(lane) = &mut self.lane else { unreachable!("device memory is refused without lanes") };
        let socket = self.shared.data[self.stream].as_fd();
        let got = attempt(|| lane.recv(&filling, socket))?;
        let Some(got) = got else {
            self.at = ReadState::Filling(filling);
            return Ok(Some(Step::Socket));
        };
        let got = self.count(got)?;
        match filling.advance(got) {
            Ok(filled) => {
                let Some(lane) = &mut self.lane else { unreachable!("it was there a moment ago") };
                let index = filled.landing().slot_index();
                let place = read_lock(&self.parts.destinations[index]);
                let Some(destination) = place.as_ref() else {
                    unreachable!("a posted receive has a destination")
                };
                // Launched under the ring's lock: a waiter that finds the ring empty must not miss it.
                let mut ring = lock(&self.parts.rings[self.stream]);
                let unpacking = filled.unpack(&mut lane.unpack_into(destination, self.parts.mode));
                ring.push(unpacking.map_err(|error| Stop::Failed(error.into()))?);
                drop((ring, place));
                // The waiter goes on to watch the lane.
                self.shared.doorbell.ring(index);
            }
            Err(rest) => self.at = ReadState::Filling(rest),
        }
        Ok(None)
    }

    /// Counts payload bytes that have come. A stream that ends inside a segment lost some.
    fn count(&self, got: usize) -> Result<u64, Stop> {
        if got == 0 {
            return Err(Stop::Socket(io::ErrorKind::UnexpectedEof.into()));
        }
        self.shared.counters.carried.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got as u64)
    }
}
