//! Lanes: in-order streams of asynchronous work, with the pinned slabs (bounce buffers) that sockets fill and
//! drain.
//!
//! A lane belongs to one I/O thread and has all it needs from the start (invariant I4). It is a second line
//! behind the types of `proto` (I2): sockets are refused a slab with work pending, whatever the caller
//! believes.

mod done;
mod gather;
mod layout;
mod stream;
mod unpack;

use std::{io, os::fd::BorrowedFd, slice, sync::Arc};

use gputcp_proto::{
    bounce::{Filling, Fragment},
    stage::Staged,
};

use self::gather::{SCRATCH_BYTES, Scratch};
pub use self::{
    done::Done,
    layout::{GatherFrom, ScatterInto},
    unpack::{FRAGMENTS_MAX, StageFrom, UnpackInto, UnpackMode},
};
pub(crate) use self::{stream::Stream, unpack::check_fragments};
use crate::{
    Buffer, Error, LaneSpec, ReadClaim, SoftOptions, WriteClaim,
    cuda::{Gpu, Ways},
    host,
    memory::{Hold, socket},
};

/// An in-order stream of asynchronous work and its ring of pinned slabs. Dropping it finishes the queued
/// work.
#[derive(Debug)]
pub struct Lane {
    /// First, so that it is dropped, and its work finished, before the rest.
    stream: Stream,
    /// The slabs, followed by the scratch of the gathering mode.
    memory: WriteClaim,
    slabs: Box<[Slab]>,
    slab_bytes: u64,
    /// The distance between the starts of two slabs: whole pages.
    stride: u64,
    scratch: Scratch,
    /// The room for the fragments of a segment in many ranges: 16384 × 24 B. Only as much as the longest list
    /// took is ever touched.
    list: Vec<Fragment>,
}

impl Lane {
    /// Makes a lane; for [`crate::Device::lane`] alone.
    fn new(
        spec: LaneSpec,
        stream: Stream,
        allocate: impl FnOnce(u64) -> Result<Buffer, Error>,
    ) -> Result<Self, Error> {
        // A slab takes at least a page, so that the available memory bounds the number of slabs, too.
        let stride = spec.slab_bytes.max(1).checked_next_multiple_of(PAGE_BYTES);
        let slabs_bytes = stride.and_then(|stride| stride.checked_mul(spec.slots as u64));
        let bytes = slabs_bytes.and_then(|slabs| slabs.checked_add(SCRATCH_BYTES));
        let (Some(stride), Some(slabs_bytes), Some(bytes)) = (stride, slabs_bytes, bytes) else {
            return Err(Error::Map { bytes: u64::MAX, kind: io::ErrorKind::OutOfMemory });
        };
        let memory = allocate(bytes)?.write(0, bytes)?;
        let slabs = vec![Slab { pending: 0 }; spec.slots].into_boxed_slice();
        Ok(Self {
            stream,
            memory,
            slabs,
            slab_bytes: spec.slab_bytes,
            stride,
            scratch: Scratch::at(slabs_bytes),
            list: Vec::with_capacity(FRAGMENTS_MAX),
        })
    }

    /// Makes a lane of the software GPU; for [`crate::Device::lane`] alone.
    pub(crate) fn start(spec: LaneSpec, options: SoftOptions, number: u64) -> Result<Self, Error> {
        Self::new(spec, Stream::Soft(host::Stream::start(options, number)?), Buffer::host)
    }

    /// Makes a lane of a real GPU; for [`crate::Device::lane`] and the checks.
    pub(crate) fn on_gpu(spec: LaneSpec, gpu: &Arc<Gpu>, ways: Ways) -> Result<Self, Error> {
        Self::new(spec, Stream::Cuda(gpu.stream(ways)?), |bytes| Buffer::pinned(gpu, bytes))
    }

    /// Reads up to the missing bytes of a segment from the socket into its bounce slab, in one call.
    ///
    /// Returns the number of bytes that came, to advance the filling by; 0 when the peer has closed (or when
    /// nothing was missing).
    ///
    /// # Errors
    /// The error of the socket.
    ///
    /// # Panics
    /// If the slab is not this lane's, is too short, or has work pending.
    pub fn recv(&mut self, filling: &Filling, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let (have, missing) = (filling.have(), filling.missing());
        let at = self.idle_slab(filling.index(), have + missing) + have;
        let start = self.memory.hold().at(at, missing);
        // SAFETY: the range is this lane's own memory, to which no reference exists; no work is pending on
        // the slab.
        unsafe { socket::recv(socket, start, missing as usize) }
    }

    /// Copies bytes that were already read from the socket, with a frame before them, to the place of
    /// [`Lane::recv`].
    ///
    /// # Panics
    /// If more bytes are given than are missing, or as [`Lane::recv`].
    pub fn put(&mut self, filling: &Filling, bytes: &[u8]) {
        let (have, missing, given) = (filling.have(), filling.missing(), bytes.len() as u64);
        assert!(given <= missing, "{given} bytes where {missing} are missing");
        let start = self.memory.hold().at(self.idle_slab(filling.index(), have + missing) + have, given);
        // SAFETY: the range is this lane's own memory, to which no reference exists, so `bytes` is elsewhere;
        // no work is pending on the slab.
        unsafe { host::copy_bytes(bytes.as_ptr(), start.as_ptr(), bytes.len(), host::Stores::Cached) };
    }

