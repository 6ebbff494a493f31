//! The receiver's side of a connection: which bytes may land where, once each.
//!
//! A receive is posted ([`RecvSide::post`]) and announced to the sender. Each segment that arrives is checked
//! against it ([`RecvSide::begin`]) and becomes a [`Landing`]: the right to write those bytes, given out
//! once. When the bytes are at their destination, the landing has become [`Placed`] and is counted
//! ([`RecvSide::place`]). When all are, the slot comes back ([`RecvSide::finish`]).
//!
//! A short message may come before its receive is posted: [`RecvSide::begin_early`] gives it one of the eager
//! places. The later of its last byte and its receive makes it a landing.

mod landing;

pub use self::landing::{Early, InPlace, Landing, Placed};
use crate::{
    Violation,
    frame::{Announce, EAGER_PLACES_MAX, INLINE_BYTES_MAX, SegmentHeader},
    plan::{PIECES_MAX, SegmentPlan},
    window::{Slot, Window, place},
};

/// The receives of one connection, at most `N` in flight.
#[derive(Debug)]
pub struct RecvSide<const N: usize> {
    window: Window<N>,
    /// The oldest receive that is not finished; each announcement reports it to the sender.
    oldest: u64,
    /// The receives by place of the window.
    incoming: Box<[Incoming]>,
    plan: SegmentPlan,
    inline_bytes: u64,
    eager_places: usize,
    eager_bytes: u64,
    /// The messages that came early, by sequence number modulo the number of places.
    early: [Option<Came>; EAGER_PLACES_MAX as usize],
    /// The number of data sockets that the peer has not ended.
    open_streams: usize,
    /// The peer has said goodbye: nothing more comes on the control socket.
    said_goodbye: bool,
    /// The number of segments that have begun and are not at their destination.
    landings: usize,
}

/// A finished receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// The number of bytes that the sender sent; at most the receive's capacity.
    pub bytes: u64,
}

/// The reason why a receive cannot be finished.
#[derive(Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// Bytes are missing: ask again.
    NotYet(Slot),
    /// Bytes are missing, and none can come any more: the peer has closed the connection.
    Never(Slot),
}

impl<const N: usize> RecvSide<N> {
    /// Returns the receives of a connection.
    ///
    /// `depth` is the most that may be in flight, `segment_bytes` the segment length agreed at connect.
    /// `inline_bytes` is the longest message that this side accepts inside a control frame.
    ///
    /// # Panics
    /// If `depth` is 0 or above `N`, the segment length is none, or `inline_bytes` above
    /// [`INLINE_BYTES_MAX`].
    #[must_use]
    pub fn new(depth: usize, segment_bytes: u64, inline_bytes: u64) -> Self {
        assert!(inline_bytes <= INLINE_BYTES_MAX as u64, "a short message fits a control frame");
        Self {
            window: Window::with_depth(depth),
            oldest: 0,
            incoming: (0..depth).map(|_| Incoming::EMPTY).collect(),
            plan: SegmentPlan::new(segment_bytes),
            inline_bytes,
            eager_places: 0,
            eager_bytes: 0,
            early: [const { None }; EAGER_PLACES_MAX as usize],
            open_streams: 0,
            said_goodbye: false,
            landings: 0,
        }
    }

