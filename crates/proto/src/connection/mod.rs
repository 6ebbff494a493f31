//! One connection, without its sockets, threads, clock and memory: what happens goes in, what is to be done
//! comes out.
//!
//! [`Sender`] and [`Receiver`] are the two ends. A driver keeps an end under a lock. It reports events by
//! their methods: a caller's post, bytes that a socket gave or took, finished work of a lane, the time. Each
//! may leave [`Effects`], which the driver performs after it has let go of the lock. So a long write holds no
//! other thread up. The library's driver has sockets and threads; the simulator's has neither, and drives
//! these very types.
//!
//! Some parts belong to one thread, and are values of their own, outside the lock. These are a
//! [`sender::Stream`] or a [`receiver::Stream`] for each data socket, and an [`Inbox`] for the control
//! socket. Their `work` is the next thing to do without the lock. Where that is
//! [`Work::Connection`](sender::Work::Connection), the end's `step` comes next, under the lock.
//!
//! # The life of a message
//!
//! ```text
//! sender                                        receiver
//!                                               Receiver::post       a slot, an announcement
//! End::heard          <---- Announce ----       End::next_write
//! Sender::post        a slot
//! Sender::step        deals a segment
//! Departure           staged, if on a device
//!                     ---- segment ---->        receiver::Stream     its header
//! Sender::step        counts it as written      Receiver::step       checks the header
//!                                               Arrival              in place, or bounced and unpacked
//! Sender::finish      the slot goes back        Receiver::step       counts it as placed
//!                                               Receiver::finish     the slot goes back
//! ```
//!
//! A short message travels on the control socket: as a [`Departure`](sender::Departure) that
//! [`End::next_write`] hands out among the frames, and as a [`Short`](receiver::Short) in the [`Inbox`].
//!
//! # The end of a connection
//!
//! [`Life`] has the part that both ends share: goodbyes, failures, and whether the peer does its duty. The
//! first failure counts. It leaves [`Effects::failure`], and the outbox says the last words. These are an
//! abort, if the failure is news to the peer, and the end of the control socket.

mod departure;
mod effects;
mod end;
mod inbox;
mod life;
mod outbox;
pub mod receiver;
pub mod sender;

use std::time::Duration;

pub use self::{
    effects::{Effects, Failure, Slots, SocketError},
    end::{End, Write},
    inbox::{Inbox, Input},
    life::Life,
    receiver::Receiver,
    sender::Sender,
};
use crate::frame::{RECEIVES_MAX, SLOTS_MAX};

/// The settings that both ends agreed on at connect, and those of this end.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The most messages in flight at this end.
    pub depth: usize,
    /// The most receives that the peer may have open; for a sender alone.
    pub peer_depth: usize,
    /// The number of data sockets.
    pub streams: usize,
    /// The longest segment.
    pub segment_bytes: u64,
    /// The length of a piece; a segment is one or several of them.
    pub piece_bytes: u64,
    /// The longest message inside a control frame.
    pub inline_bytes: u64,
    /// The number of eager places at the receiver.
    pub eager_places: usize,
    /// The longest message that an eager place takes.
    pub eager_bytes: u64,
    /// The most receives of one group; 1 without groups.
    pub max_receives: u16,
    /// The bounce or staging buffers of each stream; `None` where memory of a device is not moved.
    pub buffers: Option<usize>,
    /// The time after which a silent peer is given up.
    pub timeout: Duration,
}

/// The event that a data socket's task waits for, after a step.
#[derive(Debug)]
pub enum Step<D> {
    /// Nothing: go on with the stream's work.
    GoOn,
    /// Work: it is named in [`Effects::wake`] when there is some.
    Idle,
    /// The lane's completion of this work.
    Lane(D),
    /// This time, in the connection's own time.
    Until(Duration),
    /// Nothing any more: the sending half of the socket is to be shut down, at a segment's boundary.
    EndOfStream,
    /// Nothing any more.
    Over,
}

/// The end of a data socket, about which the control socket is heard.
#[derive(Debug, Clone, Copy)]
struct SocketEnd {
    /// The socket's error; `None` where the stream ended at a segment's boundary.
    error: Option<SocketError>,
    /// The end of the time to explain it; `None` until it begins.
    until: Option<Duration>,
}

impl SocketEnd {
    const fn new(error: Option<SocketError>) -> Self {
        Self { error, until: None }
    }
}

#[cfg(test)]
mod tests;

/// The most messages in flight, either way: requests, and receives of each.
pub const SLOTS: usize = SLOTS_MAX as usize * RECEIVES_MAX as usize;
/// The most bounce or staging buffers of a stream.
pub const BUFFERS_MAX: usize = 16;
/// The bounce or staging buffers of the control socket.
pub const SHORT_BUFFERS: usize = 4;
/// The longest message that travels on the control socket although others are under way.
pub const SHORT_BYTES: u64 = 16 << 10;
/// The time that the control socket has to explain the end of a data socket.
const VERDICT: Duration = Duration::from_millis(300);
