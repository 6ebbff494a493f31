//! The dialogue of the two ends of a measurement over the bootstrap connection.
//!
//! The client orchestrates, the server carries. One frame is a 16-byte header and a payload whose meaning
//! belongs to the program (JSON). This module owns the header and the order: a frame that is not due ends the
//! session.
//!
//! ```text
//! header: 0 magic "GTSN"  4 version u16  6 kind u16  8 bytes u32  12 zero [4]
//!
//! client  Hello ──▶          [Proof ──▶]           Settings ──▶
//! server        ◀── Hello           [◀── Proof]             ◀── Accept, Handles
//!
//! client  Handles ──▶  Ready ──▶   Begin…   End ──▶         Bye ──▶
//! server               Ready ◀──                  ◀── Report
//!
//! a run:  Begin (client), then per flow:  Filled (its sender: the data is there)  Go (its receiver: receives
//!         are posted, my clock runs)  Sent (its sender: what I sent)  Received (its receiver: what arrived,
//!         how long it took, was it right)
//! ```
//!
//! A *flow* is one direction of data: forward is client → server, backward the other way. With both in one
//! run, each keeps its own order and neither waits for the other. A ping-pong is a forward flow whose data is
//! answered.
//!
//! Invariant: both ends walk the same table, so each end may hear every frame that the other may send.

use gputcp_proto::{Violation, frame::VERSION};

/// The role of this end of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The end that connects, chooses the settings, and begins each run.
    Client,
    /// The end that listens, and follows the client.
    Server,
}

/// A frame's direction, as seen from this end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// This end sends the frame.
    Send,
    /// This end receives the frame.
    Recv,
}

/// A frame's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// The end introduces itself. The client's is the first frame of all.
    Hello = 1,
    /// The settings of the measurement.
    Settings = 2,
    /// The server can measure with these settings.
    Accept = 3,
    /// The server cannot, or will not now.
    Refuse = 4,
    /// The handles of this side's listeners.
    Handles = 5,
    /// All of this side's connections are up.
    Ready = 6,
    /// A run from the client to the server begins.
    BeginForward = 7,
    /// A run from the server to the client begins.
    BeginBackward = 8,
    /// A run both ways at once begins.
    BeginBoth = 9,
    /// A flow's receiver has posted its receives and started its clock.
    Go = 10,
    /// A flow's sender has sent everything.
    Sent = 11,
    /// A flow's receiver has everything.
    Received = 12,
    /// No run will follow.
    End = 13,
    /// The server's report on its side.
    Report = 14,
    /// The client has the report; the session is over.
    Bye = 15,
    /// This side gives up; the reason follows.
    Abort = 16,
    /// A flow's sender has made its data: only then may its receiver start its clock.
    Filled = 17,
    /// This side has the key that the other asks for.
    Proof = 18,
}

/// A frame's fixed part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The frame's meaning.
    pub kind: Kind,
    /// The number of bytes of payload that follow, at most [`Kind::bytes_max`].
    pub bytes: u32,
}

/// A frame that is not allowed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("said {said} while the session was {state}")]
pub struct NotDue {
    /// The frame's kind.
    pub said: &'static str,
    /// The session's state.
    pub state: &'static str,
}

/// One end's view of the session's order.
#[derive(Debug, Clone)]
pub struct Session {
    role: Role,
    state: State,
}

