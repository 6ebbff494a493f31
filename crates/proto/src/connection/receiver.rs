//! The receiving end.
//!
//! In the order of the data's way: [`Receiver::post`] posts a receive and announces it. A [`Stream`] takes
//! segments off a data socket; the [`Inbox`] takes short messages ([`Short`]) off the control socket. Each
//! segment comes in place, or through a bounce buffer and its unpack. [`Receiver::finish`] ends the
//! receive.

mod arrival;
mod group;
mod ring;
mod short;
mod stream;

use std::time::Duration;

use self::{
    arrival::{Arrival, Stage},
    ring::BounceRing,
    short::Place,
    stream::At,
};
pub use self::{short::Short, stream::Stream};
use super::{End, Failure, Inbox, Life, SHORT_BUFFERS, SLOTS, Settings, SocketEnd, Step};
use crate::{
    Violation,
    announce::Announcer,
    bounce::{Completion, Filled, Filling},
    frame::{Control, Mark, SegmentHeader},
    recv::{InPlace, Placed, Received, RecvSide, Unfinished},
    window::Slot,
};

/// The receiving end of a connection.
#[derive(Debug)]
pub struct Receiver<D> {
    life: Life,
    side: RecvSide<SLOTS>,
    announcer: Announcer,
    /// One ring per data socket, and the control socket's behind them; empty without a device.
    rings: Box<[BounceRing<D>]>,
    streams: usize,
    /// Whether the destination is memory that a socket cannot write, by slot.
    is_bounced: Box<[bool]>,
    has_groups: bool,
    has_places: bool,
    eager_bytes: u64,
    /// Whether the last bytes came on the control socket.
    came_short: bool,
    placed_bytes: u64,
}

