//! One data socket's thread: reads a header, has it checked, and reads the segment's bytes to where they go: a host
//! destination in place, or a bounce buffer whose unpack it launches.

use std::{
    io,
    os::fd::AsFd,
    sync::{Arc, atomic::Ordering},
};

use gputcp_gpu::{Lane, MemoryKind, WriteClaim};
use gputcp_proto::{
    bounce::Filling,
    frame::SegmentHeader,
    recv::{InPlace, Landing},
};
use rustix::net::RecvFlags;
use socket2::Socket;

use super::{Parts, RecvState};
use crate::{
    Error, Result,
    sockets::{
        locks::{lock, read_lock},
        shared::Shared,
    },
};

/// The thread's life, until the peer closes the stream or the connection fails.
pub(super) fn run(shared: &Arc<Shared<RecvState>>, stream: usize, lane: Option<Lane>) {
    let parts = shared.parts();
    let mut reader = StreamReader { shared, socket: &shared.data[stream], stream, parts: &parts, lane };
    match reader.run() {
        Ok(()) => {
            lock(&shared.state).open_streams -= 1;
            shared.doorbell.ring_all();
            shared.stream_ended();
        }
        Err(Stop::Failed(error)) => shared.fail(error),
        Err(Stop::Socket(error)) => shared.data_failed(&error),
    }
}

struct StreamReader<'a> {
    shared: &'a Shared<RecvState>,
    socket: &'a Socket,
    stream: usize,
    parts: &'a Parts,
    lane: Option<Lane>,
}

/// Why a thread ends early.
enum Stop {
    Failed(Error),
    Socket(io::Error),
}

impl StreamReader<'_> {
    fn run(&mut self) -> Result<(), Stop> {
        while let Some(header) = self.read_header()? {
            let landing = lock(&self.shared.state).side.begin(&header);
            let landing = landing.map_err(|violation| Stop::Failed(self.shared.misbehaved(violation)))?;
            if landing.offset() == 0 {
                self.parts.came_short.store(false, Ordering::Relaxed);
                lock(&self.parts.announcer).matched(self.shared).map_err(Stop::Failed)?;
            }
            let place = read_lock(&self.parts.destinations[landing.slot_index()]);
            let Some(destination) = place.as_ref() else {
                unreachable!("a posted receive has a destination")
            };
            match (destination.kind(), &mut self.lane) {
                (MemoryKind::Host, _) => {
                    let placed = self.read_in_place(landing, destination)?;
                    drop(place);
                    self.shared.placed(placed);
                }
                (_, Some(lane)) => {
                    let slot = landing.slot_index();
                    bounce(self.shared, self.socket, self.parts, self.stream, lane, landing, destination)?;
                    // The waiter goes on to watch the lane.
                    self.shared.doorbell.ring(slot);
                }
                (_, None) => unreachable!("device memory is refused without lanes"),
            }
        }
        Ok(())
    }

    /// The next header; `None` at the end of the stream.
    fn read_header(&self) -> Result<Option<SegmentHeader>, Stop> {
        let mut bytes = [0; SegmentHeader::BYTES];
        let mut have = 0;
        while have < bytes.len() {
            match retry(|| Ok(rustix::net::recv(self.socket, &mut bytes[have..], RecvFlags::empty())?.0))? {
                0 if have == 0 => return Ok(None),
                0 => return Err(Stop::Socket(io::ErrorKind::UnexpectedEof.into())),
                got => have += got,
            }
        }
        let header = SegmentHeader::decode(&bytes);
        header.map(Some).map_err(|violation| Stop::Failed(self.shared.misbehaved(violation)))
    }

    fn read_in_place(
        &self,
        landing: Landing,
        destination: &WriteClaim,
    ) -> Result<gputcp_proto::recv::Placed, Stop> {
        let mut in_place = InPlace::new(landing);
        loop {
            let offset = in_place.landing().offset() + in_place.have();
            let got = some(retry(|| destination.recv(self.socket.as_fd(), offset, in_place.missing()))?)?;
            self.shared.counters.carried.fetch_add(got, Ordering::Relaxed);
            match in_place.advance(got) {
                Ok(placed) => return Ok(placed),
                Err(rest) => in_place = rest,
            }
        }
    }
}

/// Reads a segment into a bounce buffer and launches its unpack.
fn bounce(
    shared: &Shared<RecvState>,
    socket: &Socket,
    parts: &Parts,
    stream: usize,
    lane: &mut Lane,
    landing: Landing,
    destination: &WriteClaim,
) -> Result<(), Stop> {
    let ring = &parts.rings[stream];
    let slot = shared.bounce_slot(ring).map_err(Stop::Failed)?;
    let mut filling = Filling::new(slot, landing);
    let filled = loop {
        let got = some(retry(|| lane.recv(&filling, socket.as_fd()))?)?;
        shared.counters.carried.fetch_add(got, Ordering::Relaxed);
        match filling.advance(got) {
            Ok(filled) => break filled,
            Err(rest) => filling = rest,
        }
    };
    // Launched under the ring's lock: a waiter that finds the ring empty must not miss it.
    let mut ring = lock(ring);
    let unpacking = filled.unpack(&mut lane.unpack_into(destination, parts.mode));
    ring.push(unpacking.map_err(|error| Stop::Failed(error.into()))?);
    Ok(())
}

/// A stream that ends inside a segment lost bytes.
fn some(got: usize) -> Result<u64, Stop> {
    if got == 0 { Err(Stop::Socket(io::ErrorKind::UnexpectedEof.into())) } else { Ok(got as u64) }
}

/// A blocking read, again when a signal interrupts it.
fn retry(mut read: impl FnMut() -> io::Result<usize>) -> Result<usize, Stop> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map_err(Stop::Socket),
        }
    }
}
