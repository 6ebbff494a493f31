//! The copy that everything of the software GPU comes down to.

/// Copies `bytes` bytes, as if one by one with relaxed atomic stores: where two copies write the same byte at a time,
/// one of the two values is found there. A plain `ptr::copy` would be undefined then, and no type keeps two lanes from
/// being given overlapping fragments of one destination.
///
/// # Safety
/// `source` must be valid for reads and `destination` for writes of `bytes` bytes; the two must not overlap; nobody may
/// hold a reference to the destination.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn copy_bytes(source: *const u8, destination: *mut u8, bytes: usize) {
    // SAFETY: reads and writes exactly the two ranges, which the caller promises to be valid. The compiler assumes
    // nothing about how; on x86-64 every byte is loaded and stored whole.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") bytes => _,
            inout("rsi") source => _,
            inout("rdi") destination => _,
            options(nostack, preserves_flags),
        );
    }
}

/// See above. Correct, and slow: the compiler makes no vectors of atomics.
///
/// # Safety
/// As above.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) unsafe fn copy_bytes(source: *const u8, destination: *mut u8, bytes: usize) {
    use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
    for at in 0..bytes {
        // SAFETY: `at` is within both ranges; sources are not written while they are read, and all writers of a
        // destination use atomics of this very size.
        unsafe { AtomicU8::from_ptr(destination.add(at)).store(source.add(at).read(), Relaxed) };
    }
}
