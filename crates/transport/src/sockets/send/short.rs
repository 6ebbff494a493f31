//! Short messages: whole, inside a frame of the control socket, written by whoever finds that they can go. No thread is
//! woken for them. Host memory goes out in place, device memory from the control socket's own staging ring, whose copy is
//! waited for: it takes less time than a wake-up.

use std::{
    io,
    os::fd::AsFd,
    sync::Mutex,
    time::{Duration, Instant},
};

use gputcp_gpu::{MemoryKind, ReadClaim};
use gputcp_proto::{
    frame::Control,
    send::{Carrier, Segment, TooLong},
};

use super::{SendState, stage::StagingRing};
use crate::{
    Error, Result,
    sockets::{
        locks::{lock, read_lock},
        shared::{Shared, Verdict},
        task::Step,
    },
};

impl Shared<SendState> {
    /// Carries what a caller dealt to itself: a short message, written at once.
    pub(super) fn carry_dealt(&self, dealt: Result<Option<Segment>, TooLong>) -> Result<()> {
        match dealt {
            Ok(None) => Ok(()),
            Ok(Some(segment)) => self.carry_inline(segment),
            Err(too_long) => {
                let error = Error::usage(format!("{too_long}: post a receive that is long enough"));
                self.fail(error.clone());
                Err(error)
            }
        }
    }

    /// Writes a short message on the control socket, and every one after it that can go too.
    pub(super) fn carry_inline(&self, segment: Segment) -> Result<()> {
        let parts = self.parts();
        let source = read_lock(&parts.sources[segment.slot_index()]);
        let on_device =
            source.as_ref().filter(|source| source.kind() != MemoryKind::Host && segment.bytes() > 0);
        let segment = match (on_device, &parts.short) {
            (None, _) => {
                self.write_in_place(&segment, source.as_ref())
                    .map_err(|error| self.control_failed(&error))?;
                segment
            }
            (Some(source), Some(ring)) => self.write_staged(segment, source, ring)?,
            (Some(_), None) => unreachable!("device memory is refused without lanes"),
        };
        drop(source);
        self.written(segment);
        let mut state = lock(&self.state);
        let dealt = state.side.deal(Carrier::Control);
        let next = state.side.to_wake();
        drop(state);
        self.wake(next);
        self.carry_dealt(dealt)
    }

    fn write_in_place(&self, segment: &Segment, source: Option<&ReadClaim>) -> io::Result<()> {
        let socket = self.control.socket().as_fd();
        let (Some(source), bytes) = (source, segment.bytes()) else {
            unreachable!("a dealt segment has a source")
        };
        let mut sent = 0;
        self.control.write_message(&frame_of(segment), self.timeout, |header| {
            let of_header = header.len();
            let taken = if bytes == 0 {
                // Device memory is not the socket's to read, not even none of it.
                rustix::net::send(socket, header, rustix::net::SendFlags::NOSIGNAL)?
            } else {
                source.send(socket, header, sent, bytes - sent)?
            };
            sent += taken.saturating_sub(of_header) as u64;
            Ok((taken, taken >= of_header && sent == bytes))
        })
    }

    fn write_staged(
        &self,
        segment: Segment,
        source: &ReadClaim,
        ring: &Mutex<StagingRing>,
    ) -> Result<Segment> {
        let frame = frame_of(&segment);
        let mut ring = lock(ring);
        if ring.stage(segment, source)?.is_some() {
            unreachable!("the ring is empty: each message is written before the next is staged");
        }
        let staged = loop {
            match ring.oldest()? {
                Ok(staged) => break staged,
                Err(copying) => {
                    self.check()?;
                    copying.wait(Instant::now() + SLICE)?;
                }
            }
        };
        let (mut left, mut done) = (Some(staged), None);
        let socket = self.control.socket().as_fd();
        let written = self.control.write_message(&frame, self.timeout, |header| {
            let Some(staged) = left.take() else { return Ok((0, true)) };
            let taken = match ring.lane.send(&staged, header, socket) {
                Ok(taken) => taken,
                Err(error) => {
                    left = Some(staged);
                    return Err(error);
                }
            };
            match staged.written(taken.saturating_sub(header.len()) as u64) {
                Ok(all) => done = Some(all),
                Err(rest) => left = Some(rest),
            }
            Ok((taken, done.is_some()))
        });
        written.map_err(|error| self.control_failed(&error))?;
        let Some((slot, segment)) = done else { unreachable!("a message that was written is written") };
        ring.release(slot);
        Ok(segment)
    }

    /// The control socket failed in the middle of a message. It may know better why.
    fn control_failed(&self, error: &io::Error) -> Error {
        let verdict = Verdict::on(io::Error::from(error.kind()));
        while let Step::Until(_) = self.hear(&verdict) {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.check().err().unwrap_or_else(|| self.socket_failed(error))
    }
}

const fn frame_of(segment: &Segment) -> Control {
    Control::Inline { seq: segment.seq(), bytes: segment.bytes() as u32 }
}

/// How long a copy is waited for before the connection is looked at again.
const SLICE: Duration = Duration::from_millis(100);
