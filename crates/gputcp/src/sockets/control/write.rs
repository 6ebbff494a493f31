//! Writes on the control socket. Bytes that it does not take at once are left for the background reader: no
//! thread waits for a peer that does not read.

use std::{
    io::{self, IoSlice},
    os::fd::BorrowedFd,
};

use gputcp_proto::frame::{ABORT_BYTES_MAX, Control, EAGER_PLACES_MAX};
use rustix::net::{SendAncillaryBuffer, SendFlags};

use super::ControlSocket;
use crate::sockets::locks::lock;

/// The bytes that were to be written, and that the socket has not taken yet.
#[derive(Debug)]
pub(super) struct Outbox {
    frames: Box<[u8]>,
    start: usize,
    end: usize,
    /// A part of a message has been written, the rest not yet.
    amid: bool,
}

impl ControlSocket {
    /// Writes whole frames, back to back, now or when there is room.
    pub(crate) fn write(&self, frames: &[u8]) -> io::Result<()> {
        let mut outbox = lock(&self.outbox);
        outbox.put(frames)?;
        self.flush(&mut outbox)
    }

    /// Returns whether a part of a short message has been written, and the rest not yet.
    pub(crate) fn is_amid(&self) -> bool {
        lock(&self.outbox).amid
    }

    /// Writes a frame that may be left out. It is left out where others wait already, which tell the peer as
    /// much.
    pub(crate) fn write_if_idle(&self, frame: &[u8]) -> io::Result<()> {
        let mut outbox = lock(&self.outbox);
        if outbox.is_waiting() {
            return Ok(());
        }
        outbox.put(frame)?;
        self.flush(&mut outbox)
    }

    /// Writes the rest of the frames. The background reader calls it when there is room, before it tries
    /// anything else.
    pub(crate) fn write_on(&self) -> io::Result<()> {
        self.armed.tries();
        self.flush(&mut lock(&self.outbox))
    }

    /// Writes a part of a message: its frame and its bytes, of which `left` are left. Returns `None` if there
    /// is no room: then the background reader is woken when there is.
    pub(crate) fn write_part(
        &self,
        left: u64,
        mut write: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<Option<u64>> {
        let mut outbox = lock(&self.outbox);
        // A frame of which a part was written comes first.
        self.flush(&mut outbox)?;
        if !outbox.amid && outbox.start < outbox.end {
            return Ok(None);
        }
        loop {
            match write(self.descriptor()) {
                Ok(taken) => {
                    outbox.amid = (taken as u64) < left;
                    self.flush(&mut outbox)?;
                    return Ok(Some(taken as u64));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.armed.want_room(&self.socket)?;
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends the peer the reason for which this side fails, if there is room for that now: the connection is
    /// lost anyway.
    pub(crate) fn write_abort(&self, reason: &str) {
        // A thread that holds the lock does not wait for the peer, nor fail the connection meanwhile.
        let outbox = lock(&self.outbox);
        if outbox.amid || outbox.start < outbox.end {
            return;
        }
        let mut bytes = reason.len().min(ABORT_BYTES_MAX as usize);
        while !reason.is_char_boundary(bytes) {
            bytes -= 1;
        }
        let header = Control::Abort { bytes: bytes as u32 }.encode();
        let parts = [IoSlice::new(&header), IoSlice::new(&reason.as_bytes()[..bytes])];
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let _ = rustix::net::sendmsg(&self.socket, &parts, &mut SendAncillaryBuffer::default(), flags);
    }

    fn flush(&self, outbox: &mut Outbox) -> io::Result<()> {
        // The thread that ends the message goes on here.
        while outbox.start < outbox.end && !outbox.amid {
            match rustix::net::send(
                &self.socket,
                &outbox.frames[outbox.start..outbox.end],
                SendFlags::NOSIGNAL,
            ) {
                Ok(taken) => outbox.start += taken,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return self.armed.want_room(&self.socket),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Outbox {
    /// Returns the outbox of an end with up to `depth` messages in flight. It has room for an announcement
    /// for each receive that is open or was finished without. An honest sender sends no more of those than it
    /// has places for. It also has room for a goodbye. A sender's wants are fewer: each is behind a message
    /// of its window that waits as well. A ping or a pong is put in only while the outbox is empty.
    pub(super) fn new(depth: usize) -> Self {
        let frames = depth + EAGER_PLACES_MAX as usize + 1;
        Self { frames: vec![0; frames * Control::BYTES].into(), start: 0, end: 0, amid: false }
    }

    /// Returns whether the socket has not taken all of it.
    pub(super) const fn is_waiting(&self) -> bool {
        self.start < self.end || self.amid
    }

    fn put(&mut self, frames: &[u8]) -> io::Result<()> {
        self.frames.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let Some(room) = self.frames[self.end..].get_mut(..frames.len()) else {
            return Err(io::Error::other("it leaves its control socket unread"));
        };
        room.copy_from_slice(frames);
        self.end += frames.len();
        Ok(())
    }
}
