//! One data socket's task: reads a header, has it checked, and reads the segment's bytes. They go to a host
//! destination in place, or into a bounce buffer whose unpack the task launches.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, atomic::Ordering},
};

use gputcp_gpu::{Done, Lane};
use gputcp_proto::{
    connection::receiver::{Stream, Work},
    frame::SegmentHeader,
};
use rustix::{event::epoll::EventFlags, net::RecvFlags};

use super::{RecvMemory, range_of};
use crate::{
    Error,
    sockets::{
        shared::{Shared, attempt, socket_error},
        task::{Next, Rest, Stop, Task},
    },
    trace::Pen,
};

/// The receiver's part of one data socket, until the peer closes the stream or the connection fails.
pub(super) struct StreamReader {
    shared: Arc<Shared<RecvMemory>>,
    stream: Stream<Done>,
    number: usize,
    lane: Option<Lane>,
    pen: Option<Pen>,
}

impl Task for StreamReader {
    fn name() -> &'static str {
        "gputcp-recv"
    }

    fn go_on(&mut self) -> Next {
        let Self { shared, stream, number, lane, pen } = self;
        let socket = shared.data[*number].as_fd();
        let mut is_payload = true;
        let mut left_bytes = 0;
        let began = shared.trace_time();
        let got = match stream.work() {
            Work::Connection => return self.step(),
            Work::Hear => {
                // On a busy machine the thread that usually reads it may not have run since.
                shared.look();
                return self.step();
            }
            Work::Header(rest) => {
                is_payload = false;
                let is_first = rest.len() == SegmentHeader::BYTES;
                let got = attempt(|| Ok(rustix::net::recv(socket, &mut *rest, RecvFlags::empty())?.0));
                if let (Some(pen), Ok(Some(1..)), true) = (pen.as_mut(), &got, is_first) {
                    pen.header_came(began);
                }
                got
            }
            Work::InPlace(segment) => {
                let landing = segment.landing();
                if let Some(pen) = pen {
                    pen.read_begins(range_of(landing));
                    left_bytes = segment.missing();
                }
                let destination = shared.memory.destination(landing.slot_index());
                let offset = landing.offset() + segment.have();
                attempt(|| destination.recv(socket, offset, segment.missing()))
            }
            Work::Bounce(filling) => {
                let Some(lane) = lane else { unreachable!("device memory is refused without lanes") };
                if let Some(pen) = pen {
                    pen.read_begins(range_of(filling.landing()));
                    left_bytes = filling.missing();
                }
                attempt(|| lane.recv(filling, socket))
            }
            Work::Unpack(filled) => {
                let range = range_of(filled.landing());
                let Some(lane) = lane else { unreachable!("device memory is refused without lanes") };
                let destination = shared.memory.destination(filled.landing().slot_index());
                let unpacking = destination.unpack(filled, lane, shared.memory.mode);
                drop(destination);
                stream.launched(unpacking.map_err(|error| Stop::Failed(error.into()))?);
                if let Some(pen) = pen {
                    pen.unpack(began, range);
                }
                return self.step();
            }
            Work::Early { .. } => unreachable!("short messages come on the control socket"),
        };
        let got = got.map_err(Stop::Socket)?;
        if let Some(pen) = pen {
            pen.tried(got, left_bytes);
        }
        let Some(got) = got else { return Ok(Some(Rest::Socket)) };
        if is_payload {
            shared.carried.fetch_add(got as u64, Ordering::Relaxed);
        }
        stream.got(got);
        Ok(None)
    }

    fn socket_failed(&mut self, error: io::Error) {
        self.stream.failed(socket_error(&error));
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.shared.data[self.number].as_fd()
    }

    fn events(&self) -> EventFlags {
        EventFlags::IN | EventFlags::ET
    }

    fn fail(&self, error: Error) {
        self.shared.fail(error);
    }

    fn pen(&mut self) -> Option<&mut Pen> {
        self.pen.as_mut()
    }
}

impl StreamReader {
    pub(super) fn new(shared: &Arc<Shared<RecvMemory>>, number: usize, lane: Option<Lane>) -> Self {
        let pen = shared.trace.as_ref().map(|trace| trace.pen(number));
        Self { shared: shared.clone(), stream: Stream::new(number), number, lane, pen }
    }

    fn step(&mut self) -> Next {
        let now = self.shared.now();
        let step = self.shared.act_on_lane(|end| end.step(&mut self.stream, now));
        Ok(self.shared.rest(step.map_err(Stop::Failed)?))
    }
}
