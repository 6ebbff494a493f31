//! The receiving end: a user that posts, a thread per data socket, and a thread for the control socket.
//!
//! The thread of a data socket reads and unpacks.

mod stream;

use gputcp_proto::{
    Violation,
    announce::Announcer,
    frame::{Control, EAGER_BYTES, Join, JoinVerdict, Welcome},
    key::Proof,
    recv::{InPlace, Landing, Placed, RecvSide, Unfinished},
    window::Slot,
};

use self::stream::Stream;
use crate::{
    end::{ControlReader, End, Failure, Inbox, Outbox},
    sender::LISTEN_TOKEN,
    settings::{Flaw, Settings},
    wire::{Closed, Wires},
    world::{Actor, World},
};

/// The time within which the goodbye must follow the end of a data socket.
const GOODBYE_NS: u64 = 300_000_000;

/// The receiving end of a connection.
#[derive(Debug)]
pub struct Receiver<'a, const N: usize> {
    settings: &'a Settings,
    side: Option<RecvSide<N>>,
    announcer: Announcer,
    eager_bytes: u64,
    /// Messages that came before their receives, by eager place.
    early: Vec<Vec<u8>>,
    /// The join of the first socket; those of the others must agree with it.
    first_join: Option<Join>,
    joined: usize,
    /// The destination memory of each slot; the slot's next receive clears it.
    destinations: Vec<Vec<u8>>,
    receives: Vec<Option<Slot>>,
    asked: usize,
    streams: Vec<Stream>,
    control_join: Inbox,
    control_joined: bool,
    control_in: ControlReader,
    control_out: Outbox,
    goodbye_said: bool,
    goodbye_heard: bool,
    /// The time at which the first data socket ended; the goodbye must follow soon.
    ended_at: Option<u64>,
    /// Whether a receive was incomplete at the user's last look, for [`Flaw::EndAfterReceive`].
    was_open: bool,
    /// Bytes read from the wires.
    pub landed_bytes: u64,
    /// Bytes that are at their destination.
    pub placed_bytes: u64,
    /// Bytes of finished receives that were right at their destination.
    pub verified_bytes: u64,
    /// The number of writes to a bounce buffer while an unpack read it. The types allow none.
    pub overwritten: u64,
    /// The number of messages that came before their receives.
    pub arrived_early: u64,
    /// The number of finished receives.
    pub finished: usize,
    /// The time of the last progress.
    pub last_progress: u64,
    /// The outcome; `None` while the end runs.
    pub end: Option<End>,
}

impl<'a, const N: usize> Receiver<'a, N> {
    /// Returns an end that has received nothing yet.
    #[must_use]
    pub fn new(settings: &'a Settings) -> Self {
        Self {
            settings,
            side: None,
            announcer: Announcer::new(0),
            eager_bytes: 0,
            early: vec![],
            first_join: None,
            joined: 0,
            destinations: vec![vec![]; N],
            receives: (0..N).map(|_| None).collect(),
            asked: 0,
            streams: (0..settings.streams()).map(|at| Stream::new(settings, at)).collect(),
            control_join: Inbox::default(),
            control_joined: false,
            control_in: ControlReader::default(),
            control_out: Outbox::default(),
            goodbye_said: false,
            goodbye_heard: false,
            ended_at: None,
            was_open: false,
            landed_bytes: 0,
            overwritten: 0,
            placed_bytes: 0,
            verified_bytes: 0,
            arrived_early: 0,
            finished: 0,
            last_progress: 0,
            end: None,
        }
    }

    /// Lets the woken thread do all that can be done now.
    pub fn step(&mut self, actor: Actor, world: &mut World, wires: &mut Wires) {
        let result = match actor {
            Actor::ReceiverTimer => self.watch(world),
            _ if self.end.is_some() => {
                self.say_last_words(world, wires);
                Ok(())
            }
            Actor::ReceiverUser => self.ask(world).and_then(|()| self.post(world)),
            Actor::ReceiverStream(at) => self.carry(at, world, wires),
            _ => self.control(world, wires),
        };
        match result {
            Err(failure) if self.end.is_none() => self.fail(failure, world, wires),
            _ => {}
        }
    }

    /// Returns the number of segments that came over each data socket.
    #[must_use]
    pub fn segments(&self) -> Vec<u64> {
        self.streams.iter().map(Stream::segments).collect()
    }

