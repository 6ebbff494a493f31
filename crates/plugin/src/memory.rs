//! NCCL's memory: the ranges that it registers, and those that it lends to a request.
//!
//! Claims on it exclude no other claim (`Buffer::lent`), because NCCL decides which threads may touch which
//! bytes. It legally lends the same bytes twice. It sends one buffer to several peers, posts receives to one
//! scratch buffer, and registers one range on every connection. A claim only names a range within bounds and
//! lives as long as its request.
//!
//! A registration holds a buffer, so that its requests allocate nothing. It is of one connection, which has
//! at most 32 requests, far fewer than a buffer has claims. A registration that NCCL takes back with requests
//! in flight changes nothing for them: their claims hold the buffer. A request without one, or beyond its
//! range, gets a buffer of its own.

use std::ptr::NonNull;

use gputcp_gpu::Buffer;
use gputcp_nccl_net::ResultCode;

use crate::answer::refused;

/// The target of an mhandle.
#[derive(Debug)]
pub(crate) struct Registration {
    /// `None` if the registered range is empty or nonsense: requests then name their memory themselves.
    buffer: Option<Buffer>,
}

impl Registration {
    /// Registers `bytes` bytes from `start`.
    ///
    /// # Safety
    /// NCCL's promise of registered memory that it passes to `isend` or `irecv` holds. It is host memory,
    /// mapped until the request is done or its connection closed. It is not written while it is sent, and not
    /// otherwise used while it is received to.
    pub(crate) unsafe fn new(start: *mut u8, bytes: usize) -> Self {
        // SAFETY: claims are made for requests alone, and the caller makes the promise that `Buffer::lent`
        // asks for.
        let buffer = NonNull::new(start).and_then(|start| unsafe { Buffer::lent(start, bytes as u64) }.ok());
        Self { buffer }
    }

    /// Returns the buffer and the start of a request's memory in it, if all of it is in there.
    fn place(&self, start: NonNull<u8>, bytes: usize) -> Option<(Buffer, u64)> {
        let buffer = self.buffer.as_ref()?;
        let offset = start.addr().get().checked_sub(buffer.address().addr().get())? as u64;
        let end = offset.checked_add(bytes as u64)?;
        (end <= buffer.bytes()).then(|| (buffer.clone(), offset))
    }
}

/// Returns the memory of one request: a buffer, and the start of the request's bytes in it.
///
/// # Errors
/// If there is no memory, but something to move.
///
/// # Safety
/// As [`Registration::new`], for this request.
pub(crate) unsafe fn lent(
    start: *mut u8,
    bytes: usize,
    registration: Option<&Registration>,
) -> Result<(Buffer, u64), ResultCode> {
    // A request of no bytes may come with any address, NULL included; no byte of its buffer is touched.
    let start = match NonNull::new(start) {
        Some(start) if bytes > 0 => start,
        _ if bytes == 0 => NonNull::dangling(),
        _ => return Err(refused("a request came without memory: this is a bug of the caller, NCCL")),
    };
    if bytes > 0
        && let Some(place) = registration.and_then(|registration| registration.place(start, bytes))
    {
        return Ok(place);
    }
    // SAFETY: the caller's promise.
    let buffer = unsafe { Buffer::lent(start, bytes.max(1) as u64) };
    buffer.map(|buffer| (buffer, 0)).map_err(|error| refused(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_found_in_its_registration_or_has_its_own_buffer() {
        let mut bytes = [0u8; 64];
        let start = bytes.as_mut_ptr();
        let at = |offset: usize| start.wrapping_add(offset);
        // SAFETY: no byte is touched.
        let (whole, none) = unsafe { (Registration::new(start, 48), Registration::new(start, 0)) };
        let found = |offset, bytes, registration: Option<&Registration>| {
            // SAFETY: as above.
            let (buffer, from) = unsafe { lent(at(offset), bytes, registration) }.unwrap();
            (buffer.bytes(), from)
        };
        assert_eq!(found(8, 40, Some(&whole)), (48, 8));
        assert_eq!(found(8, 41, Some(&whole)), (41, 0), "beyond the registration");
        assert_eq!(found(8, 40, Some(&none)), (40, 0));
        assert_eq!(found(8, 40, None), (40, 0));
        assert_eq!(found(64, 0, Some(&whole)), (1, 0));
    }

    #[test]
    fn the_same_bytes_are_lent_twice() {
        let mut bytes = [0u8; 64];
        // SAFETY: no byte is touched.
        let registration = unsafe { Registration::new(bytes.as_mut_ptr(), 64) };
        // SAFETY: as above.
        let (buffer, at) = unsafe { lent(bytes.as_mut_ptr(), 64, Some(&registration)) }.unwrap();
        let claims = (buffer.write(at, 64), buffer.write(at, 64), buffer.read(at, 64));
        assert!(matches!(claims, (Ok(_), Ok(_), Ok(_))));
        drop((registration, buffer));
    }

    #[test]
    fn nothing_is_no_memory_for_something() {
        // SAFETY: no byte is touched.
        unsafe {
            assert_eq!(lent(std::ptr::null_mut(), 8, None).unwrap_err(), ResultCode::InvalidArgument);
            assert!(lent(std::ptr::null_mut(), 0, None).is_ok());
        }
    }
}
