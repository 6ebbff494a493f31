//! Reads the control socket: frames, and the messages inside them. Never waits.

use std::{io, os::fd::BorrowedFd};

use gputcp_proto::{Violation, frame::Control};
use rustix::net::RecvFlags;

use super::ControlSocket;

/// The outcome of a read of the control socket.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// No more frames at present.
    Nothing,
    /// A frame, without payload or with its payload still to be taken by [`Reader::take`].
    Frame(Control),
    /// The peer's end is closed.
    End,
}

/// A piece of an inline message's payload.
pub(crate) enum Piece<'a> {
    /// These bytes, which were read together with the frame.
    Here(&'a [u8]),
    /// The bytes that this socket has next.
    Coming(BorrowedFd<'a>),
}

/// The reading half. Holds the bytes that have come of a frame.
#[derive(Debug)]
pub(crate) struct Reader {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// A message has begun whose rest is to be taken before the next frame.
    pub(crate) amid: bool,
    /// The number of reads that are left in this share.
    reads_left: u32,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; READ_BYTES].into(), start: 0, end: 0, amid: false, reads_left: 0 }
    }

    /// Begins a share: a peer that never stops sending must not keep the reading thread from its deadline,
    /// nor from other connections. At its end [`Reader::next`] returns [`Incoming::Nothing`], with no whole
    /// frame in the buffer, and the socket stays ready.
    pub(crate) const fn begin_share(&mut self) {
        self.reads_left = READS;
    }

    /// Returns the next frame, if a whole one is there.
    pub(crate) fn next(&mut self, control: &ControlSocket) -> io::Result<Result<Incoming, Violation>> {
        loop {
            if let Some(header) = self.buffer[self.start..self.end].first_chunk::<{ Control::BYTES }>() {
                let frame = Control::decode(header);
                // An abort's reason is short: wait for all of it, so that it is read in one piece.
                if let Ok(Control::Abort { bytes }) = frame
                    && self.end - self.start < Control::BYTES + bytes as usize
                {
                    match self.fill(control) {
                        Ok(true) => continue,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            return Ok(Ok(Incoming::Nothing));
                        }
                        // The part that has come is better than none.
                        _ => {}
                    }
                }
                self.start += Control::BYTES;
                return Ok(frame.map(Incoming::Frame));
            }
            match self.fill(control) {
                Ok(true) => {}
                Ok(false) => return Ok(Ok(Incoming::End)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Ok(Incoming::Nothing)),
                Err(error) => return Err(error),
            }
        }
    }

    /// Has `take` take the next piece of a payload, of which `missing` bytes are missing, and returns the
    /// piece's length. Returns `None` if no byte has come.
    pub(crate) fn take(
        &mut self,
        control: &ControlSocket,
        missing: u64,
        mut take: impl FnMut(Piece<'_>) -> io::Result<usize>,
    ) -> io::Result<Option<u64>> {
        let buffered = ((self.end - self.start) as u64).min(missing) as usize;
        if buffered > 0 {
            take(Piece::Here(&self.buffer[self.start..self.start + buffered]))?;
            self.start += buffered;
            return Ok(Some(buffered as u64));
        }
        loop {
            match take(Piece::Coming(control.descriptor())) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(got) => return Ok(Some(got as u64)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the text that follows an abort frame, as far as it has arrived.
    pub(crate) fn text(&mut self, bytes: usize) -> String {
        let have = bytes.min(self.end - self.start);
        let text = String::from_utf8_lossy(&self.buffer[self.start..self.start + have]);
        self.start += have;
        // It is shown in a log: no line breaks, no terminal sequences.
        text.chars().filter(|c| !c.is_control()).collect()
    }

    /// Reads the bytes that are there behind those that are kept. Returns false at the end of the stream;
    /// "would block" at the end of the share.
    fn fill(&mut self, control: &ControlSocket) -> io::Result<bool> {
        self.reads_left = self.reads_left.checked_sub(1).ok_or(io::ErrorKind::WouldBlock)?;
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        loop {
            match rustix::net::recv(&control.socket, &mut self.buffer[self.end..], RecvFlags::empty()) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok((got, _)) => {
                    self.end += got;
                    return Ok(got > 0);
                }
            }
        }
    }
}

/// Frames are 32 bytes and a window has at most 32 of them; the rest is room for a short message's payload.
const READ_BYTES: usize = 8 << 10;
/// Reads of one share: up to 4096 frames. An honest peer has at most 256 under way.
const READS: u32 = 16;
