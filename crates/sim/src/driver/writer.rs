//! Writes the control socket: one actor at a time, which may take its time before and behind a write.

use gputcp_proto::{
    connection::{
        Failure, Write,
        sender::{Departure, Work, Wrote},
    },
    frame::{ABORT_BYTES_MAX, Control},
    stage::Staging,
};

use super::{Driver, side::Side};
use crate::{faults::Role, lane::Ticket, wire::Io, world::World};

#[derive(Default)]
pub(super) struct Writer {
    /// The write under way, if it takes its time.
    current: Option<Current>,
    pub(super) wants_room: bool,
    /// The reason of a failure was said.
    has_said: bool,
    /// A write has failed.
    is_broken: bool,
    buffer: Vec<u8>,
}

enum Current {
    /// Frames in the buffer, before or behind their write.
    Frames(usize, Option<Io>),
    Message(Departure<Ticket>, Option<Wrote>),
    Abort,
}

impl Writer {
    pub(super) const fn is_writing(&self) -> bool {
        self.current.is_some()
    }
}

impl<S: Side> Driver<'_, S> {
    /// Goes on with the write under way, or finds room, or writes because no other actor did.
    pub(super) fn write_on(&mut self, world: &mut World) {
        if let Some(current) = self.writer.current.take() {
            self.write_part(current, world);
        }
        if self.writer.wants_room && world.has_room(S::OUT) {
            world.clock.log(S::PARTY, None, || "the control socket has room");
            self.writer.wants_room = false;
            self.end.room();
        }
        // Not without a look at the effects: a failure's reason comes before its last words.
        self.perform(world);
    }

    /// Writes what there is. Returns whether the effects are worth another look.
    pub(super) fn write(&mut self, world: &mut World) -> bool {
        let is_writing = self.writer.is_writing();
        let mut spare = [0; 64];
        let buffer = if is_writing {
            &mut spare[..]
        } else {
            self.writer.buffer.resize(world.clock.rng.usize(1..=200), 0);
            &mut self.writer.buffer
        };
        let Ok(next) = self.end.next_write(buffer) else {
            self.end.life_mut().fail(Failure::Local);
            return true;
        };
        let is_nothing = matches!(next, Write::Nothing);
        world.clock.demand(!is_writing || is_nothing, || format!("{:?}: two actors write at once", S::PARTY));
        match next {
            Write::Frames(bytes) => self.write_part(Current::Frames(bytes, None), world),
            Write::Message(message) => self.write_part(Current::Message(message, None), world),
            Write::Abort => self.write_part(Current::Abort, world),
            Write::Lane(ticket) => {
                world.clock.wake_at(S::PARTY, Role::Writer, ticket.done_at());
                return false;
            }
            Write::Shut => {
                world.clock.log(S::PARTY, None, || "shuts the control socket down");
                self.check_last_words(world);
                world.shut(S::OUT, S::PARTY);
                world.shut(S::IN, S::PARTY);
            }
            Write::Nothing => return false,
        }
        !self.writer.is_writing()
    }

    /// Writes and reports, each now or later.
    fn write_part(&mut self, current: Current, world: &mut World) {
        let current = match current {
            Current::Frames(..) | Current::Message(..) if self.takes_time(world) => current,
            Current::Frames(bytes, None) => {
                let io = world.write(S::OUT, [&self.writer.buffer[..bytes], &[]]);
                Current::Frames(bytes, Some(io))
            }
            Current::Message(mut message, None) => {
                let wrote = self.write_message(&mut message, world);
                Current::Message(message, Some(wrote))
            }
            current => return self.report(current, world),
        };
        if self.takes_time(world) {
            self.writer.current = Some(current);
            let at = world.clock.now + world.clock.rng.u64(1..=self.desk.settings.write_ns_max);
            world.clock.wake_at(S::PARTY, Role::Writer, at);
        } else {
            self.write_part(current, world);
        }
    }

    fn takes_time(&self, world: &mut World) -> bool {
        self.desk.settings.write_ns_max > 0 && world.clock.one_in(4)
    }

    fn report(&mut self, current: Current, world: &mut World) {
        match current {
            Current::Frames(_, Some(Io::Some(bytes))) => self.end.wrote(bytes),
            Current::Frames(_, Some(Io::Blocked)) => self.end.no_room(),
            Current::Frames(_, Some(Io::Failed(error))) => {
                self.writer.is_broken = true;
                self.end.write_failed(error);
            }
            Current::Message(message, Some(wrote)) => {
                self.writer.is_broken |= matches!(wrote, Wrote::Failed(_));
                self.end.wrote_message(message, wrote);
            }
            Current::Abort => {
                let mut text = format!("{:?}", self.failure);
                text.truncate(ABORT_BYTES_MAX as usize);
                let head = Control::Abort { bytes: text.len() as u32 }.encode();
                world.clock.log(S::PARTY, None, || "says why it aborts");
                let is_known = self.failure.is_some();
                world.clock.demand(is_known, || format!("{:?} has last words without a reason", S::PARTY));
                self.writer.has_said = true;
                world.write(S::OUT, [&head, text.as_bytes()]);
                self.end.wrote(0);
            }
            Current::Frames(_, None) | Current::Message(_, None) => unreachable!("it is written first"),
        }
    }

    /// Demands that the peer was told of a failure that is news to it, unless nothing could be said.
    fn check_last_words(&self, world: &mut World) {
        let life = self.end.life();
        let is_mute = self.writer.wants_room || self.writer.is_broken || self.end.is_amid_write();
        let is_heard = !is_mute && !life.has_frames() && !life.control_has_ended();
        let is_news =
            matches!(self.failure, Some(Failure::Local | Failure::Violation(_) | Failure::TooLong(_)));
        let is_told = self.writer.has_said || !is_heard || !is_news;
        world.clock.demand(is_told, || format!("{:?} does not say why it fails", S::PARTY));
    }

    fn write_message(&mut self, message: &mut Departure<Ticket>, world: &mut World) -> Wrote {
        let (memory, clock) = (&mut self.desk.memory, &mut world.clock);
        let ring = self.desk.agreed.streams;
        let (slot, header, io) = match message.work() {
            Work::InPlace { header, segment, written } => {
                let slot = segment.slot_index();
                let bytes =
                    memory.of_slot(clock, slot, segment.offset() + written, segment.bytes() - written);
                (slot, header.rest().len(), world.write(S::OUT, [header.rest(), bytes]))
            }
            Work::Staged { header, staged } => {
                let (from, segment) = (staged.have_written(), staged.segment());
                let bytes = memory.of_buffer(clock, (ring, staged.index()), from, segment.bytes() - from);
                (segment.slot_index(), header.rest().len(), world.write(S::OUT, [header.rest(), bytes]))
            }
            Work::Stage(buffer, segment) => {
                let slot = segment.slot_index();
                if let Ok(staging) = Staging::start(buffer, segment, &mut memory.launcher(clock, ring)) {
                    message.staging(staging);
                    memory.spoil(slot);
                } else {
                    self.end.life_mut().fail(Failure::Local);
                }
                return Wrote::Some;
            }
            Work::Connection | Work::Hear => return Wrote::Some,
        };
        match io {
            Io::Some(bytes) => {
                self.desk.moved_at = world.clock.now;
                memory.took(slot, bytes.saturating_sub(header) as u64);
                let item = memory.item(slot);
                world
                    .clock
                    .log(S::PARTY, Some(item), || format!("{bytes} bytes go out on the control socket"));
                self.desk.carried += message.wrote(bytes);
                Wrote::Some
            }
            Io::Blocked => {
                world.clock.log(S::PARTY, None, || "the control socket has no room");
                Wrote::NoRoom
            }
            Io::Failed(error) => Wrote::Failed(error),
        }
    }
}
