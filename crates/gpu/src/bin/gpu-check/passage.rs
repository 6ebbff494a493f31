//! One message on its whole way, as the transport carries it: source → slabs → socket → slabs → destination.
//!
//! Every wait has a bound. A side that fails closes its socket, so the other one ends too.

use std::{
    collections::VecDeque,
    io::Read as _,
    os::{fd::AsFd as _, unix::net::UnixStream},
    thread,
    time::Duration,
};

use gputcp_gpu::{Buffer, Lane, UnpackMode};
use gputcp_proto::{
    bounce::{Filled, Filling},
    frame::{Announce, SegmentHeader},
    layout::Layout,
    recv::RecvSide,
    send::{Carrier, SendSide},
    stage::{Staged, Staging},
    window::Window,
};

use crate::{Failure, Outcome, ensure, memory::wait};

/// The most slabs of a lane that a passage uses.
pub(crate) const SLABS_MAX: usize = 16;

/// A message, and the parameters of its way.
#[derive(Debug)]
pub(crate) struct Passage<'a> {
    /// The source, and the message's offset in it.
    pub(crate) from: (&'a Buffer, u64),
    /// The destination, and the message's offset in it.
    pub(crate) to: (&'a Buffer, u64),
    /// The message's ranges in source and destination, if it is in many.
    pub(crate) layouts: Option<(&'a Layout, &'a Layout)>,
    pub(crate) bytes: u64,
    /// At most a slab's length, and at least a 4096th of the message's.
    pub(crate) segment_bytes: u64,
    /// The number of slabs that are used of each lane.
    pub(crate) slabs: usize,
    pub(crate) mode: UnpackMode,
}

impl Passage<'_> {
    /// Carries the message.
    pub(crate) fn carry(&self, sender: &mut Lane, receiver: &mut Lane) -> Outcome {
        let (near, far) = UnixStream::pair()?;
        near.set_write_timeout(Some(TIMEOUT))?;
        far.set_read_timeout(Some(TIMEOUT))?;
        thread::scope(|scope| {
            let sending = scope.spawn(move || self.send(sender, near));
            let received = self.receive(receiver, far);
            let sent = sending.join().map_err(|_| "the sender panicked".to_owned())?;
            // The first side to fail is the sender, or the sender fails because of the receiver.
            match (sent, received) {
                (Err(sent), Err(received)) => Err(format!("{received}; {sent}").into()),
                (sent, received) => sent.and(received),
            }
        })
    }

    fn send(&self, lane: &mut Lane, socket: UnixStream) -> Outcome {
        let claimed = self.layouts.map_or(self.bytes, |(from, _)| from.end());
        let claim = self.from.0.read(self.from.1, claimed)?;
        let mut side = SendSide::<4>::new(4, self.segment_bytes, 4);
        let slot = side.post(self.bytes, false).ok_or("no slot")?;
        let announce = Announce { seq: 0, capacity: self.bytes, inline_bytes: 0, done: 0, mark: None };
        side.announced(&announce)?;
        let mut ring = Window::<SLABS_MAX>::with_depth(self.slabs);
        let mut copies = VecDeque::new();
        loop {
            // Copies run several segments ahead of the socket.
            while ring.has_room() {
                let Some(segment) = side.deal(Carrier::Any)? else { break };
                let slab = ring.issue().ok_or("no slab")?;
                let staging = match self.layouts {
                    None => Staging::start(slab, segment, &mut lane.stage_from(&claim, self.mode)),
                    Some((from, _)) => {
                        Staging::start(slab, segment, &mut lane.gather_from(&claim, from, self.mode))
                    }
                };
                copies.push_back(staging?);
            }
            let Some(staging) = copies.pop_front() else { break };
            wait("a copy", staging.completion())?;
            let mut staged: Staged = staging.poll()?.map_err(|_| "a point was reached and is not done")?;
            let header = staged.segment().header().encode();
            let mut header = &header[..];
            let (slab, segment) = loop {
                let taken = lane.send(&staged, header, socket.as_fd())?;
                let of_header = taken.min(header.len());
                header = &header[of_header..];
                match staged.written((taken - of_header) as u64) {
                    Ok(done) => break done,
                    Err(again) => staged = again,
                }
            };
            ring.release(slab);
            side.written(segment);
        }
        let finished = side.finish(slot).map_err(|_| "bytes are left")?;
        ensure(finished.bytes == self.bytes, || format!("{} bytes were sent", finished.bytes))
    }

    fn receive(&self, lane: &mut Lane, mut socket: UnixStream) -> Outcome {
        let claimed = self.layouts.map_or(self.bytes, |(_, to)| to.end());
        let claim = self.to.0.write(self.to.1, claimed)?;
        let mut side = RecvSide::<4>::new(4, self.segment_bytes, 0);
        let (slot, _) = side.post(self.bytes, false).ok_or("no slot")?;
        let mut ring = Window::<SLABS_MAX>::with_depth(self.slabs);
        let mut pending = VecDeque::new();
        let mut arrived = 0;
        loop {
            while arrived < self.bytes {
                let Some(slab) = ring.issue() else { break };
                let mut header = [0; SegmentHeader::BYTES];
                socket.read_exact(&mut header)?;
                let landing = side.begin(&SegmentHeader::decode(&header)?)?;
                arrived += landing.bytes();
                let filled = fill(lane, Filling::new(slab, landing), &socket)?;
                let unpacking = match self.layouts {
                    None => filled.unpack(&mut lane.unpack_into(&claim, self.mode)),
                    Some((_, to)) => filled.unpack(&mut lane.scatter_into(&claim, to, self.mode)),
                };
                pending.push_back(unpacking?);
            }
            let Some(unpacking) = pending.pop_front() else { break };
            wait("an unpack", unpacking.completion())?;
            let (slab, placed) = unpacking.poll()?.map_err(|_| "a point was reached and is not done")?;
            ring.release(slab);
            side.place(placed);
        }
        let finished = side.finish(slot).map_err(|_| "bytes are missing")?;
        ensure(finished.bytes == self.bytes, || format!("{} bytes came", finished.bytes))
    }
}

fn fill(lane: &mut Lane, mut filling: Filling, socket: &UnixStream) -> Result<Filled, Failure> {
    loop {
        let got = lane.recv(&filling, socket.as_fd())?;
        ensure(got > 0, || "the peer closed early")?;
        match filling.advance(got as u64) {
            Ok(filled) => return Ok(filled),
            Err(again) => filling = again,
        }
    }
}

/// The stall timeout of a socket, under a sanitizer too.
const TIMEOUT: Duration = Duration::from_secs(60);
