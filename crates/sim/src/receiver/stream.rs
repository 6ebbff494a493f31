//! The receiver's thread of one data socket.
//!
//! It reads segments in place, or into bounce buffers and unpacks them.

use std::{collections::VecDeque, convert::Infallible};

use gputcp_proto::{
    bounce::{Filling, Unpack, Unpacking},
    frame::{Join, SegmentHeader},
    recv::{InPlace, Landing},
    window::Window,
};

use super::Receiver;
use crate::{
    end::{Failure, Inbox},
    lane::{Lane, Ticket},
    settings::Settings,
    wire::{Closed, Wires},
    world::{Actor, World},
};

/// The number of bounce buffers per data socket.
const BOUNCE: usize = 4;

/// A data socket's thread.
#[derive(Debug)]
pub(super) struct Stream {
    ring: Window<BOUNCE>,
    bounce: Vec<Vec<u8>>,
    lane: Lane<Gather>,
    unpacking: VecDeque<Unpacking<Ticket>>,
    header: Inbox,
    reading: Option<Reading>,
    segments: u64,
}

/// The part that the socket gives next.
#[derive(Debug)]
enum Reading {
    Join,
    Header,
    /// A segment for which no bounce buffer is free yet.
    Waiting(Landing),
    Bounce(Filling),
    InPlace(InPlace),
    /// The sender has ended the socket.
    Ended,
}

/// An unpack: bytes go from a bounce buffer to a destination.
#[derive(Debug)]
struct Gather {
    buffer: usize,
    destination: usize,
    offset: usize,
    bytes: usize,
}

struct Launcher<'a> {
    lane: &'a mut Lane<Gather>,
    world: &'a mut World,
}

impl Unpack for Launcher<'_> {
    type Done = Ticket;
    type Error = Infallible;

    fn launch(&mut self, index: usize, landing: &Landing) -> Result<Ticket, Infallible> {
        let (offset, bytes) = (landing.offset() as usize, landing.bytes() as usize);
        let gather = Gather { buffer: index, destination: landing.slot_index(), offset, bytes };
        Ok(self.lane.launch(self.world, gather))
    }
}

impl Stream {
    pub(super) fn new(settings: &Settings, at: usize) -> Self {
        Self {
            ring: Window::new(),
            bounce: vec![vec![0; settings.segment_bytes as usize]; BOUNCE],
            lane: Lane::new(settings, Actor::ReceiverStream(at)),
            unpacking: VecDeque::new(),
            header: Inbox::default(),
            reading: Some(Reading::Join),
            segments: 0,
        }
    }

    pub(super) const fn segments(&self) -> u64 {
        self.segments
    }

    pub(super) fn is_idle(&self) -> bool {
        self.ring.in_flight() == 0 && self.lane.running().next().is_none()
    }
}

