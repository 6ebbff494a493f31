//! One direction of a simulated socket: bytes in order, as fast as its speed allows, in pieces of any length.

use std::collections::VecDeque;

use gputcp_proto::connection::SocketError;

use crate::{
    adversary::Tamperer,
    clock::Clock,
    faults::{Fault, Party, Role, WireFault, WireName},
    settings::Settings,
};

/// The outcome of a call of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Io {
    /// So many bytes; 0 read bytes are the end of the stream.
    Some(usize),
    /// The socket is not ready: its actor is woken when it is.
    Blocked,
    Failed(SocketError),
}

/// The wires of a connection: up, down, and those of the data sockets.
pub(crate) struct Wires(Vec<Wire>);

/// A wire, between the actor that writes it and the actor that reads it.
pub(crate) struct Wire {
    writer: (Party, Role),
    reader: (Party, Role),
    name: WireName,
    ns_per_byte: u64,
    latency_ns: u64,
    buffer_bytes: usize,
    short_io: bool,
    /// Bytes that are on their way or unread, and their times of arrival with the ends of their pieces.
    bytes: VecDeque<u8>,
    pieces: VecDeque<(u64, u64)>,
    written: u64,
    /// The bytes that have come out of the wire.
    read: u64,
    /// The time at which the wire is done with all bytes written so far.
    busy_until: u64,
    /// The writer has ended the stream, which the reader sees at this time.
    ended: Option<u64>,
    /// The reader is gone.
    is_deaf: bool,
    cut: Option<SocketError>,
    is_stalled: bool,
    writer_waits: bool,
    reader_waits: bool,
    /// The faults that are left, the next one last.
    faults: Vec<(u64, WireFault)>,
    tamperer: Option<Tamperer>,
}

impl Wires {
    pub(crate) fn new(settings: &Settings) -> Self {
        let data = (0..settings.streams()).map(WireName::Data);
        Self(
            [WireName::Up, WireName::Down]
                .into_iter()
                .chain(data)
                .map(|name| Wire::new(settings, name))
                .collect(),
        )
    }

    pub(crate) fn of(&mut self, name: WireName) -> &mut Wire {
        &mut self.0[index(name)]
    }

    /// Returns whether no byte is on its way or unread.
    pub(crate) fn is_empty(&self, name: WireName) -> bool {
        self.0[index(name)].bytes.is_empty()
    }

    /// Returns whether neither side of the wire can be used by this end any more.
    pub(crate) fn is_shut(&self, name: WireName, party: Party) -> bool {
        let wire = &self.0[index(name)];
        if name.writer() == party { wire.ended.is_some() } else { wire.is_deaf }
    }

    /// Returns the number of bytes that have come to the reader's kernel.
    pub(crate) fn arrived(&self, name: WireName, now: u64) -> u64 {
        let wire = &self.0[index(name)];
        let here = wire.pieces.iter().take_while(|(at, _)| *at <= now).last();
        here.map_or(wire.read, |(_, end)| *end)
    }
}

impl Wire {
    fn new(settings: &Settings, name: WireName) -> Self {
        let (sender, receiver) = (Party::Sender, Party::Receiver);
        let (writer, reader, ns_per_byte) = match name {
            WireName::Up => ((sender, Role::Writer), (receiver, Role::Control), settings.control_ns_per_byte),
            WireName::Down => {
                ((receiver, Role::Writer), (sender, Role::Control), settings.control_ns_per_byte)
            }
            WireName::Data(at) => {
                ((sender, Role::Stream(at)), (receiver, Role::Stream(at)), settings.ns_per_byte[at])
            }
        };
        let mine = |fault: &Fault| match *fault {
            Fault::Wire { name: of, at, kind } if of == name => Some((at, kind)),
            _ => None,
        };
        let mut faults: Vec<_> = settings.faults.iter().filter_map(mine).collect();
        faults.sort_by_key(|(at, _)| u64::MAX - at);
        Self {
            writer,
            reader,
            name,
            ns_per_byte,
            latency_ns: settings.latency_ns,
            buffer_bytes: settings.socket_buffer_bytes,
            short_io: settings.short_io,
            bytes: VecDeque::new(),
            pieces: VecDeque::new(),
            written: 0,
            read: 0,
            busy_until: 0,
            ended: None,
            is_deaf: false,
            cut: None,
            is_stalled: false,
            writer_waits: false,
            reader_waits: false,
            faults,
            tamperer: settings.tamper.filter(|tamper| tamper.wire == name).map(Tamperer::new),
        }
    }

