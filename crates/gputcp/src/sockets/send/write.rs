//! One data socket's task: takes segments as they are dealt and writes them, header and bytes in one call.
//! Host memory goes out in place, device memory from the stream's staging buffers.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, atomic::Ordering},
};

use gputcp_gpu::{Done, Lane};
use gputcp_proto::connection::{
    Step,
    sender::{Stream, Work},
};
use rustix::event::epoll::EventFlags;

use super::{SendMemory, range_of};
use crate::{
    Error,
    sockets::{
        shared::{Shared, attempt, socket_error},
        task::{Next, Rest, Stop, Task},
    },
    trace::Pen,
};

/// The sender's part of one data socket, until the connection closes or fails.
pub(super) struct Writer {
    shared: Arc<Shared<SendMemory>>,
    stream: Stream<Done>,
    number: usize,
    lane: Option<Lane>,
    pen: Option<Pen>,
}

impl Task for Writer {
    fn name() -> &'static str {
        "gputcp-send"
    }

    fn go_on(&mut self) -> Next {
        let socket = self.shared.data[self.number].as_fd();
        let mut left_bytes = 0;
        let wrote = match self.stream.work() {
            Work::Connection => return self.step(),
            Work::Hear => {
                // On a busy machine the thread that usually reads it may not have run since.
                self.shared.look();
                return self.step();
            }
            Work::Stage(slot, segment) => {
                let Some(lane) = &mut self.lane else {
                    unreachable!("device memory is refused without lanes")
                };
                let began = self.shared.trace_time();
                let range = range_of(&segment);
                let memory = &self.shared.memory;
                let source = memory.source(segment.slot_index());
                let staging = source.stage(lane, memory.mode, slot, segment);
                drop(source);
                self.stream.staging(staging.map_err(|error| Stop::Failed(error.into()))?);
                if let Some(pen) = &self.pen {
                    pen.staged(began, range);
                }
                return Ok(None);
            }
            Work::InPlace { header, segment, written } => {
                let source = self.shared.memory.source(segment.slot_index());
                let (offset, left) = (segment.offset() + written, segment.bytes() - written);
                if let Some(pen) = &mut self.pen {
                    pen.write_begins(range_of(segment));
                    left_bytes = header.rest().len() as u64 + left;
                }
                attempt(|| source.send(socket, header.rest(), offset, left))
            }
            Work::Staged { header, staged } => {
                let Some(lane) = &mut self.lane else { unreachable!("what is staged is staged by a lane") };
                if let Some(pen) = &mut self.pen {
                    let segment = staged.segment();
                    pen.write_begins(range_of(segment));
                    left_bytes = header.rest().len() as u64 + segment.bytes() - staged.have_written();
                }
                attempt(|| lane.send(staged, header.rest(), socket))
            }
        };
        let wrote = wrote.map_err(Stop::Socket)?;
        if let Some(pen) = &mut self.pen {
            pen.tried(wrote, left_bytes);
        }
        match wrote {
            None => Ok(Some(Rest::Socket)),
            Some(taken) => {
                self.shared.carried.fetch_add(self.stream.wrote(taken), Ordering::Relaxed);
                Ok(None)
            }
        }
    }

    fn socket_failed(&mut self, error: io::Error) {
        self.stream.failed(socket_error(&error));
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.shared.data[self.number].as_fd()
    }

    fn events(&self) -> EventFlags {
        EventFlags::OUT | EventFlags::ET
    }

    fn fail(&self, error: Error) {
        self.shared.fail(error);
    }

    fn pen(&mut self) -> Option<&mut Pen> {
        self.pen.as_mut()
    }
}

impl Writer {
    pub(super) fn new(
        shared: &Arc<Shared<SendMemory>>,
        number: usize,
        lane: Option<Lane>,
        buffers: usize,
    ) -> Self {
        let stream = Stream::new(number, lane.is_some().then_some(buffers));
        let pen = shared.trace.as_ref().map(|trace| trace.pen(number));
        Self { shared: shared.clone(), stream, number, lane, pen }
    }

    fn step(&mut self) -> Next {
        let now = self.shared.now();
        let step = self.shared.act_on_lane(|end| end.step(&mut self.stream, now));
        let step = step.map_err(Stop::Failed)?;
        if matches!(step, Step::EndOfStream) {
            let _ = self.shared.data[self.number].shutdown(std::net::Shutdown::Write);
        }
        Ok(self.shared.rest(step))
    }
}
