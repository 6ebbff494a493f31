//! The events of a trace, as they are recorded.

/// An event, or a span of time that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    pub(super) kind: Kind,
    /// The track that it is drawn on.
    pub(super) track: u16,
    /// The calls of a socket that gave or took bytes.
    pub(super) calls: u32,
    /// The calls of a socket that gave and took nothing (`EAGAIN`).
    pub(super) empty: u32,
    /// Its time, or the start of its span.
    pub(super) at: u64,
    /// The end of its span.
    pub(super) until: u64,
    /// The sequence number of the receive that the message meets.
    pub(super) seq: u64,
    /// The start of the segment in the message.
    pub(super) offset: u64,
    /// The length of the message or the segment.
    pub(super) bytes: u64,
}

/// A range of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) seq: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// The subject of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The caller posted a message.
    Posted,
    /// All bytes of a message are written, or at their destination.
    Done,
    /// The caller has the message back.
    Seen,
    /// The receiver wrote a receive's announcement.
    Announced,
    /// The sender took a receive's announcement.
    Heard,
    /// The copy of a segment to its staging buffer was launched.
    Stage,
    /// The first call to write a segment begins.
    WriteBegins,
    /// A segment was written, from the first call to the last.
    Write,
    /// The first bytes of a segment are read.
    ReadBegins,
    /// A segment was read, from its first byte to its last.
    Read,
    /// The unpack of a segment was launched.
    Unpack,
    /// A task was woken.
    Woken,
    /// A task had nothing to do.
    Rest(Reason),
    /// The caller slept in a wait.
    Sleep(Reason),
    /// The background reader attended to the control socket.
    Background,
}

/// The reason of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Bytes or room of a socket.
    Socket,
    /// Work.
    Work,
    /// The GPU.
    Lane,
    /// A time.
    Time,
    /// Its turn: it had done its share.
    Turn,
    /// The doorbell, or a frame.
    Bell,
}

impl Segment {
    pub(super) const NONE: Self = Self { seq: 0, offset: 0, bytes: 0 };
}

impl Event {
    pub(super) const fn span(kind: Kind, track: u16, at: u64, until: u64, segment: Segment) -> Self {
        let Segment { seq, offset, bytes } = segment;
        Self { kind, track, calls: 0, empty: 0, at, until, seq, offset, bytes }
    }
}

impl Kind {
    /// Returns its name in the file.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Posted => "posted",
            Self::Done => "done",
            Self::Seen => "seen",
            Self::Announced => "announce",
            Self::Heard => "hear announcement",
            Self::Stage => "stage",
            Self::WriteBegins | Self::Write => "write",
            Self::ReadBegins | Self::Read => "read",
            Self::Unpack => "unpack",
            Self::Woken => "wake",
            Self::Rest(Reason::Socket) => "wait for socket",
            Self::Rest(Reason::Work) => "wait for work",
            Self::Rest(Reason::Lane) => "wait for GPU",
            Self::Rest(Reason::Time) => "wait for time",
            Self::Rest(_) => "wait for turn",
            Self::Sleep(Reason::Lane) => "sleep for GPU",
            Self::Sleep(_) => "sleep",
            Self::Background => "background reader",
        }
    }
}

/// The caller of posts, tests and waits.
pub(super) const CALLER: u16 = 1;
/// The reading of the control socket, by one thread at a time.
pub(super) const CONTROL_IN: u16 = 2;
/// The writing of the control socket, by one thread at a time.
pub(super) const CONTROL_OUT: u16 = 3;
/// The background reader of the control socket.
pub(super) const BACKGROUND: u16 = 4;
/// The first data socket.
pub(super) const STREAMS: u16 = 16;