    /// Writes as many of the bytes as there is room for, or fewer. Returns the error of a fault that cuts the
    /// wire, too.
    pub(crate) fn write(&mut self, clock: &mut Clock, parts: [&[u8]; 2]) -> (Io, Option<SocketError>) {
        if let Some(error) = self.cut {
            return (Io::Failed(error), None);
        }
        if self.ended.is_some() || (self.is_deaf && !self.is_stalled) {
            return (Io::Failed(SocketError::Closed), None);
        }
        let room = self.buffer_bytes.saturating_sub(self.bytes.len());
        let taken = self.some_of(clock, (parts[0].len() + parts[1].len()).min(room));
        if taken == 0 {
            self.writer_waits = true;
            return (Io::Blocked, None);
        }
        clock.note(taken as u64);
        let of_first = taken.min(parts[0].len());
        let before = self.bytes.len();
        let taken_parts = [&parts[0][..of_first], &parts[1][..taken - of_first]];
        for part in taken_parts {
            match &mut self.tamperer {
                Some(tamperer) => tamperer.pass(clock, part, &mut self.bytes),
                None => self.bytes.extend(part),
            }
        }
        let added = self.bytes.len() - before;
        let start = self.written;
        self.written += added as u64;
        let began = self.busy_until.max(clock.now);
        self.busy_until = began + taken as u64 * self.ns_per_byte;
        let mut cut = None;
        while let Some(&(at, kind)) = self.faults.last()
            && at < self.written
        {
            self.faults.pop();
            if self.is_stalled || self.ended.is_some() {
                continue;
            }
            let name = self.name;
            clock.log_fault(|| format!("{kind:?} on {name:?} behind byte {at}"));
            let kept = before + at.saturating_sub(start) as usize;
            match kind {
                WireFault::Delay(ns) => self.busy_until += ns,
                WireFault::Flip(mask) => {
                    clock.hits.flip = true;
                    if let Some(byte) = self.bytes.get_mut(kept) {
                        *byte ^= mask;
                    }
                }
                WireFault::Cut(error) => {
                    clock.hits.cut = true;
                    cut = Some(error);
                }
                WireFault::Eof => {
                    clock.hits.eof = true;
                    self.bytes.truncate(kept);
                    self.written = start + (kept - before) as u64;
                    self.ended = Some(self.busy_until + self.latency_ns);
                }
                WireFault::Stall => {
                    clock.hits.stall = true;
                    self.is_stalled = true;
                    // The bytes before it still come.
                    let arrival = self.busy_until + self.latency_ns;
                    self.pieces.push_back((arrival, at.max(start)));
                    if self.reader_waits {
                        clock.wake_at(self.reader.0, self.reader.1, arrival);
                    }
                }
            }
        }
        if let Some(error) = cut {
            self.cut(clock, error);
        } else if self.is_stalled {
            // It fills the buffer, and is never read.
        } else {
            let arrival = self.busy_until + self.latency_ns;
            self.pieces.push_back((arrival, self.written));
            if self.reader_waits {
                clock.wake_at(self.reader.0, self.reader.1, arrival);
            }
        }
        (Io::Some(taken), cut)
    }

    /// Reads some of the bytes that have arrived.
    pub(crate) fn read(&mut self, clock: &mut Clock, into: &mut [u8]) -> Io {
        if self.is_deaf {
            return Io::Some(0);
        }
        if let Some(error) = self.cut {
            return Io::Failed(error);
        }
        let here = self.pieces.iter().take_while(|(at, _)| *at <= clock.now).last();
        let here = here.map_or(0, |(_, end)| (end - self.read) as usize);
        let given = self.some_of(clock, here.min(into.len()));
        if given == 0 {
            if let Some(&(at, _)) = self.pieces.iter().find(|(at, _)| *at > clock.now) {
                clock.wake_at(self.reader.0, self.reader.1, at);
            } else if let Some(at) = self.ended.filter(|_| !self.is_stalled) {
                if at <= clock.now {
                    return Io::Some(0);
                }
                clock.wake_at(self.reader.0, self.reader.1, at);
            }
            self.reader_waits = true;
            return Io::Blocked;
        }
        self.reader_waits = false;
        for (to, from) in into[..given].iter_mut().zip(self.bytes.drain(..given)) {
            *to = from;
        }
        self.read += given as u64;
        while self.pieces.front().is_some_and(|(_, end)| *end <= self.read) {
            self.pieces.pop_front();
        }
        clock.note(given as u64 ^ 0x4000_0000);
        if self.has_room() && std::mem::take(&mut self.writer_waits) {
            clock.wake(self.writer.0, self.writer.1);
        }
        Io::Some(given)
    }

    /// Ends the stream, as its writer; bytes on their way still arrive.
    pub(crate) fn end(&mut self, clock: &mut Clock) {
        if self.ended.is_none() {
            let at = self.busy_until.max(clock.now) + self.latency_ns;
            self.ended = Some(at);
            if self.is_stalled {
                return;
            }
            clock.wake_at(self.reader.0, self.reader.1, at);
        }
        clock.wake(self.writer.0, self.writer.1);
    }

    /// Reads no more, as its reader; bytes on their way are lost.
    pub(crate) fn stop_reading(&mut self, clock: &mut Clock) {
        self.is_deaf = true;
        if !self.is_stalled {
            self.drop_bytes();
            clock.wake(self.writer.0, self.writer.1);
        }
        clock.wake(self.reader.0, self.reader.1);
    }

    /// Has the writer woken when there is room, or at once if there is.
    pub(crate) fn want_room(&mut self, clock: &mut Clock) {
        if self.is_writable() {
            clock.wake(self.writer.0, self.writer.1);
        } else {
            self.writer_waits = true;
        }
    }

    /// Returns whether a write would not wait: there is room, or it fails at once.
    pub(crate) fn is_writable(&self) -> bool {
        self.has_room() || self.cut.is_some() || self.ended.is_some() || self.is_deaf
    }

    /// Breaks the socket with this error.
    pub(crate) fn cut(&mut self, clock: &mut Clock, error: SocketError) {
        if !self.is_stalled {
            self.cut.get_or_insert(error);
            self.drop_bytes();
            clock.wake(self.writer.0, self.writer.1);
            clock.wake(self.reader.0, self.reader.1);
        }
    }

    fn drop_bytes(&mut self) {
        self.bytes.clear();
        self.pieces.clear();
        self.read = self.written;
    }

    fn has_room(&self) -> bool {
        self.bytes.len() < self.buffer_bytes
    }

    fn some_of(&self, clock: &mut Clock, most: usize) -> usize {
        if self.short_io && most > 1 && clock.one_in(4) { clock.rng.usize(1..=most) } else { most }
    }
}

const fn index(name: WireName) -> usize {
    match name {
        WireName::Up => 0,
        WireName::Down => 1,
        WireName::Data(at) => 2 + at,
    }
}
