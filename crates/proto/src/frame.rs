//! The frames of a connection, byte by byte.
//!
//! All numbers are little-endian; lengths are fixed. Decoding any bytes gives a frame or a [`Violation`],
//! never a panic.
//!
//! ```text
//! Ask (8 B), alone on a socket; the listener answers with its handle, see [`crate::handle`]
//!   0 magic "GTAS"  4 version u16  6 zero [2]
//! Join (96 B), first on every socket of a connection, connector → listener
//!   0 magic "GTJN"  4 version u16  6 index u16 (0 control, 1..=streams data)
//!   8 listen token [16]  24 connection token [16]  40 streams u16  42 slots u16  44 segment bytes u32
//!   48 inline bytes u32  52 piece bytes u32  56 eager places u16  58 receives u16  60 zero [4]
//!   64 proof [32]
//! Welcome (48 B), first on the control socket, listener → connector
//!   0 magic "GTWL"  4 version u16  6 verdict u16  8 slots u16  10 eager places u8  11 receives u8
//!   12 inline bytes u32  16 proof [32]
//! Control (32 B + payload), then on the control socket, both ways
//!   0 magic "GC"  2 kind u16  4 bytes u32  8 seq u64  16 capacity u64  24 done u64; or, with a tag,
//!   24 tag i32  28 open u16 (seq - done)  30 following u8  31 zero
//! Segment header (32 B + payload), then on the data sockets, sender → receiver
//!   0 magic "GTSG"  4 bytes u32  8 seq u64  16 offset u64  24 total u64
//! ```

mod ask;
mod join;

pub use self::{
    ask::Ask,
    join::{Join, JoinVerdict, Welcome},
};
use crate::Violation;

/// The version of everything on the wire. Ends that disagree refuse each other.
pub const VERSION: u16 = 5;

/// An unguessable name of a listener, or of one connection: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub [u8; 16]);

/// A control frame's fixed part. `bytes` of payload follow a [`Control::Inline`] and a [`Control::Abort`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Receiver → sender: a receive was posted.
    Announce(Announce),
    /// Sender → receiver: a whole short message, whose bytes follow.
    Inline {
        /// The sequence number of the receive that it meets.
        seq: u64,
        /// The message's length.
        bytes: u32,
    },
    /// Sender → receiver: a message waits for the announcement of this receive, which may have been held
    /// back.
    Want {
        /// The receive's sequence number.
        seq: u64,
    },
    /// Either way: nothing has come for long, so the peer shall answer.
    Ping,
    /// Either way: the answer to a ping.
    Pong,
    /// Either way: nothing more will come, and all is well.
    Goodbye,
    /// Either way: this side has failed; the reason follows as UTF-8 text.
    Abort {
        /// The reason's length, at most [`ABORT_BYTES_MAX`].
        bytes: u32,
    },
}

/// A posted receive, as announced to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announce {
    /// The receive's sequence number.
    pub seq: u64,
    /// The most bytes that it takes.
    pub capacity: u64,
    /// The longest message it takes inside a control frame.
    pub inline_bytes: u32,
    /// The receives finished so far: all of sequence numbers `..done`.
    pub done: u64,
    /// The messages that it takes, on a connection of grouped receives; `None` on any other.
    pub mark: Option<Mark>,
}

/// A receive's tag, and its place in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The tag of the messages that it takes.
    pub tag: i32,
    /// The number of receives of its group that are announced after it.
    pub following: u8,
}

/// The header before a segment's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The sequence number of the receive that it belongs to.
    pub seq: u64,
    /// The start of its bytes in the message.
    pub offset: u64,
    /// The message's length.
    pub total: u64,
    /// The segment's length.
    pub bytes: u32,
}

