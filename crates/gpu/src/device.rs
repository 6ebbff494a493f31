//! Devices: where memory is, and the only makers of lanes. Invariant I4 starts here: a lane is made by
//! [`Device::lane`], at connect, and nothing later needs another.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{Buffer, Error, Lane};

/// Where memory is, and so what may touch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemoryKind {
    /// Plain host memory: sockets read and write it in place.
    Host,
    /// The software GPU's memory: only lanes touch it.
    Soft,
}

/// A device: allocates memory, makes lanes. Clones are the same device.
#[derive(Debug, Clone)]
pub struct Device {
    soft: Arc<Soft>,
}

/// How the software GPU behaves. The default is as fast as it can.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SoftOptions {
    /// The longest extra wait before a piece of work is executed, and again before it is reported as finished. Each wait
    /// is drawn anew between zero and this: whoever reuses memory early is found out.
    pub lateness: Duration,
    /// What the waits are drawn from. The same seed gives the same waits on each lane, in the order lanes are made.
    pub seed: u64,
}

/// What a lane is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneSpec {
    /// How many slabs its ring has; 0 for a lane that only unpacks foreign bounce regions.
    pub slots: usize,
    /// A slab's length in bytes: the longest segment.
    pub slab_bytes: u64,
}

impl Device {
    /// The software GPU.
    #[must_use]
    pub fn soft(options: SoftOptions) -> Self {
        Self { soft: Arc::new(Soft { options, lanes: AtomicU64::new(0) }) }
    }

    /// Where its memory is.
    #[must_use]
    pub const fn kind(&self) -> MemoryKind {
        MemoryKind::Soft
    }

    /// What it is, for a report.
    #[must_use]
    pub fn describe(&self) -> String {
        "software GPU".to_owned()
    }

    /// Allocates device memory, zeroed and in place: using it for the first time costs no page fault.
    ///
    /// # Errors
    /// If `bytes` is 0 or more than there is.
    pub fn allocate(&self, bytes: u64) -> Result<Buffer, Error> {
        Buffer::new(self.kind(), bytes)
    }

    /// Makes a lane: its pinned slabs, its timeline and its worker. At connect; never per chunk.
    ///
    /// # Errors
    /// If there is not enough memory, or no thread to be had.
    pub fn lane(&self, spec: LaneSpec) -> Result<Lane, Error> {
        let number = self.soft.lanes.fetch_add(1, Relaxed);
        Lane::start(spec, self.soft.options, number)
    }
}

impl fmt::Display for MemoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Host => "host",
            Self::Soft => "soft",
        })
    }
}

#[derive(Debug)]
struct Soft {
    options: SoftOptions,
    /// How many lanes were made: each draws its own waits.
    lanes: AtomicU64,
}