impl Session {
    /// Returns the session before its first frame.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self { role, state: State::Greeting }
    }

    /// Checks that `kind` is due in this direction, and takes note of it.
    ///
    /// # Errors
    /// [`NotDue`] if it is not due; the session stays as it was.
    pub fn step(&mut self, direction: Direction, kind: Kind) -> Result<(), NotDue> {
        let speaker = match direction {
            Direction::Send => self.role,
            Direction::Recv => self.role.other(),
        };
        match next(self.state, speaker, kind) {
            Some(state) => {
                self.state = state;
                Ok(())
            }
            None => Err(NotDue { said: kind.name(), state: self.state.name() }),
        }
    }

    /// Returns the session's state in words, for messages.
    #[must_use]
    pub const fn doing(&self) -> &'static str {
        self.state.name()
    }

    /// Returns whether a run may begin.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Returns whether no further frame is legal: the session ended, well or badly.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.state, State::Closed | State::Failed)
    }
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 18] = [
        Self::Hello,
        Self::Settings,
        Self::Accept,
        Self::Refuse,
        Self::Handles,
        Self::Ready,
        Self::BeginForward,
        Self::BeginBackward,
        Self::BeginBoth,
        Self::Go,
        Self::Sent,
        Self::Received,
        Self::End,
        Self::Report,
        Self::Bye,
        Self::Abort,
        Self::Filled,
        Self::Proof,
    ];

    /// Returns the kind's name, for messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Settings => "settings",
            Self::Accept => "accept",
            Self::Refuse => "refuse",
            Self::Handles => "handles",
            Self::Ready => "ready",
            Self::BeginForward => "begin-forward",
            Self::BeginBackward => "begin-backward",
            Self::BeginBoth => "begin-both",
            Self::Go => "go",
            Self::Sent => "sent",
            Self::Received => "received",
            Self::End => "end",
            Self::Report => "report",
            Self::Bye => "bye",
            Self::Abort => "abort",
            Self::Filled => "filled",
            Self::Proof => "proof",
        }
    }

    /// Returns the longest payload of such a frame.
    ///
    /// Frames that an unauthenticated peer may send are small. Handles are the longest: 64 connections, 128
    /// bytes each, as hexadecimal text, with room to spare. Received has a time for each message of a burst.
    #[must_use]
    pub const fn bytes_max(self) -> u32 {
        match self {
            Self::Handles | Self::Report | Self::Received => 64 << 10,
            _ => 4 << 10,
        }
    }

    const fn from_u16(value: u16) -> Option<Self> {
        // The numbers run from 1 without a gap; a test holds this against `ALL`.
        if value >= 1 && value as usize <= Self::ALL.len() {
            Some(Self::ALL[value as usize - 1])
        } else {
            None
        }
    }
}

impl Header {
    /// The header's length on the wire.
    pub const BYTES: usize = 16;
    const MAGIC: u32 = u32::from_le_bytes(*b"GTSN");

    /// Returns the header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..4].copy_from_slice(&Self::MAGIC.to_le_bytes());
        out[4..6].copy_from_slice(&VERSION.to_le_bytes());
        out[6..8].copy_from_slice(&(self.kind as u16).to_le_bytes());
        out[8..12].copy_from_slice(&self.bytes.to_le_bytes());
        out
    }

    /// Reads the header in these bytes.
    ///
    /// # Errors
    /// A [`Violation`] if it is none, is of another version, or announces more bytes than its kind may have.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, Violation> {
        let [m0, m1, m2, m3, v0, v1, k0, k1, b0, b1, b2, b3, zero @ ..] = *bytes;
        let (magic, version) = (u32::from_le_bytes([m0, m1, m2, m3]), u16::from_le_bytes([v0, v1]));
        if magic != Self::MAGIC {
            return Err(Violation::Magic { expected: Self::MAGIC, found: magic });
        }
        if version != VERSION {
            return Err(Violation::Version { ours: VERSION, theirs: version });
        }
        let number = u16::from_le_bytes([k0, k1]);
        let kind = Kind::from_u16(number).ok_or(Violation::Kind(number))?;
        let bytes_field = u32::from_le_bytes([b0, b1, b2, b3]);
        if bytes_field > kind.bytes_max() {
            return Err(Violation::Field {
                frame: kind.name(),
                field: "length",
                value: u64::from(bytes_field),
            });
        }
        if let Some(&value) = zero.iter().find(|&&byte| byte != 0) {
            let (frame, field, value) = ("session header", "reserved byte", value.into());
            return Err(Violation::Field { frame, field, value });
        }
        Ok(Self { kind, bytes: bytes_field })
    }
}

impl Role {
    /// Returns the other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// The state of the session. The names say which frame is due next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Greeting,
    Answering,
    Asking,
    Proving,
    Proven,
    Deciding,
    Listing,
    Returning,
    Connecting { client: bool, server: bool },
    Idle,
    Running { forward: Flow, backward: Flow },
    Reporting,
    Leaving,
    Closed,
    Failed,
}

