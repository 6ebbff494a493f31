//! Pages from the system: aligned, zeroed, present from the start, unmapped when dropped.
//!
//! Invariant: no other code knows the mapping, and it stays where it is until [`Pages`] is dropped.

use std::{ptr, ptr::NonNull};

use rustix::{
    io::Errno,
    mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap},
};

use super::available;
use crate::Error;

/// An anonymous mapping.
#[derive(Debug)]
pub(crate) struct Pages {
    start: NonNull<u8>,
    bytes: usize,
    /// The mapping's start: it is longer than the part in use, so that the start can be aligned.
    mapped: NonNull<u8>,
    mapped_bytes: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread; `Pages` itself never touches its bytes after it
// is made.
unsafe impl Send for Pages {}
// SAFETY: as above: a shared `Pages` gives out an address and a length, no access.
unsafe impl Sync for Pages {}

impl Pages {
    /// Maps at least `bytes`, all present, on huge pages if they are worth it.
    pub(crate) fn map(bytes: u64) -> Result<Self, Error> {
        if bytes == 0 {
            return Err(Error::Empty);
        }
        available::check(bytes)?;
        let refused = |errno: Errno| Error::Map { bytes, kind: std::io::Error::from(errno).kind() };
        let align = if bytes >= HUGE_PAGE_BYTES as u64 { HUGE_PAGE_BYTES } else { PAGE_BYTES };
        let used = usize::try_from(bytes).ok().and_then(|bytes| bytes.checked_next_multiple_of(PAGE_BYTES));
        let mapped_bytes = used.and_then(|used| used.checked_add(align - PAGE_BYTES));
        let (Some(used), Some(mapped_bytes)) = (used, mapped_bytes) else {
            return Err(refused(Errno::NOMEM));
        };
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a fresh anonymous mapping at an address of the system's choice disturbs no memory in use.
        let mapped =
            unsafe { mmap_anonymous(ptr::null_mut(), mapped_bytes, access, flags) }.map_err(refused)?;
        let Some(mapped) = NonNull::new(mapped.cast::<u8>()) else { return Err(refused(Errno::FAULT)) };
        let skip = mapped.align_offset(align);
        // SAFETY: the mapping is page-aligned and `align - PAGE_BYTES` longer than `used`, so `skip` keeps
        // within it.
        let start = unsafe { mapped.add(skip) };
        let pages = Self { start, bytes: used, mapped, mapped_bytes };
        pages.make_present(align == HUGE_PAGE_BYTES).map_err(refused)?;
        Ok(pages)
    }

    pub(crate) const fn start(&self) -> NonNull<u8> {
        self.start
    }

    fn make_present(&self, huge: bool) -> Result<(), Errno> {
        let start = self.start.as_ptr();
        if huge {
            // SAFETY: the range is this mapping's own; the advice changes the size of its pages, not their
            // content. A system without huge pages refuses, and is merely slower.
            let _ = unsafe { madvise(start.cast(), self.bytes, Advice::LinuxHugepage) };
        }
        // SAFETY: as above: populating changes no content.
        match unsafe { madvise(start.cast(), self.bytes, Advice::LinuxPopulateWrite) } {
            Err(Errno::INVAL) => {}
            done_or_refused => return done_or_refused,
        }
        // Kernels before 5.14 do not know the advice.
        for at in (0..self.bytes).step_by(PAGE_BYTES) {
            // SAFETY: `at` is within the mapping, which no other code knows yet.
            unsafe { start.add(at).write_volatile(0) };
        }
        Ok(())
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and every user of its address holds this value alive. If
        // the system refuses, nothing useful can be done.
        let _ = unsafe { munmap(self.mapped.as_ptr().cast(), self.mapped_bytes) };
    }
}

const PAGE_BYTES: usize = 4 << 10;
const HUGE_PAGE_BYTES: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_aligned_zeroed_and_as_long_as_asked() {
        for bytes in [1, 4096, 4097, (2 << 20) - 1, 2 << 20, (6 << 20) + 5] {
            let pages = Pages::map(bytes).unwrap();
            let align = if bytes >= HUGE_PAGE_BYTES as u64 { HUGE_PAGE_BYTES } else { PAGE_BYTES };
            assert_eq!(pages.start().align_offset(align), 0);
            for at in [0, bytes as usize / 2, bytes as usize - 1] {
                // SAFETY: `at` is below the length asked for, and the mapping is this test's own.
                assert_eq!(unsafe { pages.start().add(at).read() }, 0);
            }
        }
    }

    #[test]
    fn refuses_nothing_and_too_much() {
        assert_eq!(Pages::map(0).unwrap_err(), Error::Empty);
        let refused = Pages::map(1 << 50).unwrap_err();
        assert!(
            matches!(refused, Error::OutOfMemory { asked, available } if asked == 1 << 50 && available > 0)
        );
        assert!(Pages::map(u64::MAX).is_err());
    }
}
