//! Devices: the places of memory, and the only makers of lanes.
//!
//! Invariant I4 starts here: a lane is made by [`Device::lane`], at connect, and nothing later needs another.

use std::{
    fmt,
    os::fd::OwnedFd,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{
    Buffer, CudaDevice, Error, Lane,
    cuda::{self, Gpu, Ways},
};

/// The kind of memory, which decides what may touch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemoryKind {
    /// Plain host memory: sockets read and write it in place.
    Host,
    /// The software GPU's memory: only lanes touch it.
    Soft,
    /// The memory of the real GPU with this ordinal: only its own lanes touch it.
    Cuda(u32),
}

/// A device: allocates memory, makes lanes. Clones are the same device.
#[derive(Debug, Clone)]
pub struct Device {
    is: Backend,
}

/// The behaviour of the software GPU. The default is as fast as it can be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SoftOptions {
    /// The longest extra wait before a piece of work is executed, and again before it is reported as
    /// finished.
    ///
    /// Each wait is drawn anew between zero and this, which exposes a caller that reuses memory early.
    pub lateness: Duration,
    /// The seed of the waits. The same seed gives the same waits on each lane, in the order in which lanes
    /// are made.
    pub seed: u64,
    /// Each lane is lost after so many pieces of work, as if the GPU had been, to show the fate of waiting
    /// callers.
    pub lost_after: Option<u64>,
}

/// The parameters of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneSpec {
    /// The number of slabs in its ring; 0 for a lane that only unpacks foreign bounce regions.
    pub slots: usize,
    /// A slab's length in bytes, and so that of the longest segment.
    pub slab_bytes: u64,
}

impl LaneSpec {
    /// A lane that only unpacks foreign bounce regions.
    pub const NO_SLABS: Self = Self { slots: 0, slab_bytes: 0 };
}

impl Device {
    /// Returns the software GPU.
    #[must_use]
    pub fn soft(options: SoftOptions) -> Self {
        Self { is: Backend::Soft(Arc::new(Soft { options, lanes: AtomicU64::new(0) })) }
    }

    /// Opens a real GPU, named by its index (`0`, `cuda:0`), UUID (`GPU-…`) or PCI address (`0000:1b:00.0`).
    ///
    /// The driver is looked for now, not when the program is built or started.
    ///
    /// # Errors
    /// If there is no driver, an old one, no GPU, none of that name, or the GPU cannot be used.
    pub fn cuda(selector: &str) -> Result<Self, Error> {
        Ok(Self { is: Backend::Cuda(Gpu::open(selector)?) })
    }

    /// Returns the real GPUs of this machine, by index. None of them is opened.
    ///
    /// # Errors
    /// If there is no driver, an old one, or it sees no GPU.
    pub fn list() -> Result<Vec<CudaDevice>, Error> {
        cuda::list()
    }

    /// Returns the number of real GPUs of this machine; 0 if they cannot be used, for which [`Device::list`]
    /// has the reason.
    #[must_use]
    pub fn count() -> usize {
        Self::list().map_or(0, |devices| devices.len())
    }

    /// Returns the kind of the device's memory.
    #[must_use]
    pub fn kind(&self) -> MemoryKind {
        match &self.is {
            Backend::Soft(_) => MemoryKind::Soft,
            Backend::Cuda(gpu) => MemoryKind::Cuda(gpu.device().ordinal),
        }
    }

    /// Returns a description for a report: `NVIDIA H200 (cuda:0, PCI 0000:1b:00.0)`.
    #[must_use]
    pub fn describe(&self) -> String {
        self.cuda_device().map_or_else(|| "software GPU".to_owned(), ToString::to_string)
    }

    /// Returns the driver's description, if this is a real GPU.
    #[must_use]
    pub fn cuda_device(&self) -> Option<&CudaDevice> {
        match &self.is {
            Backend::Soft(_) => None,
            Backend::Cuda(gpu) => Some(gpu.device()),
        }
    }