    /// Writes `header` and the unwritten bytes of a staged segment to the socket, in one call.
    ///
    /// Returns the number of bytes that the socket took, those of the header included.
    ///
    /// # Errors
    /// The error of the socket.
    ///
    /// # Panics
    /// If the slab is not this lane's, is too short, or has work pending.
    pub fn send(&mut self, staged: &Staged, header: &[u8], socket: BorrowedFd<'_>) -> io::Result<usize> {
        let (written, bytes) = (staged.have_written(), staged.segment().bytes());
        let at = self.idle_slab(staged.index(), bytes) + written;
        let start = self.memory.hold().at(at, bytes - written);
        // SAFETY: the range is this lane's own memory; no work is pending on the slab, and none can be
        // launched while the lane is borrowed.
        let payload = unsafe { slice::from_raw_parts(start.as_ptr(), (bytes - written) as usize) };
        socket::send(socket, header, payload)
    }

    /// Returns an adapter that unpacks filled slabs into `destination`: segment by segment, each at its own
    /// offset.
    pub const fn unpack_into<'a>(
        &'a mut self,
        destination: &'a WriteClaim,
        mode: UnpackMode,
    ) -> UnpackInto<'a> {
        UnpackInto { lane: self, destination, mode }
    }

    /// Returns an adapter that stages segments of `source` into slabs.
    ///
    /// Mode [`UnpackMode::Kernel`] stages by a kernel, the others by copies. Lanes that copy share the GPU's
    /// copy engine, one after the other; kernels share the bus side by side.
    pub const fn stage_from<'a>(&'a mut self, source: &'a ReadClaim, mode: UnpackMode) -> StageFrom<'a> {
        StageFrom { lane: self, source, mode }
    }

    /// Starts to unpack fragments of any bounce region. Where they overlap at the destination, the later one
    /// wins.
    ///
    /// The call waits only while the lane's queue is full, and in mode [`UnpackMode::Host`] for the scratch
    /// memory of earlier ones.
    ///
    /// A real GPU reaches its own memory and pinned memory ([`crate::Device::pinned`]). From other host
    /// memory the CPU gathers, whatever the mode.
    ///
    /// # Errors
    /// If a fragment does not fit, or there are more than [`FRAGMENTS_MAX`]: nothing was started then. If the
    /// mode is [`UnpackMode::None`], or the lane is lost.
    pub fn unpack_fragments(
        &mut self,
        bounce: &ReadClaim,
        fragments: &[Fragment],
        destination: &WriteClaim,
        mode: UnpackMode,
    ) -> Result<Done, Error> {
        self.unpack(bounce.hold(), fragments, destination, mode)
    }

    /// Returns the number of commands that the lane has finished.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.stream.ask_completed()
    }

    fn unpack_slab(
        &mut self,
        index: usize,
        bytes: u64,
        destination: &WriteClaim,
        destination_offset: u64,
        mode: UnpackMode,
    ) -> Result<Done, Error> {
        let source_offset = self.idle_slab(index, bytes);
        let fragment = Fragment { source_offset, bytes, destination_offset };
        let slabs = self.memory.hold().clone();
        let done = self.unpack(&slabs, &[fragment], destination, mode)?;
        self.slabs[index].pending = self.stream.launched();
        Ok(done)
    }

    fn stage_slab(
        &mut self,
        index: usize,
        source: &ReadClaim,
        source_offset: u64,
        bytes: u64,
        mode: UnpackMode,
    ) -> Result<Done, Error> {
        let destination_offset = self.idle_slab(index, bytes);
        let fragment = Fragment { source_offset, bytes, destination_offset };
        check_fragments(&[fragment], source.hold(), self.memory.hold())?;
        self.stream.stage(source.hold(), self.memory.hold(), &[fragment], mode)?;
        self.slabs[index].pending = self.stream.launched();
        Ok(self.stream.now())
    }

    fn unpack(
        &mut self,
        source: &Hold,
        fragments: &[Fragment],
        destination: &WriteClaim,
        mode: UnpackMode,
    ) -> Result<Done, Error> {
        // All fragments are checked before the first is launched: a list is unpacked whole or not at all.
        check_fragments(fragments, source, destination.hold())?;
        match mode {
            UnpackMode::Kernel | UnpackMode::Copy if !self.stream.reaches(source) => {
                self.scratch.gather(
                    &mut self.stream,
                    self.memory.hold(),
                    source,
                    fragments,
                    destination.hold(),
                )?;
            }
            UnpackMode::Kernel => self.stream.unpack(source, destination.hold(), fragments)?,
            UnpackMode::Copy => self.stream.copy_each(source, destination.hold(), fragments)?,
            UnpackMode::Host => {
                let lane = self.memory.hold();
                self.scratch.gather(&mut self.stream, lane, source, fragments, destination.hold())?;
            }
            UnpackMode::None => return Err(Error::NothingToUnpack),
        }
        Ok(self.stream.now())
    }

    /// Returns the stream, for [`crate::measure`].
    pub(crate) const fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Returns the start of a slab in the lane's memory, after a check that no work is pending on it.
    fn idle_slab(&self, index: usize, bytes: u64) -> u64 {
        assert!(index < self.slabs.len(), "slab {index} of a lane with {}", self.slabs.len());
        assert!(bytes <= self.slab_bytes, "a segment of {bytes} bytes in a slab of {}", self.slab_bytes);
        assert!(self.stream.completed() >= self.slabs[index].pending, "slab {index} has work pending");
        index as u64 * self.stride
    }
}

/// The lane's record of a slab.
#[derive(Debug, Clone, Copy)]
struct Slab {
    /// The point on the timeline at which the last work on the slab ends.
    pending: u64,
}

const PAGE_BYTES: u64 = 4 << 10;

#[cfg(test)]
mod tests;
