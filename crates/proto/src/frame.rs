//! The frames of a connection, byte by byte. All numbers are little-endian; lengths are fixed; decoding any bytes gives
//! a frame or a [`Violation`], never a panic.
//!
//! ```text
//! Join (64 B), first on every socket, connector → listener
//!   0 magic "GTJN"  4 version u16  6 index u16 (0 control, 1..=streams data)  8 listen token [16]  24 connection token [16]
//!   40 streams u16  42 slots u16  44 segment bytes u32  48 inline bytes u32  52 zero [12]
//! Welcome (16 B), first on the control socket, listener → connector
//!   0 magic "GTWL"  4 version u16  6 verdict u16  8 slots u16  10 zero [2]  12 inline bytes u32
//! Control (32 B + payload), then on the control socket, both ways
//!   0 magic "GC"  2 kind u16  4 bytes u32  8 seq u64  16 capacity u64  24 done u64
//! Segment header (32 B + payload), then on the data sockets, sender → receiver
//!   0 magic "GTSG"  4 bytes u32  8 seq u64  16 offset u64  24 total u64
//! ```

use crate::Violation;

/// The version of everything on the wire. Ends that disagree refuse each other.
pub const VERSION: u16 = 1;

/// An unguessable name: of a listener, or of one connection. 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub [u8; 16]);

/// The first frame on every socket of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Join {
    /// The listener's token, from its handle.
    pub listen_token: Token,
    /// The connection's token, drawn by the connector: sockets that carry the same belong together.
    pub comm_token: Token,
    /// 0 for the control socket, `1..=streams` for the data sockets.
    pub index: u16,
    /// How many data sockets the connection has.
    pub streams: u16,
    /// How many sends the connector may have in flight.
    pub slots: u16,
    /// The longest segment.
    pub segment_bytes: u32,
    /// What segments are multiples of.
    pub piece_bytes: u32,
    /// The longest message the connector would send inside a control frame.
    pub inline_bytes: u32,
}

/// The listener's answer on the control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome {
    /// Whether the connection is accepted.
    pub verdict: Verdict,
    /// How many receives the listener may have open.
    pub slots: u16,
    /// The longest message the listener takes inside a control frame.
    pub inline_bytes: u32,
}

/// A listener's verdict on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Verdict {
    /// Accepted.
    Accepted = 0,
    /// The token is not this listener's: the handle is stale, or meant for another process.
    WrongToken = 1,
    /// The settings of the connector are outside what the listener takes.
    BadSettings = 2,
    /// The listener has no room for another half-made connection.
    Busy = 3,
    /// The connector speaks another version.
    WrongVersion = 4,
}

/// A control frame's fixed part. `bytes` of payload follow an [`Control::Inline`] and an [`Control::Abort`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Receiver → sender: a receive was posted.
    Announce(Announce),
    /// Sender → receiver: a whole short message, whose bytes follow.
    Inline {
        /// The receive that it meets.
        seq: u64,
        /// The message's length.
        bytes: u32,
    },
    /// Either way: nothing more will come, all is well.
    Goodbye,
    /// Either way: this side has failed; the reason follows as UTF-8 text.
    Abort {
        /// The reason's length, at most [`ABORT_BYTES_MAX`].
        bytes: u32,
    },
}

/// A posted receive, as told to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announce {
    /// Its sequence number.
    pub seq: u64,
    /// How many bytes it takes.
    pub capacity: u64,
    /// The longest message it takes inside a control frame.
    pub inline_bytes: u32,
    /// The receives finished so far: all of sequence numbers `..done`.
    pub done: u64,
}

/// What precedes a segment's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The receive that it belongs to.
    pub seq: u64,
    /// Where its bytes belong in the message.
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
/// The shortest and the longest that segments may be set to; a piece of them is no shorter either.
pub const SEGMENT_BYTES: std::ops::RangeInclusive<u32> = 4096..=64 << 20;
/// The longest message inside a control frame.
pub const INLINE_BYTES_MAX: u32 = 64 << 10;

impl Join {
    /// Its length on the wire.
    pub const BYTES: usize = 64;
    const MAGIC: u32 = u32::from_le_bytes(*b"GTJN");

