//! The sending end, as the driver sees it.

use gputcp_proto::{
    connection::{
        self, End, Failure, Inbox, Sender, Step,
        sender::{self, Work},
    },
    recv::Unfinished,
    stage::Staging,
};

use super::{
    request::Request,
    side::{Desk, Did, Finish, Side, Taken},
    task::time,
};
use crate::{
    faults::{Party, WireName},
    lane::{Lost, Ticket},
    memory::content,
    wire::Io,
    world::World,
};

impl Side for Sender<Ticket> {
    const PARTY: Party = Party::Sender;
    const OUT: WireName = WireName::Up;
    const IN: WireName = WireName::Down;
    type Stream = sender::Stream<Ticket>;

    fn new(agreed: &connection::Settings) -> Self {
        Self::new(agreed)
    }

    fn stream(number: usize, buffers: Option<usize>) -> Self::Stream {
        sender::Stream::new(number, buffers)
    }

    fn work(stream: &mut Self::Stream, number: usize, desk: &mut Desk<'_>, world: &mut World) -> Did {
        let (memory, clock) = (&mut desk.memory, &mut world.clock);
        let wire = WireName::Data(number);
        let (slot, header, io) = match stream.work() {
            Work::Connection => return Did::Connection,
            Work::Hear => return Did::Hear,
            Work::InPlace { header, segment, written } => {
                let slot = segment.slot_index();
                let bytes =
                    memory.of_slot(clock, slot, segment.offset() + written, segment.bytes() - written);
                (slot, header.rest().len(), world.write(wire, [header.rest(), bytes]))
            }
            Work::Staged { header, staged } => {
                let (from, segment) = (staged.have_written(), staged.segment());
                let bytes = memory.of_buffer(clock, (number, staged.index()), from, segment.bytes() - from);
                (segment.slot_index(), header.rest().len(), world.write(wire, [header.rest(), bytes]))
            }
            Work::Stage(buffer, segment) => {
                let (slot, offset) = (segment.slot_index(), segment.offset());
                clock.log(Party::Sender, Some(memory.item(slot)), || {
                    format!("byte {offset} on: staged in buffer {} of stream {number}", buffer.index())
                });
                match Staging::start(buffer, segment, &mut memory.launcher(clock, number)) {
                    Ok(staging) => stream.staging(staging),
                    Err(Lost) => return Did::Lost,
                }
                memory.spoil(slot);
                return Did::Some;
            }
        };
        match io {
            Io::Some(bytes) => {
                desk.moved_at = world.clock.now;
                memory.took(slot, bytes.saturating_sub(header) as u64);
                let item = memory.item(slot);
                world
                    .clock
                    .log(Party::Sender, Some(item), || format!("{bytes} bytes go out on stream {number}"));
                desk.carried += stream.wrote(bytes);
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
        _: usize,
        _: &mut Desk<'_>,
        world: &mut World,
    ) -> Result<Step<Ticket>, Lost> {
        Self::step(self, stream, time(world))
    }

    fn segments(stream: &Self::Stream) -> u64 {
        stream.segments()
    }

    fn take_message(&mut self, _: &mut Inbox<Ticket>, _: &mut Desk<'_>, _: &mut World) -> Taken {
        Taken::Failed(Failure::Local)
    }

    fn post(&mut self, number: usize, desk: &mut Desk<'_>, world: &mut World) -> Option<Request> {
        let item = desk.settings.sends[number];
        let send = sender::Send {
            bytes: item.bytes,
            is_staged: item.on_device,
            tag: item.tag,
            is_prompt: item.is_prompt,
        };
        let slot = Self::post(self, send)?;
        let bytes = content(desk.settings.seed, number, item.bytes);
        desk.memory.open(&mut world.clock, slot.index(), number, item).extend(bytes);
        world.clock.log(Party::Sender, Some(number), || format!("posted: {item:?} in slot {}", slot.index()));
        Some(Request::of_one(number, slot))
    }

    fn finish(&mut self, request: Request, desk: &mut Desk<'_>, world: &mut World) -> Result<Finish, Lost> {
        let (number, slot) = request.into_one();
        let index = slot.index();
        let sent = match Self::finish(self, slot) {
            Ok(sent) => sent,
            Err(Unfinished::NotYet(slot)) => return Ok(Finish::NotYet(Request::of_one(number, slot))),
            Err(Unfinished::Never(slot)) => return Ok(Finish::Never(Request::of_one(number, slot))),
        };
        let (_, taken) = desk.memory.close(index);
        let asked = desk.settings.sends[number].bytes;
        world.clock.demand(sent.bytes == asked && taken == asked, || {
            format!("message {number} of {asked} bytes is finished with {} sent, {taken} written", sent.bytes)
        });
        world.clock.log(Party::Sender, Some(number), || "sent");
        Ok(Finish::Done(Ok(sent.bytes)))
    }

    fn is_idle(&self, mut streams: &mut dyn Iterator<Item = &Self::Stream>) -> bool {
        Self::is_idle(self) && (&mut streams).all(sender::Stream::is_idle) && self.in_flight() == 0
    }
}