/// The longest reason in an abort frame.
pub const ABORT_BYTES_MAX: u32 = 512;
/// The most data sockets of one connection.
pub const STREAMS_MAX: u16 = 64;
/// The most requests in flight per connection and direction (NCCL's contract since 2.19).
pub const SLOTS_MAX: u16 = 32;
/// The shortest and the longest legal setting of the segment length; a piece is no shorter either.
pub const SEGMENT_BYTES: std::ops::RangeInclusive<u32> = 4096..=64 << 20;
/// The longest message inside a control frame.
pub const INLINE_BYTES_MAX: u32 = 256 << 10;
/// The most eager places of a connection.
pub const EAGER_PLACES_MAX: u16 = 8;
/// The most receives of one group.
pub const RECEIVES_MAX: u16 = 8;
/// The longest message that may be sent to an eager place.
pub const EAGER_BYTES: u32 = 256 << 10;

impl Control {
    /// The frame's length on the wire, without the payload.
    pub const BYTES: usize = 32;
    const MAGIC: u16 = u16::from_le_bytes(*b"GC");

    /// Returns the frame's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let (kind, bytes, seq, capacity, done) = match *self {
            Self::Announce(Announce { seq, capacity, inline_bytes, done, mark: None }) => {
                (ANNOUNCE, inline_bytes, seq, capacity, done)
            }
            Self::Announce(Announce { seq, capacity, inline_bytes, done, mark: Some(mark) }) => {
                // No more are open than there are slots, so the difference fits.
                let open = seq.saturating_sub(done) as u16;
                (ANNOUNCE_TAGGED, inline_bytes, seq, capacity, mark.packed(open))
            }
            Self::Inline { seq, bytes } => (2, bytes, seq, 0, 0),
            Self::Goodbye => (3, 0, 0, 0, 0),
            Self::Abort { bytes } => (4, bytes, 0, 0, 0),
            Self::Want { seq } => (5, 0, seq, 0, 0),
            Self::Ping => (PING, 0, 0, 0, 0),
            Self::Pong => (PONG, 0, 0, 0, 0),
        };
        let mut out = [0; Self::BYTES];
        put(&mut out, 0, &Self::MAGIC.to_le_bytes());
        put(&mut out, 2, &kind.to_le_bytes());
        put(&mut out, 4, &bytes.to_le_bytes());
        put(&mut out, 8, &seq.to_le_bytes());
        put(&mut out, 16, &capacity.to_le_bytes());
        put(&mut out, 24, &done.to_le_bytes());
        out
    }

    /// Reads the frame in these bytes.
    ///
    /// # Errors
    /// A [`Violation`] if it is none, or a field is out of range.
    pub fn decode(frame: &[u8; Self::BYTES]) -> Result<Self, Violation> {
        let found = u16_at(frame, 0);
        if found != Self::MAGIC {
            return Err(Violation::Magic { expected: u32::from(Self::MAGIC), found: u32::from(found) });
        }
        let (bytes, seq) = (u32_at(frame, 4), u64_at(frame, 8));
        let at_most = |frame, most: u32| {
            let value = u64::from(bytes);
            if bytes > most { Err(Violation::Field { frame, field: "length", value }) } else { Ok(()) }
        };
        match u16_at(frame, 2) {
            ANNOUNCE => {
                at_most("announcement", INLINE_BYTES_MAX)?;
                let (capacity, done) = (u64_at(frame, 16), u64_at(frame, 24));
                Ok(Self::Announce(Announce { seq, capacity, inline_bytes: bytes, done, mark: None }))
            }
            ANNOUNCE_TAGGED => {
                let name = "tagged announcement";
                at_most(name, INLINE_BYTES_MAX)?;
                check_zero(name, &frame[31..])?;
                let (capacity, open) = (u64_at(frame, 16), u16_at(frame, 28).into());
                let wrong = Violation::Field { frame: name, field: "number of open receives", value: open };
                let done = seq.checked_sub(open).ok_or(wrong)?;
                let mark = Mark { tag: u32_at(frame, 24).cast_signed(), following: frame[30] };
                Ok(Self::Announce(Announce { seq, capacity, inline_bytes: bytes, done, mark: Some(mark) }))
            }
            2 => {
                at_most("short message", INLINE_BYTES_MAX)?;
                check_zero("short message", &frame[16..])?;
                Ok(Self::Inline { seq, bytes })
            }
            3 => {
                at_most("goodbye", 0)?;
                check_zero("goodbye", &frame[8..])?;
                Ok(Self::Goodbye)
            }
            4 => {
                at_most("abort", ABORT_BYTES_MAX)?;
                check_zero("abort", &frame[8..])?;
                Ok(Self::Abort { bytes })
            }
            5 => {
                at_most("want", 0)?;
                check_zero("want", &frame[16..])?;
                Ok(Self::Want { seq })
            }
            kind @ (PING | PONG) => {
                let (name, frame_of_kind) =
                    if kind == PING { ("ping", Self::Ping) } else { ("pong", Self::Pong) };
                at_most(name, 0)?;
                check_zero(name, &frame[8..])?;
                Ok(frame_of_kind)
            }
            other => Err(Violation::Kind(other)),
        }
    }
}

