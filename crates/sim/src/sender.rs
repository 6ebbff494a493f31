//! The sending end: a user that posts, a thread per data socket, and a thread for the control socket.
//!
//! The thread of a data socket deals, stages and writes.

mod stream;

use gputcp_proto::{
    Violation,
    frame::{Control, EAGER_BYTES, Join, Token, Welcome},
    key::Proof,
    send::{Carrier, Segment, SendSide},
    window::Slot,
};

use self::stream::Stream;
use crate::{
    end::{ControlReader, End, Failure, Inbox, Outbox},
    settings::Settings,
    wire::Wires,
    world::{Actor, World},
};

/// The listener's token, which the connector has from its handle.
pub const LISTEN_TOKEN: Token = Token([0x11; 16]);

/// The sending end of a connection.
#[derive(Debug)]
pub struct Sender<'a, const N: usize> {
    settings: &'a Settings,
    side: Option<SendSide<N>>,
    /// The source memory of each slot; the slot's next send overwrites it.
    sources: Vec<Vec<u8>>,
    sends: Vec<Option<Slot>>,
    posted: usize,
    streams: Vec<Stream>,
    control_out: Outbox,
    welcome: Inbox,
    control_in: ControlReader,
    goodbye_said: bool,
    goodbye_heard: bool,
    /// Bytes of finished sends.
    pub sent_bytes: u64,
    /// The number of staging buffers that were given away while a copy wrote them. The types allow none.
    pub overwritten: u64,
    /// The number of finished sends.
    pub finished: usize,
    /// The time of the last progress.
    pub last_progress: u64,
    /// The outcome; `None` while the end runs.
    pub end: Option<End>,
}

impl<'a, const N: usize> Sender<'a, N> {
    /// Returns an end that has sent nothing yet.
    #[must_use]
    pub fn new(settings: &'a Settings) -> Self {
        let join = |index: usize| Join {
            listen_token: LISTEN_TOKEN,
            comm_token: Token(settings.seed.to_le_bytes().repeat(2).try_into().expect("twice eight bytes")),
            index: index as u16,
            streams: settings.streams() as u16,
            slots: settings.send_depth as u16,
            segment_bytes: settings.segment_bytes,
            piece_bytes: settings.piece_bytes,
            inline_bytes: settings.inline_bytes,
            eager_places: settings.eager_places as u16,
            max_receives: 1,
            proof: Proof::NONE,
        };
        let mut control_out = Outbox::default();
        control_out.push(&join(0).encode());
        Self {
            settings,
            side: None,
            sources: vec![vec![]; N],
            sends: (0..N).map(|_| None).collect(),
            posted: 0,
            streams: (0..settings.streams()).map(|at| Stream::new(settings, at, &join(at + 1))).collect(),
            control_out,
            welcome: Inbox::default(),
            control_in: ControlReader::default(),
            goodbye_said: false,
            goodbye_heard: false,
            sent_bytes: 0,
            overwritten: 0,
            finished: 0,
            last_progress: 0,
            end: None,
        }
    }

    /// Lets the woken thread do all that can be done now.
    pub fn step(&mut self, actor: Actor, world: &mut World, wires: &mut Wires) {
        let result = match actor {
            Actor::SenderTimer => self.watch(world),
            _ if self.end.is_some() => {
                self.say_last_words(world, wires);
                Ok(())
            }
            Actor::SenderUser => self.post(world),
            Actor::SenderStream(at) => self.carry(at, world, wires),
            _ => self.control(world, wires),
        };
        match result {
            Err(failure) if self.end.is_none() => self.fail(failure, world, wires),
            _ => {}
        }
    }

    /// Returns the number of segments that each data socket has carried.
    #[must_use]
    pub fn segments(&self) -> Vec<u64> {
        self.streams.iter().map(Stream::segments).collect()
    }

