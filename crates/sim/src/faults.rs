//! The mishaps of a run: of wires, of frames, of actors, of lanes, and of the driver itself.

use gputcp_proto::connection::SocketError;

/// An end of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
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
        party: Party,
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
        party: Party,
        /// The number of launches of that end before.
        after: u32,
    },
    /// The user gives up, from another thread.
    Cancel {
        /// The user's end.
        party: Party,
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

/// An adversary's change of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tamper {
    /// The wire.
    pub wire: WireName,
    /// The number of frames of that wire before it, or [`GOODBYE`].
    pub frame: u32,
    /// The change.
    pub act: Act,
}

/// The changes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// The frame and its payload are left out.
    Drop,
    /// The frame is left out, and its payload is not.
    Behead,
    /// The frame and its payload come twice.
    Duplicate,
    /// The frame and its payload come behind the next ones.
    Swap,
    /// A field is changed: the byte at this place is XORed.
    Mutate(usize, u8),
    /// A number is changed by this much: the one at this place, of 4 bytes or of 8.
    Shift(usize, i8),
    /// Another frame, made up, comes before it, or behind it if that is set.
    Inject(u8, bool),
    /// More announcements come than were agreed on, each in order.
    Flood,
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

impl Party {
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
    pub const fn writer(self) -> Party {
        if matches!(self, Self::Down) { Party::Receiver } else { Party::Sender }
    }
}

impl Tamper {
    /// Returns the adversary.
    #[must_use]
    pub const fn party(&self) -> Party {
        self.wire.writer()
    }

    /// Returns whether an honest end may take wrong bytes for right ones.
    ///
    /// It may if a field that names a place is changed, or bytes pass for those of another frame.
    #[must_use]
    pub const fn may_mislead(&self) -> bool {
        matches!(self.act, Act::Behead | Act::Mutate(..) | Act::Shift(..) | Act::Inject(..) | Act::Flood)
    }
}

/// The number of the goodbye, whichever frame it is.
pub const GOODBYE: u32 = u32::MAX;