/// The next thing to do for a [`Stream`] or a [`Short`], without the lock.
#[derive(Debug)]
pub enum Work<'a> {
    /// Nothing: [`Receiver::step`] or [`Receiver::step_short`] is next.
    Connection,
    /// Nothing before the control socket is heard; then [`Receiver::step`].
    Hear,
    /// Read a header into these bytes.
    Header(&'a mut [u8]),
    /// Bring the missing bytes to their place in the destination.
    InPlace(&'a InPlace),
    /// Bring the missing bytes to the bounce buffer.
    Bounce(&'a Filling),
    /// Bring bytes to an eager place.
    Early {
        /// The eager place.
        place: usize,
        /// The bytes that it has.
        have: u64,
        /// The bytes that are missing.
        missing: u64,
    },
    /// Launch the unpack, and pass it to [`Stream::launched`] or [`Short::launched`].
    Unpack(Filled),
}

/// A receive to post.
#[derive(Debug, Clone, Copy)]
pub struct Receive {
    /// The longest message that it takes, in bytes.
    pub capacity: u64,
    /// Whether its destination is memory that a socket cannot write.
    pub is_bounced: bool,
    /// The tag of the message that it takes; it counts where receives are grouped.
    pub tag: i32,
}

/// A receive that was posted.
#[derive(Debug)]
pub struct Posted<D> {
    /// Its slot.
    pub slot: Slot,
    /// Its message, if that came before it: to be taken from its eager place now.
    pub early: Option<Short<D>>,
}

impl<D: Completion + Clone> Receiver<D> {
    /// Returns an end with all that it will ever need (invariant I4).
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let rings = settings.buffers.into_iter().flat_map(|buffers| {
            std::iter::repeat_n(buffers, settings.streams).chain([SHORT_BUFFERS]).map(BounceRing::new)
        });
        Self {
            life: Life::new(false, settings),
            side: RecvSide::new(settings.depth, settings.segment_bytes, settings.inline_bytes)
                .with_streams(settings.streams)
                .with_pieces(settings.piece_bytes)
                .with_eager(settings.eager_places, settings.eager_bytes),
            announcer: Announcer::new(settings.eager_places),
            rings: rings.collect(),
            streams: settings.streams,
            is_bounced: vec![false; settings.depth].into(),
            has_groups: settings.max_receives > 1,
            has_places: settings.eager_places > 0,
            eager_bytes: settings.eager_bytes,
            came_short: false,
            placed_bytes: 0,
        }
    }

    /// Posts a receive, and announces it. Returns `None` when no slot is free: ask again.
    pub fn post(&mut self, receive: Receive) -> Option<Posted<D>> {
        let (slot, mut announce) = self.side.post(receive.capacity, true)?;
        self.is_bounced[slot.index()] = receive.is_bounced;
        announce.mark = self.has_groups.then_some(Mark { tag: receive.tag, following: 0 });
        let early = self.side.take_early(&slot);
        tell(&mut self.life, self.announcer.posted(announce));
        let early = match early {
            Ok(None) => None,
            Ok(Some((place, landing))) => {
                let arrival = Arrival::new(landing, receive.is_bounced, self.streams);
                Some(Short(Place::Delivering(place, arrival)))
            }
            Err(violation) => {
                self.refuse(violation);
                None
            }
        };
        Some(Posted { slot, early })
    }

    /// Takes a stream as far as it goes without its socket.
    ///
    /// # Errors
    /// If the lane is lost.
    pub fn step(&mut self, stream: &mut Stream<D>, now: Duration) -> Result<Step<D>, D::Error> {
        if self.life.has_failed() {
            return Ok(Step::Over);
        }
        match std::mem::replace(&mut stream.at, At::Header) {
            At::Header => Ok(self.begin(stream)),
            At::Segment(mut arrival) => {
                let step = self.advance(&mut arrival)?;
                if !matches!(step, Step::Over) {
                    stream.at = At::Segment(arrival);
                    return Ok(step);
                }
                Ok(Step::GoOn)
            }
            At::Closed => {
                self.side.stream_ended();
                self.life.effects.all = true;
                stream.at = At::Ended(SocketEnd::new(None));
                Ok(Step::GoOn)
            }
            At::Ended(mut end) => {
                let step = self.life.judge(&mut end, now);
                stream.at = At::Ended(end);
                Ok(step)
            }
        }
    }

    /// Checks the header that is whole, and begins its segment.
    fn begin(&mut self, stream: &mut Stream<D>) -> Step<D> {
        if stream.have < SegmentHeader::BYTES {
            return Step::GoOn;
        }
        stream.have = 0;
        let landing = match SegmentHeader::decode(&stream.header).and_then(|header| self.side.begin(&header))
        {
            Ok(landing) => landing,
            Err(violation) => {
                self.life.misbehaved(violation);
                return Step::Over;
            }
        };
        stream.segments += 1;
        if landing.offset() == 0 {
            self.came_short = false;
            let done = self.side.done();
            tell(&mut self.life, self.announcer.begun(landing.seq(), false, done));
        }
        let is_bounced = self.is_bounced[landing.slot_index()];
        stream.at = At::Segment(Arrival::new(landing, is_bounced, stream.number));
        Step::GoOn
    }

    /// Gives a segment a bounce buffer, or counts it. [`Step::Over`] when it needs no more.
    fn advance(&mut self, arrival: &mut Arrival<D>) -> Result<Step<D>, D::Error> {
        match arrival.take() {
            Stage::Landing(landing) => {
                self.reap(arrival.ring)?;
                let ring = &mut self.rings[arrival.ring];
                if let Some(slot) = ring.issue() {
                    arrival.stage = Stage::Filling(Filling::new(slot, landing));
                    return Ok(Step::GoOn);
                }
                arrival.stage = Stage::Landing(landing);
                let Some(oldest) = ring.oldest() else {
                    unreachable!("a stream launches one unpack at a time: all others are in the ring")
                };
                Ok(Step::Lane(oldest.clone()))
            }
            Stage::Unpacking(unpacking) => {
                // The waiter goes on to watch the lane.
                self.life.effects.done.insert(unpacking.landing().slot_index());
                self.rings[arrival.ring].push(unpacking);
                Ok(Step::Over)
            }
            Stage::Placed(placed) => {
                self.place(placed);
                Ok(Step::Over)
            }
            stage => {
                arrival.stage = stage;
                Ok(Step::GoOn)
            }
        }
    }

    /// Counts the unpacks of a ring that are finished.
    fn reap(&mut self, ring: usize) -> Result<(), D::Error> {
        loop {
            match self.rings[ring].reap() {
                Ok(Some(placed)) => self.place(placed),
                Ok(None) => return Ok(()),
                Err(error) => {
                    // At once: the ring has lost a buffer, and no other thread may miss it.
                    self.life.fail(Failure::Local);
                    return Err(error);
                }
            }
        }
    }

    /// Counts bytes that are at their destination.
    fn place(&mut self, placed: Placed) {
        let landing = placed.landing();
        let slot = landing.slot_index();
        self.placed_bytes += landing.bytes();
        if self.side.place(placed) {
            self.life.effects.done.insert(slot);
        }
    }

    /// Counts the unpacks that are finished, then ends the receive if it is complete. It is judged at one
    /// moment with whether its bytes can still come.
    ///
    /// # Errors
    /// If a lane is lost.
    pub fn finish(&mut self, slot: Slot) -> Result<Result<Received, Unfinished>, D::Error> {
        if !self.side.is_complete(&slot) {
            self.reap_all()?;
        }
        Ok(self.side.finish(slot))
    }

    fn reap_all(&mut self) -> Result<(), D::Error> {
        (0..self.rings.len()).try_for_each(|ring| self.reap(ring))
    }

    /// Returns whether all bytes of the receive with this slot's index are at their destination. The receive
    /// may be finished, as long as its slot is not issued again.
    #[must_use]
    pub fn is_complete_at(&self, index: usize) -> bool {
        self.side.is_complete_at(index)
    }

    /// Returns the completion of the newest unpack under way, on any lane.
    #[must_use]
    pub fn newest_unpack(&self) -> Option<D> {
        self.rings.iter().find_map(|ring| ring.newest().cloned())
    }

    /// Returns whether no bytes of any receive can come any more.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.side.is_over()
    }

    /// Returns whether the last bytes came on the control socket: the next are likely to, too.
    #[must_use]
    pub const fn came_short(&self) -> bool {
        self.came_short
    }

    /// Returns whether nothing is held any more: no slot, and no bounce buffer.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.side.in_flight() == 0 && self.rings.iter().all(BounceRing::is_idle)
    }
}

