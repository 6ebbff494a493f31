//! The sender's side of a connection: posted sends meet announced receives and are dealt out as segments.
//!
//! Nothing is sent for which the receiver has no place: its receive was announced, or it is short and goes to an eager place,
//! of which the receiver has as many as were agreed for what follows the receives it has finished. Sends match receives in the
//! order in which both were posted, or, where receives are grouped, as the groups say (`group`). Segments go to the data
//! socket with the least unread bytes that is free ([`SendSide::deal`]), so a slow stream takes fewer.

use crate::{
    Violation,
    frame::{Announce, SegmentHeader},
    group::Groups,
    plan::{MESSAGE_BYTES_MAX, SegmentPlan},
    streams::Streams,
    window::{Slot, Window, place},
};

/// The sends of one connection, at most `N` in flight.
#[derive(Debug)]
pub struct SendSide<const N: usize> {
    window: Window<N>,
    /// By place of the window.
    outgoing: Box<[Outgoing]>,
    /// Receives announced by the peer: those of sequence numbers `..announced`.
    announced: u64,
    /// Receives that the peer has finished: all of sequence numbers `..done`.
    done: u64,
    /// Bytes of the receives that are announced and not known to be finished.
    open_bytes: u64,
    streams: Streams,
    /// By sequence number of the receive, modulo how many may be open.
    credits: Box<[Credit]>,
    /// Where receives are grouped: which of them a send meets.
    groups: Option<Groups>,
    /// The send that is being dealt, in the order in which they were posted; all before it have been dealt in full.
    cursor: u64,
    plan: SegmentPlan,
    peer_slots: u64,
    eager_places: u64,
    eager_bytes: u64,
    /// The message before the one at the cursor was short: the receiver may hold announcements back.
    after_short: bool,
}

/// A piece of a send, handed to one socket. It is carried by exactly one and comes back by [`SendSide::written`].
#[must_use = "dropped, its bytes are never sent"]
#[derive(Debug, PartialEq, Eq)]
pub struct Segment {
    index: usize,
    /// The receive that its message meets.
    seq: u64,
    offset: u64,
    bytes: u64,
    total: u64,
    inline: bool,
}

/// A finished send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The message's length.
    pub bytes: u64,
}

/// Which segments a caller of [`SendSide::deal`] can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Any data socket, whatever the others hold: for a connection of one.
    Any,
    /// This data socket, if it is its turn. Its thread may write on the control socket too.
    Stream(usize),
    /// The control socket alone: whole short messages.
    Control,
}

impl<const N: usize> SendSide<N> {
    /// A connection's sends.
    ///
    /// `depth` is how many may be in flight, `segment_bytes` the segment length agreed at connect, `peer_slots` how many
    /// receives the peer may have open.
    ///
    /// # Panics
    /// If `depth` is 0 or above `N`, `peer_slots` likewise, or the segment length is none.
    #[must_use]
    pub fn new(depth: usize, segment_bytes: u64, peer_slots: usize) -> Self {
        assert!(peer_slots >= 1 && peer_slots <= N, "the peer has 1..=N slots");
        Self {
            window: Window::with_depth(depth),
            outgoing: (0..depth).map(|_| Outgoing::EMPTY).collect(),
            announced: 0,
            done: 0,
            open_bytes: 0,
            streams: Streams::new(0, peer_slots),
            credits: (0..peer_slots).map(|_| Credit::EMPTY).collect(),
            groups: None,
            cursor: 0,
            plan: SegmentPlan::new(segment_bytes),
            peer_slots: peer_slots as u64,
            eager_places: 0,
            eager_bytes: 0,
            after_short: false,
        }
    }

    /// For a connection of so many data sockets, so that [`Carrier::Stream`] can be asked for.
    ///
    /// # Panics
    /// If there are more than 64.
    #[must_use]
    pub fn with_streams(mut self, streams: usize) -> Self {
        self.streams = Streams::new(streams, self.credits.len());
        self
    }

