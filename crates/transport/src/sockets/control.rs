//! The control socket of a connection: frames out, frames in, and who reads them.
//!
//! A *standby* thread reads while nobody waits, so progress does not depend on polling. Whoever waits for a request takes
//! the reading over (*leads*) for as long as it waits: the standby is disarmed by one `epoll_ctl`, and a short message is
//! delivered by the thread that wants it, without a second wake-up.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use gputcp_proto::{
    Violation,
    frame::{ABORT_BYTES_MAX, Control},
};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, epoll, eventfd},
    net::{RecvFlags, SendAncillaryBuffer, SendFlags},
};
use socket2::Socket;

use super::locks::lock;

/// The control socket and its two directions.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    socket: Socket,
    writer: Mutex<()>,
    reader: Mutex<Reader>,
    /// What the standby thread sleeps on: the socket while nobody leads, and `stop`.
    standby: OwnedFd,
    stop: OwnedFd,
}

/// What the control socket had.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// Nothing more at present.
    Nothing,
    /// A frame, without payload or with its payload still to be read by [`Reader::payload`].
    Frame(Control),
    /// The peer's end is closed.
    End,
}

/// A piece of an inline message's payload.
pub(crate) enum Piece<'a> {
    /// These bytes, which were read together with the frame.
    Here(&'a [u8]),
    /// What this socket has next.
    Coming(BorrowedFd<'a>),
}

/// The reading half. Holds what has arrived of a frame.
#[derive(Debug)]
pub(crate) struct Reader {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl ControlSocket {
    /// Takes over a connected socket, which becomes non-blocking.
    pub(crate) fn new(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let standby = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let once = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        epoll::add(&standby, &socket, epoll::EventData::new_u64(SOCKET), once)?;
        epoll::add(&standby, &stop, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)?;
        let reader = Reader { buffer: vec![0; READ_BYTES].into(), start: 0, end: 0 };
        Ok(Self { socket, writer: Mutex::new(()), reader: Mutex::new(reader), standby, stop })
    }

    pub(crate) const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The descriptor to poll while leading.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Writes whole frames, back to back.
    pub(crate) fn write(&self, frames: &[u8], timeout: Duration) -> io::Result<()> {
        let _writing = lock(&self.writer);
        self.write_all(frames, timeout)
    }

    /// Writes an inline message: its frame, and the bytes behind it. `write` is given what is left of the frame's header; it
    /// says how many bytes the socket took, and whether that was all.
    pub(crate) fn write_message(
        &self,
        frame: &Control,
        timeout: Duration,
        mut write: impl FnMut(&[u8]) -> io::Result<(usize, bool)>,
    ) -> io::Result<()> {
        let header = frame.encode();
        let _writing = lock(&self.writer);
        let mut head = 0;
        let deadline = Instant::now() + timeout;
        loop {
            match write(&header[head..]) {
                Ok((_, true)) => return Ok(()),
                Ok((taken, false)) => head = header.len().min(head + taken),
                Err(error) => self.writable_after(error, deadline)?,
            }
        }
    }

    /// Tells the peer why this side fails, if that can be done at once. Never waits: the connection is lost anyway.
    pub(crate) fn write_abort(&self, reason: &str) {
        let Ok(_writing) = self.writer.try_lock() else { return };
        let mut bytes = reason.len().min(ABORT_BYTES_MAX as usize);
        while !reason.is_char_boundary(bytes) {
            bytes -= 1;
        }
        let header = Control::Abort { bytes: bytes as u32 }.encode();
        let parts = [IoSlice::new(&header), IoSlice::new(&reason.as_bytes()[..bytes])];
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let _ = rustix::net::sendmsg(&self.socket, &parts, &mut SendAncillaryBuffer::default(), flags);
    }

    /// Reads for as long as the guard lives; the standby thread stays out.
    pub(crate) fn lead(&self) -> io::Result<Lead<'_>> {
        epoll::modify(
            &self.standby,
            &self.socket,
            epoll::EventData::new_u64(SOCKET),
            epoll::EventFlags::empty(),
        )?;
        Ok(Lead { control: self, reader: lock(&self.reader) })
    }

    /// Has what is there read, unless somebody is at it already: for a caller who asks again and again, and would otherwise
    /// wait for the standby thread to wake up.
    pub(crate) fn look(&self, dispatch: impl FnOnce(&mut Reader)) {
        if let Ok(mut reader) = self.reader.try_lock() {
            dispatch(&mut reader);
        }
    }

    /// The standby thread's life: calls `dispatch` whenever frames are there to be read, until that says to end, or
    /// [`ControlSocket::stop`].
    pub(crate) fn stand_by(&self, mut dispatch: impl FnMut(&mut Reader) -> bool) -> io::Result<()> {
        let mut events = Vec::with_capacity(2);
        loop {
            match epoll::wait(&self.standby, rustix::buffer::spare_capacity(&mut events), None) {
                Err(rustix::io::Errno::INTR) => continue,
                other => drop(other?),
            }
            for event in events.drain(..) {
                if { event.data }.u64() == STOP {
                    return Ok(());
                }
                let more = dispatch(&mut lock(&self.reader));
                if !more {
                    return Ok(());
                }
                self.rearm()?;
            }
        }
    }

    /// Ends the standby thread.
    pub(crate) fn stop(&self) {
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
    }

    fn rearm(&self) -> io::Result<()> {
        let once = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        Ok(epoll::modify(&self.standby, &self.socket, epoll::EventData::new_u64(SOCKET), once)?)
    }

    fn write_all(&self, mut bytes: &[u8], timeout: Duration) -> io::Result<()> {
        let deadline = Instant::now() + timeout;
        while !bytes.is_empty() {
            match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(taken) => bytes = &bytes[taken..],
                Err(error) => self.writable_after(error.into(), deadline)?,
            }
        }
        Ok(())
    }

    /// Waits for room after a write that would block; any other error is the caller's.
    fn writable_after(&self, error: io::Error, deadline: Instant) -> io::Result<()> {
        match error.kind() {
            io::ErrorKind::Interrupted => Ok(()),
            io::ErrorKind::WouldBlock => {
                let mut watched = [PollFd::new(&self.socket, PollFlags::OUT)];
                poll_until(&mut watched, Some(deadline))?
                    .then_some(())
                    .ok_or_else(|| io::ErrorKind::TimedOut.into())
            }
            _ => Err(error),
        }
    }
}