    /// Allocates device memory, zeroed and present: its first use costs no page fault. It begins on a page.
    ///
    /// # Errors
    /// If `bytes` is 0 or more than there is.
    pub fn allocate(&self, bytes: u64) -> Result<Buffer, Error> {
        match &self.is {
            Backend::Soft(_) => Buffer::soft(bytes),
            Backend::Cuda(gpu) => Buffer::on_gpu(gpu, bytes),
        }
    }

    /// Allocates host memory that the device's lanes reach without a detour: for a real GPU pinned and
    /// mapped.
    ///
    /// It is zeroed, and sockets read and write it in place.
    ///
    /// # Errors
    /// If `bytes` is 0 or more than there is.
    pub fn pinned(&self, bytes: u64) -> Result<Buffer, Error> {
        match &self.is {
            Backend::Soft(_) => Buffer::host(bytes),
            Backend::Cuda(gpu) => Buffer::pinned(gpu, bytes),
        }
    }

    /// Makes a lane: an in-order queue of copies and kernels, with pinned slabs. Called at connect; never per
    /// chunk.
    ///
    /// Transports make lanes; a program that moves buffers over a connection needs none.
    ///
    /// # Errors
    /// If there is not enough memory, or the system refuses a thread or the driver a stream.
    pub fn lane(&self, spec: LaneSpec) -> Result<Lane, Error> {
        match &self.is {
            Backend::Soft(soft) => Lane::start(spec, soft.options, soft.lanes.fetch_add(1, Relaxed)),
            Backend::Cuda(gpu) => Lane::on_gpu(spec, gpu, Ways::BEST),
        }
    }

    /// Makes the GPU's context current on the calling thread, for foreign code that reads or writes its
    /// memory next.
    ///
    /// The call costs some 10 ns; nothing for the software GPU.
    ///
    /// # Errors
    /// If the GPU was lost.
    pub fn make_current(&self) -> Result<(), Error> {
        match &self.is {
            Backend::Soft(_) => Ok(()),
            Backend::Cuda(gpu) => gpu.make_current(),
        }
    }

    /// Returns how many bytes of an allocation are left from an address that foreign code calls device
    /// memory.
    ///
    /// `None` if that is unknown: for the software GPU, and with a driver that does not report it.
    ///
    /// # Errors
    /// If the driver knows no such memory on this device.
    pub fn bytes_at(&self, address: NonNull<u8>) -> Result<Option<u64>, Error> {
        match &self.is {
            Backend::Soft(_) => Ok(None),
            Backend::Cuda(gpu) => gpu.bytes_at(address),
        }
    }

    /// Checks that the CPU can read at an address that foreign code calls pinned host memory.
    ///
    /// # Errors
    /// If the driver knows that the address is a GPU's memory, or does not know it at all.
    pub fn check_on_host(&self, address: NonNull<u8>) -> Result<(), Error> {
        match &self.is {
            Backend::Soft(_) => Ok(()),
            Backend::Cuda(gpu) => gpu.check_on_host(address),
        }
    }

    /// Returns a dma-buf, a descriptor by which another device's driver reaches a buffer of this device.
    ///
    /// The number is the buffer's offset in it, in bytes. `None` if the memory or the driver has none.
    #[must_use]
    pub fn dma_buf(&self, buffer: &Buffer) -> Option<(OwnedFd, u64)> {
        match &self.is {
            Backend::Soft(_) => None,
            Backend::Cuda(gpu) if buffer.kind() == self.kind() => {
                gpu.dma_buf(buffer.address(), buffer.bytes())
            }
            Backend::Cuda(_) => None,
        }
    }

    pub(crate) const fn gpu(&self) -> Option<&Arc<Gpu>> {
        match &self.is {
            Backend::Soft(_) => None,
            Backend::Cuda(gpu) => Some(gpu),
        }
    }
}

impl fmt::Display for MemoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.pad("host"),
            Self::Soft => f.pad("soft"),
            Self::Cuda(ordinal) => f.pad(&format!("cuda:{ordinal}")),
        }
    }
}

#[derive(Debug, Clone)]
enum Backend {
    Soft(Arc<Soft>),
    Cuda(Arc<Gpu>),
}

#[derive(Debug)]
struct Soft {
    options: SoftOptions,
    /// The number of lanes that were made: each draws its own waits.
    lanes: AtomicU64,
}
