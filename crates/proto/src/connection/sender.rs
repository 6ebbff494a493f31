//! The sending end.
//!
//! In the order of the data's way: [`Sender::post`] posts a message, and an announced receive lets it start.
//! A [`Stream`] takes segments as they are dealt, staged first where a socket cannot read their source. A
//! short message goes out on the control socket, handed out by [`End::next_write`]. [`Sender::finish`] ends
//! the send.

mod stream;

use std::{collections::VecDeque, time::Duration};

pub use self::stream::Stream;
use self::stream::{At, StagingRing};
use super::{
    End, Failure, Inbox, Life, SHORT_BUFFERS, SHORT_BYTES, SLOTS, Settings, Step, Write, departure::Stage,
};
pub use super::{
    departure::{Departure, Header, Work},
    end::Wrote,
};
use crate::{
    Violation,
    bounce::Completion,
    frame::Control,
    recv::Unfinished,
    send::{Carrier, Segment, SendSide, Sent},
    window::Slot,
};

/// The sending end of a connection.
#[derive(Debug)]
pub struct Sender<D> {
    life: Life,
    side: SendSide<SLOTS>,
    /// Whether the source is memory that a socket cannot read, by slot.
    is_staged: Box<[bool]>,
    /// The short messages that were dealt and not begun: of sends in flight, so no more than there are slots.
    waiting: VecDeque<Segment>,
    /// The short message that has begun, unless a thread works on it.
    current: Option<Departure<D>>,
    /// The staging buffers of short messages.
    ring: Option<StagingRing<D>>,
    has_groups: bool,
}

/// A send to post.
#[derive(Debug, Clone, Copy)]
pub struct Send {
    /// The message's length.
    pub bytes: u64,
    /// Whether its source is memory that a socket cannot read.
    pub is_staged: bool,
    /// The message's tag; it counts where receives are grouped.
    pub tag: i32,
    /// Whether it goes on the control socket, if it is short, although others are under way.
    pub is_prompt: bool,
}