impl<D: Completion + Clone> End for Receiver<D> {
    type Done = D;
    const SENDS: bool = false;

    fn life(&self) -> &Life {
        &self.life
    }

    fn life_mut(&mut self) -> &mut Life {
        &mut self.life
    }

    fn take(&mut self, frame: Control, inbox: &mut Inbox<D>) {
        // A sender has nothing in flight when it says goodbye. Its segments may be on the way, on other
        // sockets.
        let is_over = self.life.peer_has_said_goodbye();
        match frame {
            Control::Inline { .. } if is_over => {
                self.life.misbehaved(Violation::AfterGoodbye { frame: "short message" });
            }
            Control::Want { .. } if is_over => {
                self.life.misbehaved(Violation::AfterGoodbye { frame: "want" });
            }
            Control::Inline { seq, bytes } => self.begin_short(seq, bytes.into(), inbox),
            Control::Want { seq } => tell(&mut self.life, self.announcer.wanted(seq)),
            frame => self.life.misbehaved(Violation::Field {
                frame: "control frame to a receiver",
                field: "kind",
                value: u64::from(frame.encode()[2]),
            }),
        }
    }

    fn take_goodbye(&mut self) {
        self.side.goodbye();
    }

    fn count_finished(&mut self) -> Result<(), D::Error> {
        if self.life.has_failed() { Ok(()) } else { self.reap_all() }
    }

    fn is_waiting(&self) -> bool {
        // When all has come, the peer owes nothing, and may be gone. The receives are the caller's to finish.
        self.in_flight() > 0 && !self.side.is_over()
    }

    fn in_flight(&self) -> usize {
        self.side.in_flight()
    }

    fn is_amid(&self) -> bool {
        self.side.is_amid()
    }

    fn placed_bytes(&self) -> u64 {
        self.placed_bytes
    }

    fn unreceived(&self) -> usize {
        self.side.unreceived()
    }
}

/// Sends announcements that are due. A sender that has said goodbye needs none, and may be gone.
fn tell(life: &mut Life, frames: &[u8]) {
    if !frames.is_empty() && !life.peer_has_said_goodbye() {
        life.put(frames);
    }
}