    /// Sets the number of data sockets, each of which the peer ends before the connection is over.
    #[must_use]
    pub const fn with_streams(mut self, streams: usize) -> Self {
        self.open_streams = streams;
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

    /// Sets the number of eager places, each for a message of up to `bytes`.
    ///
    /// # Panics
    /// If there are more than [`EAGER_PLACES_MAX`].
    #[must_use]
    pub const fn with_eager(mut self, places: usize, bytes: u64) -> Self {
        assert!(places <= EAGER_PLACES_MAX as usize, "as many places as the frames can say");
        self.eager_places = places;
        self.eager_bytes = bytes;
        self
    }

    /// Posts a receive of up to `capacity` bytes; `inline` tells whether a short message may travel in a
    /// control frame.
    ///
    /// The announcement must be sent, in order. `None` when no slot is free: ask again.
    pub fn post(&mut self, capacity: u64, inline: bool) -> Option<(Slot, Announce)> {
        let slot = self.window.issue()?;
        let inline_bytes = if inline { self.inline_bytes.min(capacity) } else { 0 };
        let incoming = &mut self.incoming[slot.index()];
        incoming.capacity = capacity;
        incoming.inline_bytes = inline_bytes;
        incoming.total = None;
        incoming.whole = false;
        incoming.placed = 0;
        incoming.is_placed = false;
        // Only the words in use: a 512 KiB chunk has one, and clearing 512 bytes per receive shows at 4 KiB
        // messages.
        let used = (incoming.begun_high / 64 + 1) as usize;
        incoming.begun[..used].fill(0);
        incoming.begun_high = 0;
        let (seq, done) = (slot.seq().wire(), self.oldest);
        let announce = Announce { seq, capacity, inline_bytes: inline_bytes as u32, done, mark: None };
        Some((slot, announce))
    }

    /// Returns whether [`RecvSide::post`] would take so many receives in a row: all of a group, or none.
    #[must_use]
    pub fn has_room_for(&self, count: usize) -> bool {
        self.window.has_room_for(count)
    }

    /// Checks the header of a segment that is about to arrive.
    ///
    /// # Errors
    /// A [`Violation`] if the segment was not asked for, does not lie where the plan puts it, or came before.
    pub fn begin(&mut self, header: &SegmentHeader) -> Result<Landing, Violation> {
        let SegmentHeader { seq, offset, total, bytes } = *header;
        let bytes = u64::from(bytes);
        let index = self.window.holder(seq).ok_or(Violation::Sequence { seq })?;
        let incoming = &mut self.incoming[index];
        if total > incoming.capacity {
            return Err(Violation::Overflow { seq, total, capacity: incoming.capacity });
        }
        let (piece, longest) = (self.plan.piece_of(total), self.plan.longest_of(total));
        let wrong = Violation::Segment { seq, offset, bytes, total };
        if bytes == 0 || bytes > longest || offset >= total || bytes > total - offset {
            return Err(wrong);
        }
        if incoming.whole {
            return Err(Violation::Twice { seq, offset });
        }
        // A segment has whole pieces, but for the message's last.
        let end = offset + bytes;
        if offset % piece != 0 || (end % piece != 0 && end != total) {
            return Err(wrong);
        }
        match incoming.total {
            Some(first) if first != total => return Err(Violation::Length { seq, first, second: total }),
            _ => incoming.total = Some(total),
        }
        let (first, last) = (offset / piece, (end - 1) / piece);
        debug_assert!(last < PIECES_MAX);
        let place = |piece: u64| ((piece / 64) as usize, 1u64 << (piece % 64));
        let begun = |piece| {
            let (word, bit) = place(piece);
            incoming.begun[word] & bit != 0
        };
        if (first..=last).any(begun) {
            return Err(Violation::Twice { seq, offset });
        }
        for (word, bit) in (first..=last).map(place) {
            incoming.begun[word] |= bit;
        }
        incoming.begun_high = incoming.begun_high.max(last);
        self.landings += 1;
        Ok(Landing { index, seq, offset, bytes })
    }

    /// Checks a whole message that arrives inside a control frame; `bytes` may be 0.
    ///
    /// # Errors
    /// A [`Violation`] if it was not asked for, is longer than this receive takes inline, or came before.
    pub fn begin_inline(&mut self, seq: u64, bytes: u64) -> Result<Landing, Violation> {
        let index = self.window.holder(seq).ok_or(Violation::Sequence { seq })?;
        let incoming = &mut self.incoming[index];
        if bytes > incoming.inline_bytes {
            return Err(Violation::Overflow { seq, total: bytes, capacity: incoming.inline_bytes });
        }
        if incoming.total.is_some() {
            return Err(Violation::Twice { seq, offset: 0 });
        }
        incoming.total = Some(bytes);
        incoming.whole = true;
        self.landings += 1;
        Ok(Landing { index, seq, offset: 0, bytes })
    }

    /// Checks a whole message that arrives inside a control frame, and gives it an eager place unless its
    /// receive is posted.
    ///
    /// `None` if the receive is posted: then [`RecvSide::begin_inline`] is the method to call.
    ///
    /// # Errors
    /// A [`Violation`] if there is no place for it, it is too long for one, or came before.
    pub fn begin_early(&mut self, seq: u64, bytes: u64) -> Result<Option<Early>, Violation> {
        if seq < self.window.next_seq() {
            // The receive is posted, and in flight or finished. A message on its way to an eager place does
            // not come again either.
            let is_coming = self.eager_places > 0 && self.early_of(seq).is_some();
            return if is_coming { Err(Violation::Twice { seq, offset: 0 }) } else { Ok(None) };
        }
        // Messages of `oldest ..= oldest + places - 1` have different places, and all before are finished.
        if seq - self.oldest >= self.eager_places as u64 {
            return Err(Violation::Sequence { seq });
        }
        if bytes > self.eager_bytes {
            return Err(Violation::Overflow { seq, total: bytes, capacity: self.eager_bytes });
        }
        let place = place(seq, self.eager_places);
        if self.early[place].is_some() {
            return Err(Violation::Twice { seq, offset: 0 });
        }
        self.early[place] = Some(Came { seq, bytes, is_whole: false });
        Ok(Some(Early { seq, place, bytes }))
    }

    /// Notes that an early message is whole, and returns its landing if its receive was posted meanwhile.
    ///
    /// Otherwise [`RecvSide::take_early`] gives the landing.
    ///
    /// # Errors
    /// A [`Violation`] if it is too long for its receive.
    pub fn early_is_whole(&mut self, early: Early) -> Result<Option<Landing>, Violation> {
        let Early { seq, place, bytes } = early;
        if seq < self.window.next_seq() {
            self.early[place] = None;
            return self.begin_inline(seq, bytes).map(Some);
        }
        self.early[place] = Some(Came { seq, bytes, is_whole: true });
        Ok(None)
    }

    /// Returns the landing of a receive that was just posted, if its message is here, and the message's eager
    /// place.
    ///
    /// The message stays in that place until the receive is finished.
    ///
    /// # Errors
    /// A [`Violation`] if it is too long for its receive.
    pub fn take_early(&mut self, slot: &Slot) -> Result<Option<(usize, Landing)>, Violation> {
        if self.eager_places == 0 {
            return Ok(None);
        }
        let seq = slot.seq().wire();
        let Some(bytes) = self.early_of(seq).filter(|came| came.is_whole).map(|came| came.bytes) else {
            return Ok(None);
        };
        let place = place(seq, self.eager_places);
        self.early[place] = None;
        Ok(Some((place, self.begin_inline(seq, bytes)?)))
    }

    /// Returns the receives finished so far: all of sequence numbers below this.
    #[must_use]
    pub const fn done(&self) -> u64 {
        self.oldest
    }

    /// Returns the messages that came early and have no receive yet.
    #[must_use]
    pub fn unreceived(&self) -> usize {
        self.early.iter().flatten().count()
    }

    fn early_of(&self, seq: u64) -> Option<&Came> {
        self.early[place(seq, self.eager_places)].as_ref().filter(|came| came.seq == seq)
    }

    /// Counts a segment that is at its destination. True when its receive is now complete.
    ///
    /// # Panics
    /// If the proof belongs to another connection.
    pub fn place(&mut self, placed: Placed) -> bool {
        let Landing { index, seq, bytes, .. } = placed.0;
        assert_eq!(
            self.window.holder(seq),
            Some(index),
            "a segment is placed in the connection that began it"
        );
        self.landings -= 1;
        let incoming = &mut self.incoming[index];
        incoming.placed += bytes;
        // Segments never overlap and never come twice: as many bytes in place as the message has are all of
        // them.
        incoming.is_placed = incoming.total == Some(incoming.placed);
        incoming.is_placed
    }

    /// Takes the end of a data socket, at a segment's boundary.
    pub const fn stream_ended(&mut self) {
        self.open_streams = self.open_streams.saturating_sub(1);
    }

    /// Takes the peer's goodbye.
    pub const fn goodbye(&mut self) {
        self.said_goodbye = true;
    }

    /// Returns whether no bytes of any receive can come any more; a receive that is not complete then never
    /// will be.
    ///
    /// This holds when the peer has said goodbye and has ended all data sockets, and all that came before is
    /// at its destination.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.said_goodbye && self.open_streams == 0 && self.landings == 0
    }