    /// The frame's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        put(&mut out, 0, &Self::MAGIC.to_le_bytes());
        put(&mut out, 4, &VERSION.to_le_bytes());
        put(&mut out, 6, &self.index.to_le_bytes());
        put(&mut out, 8, &self.listen_token.0);
        put(&mut out, 24, &self.comm_token.0);
        put(&mut out, 40, &self.streams.to_le_bytes());
        put(&mut out, 42, &self.slots.to_le_bytes());
        put(&mut out, 44, &self.segment_bytes.to_le_bytes());
        put(&mut out, 48, &self.inline_bytes.to_le_bytes());
        put(&mut out, 52, &self.piece_bytes.to_le_bytes());
        out
    }

    /// The frame in these bytes.
    ///
    /// # Errors
    /// A [`Violation`] if it is none, is of another version, or a field is out of range.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, Violation> {
        check_magic(Self::MAGIC, bytes)?;
        check_version(u16_at(bytes, 4))?;
        let join = Self {
            index: u16_at(bytes, 6),
            listen_token: Token(array_at(bytes, 8)),
            comm_token: Token(array_at(bytes, 24)),
            streams: u16_at(bytes, 40),
            slots: u16_at(bytes, 42),
            segment_bytes: u32_at(bytes, 44),
            inline_bytes: u32_at(bytes, 48),
            piece_bytes: u32_at(bytes, 52),
        };
        let field = |field, value| Err(Violation::Field { frame: "join", field, value });
        if !(1..=STREAMS_MAX).contains(&join.streams) {
            return field("number of streams", u64::from(join.streams));
        }
        if join.index > join.streams {
            return field("socket index", u64::from(join.index));
        }
        if !(1..=SLOTS_MAX).contains(&join.slots) {
            return field("number of slots", u64::from(join.slots));
        }
        if !SEGMENT_BYTES.contains(&join.segment_bytes) {
            return field("segment length", u64::from(join.segment_bytes));
        }
        if !(*SEGMENT_BYTES.start()..=join.segment_bytes).contains(&join.piece_bytes) {
            return field("piece length", u64::from(join.piece_bytes));
        }
        if join.inline_bytes > INLINE_BYTES_MAX {
            return field("inline length", u64::from(join.inline_bytes));
        }
        check_zero("join", &bytes[56..])?;
        Ok(join)
    }
}

impl Welcome {
    /// Its length on the wire.
    pub const BYTES: usize = 16;
    const MAGIC: u32 = u32::from_le_bytes(*b"GTWL");

    /// The frame's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        put(&mut out, 0, &Self::MAGIC.to_le_bytes());
        put(&mut out, 4, &VERSION.to_le_bytes());
        put(&mut out, 6, &(self.verdict as u16).to_le_bytes());
        put(&mut out, 8, &self.slots.to_le_bytes());
        put(&mut out, 12, &self.inline_bytes.to_le_bytes());
        out
    }

    /// The frame in these bytes.
    ///
    /// # Errors
    /// A [`Violation`] if it is none, is of another version, or a field is out of range.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, Violation> {
        check_magic(Self::MAGIC, bytes)?;
        check_version(u16_at(bytes, 4))?;
        let field = |field, value| Err(Violation::Field { frame: "welcome", field, value });
        let verdict = match u16_at(bytes, 6) {
            0 => Verdict::Accepted,
            1 => Verdict::WrongToken,
            2 => Verdict::BadSettings,
            3 => Verdict::Busy,
            4 => Verdict::WrongVersion,
            other => return field("verdict", u64::from(other)),
        };
        let slots = u16_at(bytes, 8);
        if verdict == Verdict::Accepted && !(1..=SLOTS_MAX).contains(&slots) {
            return field("number of slots", u64::from(slots));
        }
        let inline_bytes = u32_at(bytes, 12);
        if inline_bytes > INLINE_BYTES_MAX {
            return field("inline length", u64::from(inline_bytes));
        }
        check_zero("welcome", &bytes[10..12])?;
        Ok(Self { verdict, slots, inline_bytes })
    }
}

impl Control {
    /// Its length on the wire, without the payload.
    pub const BYTES: usize = 32;
    const MAGIC: u16 = u16::from_le_bytes(*b"GC");

    /// The frame's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let (kind, bytes, seq, capacity, done) = match *self {
            Self::Announce(Announce { seq, capacity, inline_bytes, done }) => {
                (1u16, inline_bytes, seq, capacity, done)
            }
            Self::Inline { seq, bytes } => (2, bytes, seq, 0, 0),
            Self::Goodbye => (3, 0, 0, 0, 0),
            Self::Abort { bytes } => (4, bytes, 0, 0, 0),
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

    /// The frame in these bytes.
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
            1 => {
                at_most("announcement", INLINE_BYTES_MAX)?;
                let (capacity, done) = (u64_at(frame, 16), u64_at(frame, 24));
                Ok(Self::Announce(Announce { seq, capacity, inline_bytes: bytes, done }))
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
            other => Err(Violation::Kind(other)),
        }
    }
}

impl SegmentHeader {
    /// Its length on the wire.
    pub const BYTES: usize = 32;
    const MAGIC: u32 = u32::from_le_bytes(*b"GTSG");

    /// The header's bytes.
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

    /// The header in these bytes. What it says is checked by [`crate::recv::RecvSide::begin`].
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
    /// A token is a secret of the connection: logs get its first bytes.
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
