//! Short messages: whole, inside a frame of the control socket. The thread that finds that one can go writes
//! it; no other thread is woken. Host memory goes out in place. Device memory goes out from the control
//! socket's own staging ring; the copy is waited for, as it takes less time than a wake-up. The rest that the
//! socket has no room for is left to the background reader.

use std::{collections::VecDeque, io, sync::MutexGuard, time::Instant};

use gputcp_gpu::{MemoryKind, ReadClaim};
use gputcp_proto::{
    frame::Control,
    send::{Carrier, Segment, TooLong},
    stage::Staged,
};

use super::{Parts, SendState, stage::StagingRing};
use crate::{
    Error, Result,
    sockets::{
        locks::{lock, read_lock},
        shared::Shared,
        task::LANE_LOOK,
    },
};

/// The short messages on their way out.
#[derive(Debug)]
pub(super) struct ShortSends {
    /// The messages that were dealt and not begun: of sends in flight, so no more than there are slots.
    waiting: VecDeque<Segment>,
    /// The message of which the socket has taken a part.
    current: Option<Current>,
    /// The staging ring of messages of device memory; `None` without a device.
    ring: Option<StagingRing>,
}

/// A message, and how many bytes of it the socket has taken, its frame's included.
#[derive(Debug)]
enum Current {
    InPlace(Segment, u64),
    Staged(Staged, usize),
}

impl ShortSends {
    /// Returns the queue for up to `depth` sends in flight.
    pub(super) fn new(ring: Option<StagingRing>, depth: usize) -> Self {
        Self { waiting: VecDeque::with_capacity(depth), current: None, ring }
    }
}

impl Shared<SendState> {
    /// Carries the segment that a caller dealt to itself: a short message, written at once.
    pub(super) fn carry_dealt(&self, dealt: Result<Option<Segment>, TooLong>) -> Result<()> {
        match self.known_length(dealt)? {
            None => Ok(()),
            Some(segment) => self.carry_inline(segment),
        }
    }

    /// Writes a short message on the control socket after those before it, and then every later one that can
    /// go too.
    pub(super) fn carry_inline(&self, segment: Segment) -> Result<()> {
        let parts = self.parts();
        let mut short = lock(&parts.short);
        short.waiting.push_back(segment);
        self.write_short(short, &parts)
    }

    /// Writes as much as there is room for.
    pub(super) fn write_short(&self, mut short: MutexGuard<'_, ShortSends>, parts: &Parts) -> Result<()> {
        let error = loop {
            let short = &mut *short;
            let current = match (short.current.take(), short.waiting.pop_front()) {
                (Some(current), None) => current,
                (Some(current), Some(next)) => {
                    short.waiting.push_front(next);
                    current
                }
                (None, Some(next)) => self.begin_short(next, &mut short.ring, parts)?,
                (None, None) => return Ok(()),
            };
            let segment = match self.write_current(current, &mut short.ring, parts) {
                Ok(Ok(segment)) => segment,
                Ok(Err(current)) => {
                    short.current = Some(current);
                    return Ok(());
                }
                Err(error) => break error,
            };
            self.written(segment);
            let mut state = lock(&self.state);
            let dealt = state.side.deal(Carrier::Control);
            let (next, wanted) = (state.side.to_wake(), state.side.to_want());
            drop(state);
            self.wake(next);
            if let Some(seq) = wanted
                && let Err(error) = self.control.write(&Control::Want { seq }.encode())
            {
                break error;
            }
            short.waiting.extend(self.known_length(dealt)?);
        };
        // The frames that are read then may ask for more short messages.
        drop(short);
        self.control_failed(error)
    }

    fn begin_short(
        &self,
        segment: Segment,
        ring: &mut Option<StagingRing>,
        parts: &Parts,
    ) -> Result<Current> {
        let place = read_lock(&parts.sources[segment.slot_index()]);
        let on_device = |source: &&ReadClaim| source.kind() != MemoryKind::Host && segment.bytes() > 0;
        let Some(source) = place.as_ref().filter(on_device) else { return Ok(Current::InPlace(segment, 0)) };
        let Some(ring) = ring else { unreachable!("device memory is refused without lanes") };
        if ring.stage(segment, source)?.is_some() {
            unreachable!("the ring is empty: each message is written before the next is staged");
        }
        loop {
            match ring.oldest()? {
                Ok(staged) => return Ok(Current::Staged(staged, 0)),
                Err(copying) => {
                    self.check()?;
                    copying.wait(Instant::now() + LANE_LOOK)?;
                }
            }
        }
    }

    /// Writes a message to its end, and returns its segment. Returns the message again where there is no
    /// room.
    fn write_current(
        &self,
        mut current: Current,
        ring: &mut Option<StagingRing>,
        parts: &Parts,
    ) -> io::Result<Result<Segment, Current>> {
        loop {
            current = match current {
                Current::InPlace(segment, taken) => {
                    let Some(now) = self.write_in_place(&segment, taken, parts)? else {
                        return Ok(Err(Current::InPlace(segment, taken)));
                    };
                    if taken + now == Control::BYTES as u64 + segment.bytes() {
                        return Ok(Ok(segment));
                    }
                    Current::InPlace(segment, taken + now)
                }
                Current::Staged(staged, head) => {
                    let Some(ring) = ring else { unreachable!("what is staged is staged in a ring") };
                    let header = frame_of(staged.segment()).encode();
                    let left =
                        (header.len() - head) as u64 + staged.segment().bytes() - staged.have_written();
                    let now = self
                        .control
                        .write_part(left, |socket| ring.lane.send(&staged, &header[head..], socket))?;
                    let Some(now) = now else { return Ok(Err(Current::Staged(staged, head))) };
                    let of_head = (now as usize).min(header.len() - head);
                    match staged.written(now - of_head as u64) {
                        Ok((slot, segment)) => {
                            ring.release(slot);
                            return Ok(Ok(segment));
                        }
                        Err(rest) => Current::Staged(rest, head + of_head),
                    }
                }
            }
        }
    }

    fn write_in_place(&self, segment: &Segment, taken: u64, parts: &Parts) -> io::Result<Option<u64>> {
        let header = frame_of(segment).encode();
        let head = taken.min(header.len() as u64);
        let (header, sent) = (&header[head as usize..], taken - head);
        let place = read_lock(&parts.sources[segment.slot_index()]);
        let Some(source) = place.as_ref() else { unreachable!("a dealt segment has a source") };
        let left = segment.bytes() - sent;
        self.control.write_part(header.len() as u64 + left, |socket| {
            if left == 0 {
                // The socket may not read device memory, not even 0 bytes of it.
                Ok(rustix::net::send(socket, header, rustix::net::SendFlags::NOSIGNAL)?)
            } else {
                source.send(socket, header, sent, left)
            }
        })
    }

    /// Fails the connection if a message is longer than its receive, which is this side's mistake.
    fn known_length(&self, dealt: Result<Option<Segment>, TooLong>) -> Result<Option<Segment>> {
        dealt.map_err(|too_long| {
            let error = Error::usage(format!("{too_long}: post a receive that is long enough"));
            self.fail(error.clone());
            error
        })
    }
}

const fn frame_of(segment: &Segment) -> Control {
    Control::Inline { seq: segment.seq(), bytes: segment.bytes() as u32 }
}