/// The state of one direction of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// The flow is not in this run, or over.
    Off,
    /// Both ends prepare.
    Begun,
    /// The flow's sender has its data.
    Filled,
    /// The flow's data travels.
    Going,
    /// The flow's sender is done.
    Sent,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Greeting | Self::Answering => "greeting",
            Self::Proving => "proving its key",
            Self::Asking | Self::Proven | Self::Deciding => "agreeing on the settings",
            Self::Listing | Self::Returning | Self::Connecting { .. } => "connecting",
            Self::Idle => "between two runs",
            Self::Running { .. } => "running",
            Self::Reporting => "reporting",
            Self::Leaving | Self::Closed => "closing",
            Self::Failed => "over",
        }
    }
}

/// The table: the state that follows a frame of this kind from this end, if the frame is legal.
fn next(state: State, speaker: Role, kind: Kind) -> Option<State> {
    use Flow::{Begun, Off};
    use Role::{Client, Server};
    Some(match (state, speaker, kind) {
        // Each side may give up at any time, unless the session has ended well.
        (State::Closed, ..) => return None,
        (_, _, Kind::Abort) => State::Failed,

        (State::Greeting, Client, Kind::Hello) => State::Answering,
        (State::Answering, Server, Kind::Hello) => State::Asking,
        // Both sides have a key.
        (State::Asking, Client, Kind::Proof) => State::Proving,
        (State::Proving, Server, Kind::Proof) => State::Proven,
        (State::Asking | State::Proven, Client, Kind::Settings) => State::Deciding,
        (State::Deciding, Server, Kind::Accept) => State::Listing,
        (State::Answering | State::Proving | State::Deciding, Server, Kind::Refuse) => State::Failed,
        (State::Listing, Server, Kind::Handles) => State::Returning,
        (State::Returning, Client, Kind::Handles) => State::Connecting { client: false, server: false },

        // The side that is ready first says so first.
        (State::Connecting { client: false, server: false }, Client, Kind::Ready) => {
            State::Connecting { client: true, server: false }
        }
        (State::Connecting { client: false, server: false }, Server, Kind::Ready) => {
            State::Connecting { client: false, server: true }
        }
        (State::Connecting { client: false, server: true }, Client, Kind::Ready)
        | (State::Connecting { client: true, server: false }, Server, Kind::Ready) => State::Idle,

        (State::Idle, Client, Kind::BeginForward) => State::Running { forward: Begun, backward: Off },
        (State::Idle, Client, Kind::BeginBackward) => State::Running { forward: Off, backward: Begun },
        (State::Idle, Client, Kind::BeginBoth) => State::Running { forward: Begun, backward: Begun },
        // A flow's receiver says Go and Received, its sender Filled and Sent: the speaker tells which flow is
        // meant.
        (State::Running { forward, backward }, Server, Kind::Go | Kind::Received)
        | (State::Running { forward, backward }, Client, Kind::Filled | Kind::Sent) => {
            run(flow(forward, kind)?, backward)
        }
        (State::Running { forward, backward }, Client, Kind::Go | Kind::Received)
        | (State::Running { forward, backward }, Server, Kind::Filled | Kind::Sent) => {
            run(forward, flow(backward, kind)?)
        }

        (State::Idle, Client, Kind::End) => State::Reporting,
        (State::Reporting, Server, Kind::Report) => State::Leaving,
        (State::Leaving, Client, Kind::Bye) => State::Closed,
        _ => return None,
    })
}

const fn flow(flow: Flow, kind: Kind) -> Option<Flow> {
    match (flow, kind) {
        (Flow::Begun, Kind::Filled) => Some(Flow::Filled),
        (Flow::Filled, Kind::Go) => Some(Flow::Going),
        (Flow::Going, Kind::Sent) => Some(Flow::Sent),
        (Flow::Sent, Kind::Received) => Some(Flow::Off),
        _ => None,
    }
}

/// A run is over when its flows are.
const fn run(forward: Flow, backward: Flow) -> State {
    match (forward, backward) {
        (Flow::Off, Flow::Off) => State::Idle,
        _ => State::Running { forward, backward },
    }
}

#[cfg(test)]
mod tests;
