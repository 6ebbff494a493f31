//! The pattern's kernels: fill and verify, called and waited for, outside every measured time.
//!
//! Invariant: the kernels write, and compare with, the same bytes as `Pattern` on the CPU.

use std::sync::Arc;

use super::{
    context::Context,
    kernels::BLOCK_THREADS,
    memory::{DeviceMemory, Pinned},
    queue::{Queue, pointer},
    stream::{Stream, Ways},
    sys::{Address, FunctionHandle},
};
use crate::{Error, Mismatch, Pattern, memory::Hold};

/// A stream, and room for a result.
#[derive(Debug)]
pub(super) struct Bench {
    stream: Stream,
    /// The result of a verification: two words, as `Found` in unpack.cu.
    found: DeviceMemory,
    /// The result on the host: the initial words, the words that came back, and the first wrong byte.
    host: Pinned,
}

impl Bench {
    pub(super) fn new(context: &Arc<Context>) -> Result<Self, Error> {
        let host = Pinned::allocate(context, HOST_BYTES)?;
        // SAFETY: these are the first words of memory that no other code knows yet.
        unsafe { host.start().cast::<[u64; 2]>().write([u64::MAX, 0]) };
        let found = DeviceMemory::allocate(context, FOUND_BYTES)?;
        Ok(Self { stream: Stream::start(context, Ways::BEST)?, found, host })
    }

    /// Writes zeros.
    pub(super) fn clear(&mut self, hold: &Hold) -> Result<(), Error> {
        let (start, bytes) = (hold.address(), hold.bytes() as u64);
        // SAFETY: the command keeps the hold, which is on the device.
        self.stream.run(None, Some(hold), |queue| unsafe { queue.zero(start, bytes) })?;
        self.finish()
    }

    /// Writes the message from its first byte on.
    pub(super) fn fill(&mut self, hold: &Hold, pattern: Pattern) -> Result<(), Error> {
        let (mut start, mut bytes, mut at, mut hash) =
            (hold.address(), hold.bytes() as u64, 0u64, pattern.hash());
        self.stream.run(None, Some(hold), |queue| {
            let mut arguments =
                [pointer(&mut start), pointer(&mut bytes), pointer(&mut at), pointer(&mut hash)];
            let kernel = queue.context.kernels.fill;
            // SAFETY: the arguments are the kernel's parameters; the command keeps the hold.
            unsafe {
                queue.launch(kernel, blocks(queue), BLOCK_THREADS, &mut arguments, "start to fill memory")
            }
        })?;
        self.finish()
    }

    /// Compares with the message from its first byte on.
    pub(super) fn verify(&mut self, hold: &Hold, pattern: Pattern) -> Result<Result<(), Mismatch>, Error> {
        let (mut start, mut bytes, mut at, mut hash) =
            (hold.address(), hold.bytes() as u64, 0u64, pattern.hash());
        let (mut result, host) = (self.found.address(), self.host.address());
        self.stream.run(Some(hold), None, |queue| {
            let mut arguments = [
                pointer(&mut start),
                pointer(&mut bytes),
                pointer(&mut at),
                pointer(&mut hash),
                pointer(&mut result),
            ];
            let kernel: FunctionHandle = queue.context.kernels.verify;
            // SAFETY: the arguments are the kernel's parameters, and the command keeps the hold. Both places
            // for results are this bench's own, used by one verification at a time.
            unsafe {
                queue.copy(result, host, FOUND_BYTES, DOING)?;
                queue.launch(kernel, blocks(queue), BLOCK_THREADS, &mut arguments, DOING)?;
                queue.copy(host + FOUND_BYTES, result, FOUND_BYTES, DOING)
            }
        })?;
        self.finish()?;
        // SAFETY: within pinned memory of this bench, aligned; the copy into it is done.
        let [first, wrong_bytes] = unsafe { self.host.start().cast::<[u64; 2]>().add(1).read() };
        if wrong_bytes == 0 {
            return Ok(Ok(()));
        }
        let found = self.byte(hold, start + first)?;
        let mut expected = [0];
        pattern.fill(first, &mut expected);
        Ok(Err(Mismatch { offset: first, expected: expected[0], found, wrong_bytes }))
    }

    /// Returns one byte of device memory.
    fn byte(&mut self, hold: &Hold, at: Address) -> Result<u8, Error> {
        let to = self.host.address() + 2 * FOUND_BYTES;
        // SAFETY: the byte is within the hold, which the command keeps.
        self.stream.run(Some(hold), None, |queue| unsafe { queue.copy(to, at, 1, DOING) })?;
        self.finish()?;
        // SAFETY: within pinned memory of this bench; the copy into it is done.
        Ok(unsafe { self.host.start().add(2 * FOUND_BYTES as usize).read() })
    }

    /// Performs a command that keeps the holds, and waits for it.
    pub(super) fn perform(
        &mut self,
        from: Option<&Hold>,
        to: Option<&Hold>,
        command: impl FnOnce(&Queue) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.stream.run(from, to, command)?;
        self.finish()
    }

    fn finish(&self) -> Result<(), Error> {
        self.stream.timeline().wait(self.stream.launched(), None).map(drop)
    }
}

/// Returns as many blocks as run at a time.
fn blocks(queue: &Queue) -> u32 {
    queue.context.multiprocessors * 8
}

const FOUND_BYTES: u64 = 16;
const HOST_BYTES: u64 = 4 << 10;
const DOING: &str = "start to verify memory";