impl<D: Completion + Clone> Sender<D> {
    /// Returns an end with all that it will ever need (invariant I4).
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let mut side = SendSide::new(settings.depth, settings.segment_bytes, settings.peer_depth)
            .with_pieces(settings.piece_bytes)
            .with_streams(settings.streams)
            .with_inline(settings.inline_bytes)
            .with_eager(settings.eager_places, settings.eager_bytes);
        if settings.max_receives > 1 {
            side = side.with_groups(settings.max_receives);
        }
        Self {
            life: Life::new(true, settings),
            side,
            is_staged: vec![false; settings.depth].into(),
            waiting: VecDeque::with_capacity(settings.depth),
            current: None,
            ring: settings.buffers.map(|_| StagingRing::new(SHORT_BUFFERS)),
            has_groups: settings.max_receives > 1,
        }
    }

    /// Posts a message. Returns `None` when no slot is free: ask again. Where receives are grouped, also
    /// while the oldest group with an open receive has none of the tag, or is not announced.
    pub fn post(&mut self, send: Send) -> Option<Slot> {
        let is_alone = self.side.in_flight() == 0;
        let inline = is_alone || send.is_prompt || (!send.is_staged && send.bytes <= SHORT_BYTES);
        let slot = self.side.post_tagged(send.bytes, inline, send.tag)?;
        self.is_staged[slot.index()] = send.is_staged;
        self.go_on();
        Some(slot)
    }

    /// Deals the short messages that can go, names a stream for the rest, and asks for what is held back.
    fn go_on(&mut self) {
        loop {
            match self.side.deal(Carrier::Control) {
                Ok(Some(segment)) => self.waiting.push_back(segment),
                Ok(None) => break,
                Err(too_long) => return self.life.fail(Failure::TooLong(too_long)),
            }
        }
        self.call();
    }

    /// Names an idle stream for the segments that are left, and asks for an announcement that the peer may
    /// hold back.
    fn call(&mut self) {
        if let Some(stream) = self.side.to_wake() {
            self.life.effects.wake |= 1 << stream;
        }
        if let Some(seq) = self.side.to_want() {
            self.life.put(&Control::Want { seq }.encode());
        }
    }

    /// Takes a stream as far as it goes without its socket.
    ///
    /// # Errors
    /// If the lane is lost.
    pub fn step(&mut self, stream: &mut Stream<D>, now: Duration) -> Result<Step<D>, D::Error> {
        if self.life.has_failed() {
            return Ok(Step::Over);
        }
        if let Some(segment) = stream.take_written() {
            self.written(segment);
        }
        match &mut stream.at {
            At::Ended(end) => return Ok(self.life.judge(end, now)),
            At::Segment(_) => return Ok(Step::GoOn),
            At::Between => {}
        }
        let (is_staging, has_room) =
            stream.ring.as_ref().map_or((false, true), |ring| (!ring.is_empty(), ring.has_room()));
        if !is_staging {
            return Ok(self.deal_or_rest(stream));
        }
        if has_room && self.deal(stream) {
            return Ok(Step::GoOn);
        }
        let Some(ring) = &mut stream.ring else { return Ok(Step::GoOn) };
        Ok(match ring.oldest()? {
            Some(Ok(staged)) => {
                stream.at = At::Segment(Departure::staged(staged));
                Step::GoOn
            }
            Some(Err(copying)) => Step::Lane(copying),
            None => Step::GoOn,
        })
    }

    /// Deals a segment to a stream that has none, or has it rest.
    fn deal_or_rest(&mut self, stream: &mut Stream<D>) -> Step<D> {
        self.side.set_idle(stream.number, false);
        let is_dealt = self.deal(stream);
        // A segment that is left, or is another stream's turn, is passed on: each stream that takes one wakes
        // the next.
        let is_closing = self.life.is_closing();
        if !is_dealt && !is_closing {
            self.side.set_idle(stream.number, true);
        }
        self.call();
        match is_dealt {
            true => Step::GoOn,
            false if is_closing => Step::EndOfStream,
            false => Step::Idle,
        }
    }

    /// Deals a segment to a stream. Returns false if there is none for it.
    fn deal(&mut self, stream: &mut Stream<D>) -> bool {
        match self.side.deal(Carrier::Stream(stream.number)) {
            Ok(None) => return false,
            // A whole short message: the thread writes it on the control socket.
            Ok(Some(segment)) if segment.is_inline() => self.waiting.push_back(segment),
            Ok(Some(segment)) => {
                stream.segments += 1;
                let is_staged = self.is_staged[segment.slot_index()];
                stream.at = At::Segment(match &mut stream.ring {
                    Some(ring) if is_staged => {
                        let Some(slot) = ring.issue() else {
                            unreachable!("a segment is dealt only while the ring has room")
                        };
                        Departure::planned(slot, segment)
                    }
                    _ => Departure::in_place(segment),
                });
            }
            Err(too_long) => self.life.fail(Failure::TooLong(too_long)),
        }
        true
    }

    /// Counts a segment that a socket has taken.
    fn written(&mut self, segment: Segment) {
        let slot = segment.slot_index();
        if self.side.written(segment) {
            self.life.effects.done.insert(slot);
        }
    }

    /// Ends a send that the sockets have taken. Behind the peer's goodbye, one that has not begun never will.
    ///
    /// # Errors
    /// The slot itself, while bytes are left; and whether they can still go.
    pub fn finish(&mut self, slot: Slot) -> Result<Sent, Unfinished> {
        self.side.finish(slot).map_err(|slot| {
            if self.life.peer_has_said_goodbye() && !self.side.is_begun(&slot) {
                Unfinished::Never(slot)
            } else {
                Unfinished::NotYet(slot)
            }
        })
    }

    /// Returns the sequence number of the receive that the send meets.
    #[must_use]
    pub fn meets(&self, slot: &Slot) -> u64 {
        self.side.meets(slot)
    }

    /// Returns whether there is a slot for a send.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.side.has_room()
    }

    /// Returns whether receives are grouped, so that tags count.
    #[must_use]
    pub const fn has_groups(&self) -> bool {
        self.has_groups
    }

    /// Returns whether nothing is held any more: no slot, and no staging buffer of short messages.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.side.in_flight() == 0 && self.ring.as_ref().is_none_or(StagingRing::is_idle)
    }
}

