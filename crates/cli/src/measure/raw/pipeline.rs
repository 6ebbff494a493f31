//! A GPU's message over one bare socket, through a small pinned ring. Slices are staged several ahead of
//! the socket, or unpacked behind it. Lane, ring, slices and waits are as the engine has them; there is no
//! protocol. No header travels: the order on one socket is known, so each end deals itself the same slices,
//! by the engine's own rule.
//!
//! Invariant: all of it is made at connect; a slice leaves the ring only after its copy, or unpack, is
//! finished.

use std::{
    collections::VecDeque,
    io,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use gputcp::{Options, SLABS_MAX};
use gputcp_gpu::{Device, Done, Lane, LaneSpec, ReadClaim, UnpackMode, WriteClaim};
use gputcp_proto::{
    bounce::{Filled, Filling, Unpacking},
    frame::Announce,
    plan::{SegmentPlan, fitting_piece},
    recv::RecvSide,
    send::{Carrier, Segment, SendSide},
    stage::{Staged, Staging},
    window::{Slot, Window},
};
use socket2::Socket;

use super::blocking::{Broken, again, some};
use crate::settings::Settings;

/// The parameters of the pipelines of one direction.
#[derive(Debug)]
pub struct PipelineSpec {
    device: Device,
    ring: LaneSpec,
    /// The length of a slice is a multiple of this.
    step_bytes: u64,
    unpack: UnpackMode,
    stall_timeout: Duration,
}

/// One socket's pipeline.
#[derive(Debug)]
pub(super) struct Pipeline {
    lane: Lane,
    device: Device,
    ring: LaneSpec,
    step_bytes: u64,
    unpack: UnpackMode,
    stall_timeout: Duration,
    /// Copies under way to the ring, the oldest first.
    copies: VecDeque<Staging<Done>>,
    /// Unpacks under way out of the ring, the oldest first.
    unpacks: VecDeque<Unpacking<Done>>,
}

impl PipelineSpec {
    /// Returns the parameters that the engine has with these options. `None` if the ceiling is no pipeline,
    /// or if this end's messages are in host memory.
    #[must_use]
    pub fn of(settings: &Settings, options: &Options) -> Option<Self> {
        let device = options.device.clone().filter(|_| settings.ceiling_is_pipeline())?;
        // No segment is longer than its chunk.
        let slab_bytes = settings.chunk_bytes.min(options.tuning.segment_bytes.into());
        Some(Self {
            device,
            ring: LaneSpec { slots: options.tuning.slabs.into(), slab_bytes },
            step_bytes: fitting_piece(slab_bytes, options.tuning.piece_bytes.into()),
            unpack: options.unpack,
            stall_timeout: options.timeout,
        })
    }

    /// Returns the longest part of a message that is moved at a time.
    pub(super) const fn longest_bytes(&self) -> u64 {
        SegmentPlan::new(self.ring.slab_bytes).with_pieces(self.step_bytes).longest_chunk()
    }
}

impl Pipeline {
    /// Makes a pipeline near the device, as the engine's rings are.
    pub(super) fn new(spec: &PipelineSpec) -> Result<Self, gputcp::Error> {
        let PipelineSpec { device, ring, step_bytes, unpack, stall_timeout } = spec;
        Ok(Self {
            lane: gputcp::with_numa_affinity(device, || device.lane(*ring))??,
            device: device.clone(),
            ring: *ring,
            step_bytes: *step_bytes,
            unpack: *unpack,
            stall_timeout: *stall_timeout,
            copies: VecDeque::with_capacity(ring.slots),
            unpacks: VecDeque::with_capacity(ring.slots),
        })
    }

    /// Keeps the calling thread on the cores that the engine's threads have for this device.
    pub(super) fn set_numa_affinity(&self) {
        gputcp::set_numa_affinity(&self.device);
    }

    /// Sends all of a claim: while a slice is written, those behind it are copied.
    pub(super) fn send(&mut self, socket: &Socket, source: &ReadClaim) -> Result<(), Broken> {
        let (mut slices, all) = self.slices(source.bytes());
        let mut free = self.free_slabs();
        loop {
            while free.has_room()
                && let Some(slice) = next(&mut slices)
            {
                let stage = &mut self.lane.stage_from(source, self.unpack);
                self.copies.push_back(Staging::start(first(free.issue()), slice, stage)?);
            }
            let Some(copy) = self.copies.pop_front() else { break };
            self.wait(copy.completion())?;
            let (slab, slice) = self.write(socket, finished(copy.poll()?))?;
            free.release(slab);
            slices.written(slice);
        }
        ours(slices.finish(all));
        Ok(())
    }

    /// Receives all of a claim; returns when the last slice is unpacked.
    pub(super) fn receive(&mut self, socket: &Socket, destination: &WriteClaim) -> Result<(), Broken> {
        let bytes = destination.bytes();
        let (mut slices, _) = self.slices(bytes);
        let mut free = self.free_slabs();
        let mut side = RecvSide::<1>::new(1, self.ring.slab_bytes, 0).with_pieces(self.step_bytes);
        let (all, _) = first(side.post(bytes, false));
        loop {
            while free.has_room()
                && let Some(slice) = next(&mut slices)
            {
                let landing = ours(side.begin(&slice.header()));
                let filled = self.read(socket, Filling::new(first(free.issue()), landing))?;
                slices.written(slice);
                let unpack = &mut self.lane.unpack_into(destination, self.unpack);
                self.unpacks.push_back(filled.unpack(unpack)?);
            }
            let Some(unpack) = self.unpacks.pop_front() else { break };
            self.wait(unpack.completion())?;
            let (slab, placed) = finished(unpack.poll()?);
            free.release(slab);
            side.place(placed);
        }
        ours(side.finish(all));
        Ok(())
    }

    /// Returns the send side that deals so many bytes into slices, for one stream that has them to itself.
    /// The first slice is short, to begin at once; long ones follow, and the last are short. The slot is
    /// that of them all.
    fn slices(&self, bytes: u64) -> (SendSide<1>, Slot) {
        let mut side = SendSide::new(1, self.ring.slab_bytes, 1).with_pieces(self.step_bytes).with_streams(1);
        let all = first(side.post(bytes, false));
        ours(side.announced(&Announce { seq: 0, capacity: bytes, inline_bytes: 0, done: 0, mark: None }));
        (side, all)
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
        if done.wait(Instant::now() + self.stall_timeout)? {
            return Ok(());
        }
        let what = "the GPU did not finish a copy in time (the bound is --timeout)";
        Err(Broken::Socket(io::Error::new(io::ErrorKind::TimedOut, what)))
    }

    const fn free_slabs(&self) -> Window<{ SLABS_MAX as usize }> {
        Window::with_depth(self.ring.slots)
    }
}

/// Returns the next slice, if there is one.
fn next(slices: &mut SendSide<1>) -> Option<Segment> {
    ours(slices.deal(Carrier::Stream(0)))
}

/// Returns a slot of a window that has one.
fn first<T>(slot: Option<T>) -> T {
    slot.unwrap_or_else(|| unreachable!("the window has room"))
}

/// Returns the value of a rule that sees only what is made here, and so cannot be broken.
fn ours<T, E: std::fmt::Debug>(ruled: Result<T, E>) -> T {
    ruled.unwrap_or_else(|broken| unreachable!("a socket's slices are in order: {broken:?}"))
}

/// Returns the value of a wait that has ended.
fn finished<T, E>(polled: Result<T, E>) -> T {
    polled.unwrap_or_else(|_| unreachable!("a point that was reached stays reached"))
}

#[cfg(test)]
mod tests;
