//! The receiving end, as the driver sees it.

use gputcp_proto::{
    connection::{
        self, Failure, Inbox, Receiver, SocketError, Step,
        receiver::{self, Receive, Short, Work},
    },
    frame::SegmentHeader,
    recv::{Received, Unfinished},
    window::Slot,
};

use super::{
    request::{MOST, Request},
    side::{Desk, Did, Finish, Side, Taken},
    task::time,
};
use crate::{
    faults::{Flaw, Party, WireName},
    lane::{Lost, Ticket},
    memory::content,
    wire::Io,
    world::World,
};

impl Side for Receiver<Ticket> {
    const PARTY: Party = Party::Receiver;
    const OUT: WireName = WireName::Down;
    const IN: WireName = WireName::Up;
    type Stream = receiver::Stream<Ticket>;

    fn new(agreed: &connection::Settings) -> Self {
        Self::new(agreed)
    }

    fn stream(number: usize, _: Option<usize>) -> Self::Stream {
        receiver::Stream::new(number)
    }

    fn work(stream: &mut Self::Stream, number: usize, desk: &mut Desk<'_>, world: &mut World) -> Did {
        let Desk { memory, heads, .. } = desk;
        let wire = WireName::Data(number);
        let (is_head, io) = match stream.work() {
            Work::Connection => return Did::Connection,
            Work::Hear => return Did::Hear,
            Work::Header(into) => {
                let io = world.read(wire, into);
                if let Io::Some(bytes) = io {
                    heads[number].extend(&into[..bytes]);
                }
                (true, io)
            }
            Work::InPlace(in_place) => {
                let (landing, have) = (in_place.landing(), in_place.have());
                let (slot, from) = (landing.slot_index(), landing.offset() + have);
                let into = memory.of_slot(&mut world.clock, slot, from, in_place.missing());
                (false, world.read(wire, into))
            }
            Work::Bounce(filling) => {
                let place = (number, filling.index());
                let into = memory.of_buffer(&mut world.clock, place, filling.have(), filling.missing());
                (false, world.read(wire, into))
            }
            Work::Unpack(filled) => {
                let landing = filled.landing();
                let item = Some(memory.item(landing.slot_index()));
                let offset = landing.offset();
                world.clock.log(Party::Receiver, item, || format!("byte {offset} on: bounced, unpacked"));
                return match filled.unpack(&mut memory.launcher(&mut world.clock, number)) {
                    Ok(unpacking) => {
                        stream.launched(unpacking);
                        Did::Some
                    }
                    Err(Lost) => Did::Lost,
                };
            }
            Work::Early { .. } => return Did::Connection,
        };
        match io {
            Io::Some(bytes) => {
                desk.moved_at = world.clock.now;
                desk.carried += if is_head { 0 } else { bytes as u64 };
                world.clock.log(Party::Receiver, None, || format!("{bytes} bytes come on stream {number}"));
                stream.got(bytes);
                Did::Some
            }
            Io::Blocked => Did::Blocked,
            Io::Failed(error) => {
                stream.failed(error);
                Did::Some
            }
        }
    }

    fn step(
        &mut self,
        stream: &mut Self::Stream,
        number: usize,
        desk: &mut Desk<'_>,
        world: &mut World,
    ) -> Result<Step<Ticket>, Lost> {
        let step = Self::step(self, stream, time(world));
        let head = &mut desk.heads[number];
        if let Some(header) = head.first_chunk() {
            let header = SegmentHeader::decode(header);
            head.clear();
            if let (Ok(header), Ok(Step::GoOn)) = (header, &step) {
                let item = Some(header.seq as usize);
                world.clock.log(Party::Receiver, item, || format!("begins on stream {number}: {header:?}"));
                desk.referee.segment(&mut world.clock, &header);
            }
        }
        step
    }

    fn segments(stream: &Self::Stream) -> u64 {
        stream.segments()
    }

    fn take_message(&mut self, inbox: &mut Inbox<Ticket>, desk: &mut Desk<'_>, world: &mut World) -> Taken {
        loop {
            let Some((short, here)) = inbox.message() else { return Taken::All };
            match take(self, short, here, desk, world) {
                Ok(used) => inbox.used(used),
                Err(taken) => return taken,
            }
        }
    }

    fn post(&mut self, number: usize, desk: &mut Desk<'_>, world: &mut World) -> Option<Request> {
        let group = &desk.settings.receives[number];
        let first: usize = desk.settings.receives[..number].iter().map(Vec::len).sum();
        let receive = |at: usize| {
            let item = group[at.min(group.len() - 1)];
            Receive { capacity: item.bytes, is_bounced: item.on_device, tag: item.tag }
        };
        let mut slots = [const { None }; MOST];
        let mut early = None;
        if let [_] = group[..] {
            let posted = Self::post(self, receive(0))?;
            slots[0] = Some(posted.slot);
            early = posted.early;
        } else if !self.post_group(&std::array::from_fn::<_, MOST, _>(receive)[..group.len()], &mut slots) {
            return None;
        }
        for (at, slot) in slots.iter().flatten().enumerate() {
            let (index, capacity) = (slot.index(), group[at].bytes);
            let memory = desk.memory.open(&mut world.clock, index, first + at, group[at]);
            memory.resize(capacity as usize, 0xee);
            desk.referee.posted(capacity);
            let item = &group[at];
            let early = if early.is_some() { ", has come already" } else { "" };
            world.clock.log(Party::Receiver, Some(first + at), || {
                format!("posted: {item:?} in slot {index}{early}")
            });
        }
        Some(Request { number, slots, early })
    }

