//! The control socket of a connection: frames out, frames in, and who reads them.
//!
//! *Standby* reads while nobody waits, so progress does not depend on polling. Whoever waits for a request takes the reading
//! over (*leads*) for as long as it waits: standby is disarmed by one `epoll_ctl`, and a short message is delivered by the
//! thread that wants it, without a second wake-up.
//!
//! Nobody ever waits here for the peer, so one thread can stand by for many connections. A message of which only a part has
//! come is gone on with by whoever reads next; what the socket does not take at once is kept, and written by standby when
//! there is room.

mod read;
mod standby;
mod write;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Mutex, MutexGuard, OnceLock, TryLockError,
        atomic::{AtomicBool, Ordering, fence},
    },
    time::{Duration, Instant},
};

use gputcp_socket::TcpInfo;
use rustix::event::PollFd;

pub(crate) use self::{
    read::{Incoming, Piece, Reader},
    standby::{AWAY, Alone, Attention, Watch},
};
use self::{standby::Armed, write::Outbox};
use super::{Socket, locks::lock};

/// The control socket and its two directions.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    socket: Socket,
    outbox: Mutex<Outbox>,
    reader: Mutex<Reader>,
    armed: Armed,
    /// Standby has found somebody at the reader.
    missed: AtomicBool,
    /// Why nothing can be written any more, once that is so.
    broken: OnceLock<io::Error>,
}

impl ControlSocket {
    /// Takes over a connected socket, which becomes non-blocking, of an end with up to `depth` messages in flight. Standby is not told of it before [`ControlSocket::arm`].
    pub(crate) fn new(socket: Socket, watch: &Watch, depth: usize) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            armed: Armed::new(watch, &socket)?,
            socket,
            outbox: Mutex::new(Outbox::new(depth)),
            reader: Mutex::new(Reader::new()),
            missed: AtomicBool::new(false),
            broken: OnceLock::new(),
        })
    }

    pub(crate) const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The descriptor to poll while leading.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads for as long as the guard lives; standby stays out.
    pub(crate) fn lead(&self) -> io::Result<Lead<'_>> {
        self.armed.lead(&self.socket, true)?;
        Ok(Lead { reader: lock(&self.reader), _back: HandBack(self) })
    }

    /// Has what is there read, unless somebody is at it already.
    pub(crate) fn look(&self, dispatch: impl FnOnce(&mut Reader)) {
        let Some(mut reader) = self.free_reader() else { return };
        dispatch(&mut reader);
        drop(reader);
        // Either standby sees the reader free, or this sees that it came in vain.
        fence(Ordering::SeqCst);
        if self.missed.swap(false, Ordering::Relaxed) {
            // Fails only if the socket is not in the set any more.
            let _ = self.arm();
        }
    }

    /// The reader, for standby. None if somebody is at it: who is, has standby told again afterwards.
    pub(crate) fn stand_in(&self) -> Option<MutexGuard<'_, Reader>> {
        self.free_reader().or_else(|| {
            self.missed.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            self.free_reader()
        })
    }

    fn free_reader(&self) -> Option<MutexGuard<'_, Reader>> {
        match self.reader.try_lock() {
            Ok(reader) => Some(reader),
            Err(TryLockError::Poisoned(reader)) => Some(reader.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Has standby told when there is something to do, from the first time on and again after each time.
    pub(crate) fn arm(&self) -> io::Result<()> {
        self.armed.rearm(&self.socket)
    }

    /// Whether standby, which comes back in that case, is told of nothing that comes.
    pub(crate) fn leave_to_polls(&self, polled: bool) {
        self.armed.leave_to_polls(polled);
    }

    /// Stops telling standby.
    pub(crate) fn disarm(&self) {
        self.armed.leave(&self.socket);
    }

    /// How much of what was written is on its way.
    pub(crate) fn on_its_way(&self) -> OnItsWay {
        let is_kept = lock(&self.outbox).is_waiting();
        match TcpInfo::read(&self.socket) {
            Ok(info) if is_kept || info.not_sent_bytes > 0 => OnItsWay::NotSent,
            Ok(info) if info.unacked_packets > 0 => {
                OnItsWay::Sent { round_trip: Duration::from_micros(info.min_rtt_us.into()) }
            }
            Ok(_) | Err(_) => OnItsWay::Nothing,
        }
    }

    /// Notes that nothing can be written any more.
    pub(crate) fn broke(&self, error: io::Error) {
        // The first says more than those that follow from it.
        let _ = self.broken.set(error);
    }

    /// Why nothing can be written any more, if that is so.
    pub(crate) fn broken(&self) -> Option<&io::Error> {
        self.broken.get()
    }
}

/// How much of what was written is on its way to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnItsWay {
    /// Some of it has not left this machine.
    NotSent,
    /// The peer has not said that it has all of it, which takes a round trip, or much longer: acknowledgements are delayed.
    Sent { round_trip: Duration },
    /// The peer's kernel has all of it.
    Nothing,
}

/// The right to read the control socket. Dropped, it goes back to standby.
#[derive(Debug)]
pub(crate) struct Lead<'a> {
    /// First, so that standby is not told before the reader is free.
    pub(crate) reader: MutexGuard<'a, Reader>,
    _back: HandBack<'a>,
}

#[derive(Debug)]
struct HandBack<'a>(&'a ControlSocket);

impl Drop for HandBack<'_> {
    fn drop(&mut self) {
        // Fails only if the socket is not in the set any more.
        let _ = self.0.armed.lead(&self.0.socket, false);
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
