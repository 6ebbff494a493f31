//! Claims: the rights to read or write part of a buffer, and the access of sockets and the CPU under them.
//!
//! Memory that is being written is only ever named by address. Sockets and lanes may fill several parts of
//! one claim at a time, from several threads.

use std::{io, os::fd::BorrowedFd, ptr::NonNull, slice};

use super::{hold::Hold, socket};
use crate::{
    MemoryKind,
    host::{Stores, copy_bytes},
};

/// The right to read part of a buffer. While it lives, or a lane works under it, no other code writes there.
#[derive(Debug)]
pub struct ReadClaim {
    hold: Hold,
}

/// The right to write part of a buffer. While it lives, or a lane works under it, no other right exists
/// there.
///
/// Several threads may write under one claim, each its own bytes. If two write the same bytes at a time, one
/// of the two values is found there, byte by byte.
#[derive(Debug)]
pub struct WriteClaim {
    hold: Hold,
}

impl ReadClaim {
    pub(super) const fn new(hold: Hold) -> Self {
        Self { hold }
    }

    /// Returns the number of bytes that it covers.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.hold.bytes() as u64
    }

    /// Returns the kind of the memory.
    #[must_use]
    pub const fn kind(&self) -> MemoryKind {
        self.hold.kind()
    }

    /// Returns the address of the first byte: the CPU's, or a GPU's for its memory.
    ///
    /// Foreign code that is given it may read there only while the claim lives.
    #[must_use]
    pub const fn address(&self) -> NonNull<u8> {
        self.hold.start()
    }

    /// Writes `header` and `bytes` bytes from `offset` to the socket, in one call; either may be empty.
    ///
    /// Returns the number of bytes that the socket took, those of the header included.
    ///
    /// # Errors
    /// The error of the socket; `Unsupported` if the memory is no host memory.
    ///
    /// # Panics
    /// If the bytes are not within the claim.
    pub fn send(&self, socket: BorrowedFd<'_>, header: &[u8], offset: u64, bytes: u64) -> io::Result<usize> {
        host_only(self.kind())?;
        let start = self.hold.at(offset, bytes);
        // SAFETY: the hold keeps the bytes mapped, and as a read claim keeps all writers off them.
        let payload = unsafe { slice::from_raw_parts(start.as_ptr(), bytes as usize) };
        socket::send(socket, header, payload)
    }

    /// Copies the bytes from `offset` into `destination`.
    ///
    /// # Panics
    /// If they are not within the claim, or the memory is no host memory.
    pub fn copy_to(&self, offset: u64, destination: &mut [u8]) {
        assert_eq!(self.kind(), MemoryKind::Host, "the CPU copies from host memory only");
        self.copy_out(offset, destination);
    }

    /// Copies from memory that the CPU reaches, of whichever kind.
    pub(super) fn copy_out(&self, offset: u64, destination: &mut [u8]) {
        assert!(self.hold.is_on_host(), "the CPU reads host memory only");
        let start = self.hold.at(offset, destination.len() as u64);
        // SAFETY: the hold keeps the bytes mapped and all writers off them.
        destination.copy_from_slice(unsafe { slice::from_raw_parts(start.as_ptr(), destination.len()) });
    }

    /// Returns all bytes, for the software GPU's own kernels.
    ///
    /// # Panics
    /// If the CPU cannot read the memory.
    pub(super) fn as_slice(&self) -> &[u8] {
        assert!(self.hold.is_on_host(), "the CPU reads host memory only");
        // SAFETY: the hold keeps the bytes mapped and, as a read claim, all writers off them while `self` is
        // borrowed.
        unsafe { slice::from_raw_parts(self.hold.start().as_ptr(), self.hold.bytes()) }
    }

    pub(crate) const fn hold(&self) -> &Hold {
        &self.hold
    }
}

impl WriteClaim {
    pub(super) const fn new(hold: Hold) -> Self {
        Self { hold }
    }

    /// Returns the number of bytes that it covers.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.hold.bytes() as u64
    }

    /// Returns the kind of the memory.
    #[must_use]
    pub const fn kind(&self) -> MemoryKind {
        self.hold.kind()
    }

    /// Returns the address of the first byte: the CPU's, or a GPU's for its memory.
    ///
    /// Foreign code that is given it may write there only while the claim lives.
    #[must_use]
    pub const fn address(&self) -> NonNull<u8> {
        self.hold.start()
    }

    /// Reads up to `bytes` bytes from the socket to `offset`, in one call.
    ///
    /// Returns the number of bytes that came; 0 when the peer has closed (or when `bytes` is 0).
    ///
    /// # Errors
    /// The error of the socket; `Unsupported` if the memory is no host memory.
    ///
    /// # Panics
    /// If the bytes are not within the claim.
    pub fn recv(&self, socket: BorrowedFd<'_>, offset: u64, bytes: u64) -> io::Result<usize> {
        host_only(self.kind())?;
        let start = self.hold.at(offset, bytes);
        // SAFETY: the hold keeps the bytes mapped; as a write claim it excludes all readers, so no reference
        // to them exists.
        unsafe { socket::recv(socket, start, bytes as usize) }
    }

    /// Copies `source` to `offset`.
    ///
    /// # Panics
    /// If it does not fit, or the memory is no host memory.
    pub fn copy_from(&self, offset: u64, source: &[u8]) {
        assert_eq!(self.kind(), MemoryKind::Host, "the CPU copies to host memory only");
        self.copy_in(offset, source);
    }

    /// Copies to memory that the CPU reaches, of whichever kind.
    pub(super) fn copy_in(&self, offset: u64, source: &[u8]) {
        assert!(self.hold.is_on_host(), "the CPU writes host memory only");
        let start = self.hold.at(offset, source.len() as u64);
        // SAFETY: both ranges are mapped for their length and cannot overlap, as no slice leads into claimed
        // memory. No other code reads the destination while the write claim lives.
        unsafe { copy_bytes(source.as_ptr(), start.as_ptr(), source.len(), Stores::Cached) };
    }

    /// Returns all bytes, for the software GPU's own kernels.
    ///
    /// # Panics
    /// If the CPU cannot write the memory.
    ///
    /// # Safety
    /// No lane has been given a share of the claim.
    pub(super) unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        assert!(self.hold.is_on_host(), "the CPU writes host memory only");
        // SAFETY: the hold keeps the bytes mapped; the claim is exclusive and mutably borrowed, and has no
        // share elsewhere, as the caller promises.
        unsafe { slice::from_raw_parts_mut(self.hold.start().as_ptr(), self.hold.bytes()) }
    }

    pub(crate) const fn hold(&self) -> &Hold {
        &self.hold
    }
}

pub(super) fn host_only(kind: MemoryKind) -> io::Result<()> {
    match kind {
        MemoryKind::Host => Ok(()),
        MemoryKind::Soft | MemoryKind::Cuda(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}