impl<const N: usize> Receiver<'_, N> {
    /// Finishes unpacks, then reads while there are bytes and buffers.
    pub(super) fn carry(&mut self, at: usize, world: &mut World, wires: &mut Wires) -> Result<(), Failure> {
        let stream = &mut self.streams[at];
        while let Some(Gather { buffer, destination, offset, bytes }) = stream.lane.next_finished(world) {
            let into = self.destinations[destination].get_mut(offset..offset + bytes);
            // Without a destination, the receive has ended before its unpack, and its bytes are missing
            // there.
            into.into_iter().for_each(|into| into.copy_from_slice(&stream.bounce[buffer][..bytes]));
        }
        self.poll_unpacks(at, world)?;
        while let Some(reading) = self.streams[at].reading.take() {
            let (next, moved) = self.read(reading, at, world, wires)?;
            self.streams[at].reading = Some(next);
            self.moved(moved, world);
            if !moved {
                break;
            }
        }
        self.poll_unpacks(at, world)
    }

    fn poll_unpacks(&mut self, at: usize, world: &mut World) -> Result<(), Failure> {
        while let Some(unpacking) = self.streams[at].unpacking.pop_front() {
            match unpacking.poll() {
                Ok(Ok((slot, placed))) => {
                    self.streams[at].ring.release(slot);
                    world.wake_soon(Actor::ReceiverStream(at));
                    self.place(placed, world)?;
                }
                Ok(Err(running)) => {
                    self.streams[at].unpacking.push_front(running);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Reads the next part. Returns the part to read after it, and whether anything moved.
    fn read(
        &mut self,
        reading: Reading,
        at: usize,
        world: &mut World,
        wires: &mut Wires,
    ) -> Result<(Reading, bool), Failure> {
        let wire = &mut wires.data[at];
        let stream = &mut self.streams[at];
        match reading {
            Reading::Join => {
                let Some(bytes) = stream.header.read_frame(world, wire)? else { return Ok((reading, false)) };
                self.join(Join::decode(&bytes)?, at as u16 + 1, world)?;
                Ok((Reading::Header, true))
            }
            Reading::Header => {
                let bytes = match stream.header.read_frame(world, wire) {
                    // The sender ends its data sockets when all is written.
                    Err(Closed::Eof) if stream.header.is_empty() => {
                        self.stream_ended(world);
                        return Ok((Reading::Ended, false));
                    }
                    bytes => bytes?,
                };
                let Some(bytes) = bytes else { return Ok((reading, false)) };
                let side = self.side.as_mut().expect("the sender was welcomed, or could not deal");
                let landing = side.begin(&SegmentHeader::decode(&bytes)?)?;
                if landing.offset() == 0 {
                    let frames = self.announcer.begun(landing.seq(), false, side.done());
                    self.control_out.push(frames);
                    world.wake_soon(Actor::ReceiverControl);
                }
                stream.segments += 1;
                Ok((self.land(landing, at), true))
            }
            Reading::Ended => Ok((reading, false)),
            Reading::Waiting(landing) => {
                let next = self.land(landing, at);
                let moved = matches!(next, Reading::Bounce(_));
                Ok((next, moved))
            }
            Reading::Bounce(filling) => {
                let (buffer, from) = (filling.index(), filling.have() as usize);
                let is_read = stream.lane.running().any(|gather| gather.buffer == buffer);
                self.overwritten += u64::from(is_read);
                let to = from + filling.missing() as usize;
                let got = wire.read(world, &mut stream.bounce[buffer][from..to])?;
                self.landed_bytes += got as u64;
                match filling.advance(got as u64) {
                    Ok(filled) => {
                        let mut launcher = Launcher { lane: &mut stream.lane, world };
                        let Ok(unpacking) = filled.unpack(&mut launcher);
                        stream.unpacking.push_back(unpacking);
                        Ok((Reading::Header, true))
                    }
                    Err(filling) => Ok((Reading::Bounce(filling), got > 0)),
                }
            }
            Reading::InPlace(in_place) => {
                let (index, start) = (in_place.landing().slot_index(), in_place.landing().offset());
                let from = (start + in_place.have()) as usize;
                let to = from + in_place.missing() as usize;
                let got = wire.read(world, &mut self.destinations[index][from..to])?;
                self.landed_bytes += got as u64;
                match in_place.advance(got as u64) {
                    Ok(placed) => {
                        self.place(placed, world)?;
                        Ok((Reading::Header, true))
                    }
                    Err(in_place) => Ok((Reading::InPlace(in_place), got > 0)),
                }
            }
        }
    }

    /// Chooses where a segment's bytes go: to their destination, or to a bounce buffer if one is free.
    fn land(&mut self, landing: Landing, at: usize) -> Reading {
        if !self.settings.destination_on_device {
            return Reading::InPlace(InPlace::new(landing));
        }
        match self.streams[at].ring.issue() {
            Some(slot) => Reading::Bounce(Filling::new(slot, landing)),
            None => Reading::Waiting(landing),
        }
    }
}
