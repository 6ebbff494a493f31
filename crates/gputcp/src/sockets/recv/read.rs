//! One data socket's task: reads a header, has it checked, and reads the segment's bytes. They go to a host
//! destination in place, or into a bounce buffer whose unpack the task launches.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, atomic::Ordering},
};

use gputcp_gpu::{Done, Lane};
use gputcp_proto::connection::receiver::{Stream, Work};
use rustix::{event::epoll::EventFlags, net::RecvFlags};

use super::RecvMemory;
use crate::{
    Error,
    sockets::{
        shared::{Shared, attempt, socket_error},
        task::{Next, Rest, Stop, Task},
    },
};

/// The receiver's part of one data socket, until the peer closes the stream or the connection fails.
pub(super) struct StreamReader {
    shared: Arc<Shared<RecvMemory>>,
    stream: Stream<Done>,
    number: usize,
    lane: Option<Lane>,
}

impl Task for StreamReader {
    fn name() -> &'static str {
        "gputcp-recv"
    }

    fn go_on(&mut self) -> Next {
        let Self { shared, stream, number, lane } = self;
        let socket = shared.data[*number].as_fd();
        let mut is_payload = true;
        let got = match stream.work() {
            Work::Connection => return self.step(),
            Work::Hear => {
                // On a busy machine the thread that usually reads it may not have run since.
                shared.look();
                return self.step();
            }
            Work::Header(rest) => {
                is_payload = false;
                attempt(|| Ok(rustix::net::recv(socket, &mut *rest, RecvFlags::empty())?.0))
            }
            Work::InPlace(segment) => {
                let landing = segment.landing();
                let destination = shared.memory.destination(landing.slot_index());
                let offset = landing.offset() + segment.have();
                attempt(|| destination.recv(socket, offset, segment.missing()))
            }
            Work::Bounce(filling) => {
                let Some(lane) = lane else { unreachable!("device memory is refused without lanes") };
                attempt(|| lane.recv(filling, socket))
            }
            Work::Unpack(filled) => {
                let Some(lane) = lane else { unreachable!("device memory is refused without lanes") };
                let destination = shared.memory.destination(filled.landing().slot_index());
                let unpacking = destination.unpack(filled, lane, shared.memory.mode);
                drop(destination);
                stream.launched(unpacking.map_err(|error| Stop::Failed(error.into()))?);
                return self.step();
            }
            Work::Early { .. } => unreachable!("short messages come on the control socket"),
        };
        let Some(got) = got.map_err(Stop::Socket)? else { return Ok(Some(Rest::Socket)) };
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
}

impl StreamReader {
    pub(super) fn new(shared: &Arc<Shared<RecvMemory>>, number: usize, lane: Option<Lane>) -> Self {
        Self { shared: shared.clone(), stream: Stream::new(number), number, lane }
    }

    fn step(&mut self) -> Next {
        let now = self.shared.now();
        let step = self.shared.act_on_lane(|end| end.step(&mut self.stream, now));
        Ok(self.shared.rest(step.map_err(Stop::Failed)?))
    }
}