    /// With segments of one or several pieces of this length, agreed at connect.
    ///
    /// # Panics
    /// If a piece has no byte, or more than a segment.
    #[must_use]
    pub const fn with_pieces(mut self, piece_bytes: u64) -> Self {
        self.plan = self.plan.with_pieces(piece_bytes);
        self
    }

    /// With so many eager places at the peer, for messages of up to `bytes`.
    #[must_use]
    pub const fn with_eager(mut self, places: usize, bytes: u64) -> Self {
        self.eager_places = places as u64;
        self.eager_bytes = bytes;
        self
    }

    /// With receives in groups of up to so many, told apart by tags, of which a peer has no eager places.
    ///
    /// # Panics
    /// If that is more than [`RECEIVES_MAX`](crate::frame::RECEIVES_MAX).
    #[must_use]
    pub fn with_groups(mut self, most: u16) -> Self {
        self.groups = Some(Groups::new(most, self.credits.len()));
        self
    }

    /// Posts a send of `bytes`; `inline` says whether the source can be written on the control socket. `None` when no
    /// slot is free: ask again. Where receives are grouped, its tag is 0.
    pub fn post(&mut self, bytes: u64, inline: bool) -> Option<Slot> {
        self.post_tagged(bytes, inline, 0)
    }

    /// The same for a message with a tag. Where receives are grouped, `None` also while the oldest group that has open places
    /// has none of this tag; elsewhere tags mean nothing.
    pub fn post_tagged(&mut self, bytes: u64, inline: bool, tag: i32) -> Option<Slot> {
        let meets = match &mut self.groups {
            None => None,
            Some(groups) if self.window.has_room() => Some(groups.take(tag)?),
            Some(_) => return None,
        };
        let slot = self.window.issue()?;
        let meets = meets.unwrap_or_else(|| slot.seq().wire());
        self.outgoing[slot.index()] =
            Outgoing { bytes, meets, inline, dealt: 0, written: 0, is_written: false };
        Some(slot)
    }