    /// Returns whether nothing is held any more: no slot, no staging buffer, no copy.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.side.as_ref().is_some_and(|side| side.in_flight() == 0)
            && self.streams.iter().all(Stream::is_idle)
    }

    fn post(&mut self, world: &mut World) -> Result<(), Failure> {
        let (Some(side), Some(&bytes)) = (&mut self.side, self.settings.messages.get(self.posted)) else {
            return Ok(());
        };
        let Some(slot) = side.post(bytes, !self.settings.source_on_device) else { return Ok(()) };
        let (seq, index) = (slot.seq().wire(), slot.index());
        self.sources[index] = (0..bytes).map(|offset| self.settings.data(seq, offset)).collect();
        self.sends[index] = Some(slot);
        self.posted += 1;
        let think = world.rng.u64(0..self.settings.think_ns_max);
        world.wake_at(Actor::SenderUser, world.now() + think);
        self.wake_threads(world);
        Ok(())
    }

    fn control(&mut self, world: &mut World, wires: &mut Wires) -> Result<(), Failure> {
        self.hear(world, wires)?;
        if let Some(segment) = self.deal(Carrier::Control)? {
            self.write_inline(segment, world);
        }
        self.want(world);
        if self.finished == self.settings.messages.len() && !self.goodbye_said {
            self.goodbye_said = true;
            self.control_out.push(&Control::Goodbye.encode());
            wires.data.iter_mut().for_each(|wire| wire.close(world));
        }
        let flushed = self.control_out.flush(world, &mut wires.up)?;
        self.moved(flushed > 0, world);
        if self.goodbye_heard && self.control_out.is_empty() {
            self.end = Some(End::Complete);
            wires.up.close(world);
        }
        Ok(())
    }

    fn hear(&mut self, world: &mut World, wires: &mut Wires) -> Result<(), Failure> {
        let wire = &mut wires.down;
        if self.side.is_none() {
            let Some(bytes) = self.welcome.read_frame(world, wire)? else { return Ok(()) };
            let welcome = Welcome::decode(&bytes)?;
            if welcome.proof != Proof::NONE {
                return Err(Violation::Field { frame: "welcome", field: "proof", value: 0 }.into());
            }
            let depth = self.settings.send_depth;
            let slots = usize::from(welcome.slots).min(N);
            let inline_bytes = welcome.inline_bytes.min(self.settings.inline_bytes);
            self.side = Some(
                SendSide::new(depth, u64::from(self.settings.segment_bytes), slots)
                    .with_pieces(u64::from(self.settings.piece_bytes))
                    .with_inline(inline_bytes.into())
                    .with_eager(welcome.eager_places.into(), EAGER_BYTES.min(inline_bytes).into()),
            );
            world.wake_soon(Actor::SenderUser);
        }
        while let Some((frame, payload)) = self.control_in.next(world, wire)? {
            self.last_progress = world.now();
            match frame {
                Control::Announce(announce) => {
                    self.side.as_mut().expect("made above").announced(&announce)?
                }
                Control::Goodbye if self.goodbye_said => self.goodbye_heard = true,
                Control::Goodbye => return Err(Failure::EarlyGoodbye),
                Control::Abort { .. } => {
                    return Err(Failure::Aborted(String::from_utf8_lossy(&payload).into_owned()));
                }
                Control::Inline { .. } => return Err(Violation::Kind(2).into()),
                Control::Ping => self.control_out.push(&Control::Pong.encode()),
                Control::Pong => {}
                Control::Want { .. } => return Err(Violation::Kind(5).into()),
            }
            self.wake_threads(world);
            if self.goodbye_heard {
                break;
            }
        }
        Ok(())
    }

    fn deal(&mut self, carrier: Carrier) -> Result<Option<Segment>, Failure> {
        Ok(self.side.as_mut().map_or(Ok(None), |side| side.deal(carrier))?)
    }

    fn want(&mut self, world: &mut World) {
        if let Some(seq) = self.side.as_mut().and_then(SendSide::to_want) {
            self.control_out.push(&Control::Want { seq }.encode());
            world.wake_soon(Actor::SenderControl);
        }
    }

    /// Copies a short message into the control socket's outbox, so that its source is free at once.
    fn write_inline(&mut self, segment: Segment, world: &mut World) {
        let bytes = segment.bytes();
        self.control_out.push(&Control::Inline { seq: segment.seq(), bytes: bytes as u32 }.encode());
        self.control_out.push(&self.sources[segment.slot_index()][..bytes as usize]);
        self.count(segment, world);
        world.wake_soon(Actor::SenderControl);
    }

    fn count(&mut self, segment: Segment, world: &mut World) {
        let index = segment.slot_index();
        let side = self.side.as_mut().expect("a segment was dealt");
        if side.written(segment) {
            let slot = self.sends[index].take().expect("a send is finished once");
            let sent = side.finish(slot).expect("all its segments are written");
            self.sent_bytes += sent.bytes;
            self.finished += 1;
            world.wake_soon(Actor::SenderUser);
            world.wake_soon(Actor::SenderControl);
        }
    }

    fn wake_threads(&self, world: &mut World) {
        world.wake_soon(Actor::SenderControl);
        for at in 0..self.streams.len() {
            world.wake_soon(Actor::SenderStream(at));
        }
    }

    const fn moved(&mut self, has: bool, world: &World) {
        if has {
            self.last_progress = world.now();
        }
    }

    fn watch(&self, world: &mut World) -> Result<(), Failure> {
        let until = self.last_progress + self.settings.timeout_ns;
        if world.now() >= until {
            return Err(Failure::TimedOut);
        }
        if self.end.is_none() {
            world.wake_at(Actor::SenderTimer, until);
        }
        Ok(())
    }

    fn fail(&mut self, failure: Failure, world: &mut World, wires: &mut Wires) {
        self.control_out.push_abort(&failure);
        self.end = Some(End::Failed(failure));
        wires.data.iter_mut().for_each(|wire| wire.cut(world));
        self.say_last_words(world, wires);
    }

    /// Writes the bytes that the control socket's outbox held when the end came: an abort's reason, if there
    /// is one.
    fn say_last_words(&mut self, world: &mut World, wires: &mut Wires) {
        let flushed = self.control_out.flush(world, &mut wires.up);
        if flushed.is_err() || self.control_out.is_empty() {
            wires.up.close(world);
            wires.down.cut(world);
        }
    }
}