impl Announce {
    /// Returns the frame's kind on the wire.
    pub(crate) const fn kind(&self) -> u16 {
        if self.mark.is_some() { ANNOUNCE_TAGGED } else { ANNOUNCE }
    }
}

impl Mark {
    fn packed(self, open: u16) -> u64 {
        u64::from(self.tag.cast_unsigned()) | u64::from(open) << 32 | u64::from(self.following) << 48
    }
}

const ANNOUNCE: u16 = 1;
const ANNOUNCE_TAGGED: u16 = 6;
const PING: u16 = 7;
const PONG: u16 = 8;

impl SegmentHeader {
    /// The header's length on the wire.
    pub const BYTES: usize = 32;
    const MAGIC: u32 = u32::from_le_bytes(*b"GTSG");

    /// Returns the header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        put(&mut out, 0, &Self::MAGIC.to_le_bytes());
        put(&mut out, 4, &self.bytes.to_le_bytes());
        put(&mut out, 8, &self.seq.to_le_bytes());
        put(&mut out, 16, &self.offset.to_le_bytes());
        put(&mut out, 24, &self.total.to_le_bytes());
        out
    }

    /// Reads the header in these bytes. [`crate::recv::RecvSide::begin`] checks its fields.
    ///
    /// # Errors
    /// A [`Violation`] if it is none.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, Violation> {
        check_magic(Self::MAGIC, bytes)?;
        Ok(Self {
            bytes: u32_at(bytes, 4),
            seq: u64_at(bytes, 8),
            offset: u64_at(bytes, 16),
            total: u64_at(bytes, 24),
        })
    }
}

impl std::fmt::Debug for Token {
    /// Shows a token's first bytes: it is a secret of the connection, and logs get no more.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x}{:02x}…", self.0[0], self.0[1])
    }
}

pub(crate) fn check_magic(expected: u32, bytes: &[u8]) -> Result<(), Violation> {
    let found = u32_at(bytes, 0);
    if found == expected { Ok(()) } else { Err(Violation::Magic { expected, found }) }
}

pub(crate) const fn check_version(theirs: u16) -> Result<(), Violation> {
    if theirs == VERSION { Ok(()) } else { Err(Violation::Version { ours: VERSION, theirs }) }
}

pub(crate) fn check_zero(frame: &'static str, bytes: &[u8]) -> Result<(), Violation> {
    match bytes.iter().find(|&&byte| byte != 0) {
        None => Ok(()),
        Some(&byte) => Err(Violation::Field { frame, field: "reserved byte", value: u64::from(byte) }),
    }
}

pub(crate) fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

pub(crate) fn array_at<const L: usize>(bytes: &[u8], at: usize) -> [u8; L] {
    let mut out = [0; L];
    out.copy_from_slice(&bytes[at..at + L]);
    out
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests;
