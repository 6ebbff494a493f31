//! The system calls of the hot path: a gathering send, and receives by address, of one part or several.

use std::{
    io::{self, IoSlice},
    os::fd::{AsRawFd, BorrowedFd},
    ptr::NonNull,
};

use libc::iovec;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

/// The most parts of memory of one call: 1 KiB of the stack. With parts of 16 KiB that is 1 MiB a call.
pub(super) const PARTS_MAX: usize = 64;

/// A part of memory to receive into.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Room(iovec);

impl Room {
    pub(super) const NONE: Self = Self::new(NonNull::dangling(), 0);

    pub(super) const fn new(start: NonNull<u8>, bytes: usize) -> Self {
        Self(iovec { iov_base: start.as_ptr().cast(), iov_len: bytes })
    }
}

/// Writes `header` and `payload` in one call; returns the number of bytes of both that the socket took.
pub(crate) fn send(socket: BorrowedFd<'_>, header: &[u8], payload: &[u8]) -> io::Result<usize> {
    send_parts(socket, &[IoSlice::new(header), IoSlice::new(payload)])
}

/// Writes parts, one after another, in one call; returns the number of bytes that the socket took.
pub(super) fn send_parts(socket: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    // Without a signal, a closed peer is an error to report, and does not end the process.
    Ok(sendmsg(socket, parts, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?)
}

/// Reads up to `bytes` bytes to `destination` in one call; returns the number that came.
///
/// # Safety
/// `destination` must be valid for writes of `bytes` bytes, and no reference to them may exist.
pub(crate) unsafe fn recv(
    socket: BorrowedFd<'_>,
    destination: NonNull<u8>,
    bytes: usize,
) -> io::Result<usize> {
    // SAFETY: the descriptor is open while it is borrowed; the rest is the caller's promise.
    let got = unsafe { libc::recv(socket.as_raw_fd(), destination.as_ptr().cast(), bytes, 0) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

/// Fills parts of memory, one after another, in one call; returns the number of bytes that came.
///
/// # Safety
/// Each part must be valid for writes, and no reference to its bytes may exist.
pub(super) unsafe fn recv_parts(socket: BorrowedFd<'_>, parts: &[Room]) -> io::Result<usize> {
    let count = parts.len().min(PARTS_MAX) as libc::c_int;
    // SAFETY: the descriptor is open while it is borrowed. A `Room` is an `iovec` in memory, and there are
    // `count`. The rest is the caller's promise.
    let got = unsafe { libc::readv(socket.as_raw_fd(), parts.as_ptr().cast::<iovec>(), count) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}