impl<D: Completion + Clone> End for Sender<D> {
    type Done = D;
    const SENDS: bool = true;

    fn life(&self) -> &Life {
        &self.life
    }

    fn life_mut(&mut self) -> &mut Life {
        &mut self.life
    }

    fn take(&mut self, frame: Control, _: &mut Inbox<D>) {
        let Control::Announce(announce) = frame else {
            return self.life.misbehaved(Violation::Field {
                frame: "control frame to a sender",
                field: "kind",
                value: u64::from(frame.encode()[2]),
            });
        };
        match self.side.announced(&announce) {
            Ok(()) => self.go_on(),
            Err(violation) => self.life.misbehaved(violation),
        }
    }

    fn is_waiting(&self) -> bool {
        // A peer that has closed owes nothing, and may be gone. The sends are the caller's to finish.
        self.in_flight() > 0 && !self.life.control_has_ended()
    }

    fn in_flight(&self) -> usize {
        self.side.in_flight()
    }

    fn is_amid(&self) -> bool {
        self.side.is_amid()
    }

    fn is_amid_write(&self) -> bool {
        self.current.as_ref().is_some_and(Departure::is_amid)
    }

    fn has_message(&self) -> bool {
        self.current.is_some() || !self.waiting.is_empty()
    }

    fn next_message(&mut self) -> Result<Write<D>, D::Error> {
        let mut message = match self.current.take() {
            Some(message) => message,
            None => match self.waiting.pop_front() {
                Some(segment) => self.begin(segment),
                None => return Ok(Write::Nothing),
            },
        };
        if let Stage::Copying(_) = &message.stage {
            let Stage::Copying(copy) = message.take() else { unreachable!("it was a moment ago") };
            match copy.poll()? {
                Ok(staged) => message.stage = Stage::Staged(staged),
                Err(copy) => {
                    let done = copy.completion().clone();
                    message.stage = Stage::Copying(copy);
                    self.current = Some(message);
                    return Ok(Write::Lane(done));
                }
            }
        }
        self.life.outbox.begin_message();
        Ok(Write::Message(message))
    }

    fn wrote_message(&mut self, mut message: Departure<D>, wrote: Wrote) {
        self.life.outbox.took(0);
        match wrote {
            Wrote::Some => {}
            Wrote::NoRoom => self.no_room(),
            Wrote::Failed(error) => self.life.write_failed(error),
        }
        if let Stage::Written(..) = &message.stage {
            let Stage::Written(segment, slot) = message.take() else { unreachable!("it was a moment ago") };
            if let (Some(slot), Some(ring)) = (slot, &mut self.ring) {
                ring.release(slot);
            }
            self.written(segment);
            self.go_on();
        } else {
            self.current = Some(message);
        }
    }
}

impl<D: Completion> Sender<D> {
    /// Begins a short message. It goes out in place, or from the control socket's staging buffers.
    fn begin(&mut self, segment: Segment) -> Departure<D> {
        let is_staged = self.is_staged[segment.slot_index()] && segment.bytes() > 0;
        match &mut self.ring {
            Some(ring) if is_staged => {
                let Some(slot) = ring.issue() else {
                    unreachable!("each message is written before the next is staged")
                };
                Departure::planned(slot, segment)
            }
            _ => Departure::in_place(segment),
        }
    }
}
