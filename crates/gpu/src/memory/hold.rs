//! A hold: one entry of a buffer's claims table, counted, together with the memory itself. What claims and lane commands
//! have in common.
//!
//! Invariant: while any clone of a hold lives, its memory is mapped and its entry stays in the table, so no one else is
//! given a claim that the entry excludes.

use std::{
    ptr::NonNull,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering, fence},
    },
};

use super::{
    pages::Pages,
    table::{Access, CLAIMS_MAX, ClaimTable},
};
use crate::{ClaimError, Error, MemoryKind};

/// Memory and the claims on it.
#[derive(Debug)]
pub(super) struct Region {
    pages: Pages,
    bytes: u64,
    claims: Mutex<ClaimTable>,
    /// How many holds share each entry of the table.
    holders: [AtomicU32; CLAIMS_MAX],
}

impl Region {
    pub(super) fn map(bytes: u64) -> Result<Arc<Self>, Error> {
        let pages = Pages::map(bytes)?;
        let claims = Mutex::new(ClaimTable::new(bytes));
        Ok(Arc::new(Self { pages, bytes, claims, holders: [const { AtomicU32::new(0) }; CLAIMS_MAX] }))
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The table is changed in single steps that do not panic halfway: a poisoned lock guards a table that is whole.
    fn claims(&self) -> MutexGuard<'_, ClaimTable> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A share of a claim: keeps the memory mapped and reserved.
#[derive(Debug)]
pub(crate) struct Hold {
    region: Arc<Region>,
    entry: usize,
    start: NonNull<u8>,
    bytes: usize,
    kind: MemoryKind,
}

// SAFETY: the pointer leads into `region`, which is itself Send and Sync and is kept alive by the hold; a hold gives
// out its address, and every access says for itself why it may be made.
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
        let mut claims = region.claims();
        let entry = claims.take(offset, bytes, access)?;
        region.holders[entry].store(1, Ordering::Relaxed);
        drop(claims);
        // SAFETY: the table took the part, so it lies within the region, whose pages are at least that long.
        let start = unsafe { region.pages.start().add(offset as usize) };
        Ok(Self { region: Arc::clone(region), entry, start, bytes: bytes as usize, kind })
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The length of the whole buffer that it is a hold on.
    pub(crate) fn buffer_bytes(&self) -> u64 {
        self.region.bytes()
    }

    pub(crate) const fn kind(&self) -> MemoryKind {
        self.kind
    }

    /// The first byte; valid for `bytes()` bytes while the hold lives.
    pub(crate) const fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// The address of `bytes` bytes from `offset`.
    ///
    /// # Panics
    /// If they are not within the hold.
    pub(crate) fn at(&self, offset: u64, bytes: u64) -> NonNull<u8> {
        assert!(self.contains(offset, bytes), "{bytes} bytes from {offset} of a claim of {}", self.bytes);
        // SAFETY: the range lies within the hold, as was just checked.
        unsafe { self.start.add(offset as usize) }
    }

    /// Whether `bytes` bytes from `offset` lie within the hold.
    pub(crate) const fn contains(&self, offset: u64, bytes: u64) -> bool {
        match offset.checked_add(bytes) {
            Some(end) => end <= self.bytes as u64,
            None => false,
        }
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        // The count is above 0 while `self` lives, so nobody is freeing the entry.
        let holders = self.region.holders[self.entry].fetch_add(1, Ordering::Relaxed);
        assert!(holders < u32::MAX / 2, "a claim is shared by the commands of bounded queues");
        Self { region: Arc::clone(&self.region), ..*self }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // As in `Arc`: what every holder did to the memory happens before the entry is free, and the table's lock
        // carries that to whoever claims the part next.
        if self.region.holders[self.entry].fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            self.region.claims().give_back(self.entry);
        }
    }
}
