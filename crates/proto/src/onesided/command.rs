//! The commands of one-sided transfers, byte by byte.
//!
//! ```text
//! command: 0 magic "GTOC"  4 kind u16  6 reason u16  8 chunk u64  16 bytes u64  24 region u32  28 count u32
//!          32 secret [16], then `count` ranges: 0 offset u64  8 bytes u64; or, of a note, `count` bytes
//! ```

use super::{
    key::{Key, Operation},
    regions::Refusal,
};
use crate::{
    Violation,
    frame::{array_at, check_magic, u16_at, u32_at, u64_at},
};

/// A command, without its ranges or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// A reader wants these ranges next, and has posted a receive for them.
    Get(Request),
    /// A writer has the bytes of these ranges.
    Offer(Request),
    /// The target of an offer has posted a receive for it.
    Pull {
        /// The chunk that was offered.
        chunk: u64,
    },
    /// The bytes of an offer are at their destination.
    Done {
        /// The chunk that was offered.
        chunk: u64,
    },
    /// A request was refused. For a read, an empty message takes the place of the bytes.
    Refused {
        /// The chunk that was asked for, or offered.
        chunk: u64,
        /// The number of the bad range in the chunk.
        range: u32,
        /// The reason.
        refusal: Refusal,
    },
    /// Some bytes for the peer's program, which follow.
    Note {
        /// The number of bytes.
        bytes: u32,
    },
}

/// The fixed part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The chunk's number, by its initiator.
    pub chunk: u64,
    /// The chunk's length in bytes.
    pub bytes: u64,
    /// The place of the region, and its secret.
    pub region: (u32, [u8; 16]),
    /// The number of ranges.
    pub ranges: u32,
}

/// The most ranges of a chunk.
pub const RANGES_MAX: usize = 960;
/// The length of a command without its ranges.
pub const HEAD_BYTES: usize = 48;
/// The length of a range.
const RANGE_BYTES: usize = 16;
/// The longest command: it travels on the control socket although others are under way.
pub const COMMAND_BYTES_MAX: usize = 16 << 10;
const _: () = assert!(HEAD_BYTES + RANGES_MAX * RANGE_BYTES <= COMMAND_BYTES_MAX);
/// The longest note.
pub const NOTE_BYTES_MAX: usize = COMMAND_BYTES_MAX - HEAD_BYTES;
const MAGIC: u32 = u32::from_le_bytes(*b"GTOC");

impl Command {
    /// Returns the request of an operation on a peer's region.
    #[must_use]
    pub const fn request(operation: Operation, key: &Key, chunk: u64, bytes: u64, ranges: u32) -> Self {
        let request = Request { chunk, bytes, region: (key.place, key.secret), ranges };
        match operation {
            Operation::Read => Self::Get(request),
            Operation::Write => Self::Offer(request),
        }
    }

