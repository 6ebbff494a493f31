//! The effects of an event: the actions that the connection's driver owes, besides the answer of the call.

use crate::{Violation, send::TooLong};

/// The actions that follow from an event.
///
/// A driver takes them under the lock of the connection's state, and performs them after it has let go of the
/// lock. Their order does not count.
#[derive(Debug, Default)]
pub struct Effects {
    /// The tasks of data sockets to step, one bit each.
    pub wake: u64,
    /// The requests that may be finished now: wake their waiters.
    pub done: Slots,
    /// Step every task, and wake every waiter: the connection ends, or has failed.
    pub all: bool,
    /// The control socket has something to write: call [`End::next_write`](super::End::next_write).
    pub write: bool,
    /// The control socket has no room: call [`End::room`](super::End::room) when it has.
    pub want_room: bool,
    /// Read the control socket: the peer has closed it, and its last frames tell why.
    pub look: bool,
    /// The connection has failed, for this reason: shut the data sockets down. It comes once.
    pub failure: Option<Failure>,
}

/// The reason why a connection failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The peer broke the protocol.
    Violation(Violation),
    /// A message met a receive that is shorter. The sender of an early message could not know.
    TooLong(TooLong),
    /// A socket failed.
    Socket(SocketError),
    /// The peer's end of the control socket closed without a goodbye.
    ControlClosed,
    /// The peer's end of a data socket closed without a goodbye.
    StreamClosed,
    /// The peer leaves so much unread on the control socket that there is no room for another frame.
    Unread,
    /// The peer gave up, for this reason.
    Aborted(String),
    /// The peer has not answered for the timeout.
    Silent,
    /// The peer has not gone on with a message for the timeout.
    Stalled,
    /// A wait of this side's user was too long.
    TimedOut,
    /// The reason is the driver's: the user cancelled, or the system or the device refused something.
    Local,
}

/// The failure of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketError {
    /// The peer has closed or reset the connection.
    Closed,
    /// The connection was aborted on this machine.
    Aborted,
    /// The kernel has given the peer up.
    TimedOut,
    /// The stream ended in the middle of a frame or a message.
    Ended,
    /// Another error, by the system's number.
    System(i32),
}

/// A set of requests, by slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Slots([u64; super::SLOTS / 64]);

impl Effects {
    /// Returns whether a driver has nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { wake, done, all, write, want_room, look, failure } = self;
        *wake == 0 && done.is_empty() && !(*all || *write || *want_room || *look) && failure.is_none()
    }
}

impl Slots {
    /// Adds a slot.
    pub const fn insert(&mut self, slot: usize) {
        self.0[slot / 64] |= 1 << (slot % 64);
    }

    /// Returns whether the slot is in the set.
    #[must_use]
    pub const fn contains(&self, slot: usize) -> bool {
        self.0[slot / 64] & (1 << (slot % 64)) != 0
    }

    /// Returns whether no slot is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Failure {
    /// Returns whether the peer does not know of it, and is to be told.
    pub(super) const fn is_news(&self, sends: bool, is_closing: bool) -> bool {
        match self {
            Self::Socket(error) => matches!(error, SocketError::TimedOut) && !(sends && is_closing),
            Self::ControlClosed | Self::StreamClosed | Self::Unread | Self::Aborted(_) => false,
            // A sender that has said goodbye has sent all, and no caller waits for it. The receiver may take
            // the bytes that were sent however late.
            Self::Silent | Self::Stalled | Self::TimedOut => !(sends && is_closing),
            Self::Violation(_) | Self::TooLong(_) | Self::Local => true,
        }
    }
}