    /// Returns whether nothing is held any more: no slot, no bounce buffer, no unpack.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.side.as_ref().is_some_and(|side| side.in_flight() == 0)
            && self.streams.iter().all(Stream::is_idle)
    }

    /// Polls every receive in flight, as a polling user does.
    ///
    /// A complete receive finishes where its last bytes are placed, so the receives left here are incomplete.
    /// None may be reported lost while its bytes can still come.
    fn ask(&mut self, world: &mut World) -> Result<(), Failure> {
        let Some(side) = &mut self.side else { return Ok(()) };
        if self.settings.flaw == Flaw::EndAfterReceive {
            let was_open = std::mem::replace(&mut self.was_open, side.in_flight() > 0);
            if was_open && side.is_over() {
                return Err(Failure::EarlyGoodbye);
            }
            if self.was_open && !was_open {
                world.wake_soon(Actor::ReceiverUser);
            }
            return Ok(());
        }
        for receive in &mut self.receives {
            let Some(slot) = receive.take() else { continue };
            match side.finish(slot) {
                Err(Unfinished::NotYet(slot)) => *receive = Some(slot),
                Err(Unfinished::Never(_)) => return Err(Failure::EarlyGoodbye),
                Ok(_) => unreachable!("a complete receive is finished where its last bytes are placed"),
            }
        }
        Ok(())
    }

    /// Notes that a data socket ended at a segment's boundary.
    pub(super) fn stream_ended(&mut self, world: &mut World) {
        let side = self.side.as_mut().expect("all sockets have joined");
        side.stream_ended();
        let ended_at = *self.ended_at.get_or_insert_with(|| world.now());
        world.wake_at(Actor::ReceiverTimer, ended_at + GOODBYE_NS);
        world.wake_soon(Actor::ReceiverUser);
    }

    fn post(&mut self, world: &mut World) -> Result<(), Failure> {
        let (Some(side), Some(&bytes)) = (&mut self.side, self.settings.messages.get(self.asked)) else {
            return Ok(());
        };
        // The capacity of a receive may exceed the message.
        let capacity = bytes + world.rng.u64(0..100);
        let Some((slot, announce)) = side.post(capacity, !self.settings.destination_on_device) else {
            return Ok(());
        };
        let early = side.take_early(&slot)?;
        let index = slot.index();
        self.destinations[index].clear();
        self.destinations[index].resize(capacity as usize, 0);
        self.receives[index] = Some(slot);
        self.asked += 1;
        self.control_out.push(self.announcer.posted(announce));
        let think = world.rng.u64(0..self.settings.think_ns_max);
        world.wake_at(Actor::ReceiverUser, world.now() + think);
        world.wake_soon(Actor::ReceiverControl);
        match early {
            None => Ok(()),
            Some((place, landing)) => {
                let payload = std::mem::take(&mut self.early[place]);
                self.land_whole(landing, &payload, world)
            }
        }
    }

    fn control(&mut self, world: &mut World, wires: &mut Wires) -> Result<(), Failure> {
        self.hear(world, wires)?;
        // The sender says goodbye when all is written; slower sockets may still carry the last bytes.
        let is_over = self.goodbye_heard && self.finished == self.settings.messages.len();
        if is_over && !self.goodbye_said {
            self.goodbye_said = true;
            self.control_out.push(&Control::Goodbye.encode());
        }
        let flushed = self.control_out.flush(world, &mut wires.down)?;
        self.moved(flushed > 0, world);
        if self.goodbye_said && self.control_out.is_empty() {
            self.end = Some(End::Complete);
            wires.down.close(world);
        }
        Ok(())
    }

    fn hear(&mut self, world: &mut World, wires: &mut Wires) -> Result<(), Failure> {
        if !self.control_joined {
            let Some(bytes) = self.control_join.read_frame(world, &mut wires.up)? else { return Ok(()) };
            self.control_joined = true;
            self.join(Join::decode(&bytes)?, 0, world)?;
        }
        while !self.goodbye_heard
            && let Some((frame, payload)) = self.control_in.next(world, &mut wires.up)?
        {
            self.last_progress = world.now();
            match frame {
                Control::Inline { seq, .. } => self.take_inline(seq, &payload, world)?,
                Control::Goodbye => {
                    self.goodbye_heard = true;
                    self.side.as_mut().ok_or(Violation::Kind(3))?.goodbye();
                    world.wake_soon(Actor::ReceiverUser);
                }
                Control::Abort { .. } => {
                    return Err(Failure::Aborted(String::from_utf8_lossy(&payload).into_owned()));
                }
                Control::Announce(_) => return Err(Violation::Kind(1).into()),
                Control::Ping => self.control_out.push(&Control::Pong.encode()),
                Control::Pong => {}
                Control::Want { seq } => self.control_out.push(self.announcer.wanted(seq)),
            }
        }
        Ok(())
    }

    /// Checks by its join that a socket belongs to this connection. The last socket completes the connection.
    fn join(&mut self, join: Join, index: u16, world: &mut World) -> Result<(), Failure> {
        let field = |field, value| Err(Violation::Field { frame: "join", field, value }.into());
        if join.listen_token != LISTEN_TOKEN {
            return field("listen token", 0);
        }
        if !join.is_proved(None) {
            return field("proof", 0);
        }
        if join.index != index {
            return field("socket index", u64::from(join.index));
        }
        let first = *self.first_join.get_or_insert(join);
        if !join.agrees_with(&first) {
            return field("difference to the other sockets'", u64::from(index));
        }
        self.joined += 1;
        if self.joined == self.streams.len() + 1 {
            let depth = self.settings.recv_depth;
            let inline_bytes = self.settings.inline_bytes.min(join.inline_bytes);
            // Device memory takes no short message here, so none can come early.
            let wish =
                if self.settings.destination_on_device { 0 } else { self.settings.eager_places as u16 };
            let eager_places = wish.min(join.eager_places);
            self.announcer = Announcer::new(eager_places.into());
            self.eager_bytes = EAGER_BYTES.min(inline_bytes).into();
            self.early = vec![vec![]; eager_places.into()];
            self.side = Some(
                RecvSide::new(depth, u64::from(join.segment_bytes), u64::from(inline_bytes))
                    .with_streams(self.streams.len())
                    .with_pieces(u64::from(join.piece_bytes))
                    .with_eager(eager_places.into(), self.eager_bytes),
            );
            let (verdict, slots) = (JoinVerdict::Accepted, depth as u16);
            let (max_receives, proof) = (1, Proof::NONE);
            let welcome = Welcome { verdict, slots, inline_bytes, eager_places, max_receives, proof };
            self.control_out.push(&welcome.encode());
            world.wake_soon(Actor::ReceiverUser);
            world.wake_soon(Actor::ReceiverControl);
        }
        Ok(())
    }

    fn take_inline(&mut self, seq: u64, payload: &[u8], world: &mut World) -> Result<(), Failure> {
        let side = self.side.as_mut().ok_or(Violation::Kind(2))?;
        let bytes = payload.len() as u64;
        self.landed_bytes += bytes;
        let landing = match side.begin_early(seq, bytes)? {
            None => Some(side.begin_inline(seq, bytes)?),
            Some(early) => {
                self.early[early.place()] = payload.to_vec();
                self.arrived_early += 1;
                side.early_is_whole(early)?
            }
        };
        let frames = self.announcer.begun(seq, bytes <= self.eager_bytes, side.done());
        self.control_out.push(frames);
        landing.map_or(Ok(()), |landing| self.land_whole(landing, payload, world))
    }

    fn land_whole(&mut self, landing: Landing, payload: &[u8], world: &mut World) -> Result<(), Failure> {
        self.destinations[landing.slot_index()][..payload.len()].copy_from_slice(payload);
        let placed = InPlace::new(landing).advance(payload.len() as u64).expect("the whole message is here");
        self.place(placed, world)
    }

    /// Counts bytes that are at their destination, and finishes their receive if they were the last.
    fn place(&mut self, placed: Placed, world: &mut World) -> Result<(), Failure> {
        let (index, seq, bytes) = {
            let landing = placed.landing();
            (landing.slot_index(), landing.seq(), landing.bytes())
        };
        self.placed_bytes += bytes;
        self.last_progress = world.now();
        let side = self.side.as_mut().expect("a segment has begun");
        if !side.place(placed) {
            return Ok(());
        }
        let slot = self.receives[index].take().expect("a receive is finished once");
        let received = side.finish(slot).expect("all its segments are placed");
        self.verify(seq, index, received.bytes)?;
        self.verified_bytes += received.bytes;
        self.finished += 1;
        world.wake_soon(Actor::ReceiverUser);
        world.wake_soon(Actor::ReceiverControl);
        Ok(())
    }

    /// Checks that the message is as it was sent, with no byte behind it.
    fn verify(&self, seq: u64, index: usize, bytes: u64) -> Result<(), Failure> {
        let expected = |offset| if offset < bytes { self.settings.data(seq, offset) } else { 0 };
        let is_right = bytes == self.settings.messages[seq as usize]
            && self.destinations[index].iter().zip(0..).all(|(&byte, offset)| byte == expected(offset));
        if is_right { Ok(()) } else { Err(Failure::WrongData { seq }) }
    }

    const fn moved(&mut self, has: bool, world: &World) {
        if has {
            self.last_progress = world.now();
        }
    }

    fn watch(&self, world: &mut World) -> Result<(), Failure> {
        let is_late = |ended_at| !self.goodbye_heard && world.now() >= ended_at + GOODBYE_NS;
        if self.ended_at.is_some_and(is_late) {
            return Err(Closed::Eof.into());
        }
        let until = self.last_progress + self.settings.timeout_ns;
        if world.now() >= until {
            return Err(Failure::TimedOut);
        }
        if self.end.is_none() {
            world.wake_at(Actor::ReceiverTimer, until);
        }
        Ok(())
    }

    fn fail(&mut self, failure: Failure, world: &mut World, wires: &mut Wires) {
        self.control_out.push_abort(&failure);
        self.end = Some(End::Failed(failure));
        wires.data.iter_mut().for_each(|wire| wire.cut(world));
        self.say_last_words(world, wires);
    }

    fn say_last_words(&mut self, world: &mut World, wires: &mut Wires) {
        let flushed = self.control_out.flush(world, &mut wires.down);
        if flushed.is_err() || self.control_out.is_empty() {
            wires.down.close(world);
            wires.up.cut(world);
        }
    }
}
