//! One direction of a simulated socket: bytes in order, as fast as its speed allows, in pieces of any length.

use std::collections::VecDeque;

use crate::{
    faults::{Fault, FaultKind, WireName},
    settings::Settings,
    world::{Actor, World},
};

/// The wires of a connection.
#[derive(Debug)]
pub struct Wires {
    /// The control socket, sender → receiver.
    pub up: Wire,
    /// The control socket, receiver → sender.
    pub down: Wire,
    /// The data sockets.
    pub data: Vec<Wire>,
}

impl Wires {
    /// Returns the wires of a connection with these settings.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            up: Wire::new(settings, WireName::ControlUp),
            down: Wire::new(settings, WireName::ControlDown),
            data: (0..settings.streams()).map(|at| Wire::new(settings, WireName::Data(at))).collect(),
        }
    }
}

/// The way in which a wire ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The writer closed it, and all its bytes were read.
    Eof,
    /// The wire was cut.
    Reset,
}

/// A wire, between the thread that writes it and the thread that reads it.
#[derive(Debug)]
pub struct Wire {
    name: WireName,
    writer: Actor,
    reader: Actor,
    ns_per_byte: u64,
    latency_ns: u64,
    buffer_bytes: usize,
    short_io: bool,
    /// Bytes that are on their way or unread, with their time of arrival.
    parcels: VecDeque<(u64, VecDeque<u8>)>,
    held: usize,
    written: u64,
    /// The time at which the wire is done with all bytes written so far.
    busy_until: u64,
    eof: bool,
    reset: bool,
    fault: Option<Fault>,
    fault_hit: bool,
}

impl Wire {
    /// Returns the wire of that name between two threads.
    #[must_use]
    pub fn new(settings: &Settings, name: WireName) -> Self {
        let (writer, reader, ns_per_byte) = match name {
            WireName::ControlUp => {
                (Actor::SenderControl, Actor::ReceiverControl, settings.control_ns_per_byte)
            }
            WireName::ControlDown => {
                (Actor::ReceiverControl, Actor::SenderControl, settings.control_ns_per_byte)
            }
            WireName::Data(at) => {
                (Actor::SenderStream(at), Actor::ReceiverStream(at), settings.ns_per_byte[at])
            }
        };
        Self {
            name,
            writer,
            reader,
            ns_per_byte,
            latency_ns: settings.latency_ns,
            buffer_bytes: settings.socket_buffer_bytes,
            short_io: settings.short_io,
            parcels: VecDeque::new(),
            held: 0,
            written: 0,
            busy_until: 0,
            eof: false,
            reset: false,
            fault: settings.fault.filter(|fault| fault.wire == name),
            fault_hit: false,
        }
    }

    /// Takes as many of the bytes as there is room for, or fewer. Returns 0 when the writer must wait to be
    /// woken.
    ///
    /// # Errors
    /// If the wire was cut or closed.
    pub fn write(&mut self, world: &mut World, bytes: &[u8]) -> Result<usize, Closed> {
        if self.reset || self.eof {
            return Err(Closed::Reset);
        }
        let room = self.buffer_bytes - self.held;
        let taken = self.some_of(world, bytes.len().min(room));
        if taken == 0 {
            return Ok(0);
        }
        let start = self.written;
        self.written += taken as u64;
        self.held += taken;
        self.busy_until = self.busy_until.max(world.now()) + taken as u64 * self.ns_per_byte;
        let mut parcel: VecDeque<u8> = bytes[..taken].iter().copied().collect();
        world.note(&format_args!("{:?} takes", self.name), taken as u64);
        if self.is_stalled() {
            return Ok(taken); // Lost, though it fills the buffer: it is never read.
        }
        let hit = self.fault.filter(|fault| (start..self.written).contains(&fault.at));
        if let Some(fault) = hit {
            self.fault_hit = true;
            let at = (fault.at - start) as usize;
            match fault.kind {
                FaultKind::Flip(mask) => parcel[at] ^= mask,
                FaultKind::Reset => {
                    self.cut(world);
                    return Ok(taken);
                }
                FaultKind::Eof => {
                    parcel.truncate(at);
                    self.eof = true;
                }
                FaultKind::Stall => parcel.truncate(at),
            }
        }
        let arrival = self.busy_until + self.latency_ns;
        self.parcels.push_back((arrival, parcel));
        world.wake_at(self.reader, arrival);
        Ok(taken)
    }

    /// Reads some of the bytes that have arrived. Returns 0 when the reader must wait to be woken.
    ///
    /// # Errors
    /// If the wire was cut, or was closed and everything is read.
    pub fn read(&mut self, world: &mut World, into: &mut [u8]) -> Result<usize, Closed> {
        if self.reset {
            return Err(Closed::Reset);
        }
        let here = self.parcels.iter().take_while(|(arrival, _)| *arrival <= world.now());
        let here: usize = here.map(|(_, parcel)| parcel.len()).sum();
        let given = self.some_of(world, here.min(into.len()));
        for byte in &mut into[..given] {
            *byte = self.next_byte();
        }
        while self
            .parcels
            .front()
            .is_some_and(|(arrival, parcel)| *arrival <= world.now() && parcel.is_empty())
        {
            self.parcels.pop_front();
        }
        if given > 0 {
            self.held -= given;
            world.note(&format_args!("{:?} gives", self.name), given as u64);
            world.wake_soon(self.writer);
        } else if let Some(&(arrival, _)) = self.parcels.front() {
            world.wake_at(self.reader, arrival);
        } else if self.eof {
            return Err(Closed::Eof);
        }
        Ok(given)
    }

    /// Closes the wire for its writer: bytes on their way still arrive.
    pub fn close(&mut self, world: &mut World) {
        self.eof = true;
        let last = self.parcels.back().map_or_else(|| world.now() + self.latency_ns, |&(arrival, _)| arrival);
        if !self.is_stalled() {
            world.wake_at(self.reader, last);
        }
    }

    /// Cuts the wire: bytes on their way are lost.
    pub fn cut(&mut self, world: &mut World) {
        if !self.is_stalled() {
            self.reset = true;
            self.parcels.clear();
            world.wake_soon(self.writer);
            world.wake_soon(self.reader);
        }
    }

    /// Returns whether no byte is on its way or unread.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// Returns whether the wire's fault has happened.
    #[must_use]
    pub const fn fault_hit(&self) -> bool {
        self.fault_hit
    }

    fn is_stalled(&self) -> bool {
        self.fault_hit && self.fault.is_some_and(|fault| fault.kind == FaultKind::Stall)
    }

    fn some_of(&self, world: &mut World, most: usize) -> usize {
        if self.short_io && most > 1 && world.rng.u8(0..4) == 0 { world.rng.usize(1..=most) } else { most }
    }

    fn next_byte(&mut self) -> u8 {
        loop {
            let (_, parcel) = self.parcels.front_mut().expect("as many bytes as were counted");
            match parcel.pop_front() {
                Some(byte) => return byte,
                None => _ = self.parcels.pop_front(),
            }
        }
    }
}
