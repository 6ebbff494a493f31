//! The sender's side of a connection: posted sends meet announced receives and are dealt out as segments.
//!
//! The sender sends a message only if the receiver has a place for it. Either its receive was announced, or
//! the message is short and goes to an eager place. The receiver has as many eager places as were agreed at
//! connect, for the messages that follow the receives it has finished.
//!
//! Sends match receives in the order in which both were posted, or, where receives are grouped, by the rules
//! of `group`. Segments go to the data socket with the least unread bytes that is free ([`SendSide::deal`]),
//! so a slow stream takes fewer.

mod deal;

pub use self::deal::{Carrier, Segment, TooLong};
use crate::{
    Violation,
    frame::Announce,
    group::Groups,
    plan::{MESSAGE_BYTES_MAX, SegmentPlan},
    streams::Streams,
    window::{Slot, Window, place},
};

/// The sends of one connection, at most `N` in flight.
#[derive(Debug)]
pub struct SendSide<const N: usize> {
    window: Window<N>,
    /// The sends by place of the window.
    outgoing: Box<[Outgoing]>,
    /// Receives announced by the peer: those of sequence numbers `..announced`.
    announced: u64,
    /// Receives that the peer has finished: all of sequence numbers `..done`.
    done: u64,
    /// The number of bytes of the receives that are announced and not known to be finished.
    open_bytes: u64,
    streams: Streams,
    /// The credits by sequence number of the receive, modulo the most that may be open.
    credits: Box<[Credit]>,
    /// The groups, if receives are grouped: they decide which receive a send meets.
    groups: Option<Groups>,
    /// The send that is being dealt, in the order of posting; all before it are dealt in full.
    cursor: u64,
    plan: SegmentPlan,
    peer_slots: u64,
    /// The longest message inside a control frame, agreed at connect.
    inline_bytes: u64,
    eager_places: u64,
    eager_bytes: u64,
    /// Whether the message before the one at the cursor was short: then the receiver may hold announcements
    /// back.
    after_short: bool,
}

/// A finished send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The message's length.
    pub bytes: u64,
}

