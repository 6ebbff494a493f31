//! The mishaps of a run: of wires, of actors, of lanes, and of the driver itself.

use gputcp_proto::connection::SocketError;

/// An end of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The sending end.
    Sender,
    /// The receiving end.
    Receiver,
}

/// A wire of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireName {
    /// The control socket, sender → receiver.
    Up,
    /// The control socket, receiver → sender.
    Down,
    /// A data socket.
    Data(usize),
}

/// A part of an end that acts by itself: the threads of a real one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Posts, finishes and closes.
    User,
    /// Reads the control socket.
    Control,
    /// Writes on the control socket, when others leave that to it.
    Writer,
    /// Looks after the peer at regular times.
    Timer,
    /// Serves a data socket.
    Stream(usize),
}

/// A mishap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Something happens to a wire, behind so many bytes.
    Wire {
        /// The wire.
        name: WireName,
        /// The number of bytes before the fault.
        at: u64,
        /// The kind of fault.
        kind: WireFault,
    },
    /// An actor does nothing for a while.
    Sleep {
        /// Its end.
        who: Who,
        /// Its role.
        role: Role,
        /// The number of its events before.
        after: u32,
        /// The length, in nanoseconds.
        ns: u64,
    },
    /// A piece of work of a lane fails, and the lane with it.
    Lane {
        /// The lane's end.
        who: Who,
        /// The number of launches of that end before.
        after: u32,
    },
    /// The user gives up, from another thread.
    Cancel {
        /// The user's end.
        who: Who,
        /// The time, in nanoseconds.
        at: u64,
    },
}

/// A fault of a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireFault {
    /// All later bytes are so many nanoseconds late.
    Delay(u64),
    /// A byte is XORed with this value on its way.
    Flip(u8),
    /// The socket breaks with this error at both ends, and bytes on their way are lost.
    Cut(SocketError),
    /// The stream ends early, as if the writer had closed it; its later writes are refused.
    Eof,
    /// Nothing arrives any more, and neither end is told.
    Stall,
}

/// A defect of a driver or a device, which shows that the checks find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Lanes report work as done when it is launched.
    LyingLanes,
    /// A segment's source is overwritten before the lane has read it.
    SourceReusedEarly,
    /// The receiver's user looks at a receive first, and later at whether its bytes can still come.
    EndAfterReceive,
    /// The driver forgets an effect.
    Forgets(Effect),
}

/// A field of the effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The tasks to step.
    Wake,
    /// The requests that may be finished.
    Done,
    /// Everything is to be stepped.
    All,
    /// The control socket has something to write.
    Write,
    /// The control socket has no room.
    WantRoom,
    /// The control socket is to be read.
    Look,
    /// The data sockets are to be shut.
    Failure,
}

impl Who {
    /// Returns the other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }
}

impl WireName {
    /// Returns the end that writes it.
    #[must_use]
    pub const fn writer(self) -> Who {
        if matches!(self, Self::Down) { Who::Receiver } else { Who::Sender }
    }
}
