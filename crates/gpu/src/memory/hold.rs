//! A hold: one counted entry of a buffer's claims table, together with the memory itself.
//!
//! Claims and lane commands are made of holds.
//!
//! Invariant: while any clone of a hold lives, its memory is mapped and its entry stays in the table. So the
//! table gives out no claim that the entry excludes.

use std::{
    any::Any,
    fmt,
    ptr::NonNull,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering, fence},
    },
};

use super::{
    WriteClaim, available,
    pages::Pages,
    table::{Access, CLAIMS_MAX, ClaimTable},
};
use crate::{
    ClaimError, Error, MemoryKind,
    cuda::{self, DeviceMemory, Gpu, Pinned},
};

/// Memory and the claims on it.
#[derive(Debug)]
pub(super) struct Region {
    memory: Memory,
    bytes: u64,
    claims: Mutex<ClaimTable>,
    /// Whether a claim to write excludes others. False if the lender of the memory decides about access.
    exclusive: bool,
    /// The number of holds that share each entry of the table.
    holders: [AtomicU32; CLAIMS_MAX],
    /// The start and end of each part that is memory, in order; none if all of it is.
    parts: Option<Box<[(u64, u64)]>>,
}

impl Region {
    /// Maps pageable host memory.
    pub(super) fn map(bytes: u64) -> Result<Arc<Self>, Error> {
        Ok(Self::of(Memory::Pages(Pages::map(bytes)?), bytes))
    }

    /// Allocates pinned host memory that every GPU reaches.
    pub(super) fn pin(gpu: &Gpu, bytes: u64) -> Result<Arc<Self>, Error> {
        if bytes == 0 {
            return Err(Error::Empty);
        }
        available::check(bytes)?;
        Ok(Self::of(Memory::Pinned(gpu.pin(bytes)?), bytes))
    }

    /// Allocates memory of a GPU, not yet cleared.
    pub(super) fn on_gpu(gpu: &Arc<Gpu>, bytes: u64) -> Result<Arc<Self>, Error> {
        if bytes == 0 {
            return Err(Error::Empty);
        }
        let memory = gpu.allocate(bytes)?;
        Ok(Self::of(Memory::Device { memory, gpu: Arc::clone(gpu) }, bytes))
    }

    /// Returns a region of memory of another owner: of the GPU, or else of the host.
    pub(super) fn foreign(
        start: NonNull<u8>,
        bytes: u64,
        gpu: Option<&Arc<Gpu>>,
        keeper: Arc<dyn Any + Send + Sync>,
    ) -> Result<Arc<Self>, Error> {
        if bytes == 0 {
            return Err(Error::Empty);
        }
        let memory = Memory::Foreign(Foreign { start, gpu: gpu.cloned(), _keeper: Some(keeper) });
        Ok(Self::of(memory, bytes))
    }

    /// Returns a region of host memory whose owner decides about access.
    pub(super) fn lent(start: NonNull<u8>, bytes: u64) -> Result<Arc<Self>, Error> {
        if bytes == 0 {
            return Err(Error::Empty);
        }
        let memory = Memory::Foreign(Foreign { start, gpu: None, _keeper: None });
        Ok(Self::new(memory, bytes, false))
    }

    /// Returns a region of memory under a claim, in which claims exclude no others.
    pub(super) fn shared(claim: WriteClaim, gpu: Option<&Arc<Gpu>>) -> Arc<Self> {
        let (start, bytes) = (claim.address(), claim.bytes());
        let keeper: Arc<dyn Any + Send + Sync> = Arc::new(claim);
        let memory = Memory::Foreign(Foreign { start, gpu: gpu.cloned(), _keeper: Some(keeper) });
        Self::new(memory, bytes, false)
    }