    /// Ends a receive: the slot goes back to the window, and may be issued again at once.
    ///
    /// The receive and the end of the connection are judged at one moment, as the last bytes and the end may
    /// come between two calls.
    ///
    /// # Errors
    /// The slot itself, while bytes are missing; and whether they can still come.
    pub fn finish(&mut self, slot: Slot) -> Result<Received, Unfinished> {
        let incoming = &self.incoming[slot.index()];
        match incoming.total {
            Some(bytes) if incoming.is_placed => {
                self.window.release(slot);
                while self.oldest < self.window.next_seq() && self.window.holder(self.oldest).is_none() {
                    self.oldest += 1;
                }
                Ok(Received { bytes })
            }
            _ if self.is_over() => Err(Unfinished::Never(slot)),
            _ => Err(Unfinished::NotYet(slot)),
        }
    }

    /// Returns whether all bytes of the receive are at their destination.
    #[must_use]
    pub fn is_complete(&self, slot: &Slot) -> bool {
        self.incoming[slot.index()].is_placed
    }

    /// Returns whether all bytes of the receive in this place are at their destination. The receive may be
    /// finished, as long as its place is not issued again.
    #[must_use]
    pub fn is_complete_at(&self, index: usize) -> bool {
        self.incoming[index].is_placed
    }