    fn deliver(&mut self, request: &mut Request, desk: &mut Desk<'_>, world: &mut World) -> Taken {
        let Some(short) = &mut request.early else { return Taken::All };
        loop {
            let Err(taken) = take(self, short, &[], desk, world) else { continue };
            if let Taken::All = taken {
                request.early = None;
            }
            return taken;
        }
    }

    fn finish(&mut self, request: Request, desk: &mut Desk<'_>, world: &mut World) -> Result<Finish, Lost> {
        let Request { number, mut slots, early } = request;
        let first: usize = desk.settings.receives[..number].iter().map(Vec::len).sum();
        let count = desk.settings.receives[number].len();
        let mut received = [Received { bytes: 0 }; MOST];
        let mut indices = [0; MOST];
        indices.iter_mut().zip(slots.iter().flatten()).for_each(|(to, slot)| *to = slot.index());
        if count > 1 {
            let is_done = self.finish_group(&mut slots, &mut received)?;
            if !is_done {
                let request = Request { number, slots, early };
                return Ok(if self.is_over() { Finish::Never(request) } else { Finish::NotYet(request) });
            }
        } else {
            let back = |slot| Request { number, slots: alone(slot), early };
            let Some(slot) = slots[0].take() else { unreachable!("a request has a slot") };
            match Self::finish(self, slot)? {
                Ok(message) => received[0] = message,
                Err(Unfinished::NotYet(slot)) => return Ok(Finish::NotYet(back(slot))),
                // Its user looks at the end later, and has a request that is not finished.
                Err(Unfinished::Never(slot)) if desk.settings.flaw == Some(Flaw::EndAfterReceive) => {
                    return Ok(Finish::NotYet(back(slot)));
                }
                Err(Unfinished::Never(slot)) => return Ok(Finish::Never(back(slot))),
            }
        }
        let mut sum = Ok(0);
        for at in 0..count {
            let (item, bytes) = (first + at, received[at].bytes);
            desk.referee.finished(item as u64);
            desk.memory.leave_place(item as u64);
            let (memory, _) = desk.memory.close(indices[at]);
            let is_right = desk.matches[item].is_some_and(|message| {
                let (data, rest) = memory.split_at(memory.len().min(bytes as usize));
                data == content(desk.settings.seed, message, bytes)
                    && bytes == desk.settings.sends[message].bytes
                    && rest.iter().all(|byte| *byte == 0xee)
            });
            world
                .clock
                .log(Party::Receiver, Some(item), || format!("received: {bytes} bytes, right: {is_right}"));
            sum = sum.and_then(|sum| if is_right { Ok(sum + bytes) } else { Err(item) });
        }
        Ok(Finish::Done(sum))
    }

    fn newest_unpack(&self) -> Option<Ticket> {
        Self::newest_unpack(self)
    }

    fn is_over(&self) -> bool {
        Self::is_over(self)
    }

    fn is_idle(&self, _: &mut dyn Iterator<Item = &Self::Stream>) -> bool {
        Self::is_idle(self)
    }
}

fn alone(slot: Slot) -> [Option<Slot>; MOST] {
    let mut slots = [const { None }; MOST];
    slots[0] = Some(slot);
    slots
}

/// Takes a part of a short message: from its eager place, of the bytes that came with its frame, or from the
/// socket. Returns how many came with its frame and were used; or the end.
fn take(
    end: &mut Receiver<Ticket>,
    short: &mut Short<Ticket>,
    here: &[u8],
    desk: &mut Desk<'_>,
    world: &mut World,
) -> Result<usize, Taken> {
    let (memory, clock) = (&mut desk.memory, &mut world.clock);
    let ring = desk.agreed.streams;
    let place = short.source().map(|place| memory.of_place(place));
    let (have, into) = match short.work() {
        Work::Connection | Work::Header(_) | Work::Hear => {
            return match end.step_short(short) {
                Ok(Step::Over) => Err(Taken::All),
                Ok(Step::Lane(ticket)) => Err(Taken::Lane(ticket)),
                Ok(_) => Ok(0),
                Err(Lost) => Err(Taken::Failed(Failure::Local)),
            };
        }
        Work::Unpack(filled) => {
            return match filled.unpack(&mut memory.launcher(clock, ring)) {
                Ok(unpacking) => {
                    short.launched(unpacking);
                    Ok(0)
                }
                Err(Lost) => Err(Taken::Failed(Failure::Local)),
            };
        }
        Work::InPlace(in_place) => {
            let (slot, have) = (in_place.landing().slot_index(), in_place.have());
            (have, memory.of_slot(clock, slot, have, in_place.missing()))
        }
        Work::Bounce(filling) => {
            let have = filling.have();
            (have, memory.of_buffer(clock, (ring, filling.index()), have, filling.missing()))
        }
        Work::Early { place, have, missing } => {
            let place = memory.place_for(clock, place, desk.short);
            (have, &mut place[have as usize..(have + missing) as usize])
        }
    };
    let (bytes, used) = if let Some(place) = place {
        into.copy_from_slice(&place[have as usize..][..into.len()]);
        (into.len(), 0)
    } else if here.is_empty() {
        match world.read(WireName::Up, into) {
            Io::Some(bytes) => (bytes, 0),
            Io::Blocked => return Err(Taken::Blocked),
            Io::Failed(error) => return Err(Taken::Failed(Failure::Socket(error))),
        }
    } else {
        let bytes = here.len().min(into.len());
        into[..bytes].copy_from_slice(&here[..bytes]);
        (bytes, bytes)
    };
    desk.moved_at = world.clock.now;
    desk.heard_at = world.clock.now;
    if short.source().is_none() {
        desk.carried += bytes as u64;
    }
    short.got(bytes as u64).map_err(|error: SocketError| Taken::Failed(Failure::Socket(error)))?;
    Ok(used)
}