    /// Whether there is a slot for a send.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.window.has_room()
    }

    /// Takes the peer's announcement of a receive.
    ///
    /// # Errors
    /// A [`Violation`] if it is out of order, or more are open than the peer has slots.
    pub fn announced(&mut self, announce: &Announce) -> Result<(), Violation> {
        if announce.seq != self.announced {
            return Err(Violation::AnnouncedOutOfOrder { expected: self.announced, found: announce.seq });
        }
        if announce.mark.is_some() != self.groups.is_some() {
            return Err(Violation::Kind(announce.kind()));
        }
        // What is finished was dealt before; and what the peer has open, it has slots for.
        let was_dealt = match &self.groups {
            None => announce.done <= self.cursor,
            Some(groups) => groups.are_dealt(self.done..announce.done),
        };
        if announce.done < self.done || !was_dealt {
            return Err(Violation::Field {
                frame: "announcement",
                field: "finished count",
                value: announce.done,
            });
        }
        if announce.seq >= announce.done + self.peer_slots {
            return Err(Violation::TooManyAnnounced { seq: announce.seq, slots: self.peer_slots });
        }
        if let (Some(groups), Some(mark)) = (&mut self.groups, announce.mark) {
            groups.check(mark)?;
            groups.open(mark);
        }
        // Those that were finished before they were announced have never been open.
        for seq in self.done..announce.done.min(self.announced) {
            self.open_bytes -= self.credit(seq).capacity;
            self.streams.finished(seq);
        }
        self.done = announce.done;
        // A longer receive is legal, a longer message is not: its segments' lengths would not fit their headers.
        let capacity = announce.capacity.min(MESSAGE_BYTES_MAX);
        if announce.seq >= announce.done {
            self.open_bytes += capacity;
            *self.credit(announce.seq) = Credit { capacity, inline_bytes: u64::from(announce.inline_bytes) };
        }
        self.announced += 1;
        Ok(())
    }

    /// The next piece to carry, or `None` when nothing is both posted and announced, or it is another stream's turn.
    ///
    /// # Errors
    /// [`TooLong`] if the next message is longer than the receive it meets: this side's user is at fault.
    pub fn deal(&mut self, carrier: Carrier) -> Result<Option<Segment>, TooLong> {
        let Some(index) = self.ready() else { return Ok(None) };
        let outgoing = &self.outgoing[index];
        let (total, seq) = (outgoing.bytes, outgoing.meets);
        let inline = if seq < self.announced {
            let credit = &self.credits[place(seq, self.credits.len())];
            if total > credit.capacity {
                return Err(TooLong { bytes: total, capacity: credit.capacity });
            }
            // A message without bytes has no segment to ride on.
            total == 0 || (outgoing.inline && total <= credit.inline_bytes)
        } else {
            true
        };
        let offset = outgoing.dealt;
        let bytes = match carrier {
            _ if inline => total,
            Carrier::Stream(stream) => self.fitting(stream, total).min(total - offset),
            Carrier::Any | Carrier::Control => self.plan.longest_of(total).min(total - offset),
        };
        match carrier {
            Carrier::Control if !inline => return Ok(None),
            Carrier::Stream(stream) if !inline => {
                if !self.streams.is_next(stream, bytes, self.open_bytes) {
                    return Ok(None);
                }
                self.streams.took(stream, seq, bytes);
            }
            _ => {}
        }
        let outgoing = &mut self.outgoing[index];
        outgoing.dealt += bytes;
        if outgoing.dealt == total {
            self.cursor += 1;
            if let Some(groups) = &mut self.groups {
                groups.dealt(seq);
            }
            self.after_short = self.eager_places > 0 && inline && total <= self.eager_bytes;
        }
        Ok(Some(Segment { index, seq, offset, bytes, total, inline }))
    }

    /// Counts a segment whose bytes the socket has taken. True when its send is now complete.
    ///
    /// # Panics
    /// If the segment belongs to another connection.
    pub fn written(&mut self, segment: Segment) -> bool {
        let outgoing = &mut self.outgoing[segment.index];
        assert!(
            outgoing.meets == segment.seq && outgoing.written + segment.bytes <= outgoing.dealt,
            "written on the connection that dealt it"
        );
        outgoing.written += segment.bytes;
        outgoing.is_written = outgoing.written == outgoing.bytes;
        outgoing.is_written
    }

    /// Ends a send: the slot goes back to the window.
    ///
    /// # Errors
    /// The slot itself, while bytes are left.
    pub fn finish(&mut self, slot: Slot) -> Result<Sent, Slot> {
        let outgoing = &self.outgoing[slot.index()];
        if !outgoing.is_written {
            return Err(slot);
        }
        let bytes = outgoing.bytes;
        self.window.release(slot);
        Ok(Sent { bytes })
    }

    /// Whether the socket has taken all bytes of the send.
    #[must_use]
    pub fn is_complete(&self, slot: &Slot) -> bool {
        self.outgoing[slot.index()].is_written
    }

    /// Notes whether a data socket waits for something to carry.
    pub const fn set_idle(&mut self, stream: usize, is_idle: bool) {
        self.streams.set_idle(stream, is_idle);
    }

    /// An idle data socket that is to be woken, as there is something for it to carry. Each is named once, until it has
    /// come and is idle again.
    #[must_use = "it is not named again until it has come"]
    pub fn to_wake(&mut self) -> Option<usize> {
        self.streams.call(self.ready_segments())
    }

    /// Whether [`SendSide::deal`] has something for a data socket.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready().is_some()
    }

    /// The receive to ask for, if a message waits for its announcement that may be held back. Each is named once.
    #[must_use = "it is not named again"]
    pub fn to_want(&mut self) -> Option<u64> {
        let index = self.window.holder(self.cursor)?;
        let waits = self.after_short && self.cursor >= self.announced && !self.is_short(index);
        if !waits {
            return None;
        }
        self.after_short = false;
        Some(self.cursor)
    }

    fn credit(&mut self, seq: u64) -> &mut Credit {
        let index = place(seq, self.credits.len());
        &mut self.credits[index]
    }

    /// The place of the send that is dealt next, if it may go.
    fn ready(&self) -> Option<usize> {
        let index = self.window.holder(self.cursor)?;
        let meets = self.outgoing[index].meets;
        let has_place = meets < self.done + self.eager_places && self.is_short(index);
        (meets < self.announced || has_place).then_some(index)
    }

    fn is_short(&self, index: usize) -> bool {
        let Outgoing { bytes, inline, .. } = self.outgoing[index];
        self.eager_places > 0 && bytes <= self.eager_bytes && (inline || bytes == 0)
    }

    /// How long a stream's next segment should be, of a message of `total` bytes: a short one at first, then no more than it
    /// holds already, so that all streams begin at once; and no more than half of its share of what is there, so that they
    /// end together.
    fn fitting(&self, stream: usize, total: u64) -> u64 {
        let (piece, longest) = (self.plan.piece_of(total), self.plan.longest_of(total));
        let longest = longest.min(self.streams.holds(stream));
        if longest <= piece {
            return piece;
        }
        let fair = self.ready_bytes(longest * 2 * self.streams.count()) / (2 * self.streams.count());
        (fair.min(longest) / piece * piece).max(piece)
    }

    /// How many bytes can be dealt, counted as far as `enough`.
    fn ready_bytes(&self, enough: u64) -> u64 {
        let mut ready = 0;
        for seq in self.cursor..self.announced.min(self.window.next_seq()) {
            let Some(index) = self.window.holder(seq) else { break };
            ready += self.outgoing[index].bytes - self.outgoing[index].dealt;
            if ready >= enough {
                break;
            }
        }
        ready
    }

    /// How many segments [`SendSide::deal`] may have: the pieces left of the send that is being dealt, and one for each
    /// behind it.
    fn ready_segments(&self) -> u64 {
        let Some(index) = self.ready() else { return 0 };
        let Outgoing { bytes, dealt, .. } = self.outgoing[index];
        let left = (bytes - dealt).div_ceil(self.plan.piece_of(bytes)).max(1);
        let behind = self.announced.min(self.window.next_seq()).saturating_sub(self.cursor + 1);
        left + behind
    }

    /// Whether the dealing of the send has begun: the peer has a place for it.
    #[must_use]
    pub fn is_begun(&self, slot: &Slot) -> bool {
        self.outgoing[slot.index()].dealt > 0 || slot.seq().wire() < self.cursor
    }

    /// How many sends are in flight.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        self.window.in_flight()
    }
}