    /// Returns the bytes of the command's fixed part.
    #[must_use]
    pub fn encode(&self) -> [u8; HEAD_BYTES] {
        let none = Request { chunk: 0, bytes: 0, region: (0, [0; 16]), ranges: 0 };
        let (kind, reason, request) = match *self {
            Self::Get(request) => (1u16, 0u16, request),
            Self::Offer(request) => (2, 0, request),
            Self::Pull { chunk } => (3, 0, Request { chunk, ..none }),
            Self::Done { chunk } => (4, 0, Request { chunk, ..none }),
            Self::Refused { chunk, range, refusal } => {
                (5, number_of(refusal), Request { chunk, bytes: range.into(), ..none })
            }
            Self::Note { bytes } => (6, 0, Request { ranges: bytes, ..none }),
        };
        let mut out = [0; HEAD_BYTES];
        out[..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[4..6].copy_from_slice(&kind.to_le_bytes());
        out[6..8].copy_from_slice(&reason.to_le_bytes());
        out[8..16].copy_from_slice(&request.chunk.to_le_bytes());
        out[16..24].copy_from_slice(&request.bytes.to_le_bytes());
        out[24..28].copy_from_slice(&request.region.0.to_le_bytes());
        out[28..32].copy_from_slice(&request.ranges.to_le_bytes());
        out[32..].copy_from_slice(&request.region.1);
        out
    }

    /// Reads a command, and returns it with the bytes behind its fixed part.
    ///
    /// # Errors
    /// A [`Violation`] if it is none: a field is out of range, its length is another, or the ranges have
    /// another sum.
    pub fn decode(message: &[u8]) -> Result<(Self, &[u8]), Violation> {
        let short = || field("length", message.len() as u64);
        let (head, rest) = message.split_first_chunk::<HEAD_BYTES>().ok_or_else(short)?;
        check_magic(MAGIC, head)?;
        let request = Request {
            chunk: u64_at(head, 8),
            bytes: u64_at(head, 16),
            region: (u32_at(head, 24), array_at(head, 32)),
            ranges: u32_at(head, 28),
        };
        let chunk = request.chunk;
        let (kind, reason) = (u16_at(head, 4), u16_at(head, 6));
        let command = match kind {
            1 => Self::Get(request),
            2 => Self::Offer(request),
            3 => Self::Pull { chunk },
            4 => Self::Done { chunk },
            5 => {
                let refusal = refusal_of(reason).ok_or_else(|| field("reason", reason.into()))?;
                let range = u32::try_from(request.bytes).map_err(|_| field("range", request.bytes))?;
                Self::Refused { chunk, range, refusal }
            }
            6 => Self::Note { bytes: request.ranges },
            other => return Err(Violation::Kind(other)),
        };
        // A field that the kind does not use is zero: the bytes are those that `encode` gives.
        if command.encode() != *head {
            return Err(field("reserved field", kind.into()));
        }
        match command {
            Self::Get(request) | Self::Offer(request) => check_ranges(&request, rest)?,
            Self::Note { bytes } if rest.len() != bytes as usize => return Err(short()),
            Self::Note { .. } => {}
            _ if !rest.is_empty() => return Err(short()),
            _ => {}
        }
        Ok((command, rest))
    }
}

/// Appends a range to a command.
pub fn put_range(message: &mut Vec<u8>, offset: u64, bytes: u64) {
    message.extend_from_slice(&offset.to_le_bytes());
    message.extend_from_slice(&bytes.to_le_bytes());
}

/// Returns the ranges behind a request: offset and bytes of each.
pub fn ranges(rest: &[u8]) -> impl Iterator<Item = (u64, u64)> + '_ {
    rest.chunks_exact(RANGE_BYTES).map(|range| (u64_at(range, 0), u64_at(range, 8)))
}

fn check_ranges(request: &Request, rest: &[u8]) -> Result<(), Violation> {
    let count = request.ranges as usize;
    if count == 0 || count > RANGES_MAX || rest.len() != count * RANGE_BYTES {
        return Err(field("number of ranges", count as u64));
    }
    let mut sum = 0u64;
    for (_, bytes) in ranges(rest) {
        if bytes == 0 {
            return Err(field("range's length", 0));
        }
        sum = sum.checked_add(bytes).ok_or_else(|| field("range's length", bytes))?;
    }
    if sum == request.bytes { Ok(()) } else { Err(field("sum of the ranges", sum)) }
}

const fn field(field: &'static str, value: u64) -> Violation {
    Violation::Field { frame: "command", field, value }
}

const fn number_of(refusal: Refusal) -> u16 {
    match refusal {
        Refusal::UnknownKey => 1,
        Refusal::OutOfRange => 2,
        Refusal::NotAllowed => 3,
    }
}

const fn refusal_of(number: u16) -> Option<Refusal> {
    match number {
        1 => Some(Refusal::UnknownKey),
        2 => Some(Refusal::OutOfRange),
        3 => Some(Refusal::NotAllowed),
        _ => None,
    }
}
