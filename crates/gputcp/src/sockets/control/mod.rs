//! The control socket of a connection: the frames out, the frames in, and the thread that reads them.
//!
//! The *background reader* reads while no caller waits, so progress does not depend on polling. A caller that
//! waits for a request takes the reading over (*leads*) for as long as it waits. One `epoll_ctl` disarms the
//! background reader. The thread that wants a short message delivers it itself, without a second wake-up.
//!
//! No thread in here ever waits for the peer, so one thread can stand by for many connections. A message of
//! which only a part has come is continued by the next thread that reads. The bytes that the socket does not
//! take at once are kept, and written by the background reader when there is room.

mod background;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Mutex, MutexGuard, TryLockError,
        atomic::{AtomicBool, Ordering, fence},
    },
    time::{Duration, Instant},
};

use gputcp_gpu::Done;
use gputcp_proto::connection::Inbox;
use gputcp_socket::TcpInfo;
use rustix::event::PollFd;

use self::background::Armed;
pub(crate) use self::background::{AWAY, Alone, Attention, Watch};
use super::{Socket, locks::lock};

/// The control socket, and the thread that reads it.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    socket: Socket,
    inbox: Mutex<Inbox<Done>>,
    armed: Armed,
    /// The background reader has found another thread at the inbox.
    missed: AtomicBool,
}

impl ControlSocket {
    /// Takes over a connected socket, which becomes non-blocking. The background reader is not woken for it
    /// before [`ControlSocket::arm`].
    pub(crate) fn new(socket: Socket, watch: &Watch) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            armed: Armed::new(watch, &socket)?,
            socket,
            inbox: Mutex::new(Inbox::new()),
            missed: AtomicBool::new(false),
        })
    }

    pub(crate) const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Returns the descriptor to poll while leading.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads for as long as the guard lives; the background reader stays out.
    pub(crate) fn lead(&self) -> io::Result<Lead<'_>> {
        self.armed.lead(&self.socket, true)?;
        Ok(Lead { inbox: lock(&self.inbox), _back: HandBack(self) })
    }

    /// Has the frames that are there read, unless another thread reads already.
    pub(crate) fn look(&self, dispatch: impl FnOnce(&mut Inbox<Done>)) {
        let Some(mut inbox) = self.free_inbox() else { return };
        dispatch(&mut inbox);
        drop(inbox);
        // Either the background reader sees the inbox free, or this thread sees that the background reader
        // came in vain.
        fence(Ordering::SeqCst);
        if self.missed.swap(false, Ordering::Relaxed) {
            // It fails only if the socket is not in the set any more.
            let _ = self.arm();
        }
    }

    /// Returns the inbox, for the background reader. Returns `None` if another thread has it, which has the
    /// background reader woken again afterwards.
    pub(crate) fn stand_in(&self) -> Option<MutexGuard<'_, Inbox<Done>>> {
        self.free_inbox().or_else(|| {
            self.missed.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            self.free_inbox()
        })
    }

    fn free_inbox(&self) -> Option<MutexGuard<'_, Inbox<Done>>> {
        match self.inbox.try_lock() {
            Ok(inbox) => Some(inbox),
            Err(TryLockError::Poisoned(inbox)) => Some(inbox.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Has the background reader woken when there are events, from the first time on and again after each
    /// time.
    pub(crate) fn arm(&self) -> io::Result<()> {
        self.armed.rearm(&self.socket)
    }

    /// Sets whether the background reader is woken for no frame. It comes back by itself then.
    pub(crate) fn leave_to_polls(&self, polled: bool) {
        self.armed.leave_to_polls(polled);
    }

    /// Stops waking the background reader.
    pub(crate) fn disarm(&self) {
        self.armed.leave(&self.socket);
    }

    /// Has the background reader woken when there is room to write.
    pub(crate) fn want_room(&self) -> io::Result<()> {
        self.armed.want_room(&self.socket)
    }

    /// Takes that back. The bytes that are left are written again after this, which may want room again.
    pub(crate) fn tries(&self) {
        self.armed.tries();
    }

    /// Returns how much of the written bytes is on its way. `is_kept` tells that some are not written yet.
    pub(crate) fn on_its_way(&self, is_kept: bool) -> OnItsWay {
        match TcpInfo::read(&self.socket) {
            Ok(info) if is_kept || info.not_sent_bytes > 0 => OnItsWay::NotSent,
            Ok(info) if info.unacked_packets > 0 => {
                OnItsWay::Sent { round_trip: Duration::from_micros(info.min_rtt_us.into()) }
            }
            Ok(_) | Err(_) => OnItsWay::Nothing,
        }
    }
}

/// How much of the written bytes is on its way to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnItsWay {
    /// Some bytes have not left this machine.
    NotSent,
    /// The peer has not acknowledged all of it. That takes a round trip, or much longer: acknowledgements are
    /// delayed.
    Sent { round_trip: Duration },
    /// The peer's kernel has all of it.
    Nothing,
}

/// The right to read the control socket. Dropped, it goes back to the background reader.
#[derive(Debug)]
pub(crate) struct Lead<'a> {
    /// First, so that the background reader is not woken before the inbox is free.
    pub(crate) inbox: MutexGuard<'a, Inbox<Done>>,
    _back: HandBack<'a>,
}

#[derive(Debug)]
struct HandBack<'a>(&'a ControlSocket);

impl Drop for HandBack<'_> {
    fn drop(&mut self) {
        // It fails only if the socket is not in the set any more.
        let _ = self.0.armed.lead(&self.0.socket, false);
    }
}

/// Polls until a descriptor is ready or the deadline; returns false at the deadline.
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
