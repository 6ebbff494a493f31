//! Short messages: whole, inside a frame of the control socket. The thread that finds that one can go writes
//! it; no other thread is woken. Host memory goes out in place. Device memory goes out from the control
//! socket's own staging buffers; the copy is waited for, as it takes less time than a wake-up.

use std::sync::atomic::Ordering;

use gputcp_gpu::Done;
use gputcp_proto::connection::sender::{Departure, Work, Wrote};
use rustix::net::SendFlags;

use super::{SendMemory, range_of};
use crate::{
    Result,
    sockets::{
        locks::lock,
        shared::{Shared, attempt, socket_error},
    },
};

impl Shared<SendMemory> {
    /// Does a part of the work for a short message.
    pub(super) fn write_short(&self, message: &mut Departure<Done>) -> Result<Wrote> {
        let socket = self.control.descriptor();
        let mut left_bytes = 0;
        let wrote = match message.work() {
            Work::Connection | Work::Hear => return Ok(Wrote::Some),
            Work::Stage(slot, segment) => {
                let (began, range) = (self.trace_time(), range_of(&segment));
                let source = self.memory.source(segment.slot_index());
                let mut lane = lock(self.memory.short_lane());
                let staging = source.stage(&mut lane, self.memory.mode, slot, segment)?;
                drop((lane, source));
                message.staging(staging);
                if let Some(trace) = &self.trace {
                    trace.short_out(|pen| pen.staged(began, range));
                }
                return Ok(Wrote::Some);
            }
            Work::InPlace { header, segment, written } => {
                let source = self.memory.source(segment.slot_index());
                let left = segment.bytes() - written;
                if let Some(trace) = &self.trace {
                    trace.short_out(|pen| pen.write_begins(range_of(segment)));
                    left_bytes = header.rest().len() as u64 + left;
                }
                attempt(|| {
                    if left == 0 {
                        // The socket may not read device memory, not even 0 bytes of it.
                        Ok(rustix::net::send(socket, header.rest(), SendFlags::NOSIGNAL)?)
                    } else {
                        source.send(socket, header.rest(), written, left)
                    }
                })
            }
            Work::Staged { header, staged } => {
                if let Some(trace) = &self.trace {
                    let segment = staged.segment();
                    trace.short_out(|pen| pen.write_begins(range_of(segment)));
                    left_bytes = header.rest().len() as u64 + segment.bytes() - staged.have_written();
                }
                let mut lane = lock(self.memory.short_lane());
                attempt(|| lane.send(staged, header.rest(), socket))
            }
        };
        if let (Some(trace), Ok(wrote)) = (&self.trace, &wrote) {
            trace.short_out(|pen| pen.tried(*wrote, left_bytes));
        }
        Ok(match wrote {
            Ok(Some(taken)) => {
                self.carried.fetch_add(message.wrote(taken), Ordering::Relaxed);
                Wrote::Some
            }
            Ok(None) => Wrote::NoRoom,
            Err(error) => Wrote::Failed(socket_error(&error)),
        })
    }
}