    /// Returns a region from `start` on, of which the parts of other regions are memory. Claims exclude no
    /// others: the regions' own claims, which the keeper has, decide about access.
    pub(super) fn joined(
        start: NonNull<u8>,
        parts: Box<[(u64, u64)]>,
        gpu: Option<&Arc<Gpu>>,
        keeper: Arc<dyn Any + Send + Sync>,
    ) -> Arc<Self> {
        let bytes = parts.iter().map(|&(_, end)| end).max().unwrap_or(0);
        let memory = Memory::Foreign(Foreign { start, gpu: gpu.cloned(), _keeper: Some(keeper) });
        Arc::new(Self { parts: Some(parts), ..Self::whole(memory, bytes, false) })
    }

    fn of(memory: Memory, bytes: u64) -> Arc<Self> {
        Self::new(memory, bytes, true)
    }

    fn new(memory: Memory, bytes: u64, exclusive: bool) -> Arc<Self> {
        Arc::new(Self::whole(memory, bytes, exclusive))
    }

    fn whole(memory: Memory, bytes: u64, exclusive: bool) -> Self {
        let claims = Mutex::new(ClaimTable::new(bytes));
        let holders = [const { AtomicU32::new(0) }; CLAIMS_MAX];
        Self { memory, bytes, claims, exclusive, holders, parts: None }
    }

    pub(super) const fn exclusive(&self) -> bool {
        self.exclusive
    }

    /// Returns whether the range from `start` to `end` is memory of one part.
    fn has(&self, start: u64, end: u64) -> bool {
        self.parts.as_ref().is_none_or(|parts| {
            let after = parts.partition_point(|&(from, _)| from <= start);
            after.checked_sub(1).is_some_and(|at| end <= parts[at].1)
        })
    }

    /// Returns the GPU that owns the memory.
    pub(super) const fn gpu(&self) -> Option<&Arc<Gpu>> {
        match &self.memory {
            Memory::Device { gpu, .. } => Some(gpu),
            Memory::Foreign(foreign) => foreign.gpu.as_ref(),
            Memory::Pages(_) | Memory::Pinned(_) => None,
        }
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        match &self.memory {
            Memory::Foreign(foreign) => foreign.start,
            Memory::Pages(pages) => pages.start(),
            Memory::Pinned(pinned) => pinned.start(),
            Memory::Device { memory, .. } => memory.start(),
        }
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Locks the table. It changes in single steps that do not panic halfway: a poisoned lock guards a table
    /// that is whole.
    fn claims(&self) -> MutexGuard<'_, ClaimTable> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The memory of a region, which frees itself.
#[derive(Debug)]
enum Memory {
    Pages(Pages),
    Pinned(Pinned),
    Device { memory: DeviceMemory, gpu: Arc<Gpu> },
    Foreign(Foreign),
}

/// Memory of another owner.
struct Foreign {
    start: NonNull<u8>,
    /// The GPU that owns the memory; none for host memory.
    gpu: Option<Arc<Gpu>>,
    _keeper: Option<Arc<dyn Any + Send + Sync>>,
}

// SAFETY: memory belongs to the process or the device, not to a thread; the value itself gives out an address
// only.
unsafe impl Send for Foreign {}
// SAFETY: as above.
unsafe impl Sync for Foreign {}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Foreign").field("start", &self.start).field("gpu", &self.gpu).finish()
    }
}

/// The processors that can reach a piece of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Residence {
    /// The CPU alone.
    Pages,
    /// The CPU and every GPU, at one address.
    Pinned,
    /// The GPU with this ordinal alone.
    Device(u32),
}

/// A share of a claim, which keeps the memory mapped and reserved.
#[derive(Debug)]
pub(crate) struct Hold {
    region: Arc<Region>,
    entry: usize,
    start: NonNull<u8>,
    bytes: usize,
    kind: MemoryKind,
}

// SAFETY: the pointer leads into `region`, which is itself Send and Sync and is kept alive by the hold. A
// hold gives out its address, and every access states its own justification.
unsafe impl Send for Hold {}
// SAFETY: as above.
unsafe impl Sync for Hold {}

