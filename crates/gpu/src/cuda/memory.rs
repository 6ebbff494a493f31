//! Memory from the driver: on the device, and pinned on the host.
//!
//! It is freed when dropped, which waits for the device (so never in the hot path).
//!
//! Invariant: an address stays valid, and mapped into the context, until its owner is dropped.

use std::{ffi::c_void, ptr, ptr::NonNull, sync::Arc};

use super::{
    context::Context,
    sys::{self, Address},
};
use crate::Error;

/// Device memory that begins on a page.
#[derive(Debug)]
pub(crate) struct DeviceMemory {
    context: Arc<Context>,
    /// The driver's address: the allocation is longer than the part in use, so that the start can be aligned.
    given: Address,
    start: NonNull<u8>,
}

/// Pinned host memory, under the same address for every device.
#[derive(Debug)]
pub(crate) struct Pinned {
    context: Arc<Context>,
    start: NonNull<u8>,
}

// SAFETY: memory belongs to the process and the device, not to a thread; the value itself gives out an
// address only.
unsafe impl Send for DeviceMemory {}
// SAFETY: as above.
unsafe impl Sync for DeviceMemory {}
// SAFETY: as above.
unsafe impl Send for Pinned {}
// SAFETY: as above.
unsafe impl Sync for Pinned {}

impl DeviceMemory {
    pub(super) fn allocate(context: &Arc<Context>, bytes: u64) -> Result<Self, Error> {
        context.make_current()?;
        let driver = context.driver;
        // Whole pages let the driver make a dma-buf of the memory, wherever on a page the allocation begins.
        let pages = bytes.checked_next_multiple_of(PAGE_BYTES);
        let with_pad = pages.and_then(|bytes| bytes.checked_add(PAGE_BYTES - 1));
        let Some(with_pad) = with_pad.and_then(|bytes| usize::try_from(bytes).ok()) else {
            return Err(Error::GpuOutOfMemory { asked: bytes, free: free(context) });
        };
        let mut given: Address = 0;
        // SAFETY: the driver writes one address.
        let code = unsafe { (driver.memory_alloc)(&mut given, with_pad) };
        if code == sys::ERROR_OUT_OF_MEMORY {
            return Err(Error::GpuOutOfMemory { asked: bytes, free: free(context) });
        }
        driver.check(code, "allocate memory")?;
        let start = ptr::without_provenance_mut(given.next_multiple_of(PAGE_BYTES) as usize);
        let Some(start) = NonNull::new(start) else {
            return Err(Error::GpuOutOfMemory { asked: bytes, free: 0 });
        };
        Ok(Self { context: Arc::clone(context), given, start })
    }

    /// Returns the address of the first byte, which only the device can use.
    pub(crate) const fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(super) fn address(&self) -> Address {
        self.start.addr().get() as Address
    }

    /// Returns the ordinal of the memory's device.
    pub(crate) fn ordinal(&self) -> u32 {
        self.context.ordinal
    }
}

impl Pinned {
    pub(super) fn allocate(context: &Arc<Context>, bytes: u64) -> Result<Self, Error> {
        context.make_current()?;
        let driver = context.driver;
        let refused = Error::PinnedOutOfMemory { bytes };
        let Ok(length) = usize::try_from(bytes) else { return Err(refused) };
        let mut start: *mut c_void = ptr::null_mut();
        // SAFETY: the driver writes one address.
        let code = unsafe { (driver.host_alloc)(&mut start, length, sys::HOST_PORTABLE_MAPPED) };
        if code == sys::ERROR_OUT_OF_MEMORY {
            return Err(refused);
        }
        driver.check(code, "allocate pinned host memory")?;
        let Some(start) = NonNull::new(start.cast::<u8>()) else { return Err(refused) };
        let pinned = Self { context: Arc::clone(context), start };
        // SAFETY: the range was just allocated, and no other code knows it.
        unsafe { pinned.start.write_bytes(0, length) };
        Ok(pinned)
    }

    /// Returns the first byte, for the host.
    pub(crate) const fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Returns the device's address: under unified addressing it is the host's ("Unified Addressing", "Host
    /// Memory").
    pub(super) fn address(&self) -> Address {
        self.start.addr().get() as Address
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        if self.context.make_current().is_ok() {
            // SAFETY: allocated once, freed once; work on the memory holds it. After a lost device it is gone
            // already.
            let _ = unsafe { (self.context.driver.memory_free)(self.given) };
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if self.context.make_current().is_ok() {
            // SAFETY: allocated once, freed once; work on the memory holds it.
            let _ = unsafe { (self.context.driver.host_free)(self.start.as_ptr().cast()) };
        }
    }
}

/// Returns the free device memory in bytes; 0 if the driver does not report it.
fn free(context: &Context) -> u64 {
    let (mut free, mut total) = (0, 0);
    // SAFETY: the driver writes two numbers.
    let code = unsafe { (context.driver.memory_info)(&mut free, &mut total) };
    if code == sys::SUCCESS { free as u64 } else { 0 }
}

const PAGE_BYTES: u64 = 4 << 10;
