//! The two system calls of the hot path: one gathering send, one receive by address.

use std::{
    io::{self, IoSlice},
    os::fd::{AsRawFd, BorrowedFd},
    ptr::NonNull,
};

use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

/// Writes `header` and `payload` in one call; returns the number of bytes of both that the socket took.
pub(crate) fn send(socket: BorrowedFd<'_>, header: &[u8], payload: &[u8]) -> io::Result<usize> {
    let parts = [IoSlice::new(header), IoSlice::new(payload)];
    // Without a signal, a closed peer is an error to report, and does not end the process.
    Ok(sendmsg(socket, &parts, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?)
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
