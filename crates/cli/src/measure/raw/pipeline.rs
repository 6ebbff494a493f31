//! A GPU's message over one bare socket: slices of it are staged several ahead of the socket, or unpacked behind it, through
//! a small pinned ring. Lane, ring, slices and waits are as the engine has them; there is no protocol. No header travels:
//! the order on one socket is known, so the receiver makes them itself, and cuts as it likes. Nothing is announced, nobody deals.
//!
//! Invariant: all of it is made at connect; a slice leaves the ring only after its copy, or unpack, is finished.

use std::{
    collections::VecDeque,
    io,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use gputcp::Options;
use gputcp_gpu::{Device, Done, Lane, LaneSpec, ReadClaim, UnpackMode, WriteClaim};
use gputcp_proto::{
    bounce::{Filled, Filling, Unpacking},
    frame::{Announce, SegmentHeader},
    plan::SegmentPlan,
    recv::RecvSide,
    send::{Carrier, Segment, SendSide},
    stage::{Staged, Staging},
    window::{Slot, Window},
};
use socket2::Socket;

use super::worker::{Broken, again, some};
use crate::settings::Settings;

/// What the pipelines of one direction are made of.
#[derive(Debug)]
pub struct PipelineSpec {
    device: Device,
    ring: LaneSpec,
    piece_bytes: u64,
    unpack: UnpackMode,
    patience: Duration,
}

/// One socket's pipeline.
#[derive(Debug)]
pub(super) struct Pipeline {
    lane: Lane,
    ring: LaneSpec,
    piece_bytes: u64,
    unpack: UnpackMode,
    patience: Duration,
    /// Copies under way to the ring, the oldest first.
    copies: VecDeque<Staging<Done>>,
    /// Unpacks under way out of the ring, the oldest first.
    unpacks: VecDeque<Unpacking<Done>>,
}

impl PipelineSpec {
    /// What the engine has by these options for such chunks; none where the ceiling is no pipeline, or this end's messages
    /// are in host memory.
    #[must_use]
    pub fn of(settings: &Settings, options: &Options) -> Option<Self> {
        let device = options.device.clone().filter(|_| settings.ceiling_is_pipeline())?;
        let slab_bytes = u64::from(options.segment_bytes).min(settings.chunk_bytes);
        Some(Self {
            device,
            ring: LaneSpec { slots: options.slabs.into(), slab_bytes },
            piece_bytes: u64::from(options.piece_bytes).min(slab_bytes),
            unpack: options.unpack,
            patience: options.timeout,
        })
    }

    /// The longest part of a message that is moved at a time.
    pub(super) const fn longest_bytes(&self) -> u64 {
        SegmentPlan::new(self.ring.slab_bytes).with_pieces(self.piece_bytes).longest_chunk()
    }
}

impl Pipeline {
    pub(super) fn new(spec: &PipelineSpec) -> Result<Self, gputcp_gpu::Error> {
        let PipelineSpec { device, ring, piece_bytes, unpack, patience } = spec;
        Ok(Self {
            lane: device.lane(*ring)?,
            ring: *ring,
            piece_bytes: *piece_bytes,
            unpack: *unpack,
            patience: *patience,
            copies: VecDeque::with_capacity(ring.slots),
            unpacks: VecDeque::with_capacity(ring.slots),
        })
    }

    /// Sends all of a claim: while a slice is written, those behind it are copied.
    pub(super) fn send(&mut self, socket: &Socket, source: &ReadClaim) -> Result<(), Broken> {
        let bytes = source.bytes();
        let side = SendSide::<1>::new(1, self.ring.slab_bytes, 1);
        let mut side = side.with_pieces(self.piece_bytes).with_streams(1);
        let slot = first(side.post(bytes, false));
        ours(side.announced(&Announce { seq: 0, capacity: bytes, inline_bytes: 0, done: 0 }));
        let mut free = self.free_slabs();
        loop {
            while free.has_room()
                && let Some(slice) = ours(side.deal(Carrier::Stream(0)))
            {
                let stage = &mut self.lane.stage_from(source);
                self.copies.push_back(Staging::start(first(free.issue()), slice, stage)?);
            }
            let Some(copy) = self.copies.pop_front() else { break };
            self.wait(copy.completion())?;
            let (slab, slice) = self.write(socket, finished(copy.poll()?))?;
            free.release(slab);
            side.written(slice);
        }
        ours(side.finish(slot));
        Ok(())
    }

    /// Receives all of a claim; returns when the last slice is unpacked.
    pub(super) fn receive(&mut self, socket: &Socket, destination: &WriteClaim) -> Result<(), Broken> {
        let total = destination.bytes();
        let mut side = RecvSide::<1>::new(1, self.ring.slab_bytes, 0).with_pieces(self.piece_bytes);
        let (slot, _) = first(side.post(total, false));
        let mut free = self.free_slabs();
        let mut offset = 0;
        loop {
            while free.has_room() && offset < total {
                let bytes = self.slice(offset, total);
                let header = SegmentHeader { seq: 0, offset, total, bytes: bytes as u32 };
                let filling = Filling::new(first(free.issue()), ours(side.begin(&header)));
                let filled = self.read(socket, filling)?;
                let unpack = &mut self.lane.unpack_into(destination, self.unpack);
                self.unpacks.push_back(filled.unpack(unpack)?);
                offset += bytes;
            }
            let Some(unpack) = self.unpacks.pop_front() else { break };
            self.wait(unpack.completion())?;
            let (slab, placed) = finished(unpack.poll()?);
            free.release(slab);
            side.place(placed);
        }
        ours(side.finish(slot));
        Ok(())
    }

    /// The next slice to unpack: short at the start and at the end, as the engine's segments are.
    fn slice(&self, offset: u64, total: u64) -> u64 {
        let (piece, rest) = (self.piece_bytes, total - offset);
        let half = if offset == 0 { piece } else { rest / 2 };
        (half.min(self.ring.slab_bytes) / piece * piece).max(piece).min(rest)
    }

    fn write(&mut self, socket: &Socket, mut staged: Staged) -> Result<(Slot, Segment), Broken> {
        loop {
            let taken = again(|| self.lane.send(&staged, &[], socket.as_fd()))?;
            match staged.written(taken as u64) {
                Ok(done) => return Ok(done),
                Err(rest) => staged = rest,
            }
        }
    }

    fn read(&mut self, socket: &Socket, mut filling: Filling) -> Result<Filled, Broken> {
        loop {
            let got = some(again(|| self.lane.recv(&filling, socket.as_fd()))?)?;
            match filling.advance(got) {
                Ok(filled) => return Ok(filled),
                Err(rest) => filling = rest,
            }
        }
    }

    fn wait(&self, done: &Done) -> Result<(), Broken> {
        if done.wait(Instant::now() + self.patience)? {
            return Ok(());
        }
        let what = "the GPU did not finish a copy in time (the bound is --timeout)";
        Err(Broken::Socket(io::Error::new(io::ErrorKind::TimedOut, what)))
    }

    const fn free_slabs(&self) -> Window<SLABS_MAX> {
        Window::with_depth(self.ring.slots)
    }
}

/// A slot of a window that has one.
fn first<T>(slot: Option<T>) -> T {
    slot.unwrap_or_else(|| unreachable!("the window has room"))
}

/// What the rules give when all that they see is made here.
fn ours<T, E: std::fmt::Debug>(ruled: Result<T, E>) -> T {
    ruled.unwrap_or_else(|broken| unreachable!("a socket's slices are in order: {broken:?}"))
}

/// What was waited for.
fn finished<T, E>(polled: Result<T, E>) -> T {
    polled.unwrap_or_else(|_| unreachable!("a point that was reached stays reached"))
}

/// As many as [`Options::slabs`] can be.
const SLABS_MAX: usize = 16;

#[cfg(test)]
mod tests;