    /// Returns whether a message has begun to come and is not at its destination: its sender goes on with it
    /// unasked.
    #[must_use]
    pub fn is_amid(&self) -> bool {
        let has_begun = |at: &usize| self.incoming[*at].total.is_some() && !self.incoming[*at].is_placed;
        self.landings > 0 || self.window.in_use().any(|at| has_begun(&at))
    }

    /// Returns how many receives are in flight.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        self.window.in_flight()
    }
}

/// A message that came early.
#[derive(Debug)]
struct Came {
    seq: u64,
    bytes: u64,
    is_whole: bool,
}

#[derive(Debug)]
struct Incoming {
    capacity: u64,
    inline_bytes: u64,
    /// The message's length, known from its first header.
    total: Option<u64>,
    /// Whether the message came in one frame: then no segment of it can come.
    whole: bool,
    /// The number of bytes that are at their destination.
    placed: u64,
    /// Whether all bytes are at their destination.
    ///
    /// Not the same as `placed == total`: a message of 0 bytes is placed when its landing is, not when it
    /// begins. Otherwise its slot could be gone before its landing comes back.
    is_placed: bool,
    /// One bit for each piece that has begun.
    begun: [u64; (PIECES_MAX / 64) as usize],
    begun_high: u64,
}

impl Incoming {
    const EMPTY: Self = Self {
        capacity: 0,
        inline_bytes: 0,
        total: None,
        whole: false,
        placed: 0,
        is_placed: false,
        begun: [0; (PIECES_MAX / 64) as usize],
        begun_high: 0,
    };
}

#[cfg(test)]
mod tests;
