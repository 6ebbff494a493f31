//! The driver's knowledge of memory that foreign code names, and handles of this crate's memory for foreign
//! code.
//!
//! A driver may lack these functions; the answer is then that nothing is known.

use std::{
    ffi::c_int,
    os::fd::{FromRawFd as _, OwnedFd},
    ptr::{self, NonNull},
};

use super::{
    gpu::Gpu,
    sys::{self, Address},
};
use crate::Error;

impl Gpu {
    /// See [`crate::Device::make_current`].
    pub(crate) fn make_current(&self) -> Result<(), Error> {
        self.context().make_current()
    }

    /// See [`crate::Device::bytes_at`].
    pub(crate) fn bytes_at(&self, address: NonNull<u8>) -> Result<Option<u64>, Error> {
        self.make_current()?;
        let driver = self.context().driver;
        let Some(memory_range) = driver.memory_range else { return Ok(None) };
        let at = address.addr().get() as Address;
        let (mut base, mut bytes) = (0, 0);
        // SAFETY: the driver writes two numbers, and looks the address up without reading there.
        let code = unsafe { memory_range(&mut base, &mut bytes, at) };
        // The driver says "named symbol not found" of another GPU's memory too.
        if matches!(code, sys::ERROR_NOT_FOUND | sys::ERROR_INVALID_VALUE) {
            return Err(Error::NotOnGpu { name: driver.name(code) });
        }
        driver.check(code, "find the memory that a plugin names")?;
        Ok(Some(base.saturating_add(bytes as u64).saturating_sub(at)))
    }

    /// See [`crate::Device::check_on_host`].
    pub(crate) fn check_on_host(&self, address: NonNull<u8>) -> Result<(), Error> {
        self.make_current()?;
        let driver = self.context().driver;
        let Some(pointer_attribute) = driver.pointer_attribute else { return Ok(()) };
        let mut kind: std::ffi::c_uint = 0;
        let at = address.addr().get() as Address;
        // SAFETY: the driver writes one number of this type for this attribute, and looks the address up
        // without reading there.
        let code =
            unsafe { pointer_attribute(ptr::from_mut(&mut kind).cast(), sys::POINTER_MEMORY_TYPE, at) };
        if code == sys::ERROR_INVALID_VALUE {
            return Err(Error::NotOnHost { name: driver.name(code) });
        }
        driver.check(code, "find the pinned memory that a plugin names")?;
        if kind == sys::MEMORY_TYPE_HOST { Ok(()) } else { Err(Error::NotOnHost { name: String::new() }) }
    }

    /// See [`crate::Device::dma_buf`]. The range is widened to whole pages, as the driver demands;
    /// allocations leave room for that.
    pub(crate) fn dma_buf(&self, start: NonNull<u8>, bytes: u64) -> Option<(OwnedFd, u64)> {
        self.make_current().ok()?;
        let memory_handle = self.context().driver.memory_handle?;
        let start = start.addr().get() as Address;
        let first = start - start % PAGE_BYTES;
        let length = (start - first).checked_add(bytes)?.checked_next_multiple_of(PAGE_BYTES)?;
        let mut fd: c_int = -1;
        // SAFETY: the driver writes one descriptor; the range is looked up, not touched.
        let code = unsafe {
            memory_handle(ptr::from_mut(&mut fd).cast(), first, length as usize, sys::RANGE_DMA_BUF, 0)
        };
        if code != sys::SUCCESS || fd < 0 {
            return None;
        }
        // SAFETY: the driver has just opened the descriptor for the caller ("cuMemGetHandleForAddressRange").
        Some((unsafe { OwnedFd::from_raw_fd(fd) }, start - first))
    }
}

const PAGE_BYTES: u64 = 4 << 10;