/// A message is longer than the receive that it meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {bytes} bytes met a receive of {capacity} bytes")]
pub struct TooLong {
    /// The message's length.
    pub bytes: u64,
    /// The receive's length, or [`MESSAGE_BYTES_MAX`] if that is less.
    pub capacity: u64,
}

impl Segment {
    /// The place of the send it belongs to, `0..N`.
    #[must_use]
    pub const fn slot_index(&self) -> usize {
        self.index
    }

    /// The sequence number of the receive it goes to; without groups that of its send.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// Where its bytes start in the message.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes it has; 0 only for an empty message.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it is a whole message that travels inside a control frame.
    #[must_use]
    pub const fn is_inline(&self) -> bool {
        self.inline
    }

    /// What precedes its bytes on a data socket.
    #[must_use]
    pub const fn header(&self) -> SegmentHeader {
        SegmentHeader { seq: self.seq, offset: self.offset, total: self.total, bytes: self.bytes as u32 }
    }
}

#[derive(Debug)]
struct Outgoing {
    bytes: u64,
    /// The receive that it meets: its own number, or where receives are grouped that of the place it found.
    meets: u64,
    inline: bool,
    dealt: u64,
    written: u64,
    is_written: bool,
}

impl Outgoing {
    const EMPTY: Self = Self { bytes: 0, meets: 0, inline: false, dealt: 0, written: 0, is_written: false };
}

/// What the peer's announcement of a receive allows.
#[derive(Debug)]
struct Credit {
    capacity: u64,
    inline_bytes: u64,
}

impl Credit {
    const EMPTY: Self = Self { capacity: 0, inline_bytes: 0 };
}

#[cfg(test)]
mod tests;