impl Hold {
    pub(super) fn take(
        region: &Arc<Region>,
        kind: MemoryKind,
        offset: u64,
        bytes: u64,
        access: Access,
    ) -> Result<Self, ClaimError> {
        // Entered as reads, claims exclude no others.
        let access = if region.exclusive { access } else { Access::Read };
        let mut claims = region.claims();
        let mut taken = claims.take(offset, bytes, access);
        if matches!(taken, Err(ClaimError::Overlap { .. } | ClaimError::TooMany)) {
            // A lane may hold claims of GPU work that has finished unnoticed. Their release takes this lock.
            drop(claims);
            cuda::reap_all();
            claims = region.claims();
            taken = claims.take(offset, bytes, access);
        }
        let entry = taken?;
        region.holders[entry].store(1, Ordering::Relaxed);
        drop(claims);
        let start = forward(region.start(), offset);
        Ok(Self { region: Arc::clone(region), entry, start, bytes: bytes as usize, kind })
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the length of the whole buffer that it is a hold on.
    pub(crate) fn buffer_bytes(&self) -> u64 {
        self.region.bytes()
    }

    pub(crate) const fn kind(&self) -> MemoryKind {
        self.kind
    }

    /// Returns which processors can reach the memory.
    pub(crate) fn place(&self) -> Residence {
        match &self.region.memory {
            Memory::Pages(_) => Residence::Pages,
            Memory::Pinned(_) => Residence::Pinned,
            Memory::Device { memory, .. } => Residence::Device(memory.ordinal()),
            Memory::Foreign(Foreign { gpu: Some(gpu), .. }) => Residence::Device(gpu.device().ordinal),
            Memory::Foreign(Foreign { gpu: None, .. }) => Residence::Pages,
        }
    }

    /// Returns whether the CPU can reach the memory.
    pub(crate) fn is_on_host(&self) -> bool {
        !matches!(self.place(), Residence::Device(_))
    }

    /// Returns the address of the first byte for a GPU that can reach it: pinned memory has one address for
    /// all.
    pub(crate) fn address(&self) -> u64 {
        self.start.addr().get() as u64
    }

    /// Returns the first byte; valid for `bytes()` bytes while the hold lives, on the host only if
    /// [`Hold::is_on_host`].
    pub(crate) const fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Returns the address of `bytes` bytes from `offset`.
    ///
    /// # Panics
    /// If they are not within the hold.
    pub(crate) fn at(&self, offset: u64, bytes: u64) -> NonNull<u8> {
        assert!(self.contains(offset, bytes), "{bytes} bytes from {offset} of a claim of {}", self.bytes);
        forward(self.start, offset)
    }

    /// Returns whether `bytes` bytes from `offset` lie within the hold, and are memory.
    pub(crate) fn contains(&self, offset: u64, bytes: u64) -> bool {
        let end = offset.checked_add(bytes).filter(|&end| end <= self.bytes as u64);
        end.is_some_and(|end| {
            self.region.parts.is_none() || {
                let skipped = (self.start.addr().get() - self.region.start().addr().get()) as u64;
                self.region.has(skipped + offset, skipped + end)
            }
        })
    }

    /// Returns whether bytes of the hold are no memory.
    pub(crate) fn has_gaps(&self) -> bool {
        self.region.parts.is_some()
    }
}

/// Returns an address within the same region.
///
/// The memory may be a GPU's, so this is no pointer arithmetic, which is for the host's alone.
fn forward(start: NonNull<u8>, offset: u64) -> NonNull<u8> {
    start.map_addr(|at| at.saturating_add(offset as usize))
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        // The count is above 0 while `self` lives, so no thread is freeing the entry.
        let holders = self.region.holders[self.entry].fetch_add(1, Ordering::Relaxed);
        assert!(holders < u32::MAX / 2, "a claim is shared by the commands of bounded queues");
        Self { region: Arc::clone(&self.region), ..*self }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // As in `Arc`: every holder's access to the memory happens before the entry is free. The table's lock
        // carries that to the next claim on the part.
        if self.region.holders[self.entry].fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            self.region.claims().give_back(self.entry);
        }
    }
}