/// The right to read the control socket. Dropped, it goes back to the standby thread.
#[derive(Debug)]
pub(crate) struct Lead<'a> {
    control: &'a ControlSocket,
    pub(crate) reader: MutexGuard<'a, Reader>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        // Fails only if the socket was never in the set.
        let _ = self.control.rearm();
    }
}

impl Reader {
    /// The next frame, if a whole one is there. Never waits.
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
                        // What has arrived of it is better than nothing.
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

    /// Has an inline message's payload of `bytes` taken, piece by piece: `take` is given where the piece starts and says how
    /// long it was. Waits for a payload that is under way, until the deadline: the peer writes frame and payload as one.
    pub(crate) fn payload(
        &mut self,
        control: &ControlSocket,
        bytes: u64,
        deadline: Instant,
        mut take: impl FnMut(u64, Piece<'_>) -> io::Result<usize>,
    ) -> io::Result<()> {
        let buffered = ((self.end - self.start) as u64).min(bytes) as usize;
        if buffered > 0 {
            take(0, Piece::Here(&self.buffer[self.start..self.start + buffered]))?;
            self.start += buffered;
        }
        let mut have = buffered as u64;
        while have < bytes {
            match take(have, Piece::Coming(control.descriptor())) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(got) => have += got as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut watched = [PollFd::new(&control.socket, PollFlags::IN)];
                    if !poll_until(&mut watched, Some(deadline))? {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The text that follows an abort frame, as far as it has arrived.
    pub(crate) fn text(&mut self, bytes: usize) -> String {
        let have = bytes.min(self.end - self.start);
        let text = String::from_utf8_lossy(&self.buffer[self.start..self.start + have]);
        self.start += have;
        // It will stand in a log: no line breaks, no terminal sequences.
        text.chars().filter(|c| !c.is_control()).collect()
    }

    /// Reads what is there behind the bytes that are kept. False at the end of the stream.
    fn fill(&mut self, control: &ControlSocket) -> io::Result<bool> {
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

/// Polls until something is ready or the deadline; false at the deadline.
pub(crate) fn poll_until(watched: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let limit = left.map(|left| rustix::event::Timespec {
            tv_sec: left.as_secs().min(3600).cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        });
        match rustix::event::poll(watched, limit.as_ref()) {
            Ok(0) if left.is_some_and(|left| !left.is_zero()) => {}
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Frames are 32 bytes and a window has at most 32 of them; the rest is room for a short message's payload.
const READ_BYTES: usize = 8 << 10;
const SOCKET: u64 = 0;
const STOP: u64 = 1;
