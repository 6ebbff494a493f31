//! GPU memory for checks: a real GPU's, or the software GPU's for plugins that take it for a GPU's.

use std::{
    ptr::NonNull,
    sync::Arc,
    time::{Duration, Instant},
};

use gputcp_gpu::{Buffer, Device, Error, Lane, LaneSpec, Pattern, SoftOptions, UnpackMode};
use gputcp_nccl_net::layout::constants::PTR_CUDA;
use gputcp_proto::bounce::Fragment;

use crate::{
    bench::BenchPlugin,
    block::Block,
    raw::P,
    stop::{Stop, fail, skip},
};

/// A GPU and a lane of its own.
pub(crate) struct Gpu {
    device: Device,
    lane: Lane,
}

/// Memory of a GPU, lent to a plugin.
pub(crate) struct Room {
    buffer: Buffer,
    /// The same memory, to be posted. The CPU does not read it.
    pub(crate) block: Block,
}

impl Gpu {
    /// Opens the GPU that was asked for, if the plugin takes such memory.
    pub(crate) fn open(plugin: &BenchPlugin) -> Result<Self, Stop> {
        if plugin.properties()?.ptr_support & PTR_CUDA == 0 {
            return skip("it takes no CUDA pointers");
        }
        let device = match plugin.gpu.as_deref() {
            None => return skip("there is no GPU here (the software GPU: -m soft)"),
            Some(SOFT) => Device::soft(SoftOptions::default()),
            Some(selector) => Device::cuda(selector).or_else(|error| fail(error.to_string()))?,
        };
        // The lane unpacks from foreign memory only, and needs no slabs.
        let lane = device.lane(LaneSpec { slots: 0, slab_bytes: 4096 }).or_else(no)?;
        device.make_current().or_else(no)?;
        Ok(Self { device, lane })
    }

    /// Returns memory for a message, registered for a connection as CUDA memory.
    pub(crate) fn room(&self, plugin: &BenchPlugin, comm: P, bytes: usize) -> Result<Room, Stop> {
        let buffer = self.device.allocate(bytes.max(1) as u64).or_else(no)?;
        let start = buffer.address().as_ptr();
        let mhandle = plugin.register_as(comm, start.cast(), bytes.max(1), PTR_CUDA)?;
        Ok(Room { buffer, block: Block::lent(start, bytes, mhandle) })
    }

    /// Returns bytes of GPU memory that the plugin named.
    pub(crate) fn read(&mut self, from: NonNull<u8>, bytes: usize) -> Result<Vec<u8>, Stop> {
        let landing = self.device.pinned(bytes as u64).or_else(no)?;
        let all = [Fragment { source_offset: 0, bytes: bytes as u64, destination_offset: 0 }];
        self.gather(from, bytes as u64, &all, &landing)?;
        let mut copy = vec![0; bytes];
        landing.read(0, bytes as u64).or_else(|error| fail(error.to_string()))?.copy_to(0, &mut copy);
        Ok(copy)
    }

    /// Copies fragments of a region that the plugin named.
    pub(crate) fn unpack(
        &mut self,
        from: NonNull<u8>,
        region_bytes: u64,
        fragments: &[Fragment],
        room: &Room,
    ) -> Result<(), Stop> {
        self.gather(from, region_bytes, fragments, &room.buffer)
    }

    fn gather(
        &mut self,
        from: NonNull<u8>,
        bytes: u64,
        fragments: &[Fragment],
        to: &Buffer,
    ) -> Result<(), Stop> {
        // SAFETY: the plugin names its own memory. The check tests that word, in a process of its own. Only
        // the lane touches the memory, and is waited for below.
        let foreign = unsafe { Buffer::foreign(from, bytes, &self.device, Arc::new(())) }.or_else(no)?;
        let source = foreign.read(0, bytes).or_else(|error| fail(error.to_string()))?;
        let into = to.write(0, to.bytes()).or_else(|error| fail(error.to_string()))?;
        let done = self.lane.unpack_fragments(&source, fragments, &into, UnpackMode::Copy).or_else(no)?;
        match done.wait(Instant::now() + COPY).or_else(no)? {
            true => Ok(()),
            false => fail("the GPU did not finish a copy"),
        }
    }
}

impl Room {
    pub(crate) fn fill(&self, message: u64) -> Result<(), Stop> {
        self.buffer.fill(pattern(message), 0, self.block.bytes as u64).or_else(no)
    }

    pub(crate) fn check(&self, message: u64) -> Result<(), Stop> {
        match self.buffer.verify(pattern(message), 0, self.block.bytes as u64).or_else(no)? {
            Ok(()) => Ok(()),
            Err(mismatch) => {
                fail(format!("in a message of {} bytes to GPU memory, {mismatch}", self.block.bytes))
            }
        }
    }
}

fn pattern(message: u64) -> Pattern {
    Pattern { seed: 5, iteration: message }
}

fn no<T>(error: Error) -> Result<T, Stop> {
    fail(error.to_string())
}

/// The name of the software GPU.
const SOFT: &str = "soft";
/// The limit of a copy of some MiB.
const COPY: Duration = Duration::from_secs(5);