impl<const N: usize> SendSide<N> {
    /// Returns the sends of a connection.
    ///
    /// `depth` is the most that may be in flight, `segment_bytes` the segment length agreed at connect.
    /// `peer_slots` is the most receives that the peer may have open.
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
            inline_bytes: 0,
            eager_places: 0,
            eager_bytes: 0,
            after_short: false,
        }
    }

    /// Sets the number of data sockets, which [`Carrier::Stream`] needs.
    ///
    /// # Panics
    /// If there are more than 64.
    #[must_use]
    pub fn with_streams(mut self, streams: usize) -> Self {
        self.streams = Streams::new(streams, self.credits.len());
        self
    }

    /// Sets the length of the pieces, agreed at connect; a segment is one or several of them.
    ///
    /// # Panics
    /// If a piece has no byte, or more than a segment.
    #[must_use]
    pub const fn with_pieces(mut self, piece_bytes: u64) -> Self {
        self.plan = self.plan.with_pieces(piece_bytes);
        self
    }

    /// Allows messages of up to `bytes` inside control frames, as agreed at connect.
    ///
    /// An announcement of more is a violation. Without this call no message travels inside a control frame.
    #[must_use]
    pub const fn with_inline(mut self, bytes: u64) -> Self {
        self.inline_bytes = bytes;
        self
    }

    /// Sets the number of eager places at the peer, for messages of up to `bytes`.
    #[must_use]
    pub const fn with_eager(mut self, places: usize, bytes: u64) -> Self {
        self.eager_places = places as u64;
        self.eager_bytes = bytes;
        self
    }

    /// Allows receives in groups of up to so many, told apart by tags. Such a peer has no eager places.
    ///
    /// # Panics
    /// If that is more than [`RECEIVES_MAX`](crate::frame::RECEIVES_MAX).
    #[must_use]
    pub fn with_groups(mut self, most: u16) -> Self {
        self.groups = Some(Groups::new(most, self.credits.len()));
        self
    }

    /// Posts a send of `bytes`; `inline` tells whether the source can be written on the control socket.
    ///
    /// `None` when no slot is free: ask again. Where receives are grouped, its tag is 0.
    pub fn post(&mut self, bytes: u64, inline: bool) -> Option<Slot> {
        self.post_tagged(bytes, inline, 0)
    }

    /// Posts a send of a message with a tag.
    ///
    /// Where receives are grouped, `None` also while the oldest group that has open places has none of this
    /// tag. Elsewhere tags mean nothing.
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

    /// Returns whether there is a slot for a send.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.window.has_room()
    }

    /// Takes the peer's announcement of a receive.
    ///
    /// # Errors
    /// A [`Violation`] if it is out of order, if more are open than the peer has slots, or if a field exceeds
    /// the agreement.
    pub fn announced(&mut self, announce: &Announce) -> Result<(), Violation> {
        if announce.seq != self.announced {
            return Err(Violation::AnnouncedOutOfOrder { expected: self.announced, found: announce.seq });
        }
        if announce.mark.is_some() != self.groups.is_some() {
            return Err(Violation::Kind(announce.kind()));
        }
        // Finished receives were dealt before; and the peer has slots for its open receives.
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
        // The slabs that such messages are staged in have the length agreed at connect.
        let inline_bytes = u64::from(announce.inline_bytes);
        if inline_bytes > self.inline_bytes.min(announce.capacity) {
            return Err(Violation::Field {
                frame: "announcement",
                field: "inline length",
                value: inline_bytes,
            });
        }
        if let (Some(groups), Some(mark)) = (&mut self.groups, announce.mark) {
            groups.check(mark)?;
            groups.open(mark);
        }
        // Receives that were finished before they were announced have never been open.
        for seq in self.done..announce.done.min(self.announced) {
            self.open_bytes -= self.credit(seq).capacity;
            self.streams.finished(seq);
        }
        self.done = announce.done;
        // A longer receive is legal, a longer message is not: its segments' lengths would not fit their
        // headers.
        let capacity = announce.capacity.min(MESSAGE_BYTES_MAX);
        if announce.seq >= announce.done {
            self.open_bytes += capacity;
            *self.credit(announce.seq) = Credit { capacity, inline_bytes };
        }
        self.announced += 1;
        Ok(())
    }

    /// Counts a segment whose bytes the socket has taken. True when its send is now complete.
    ///
    /// # Panics
    /// If the segment belongs to another connection.
    pub fn written(&mut self, segment: Segment) -> bool {
        let outgoing = &mut self.outgoing[segment.slot_index()];
        assert!(
            outgoing.meets == segment.seq() && outgoing.written + segment.bytes() <= outgoing.dealt,
            "written on the connection that dealt it"
        );
        outgoing.written += segment.bytes();
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

    /// Returns whether the socket has taken all bytes of the send.
    #[must_use]
    pub fn is_complete(&self, slot: &Slot) -> bool {
        self.outgoing[slot.index()].is_written
    }

    /// Returns the sequence number of the receive that the send meets.
    #[must_use]
    pub fn meets(&self, slot: &Slot) -> u64 {
        self.outgoing[slot.index()].meets
    }

    /// Returns whether the dealing of the send has begun: the peer has a place for it.
    #[must_use]
    pub fn is_begun(&self, slot: &Slot) -> bool {
        self.outgoing[slot.index()].dealt > 0 || slot.seq().wire() < self.cursor
    }

    /// Returns whether a dealt segment is not written in full: its receiver has a place for it, and reads it
    /// unasked.
    #[must_use]
    pub fn is_amid(&self) -> bool {
        self.window.in_use().any(|at| self.outgoing[at].written < self.outgoing[at].dealt)
    }

    /// Returns how many sends are in flight.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        self.window.in_flight()
    }

    fn credit(&mut self, seq: u64) -> &mut Credit {
        let index = place(seq, self.credits.len());
        &mut self.credits[index]
    }
}

#[derive(Debug)]
struct Outgoing {
    bytes: u64,
    /// The sequence number of the receive that it meets: its own, or that of the place it found if receives
    /// are grouped.
    meets: u64,
    inline: bool,
    dealt: u64,
    written: u64,
    is_written: bool,
}

impl Outgoing {
    const EMPTY: Self = Self { bytes: 0, meets: 0, inline: false, dealt: 0, written: 0, is_written: false };
}

/// The credit of a receive: the limits in the peer's announcement.
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
