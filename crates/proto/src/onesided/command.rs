//! The commands of one-sided transfers, byte by byte.
//!
//! ```text
//! command: 0 magic "GTOC"  4 kind u16  6 reason u16  8 chunk u64  16 bytes u64  24 regions u32  28 count u32
//!          then of a request its regions: 0 place u32  4 zero [4]  8 secret [16]
//!          and `count` ranges: 0 offset u64  8 bytes u32  12 region u16  14 zero [2]
//!          then of a note `count` bytes
//! ```

use super::{
    key::{Key, Operation},
    regions::{Name, Refusal},
};
use crate::{
    Violation,
    frame::{EAGER_BYTES, array_at, check_magic, check_zero, u16_at, u32_at, u64_at},
};

/// A command, without its ranges or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// A peer asks for ranges of regions.
    Request(Kind, Request),
    /// The target of an offer has posted a receive for it.
    Pull {
        /// The chunk that was offered.
        chunk: u64,
    },
    /// The bytes of a write are at their destination.
    Done {
        /// The chunk that was written.
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

/// The kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A reader wants these ranges next, and has posted a receive for them.
    Get,
    /// A writer has the bytes of these ranges.
    Offer,
    /// A writer sends the bytes of these ranges behind the command, on the same connection.
    Put,
}

/// The fixed part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The chunk's number, by its initiator.
    pub chunk: u64,
    /// The chunk's length in bytes.
    pub bytes: u64,
    /// The number of regions.
    pub regions: u32,
    /// The number of ranges.
    pub ranges: u32,
}

/// A range of a region, which is named by its place in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The region's place in the request's list.
    pub region: u16,
    /// The start in the region.
    pub offset: u64,
    /// The number of bytes.
    pub bytes: u32,
}

/// The most ranges of a chunk.
pub const RANGES_MAX: usize = 960;
/// The most regions of a chunk.
pub const REGIONS_MAX: usize = 40;
/// The length of a command without what follows.
pub const HEAD_BYTES: usize = 32;
/// The length of a region's name.
const NAME_BYTES: usize = 24;
/// The length of a range.
const RANGE_BYTES: usize = 16;
/// The longest command: it travels on the control socket although others are under way.
pub const COMMAND_BYTES_MAX: usize = 16 << 10;
const _: () = assert!(HEAD_BYTES + REGIONS_MAX * NAME_BYTES + RANGES_MAX * RANGE_BYTES <= COMMAND_BYTES_MAX);
/// The longest write whose bytes come behind its command: as long as a short message may be.
pub const PUT_BYTES_MAX: u64 = EAGER_BYTES as u64;
/// The longest note.
pub const NOTE_BYTES_MAX: usize = COMMAND_BYTES_MAX - HEAD_BYTES;
const MAGIC: u32 = u32::from_le_bytes(*b"GTOC");

impl Command {
    /// Returns the bytes of the command's fixed part.
    #[must_use]
    pub fn encode(&self) -> [u8; HEAD_BYTES] {
        let none = Request { chunk: 0, bytes: 0, regions: 0, ranges: 0 };
        let (kind, reason, request) = match *self {
            Self::Request(Kind::Get, request) => (1u16, 0u16, request),
            Self::Request(Kind::Offer, request) => (2, 0, request),
            Self::Request(Kind::Put, request) => (7, 0, request),
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
        out[24..28].copy_from_slice(&request.regions.to_le_bytes());
        out[28..].copy_from_slice(&request.ranges.to_le_bytes());
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
            regions: u32_at(head, 24),
            ranges: u32_at(head, 28),
        };
        let chunk = request.chunk;
        let (kind, reason) = (u16_at(head, 4), u16_at(head, 6));
        let command = match kind {
            1 => Self::Request(Kind::Get, request),
            2 => Self::Request(Kind::Offer, request),
            7 => Self::Request(Kind::Put, request),
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
            Self::Request(Kind::Put, Request { bytes, .. }) if bytes > PUT_BYTES_MAX => {
                return Err(field("length of a short write", bytes));
            }
            Self::Request(_, request) => request.check(rest)?,
            Self::Note { bytes } if rest.len() != bytes as usize => return Err(short()),
            Self::Note { .. } => {}
            _ if !rest.is_empty() => return Err(short()),
            _ => {}
        }
        Ok((command, rest))
    }
}

impl Kind {
    /// Returns the operation that is asked for.
    #[must_use]
    pub const fn operation(self) -> Operation {
        match self {
            Self::Get => Operation::Read,
            Self::Offer | Self::Put => Operation::Write,
        }
    }
}

impl Request {
    /// Returns the whole command: of a number, of regions by their keys, and of ranges within them.
    #[must_use]
    pub fn encode(kind: Kind, chunk: u64, keys: &[Key], ranges: &[Range]) -> Vec<u8> {
        let bytes = ranges.iter().map(|range| u64::from(range.bytes)).sum();
        let (regions, count) = (keys.len() as u32, ranges.len() as u32);
        let request = Self { chunk, bytes, regions, ranges: count };
        let room = HEAD_BYTES + keys.len() * NAME_BYTES + ranges.len() * RANGE_BYTES;
        let mut out = Vec::with_capacity(room);
        out.extend_from_slice(&Command::Request(kind, request).encode());
        for key in keys {
            out.extend_from_slice(&u64::from(key.place).to_le_bytes());
            out.extend_from_slice(&key.secret);
        }
        for range in ranges {
            out.extend_from_slice(&range.offset.to_le_bytes());
            out.extend_from_slice(&range.bytes.to_le_bytes());
            out.extend_from_slice(&u32::from(range.region).to_le_bytes());
        }
        out
    }

    /// Returns the names of its regions, in the bytes behind the fixed part.
    pub fn names<'a>(&self, rest: &'a [u8]) -> impl Iterator<Item = Name> + use<'a> {
        let names = rest.chunks_exact(NAME_BYTES).take(self.regions as usize);
        names.map(|name| (u32_at(name, 0), array_at(name, 8)))
    }

    /// Returns its ranges, in the bytes behind the fixed part.
    pub fn ranges<'a>(&self, rest: &'a [u8]) -> impl Iterator<Item = Range> + use<'a> {
        let ranges = rest.get(self.regions as usize * NAME_BYTES..).unwrap_or_default();
        ranges.chunks_exact(RANGE_BYTES).map(|range| Range {
            region: u16_at(range, 12),
            offset: u64_at(range, 0),
            bytes: u32_at(range, 8),
        })
    }

    fn check(&self, rest: &[u8]) -> Result<(), Violation> {
        let (regions, count) = (self.regions as usize, self.ranges as usize);
        if regions == 0 || regions > REGIONS_MAX {
            return Err(field("number of regions", regions as u64));
        }
        let is_whole = rest.len() == regions * NAME_BYTES + count.saturating_mul(RANGE_BYTES);
        if count == 0 || count > RANGES_MAX || !is_whole {
            return Err(field("number of ranges", count as u64));
        }
        let (names, ranges) = rest.split_at(regions * NAME_BYTES);
        names.chunks_exact(NAME_BYTES).try_for_each(|name| check_zero("command", &name[4..8]))?;
        ranges.chunks_exact(RANGE_BYTES).try_for_each(|range| check_zero("command", &range[14..]))?;
        let mut sum = 0;
        for Range { region, bytes, .. } in self.ranges(rest) {
            if bytes == 0 {
                return Err(field("range's length", 0));
            }
            if usize::from(region) >= regions {
                return Err(field("range's region", region.into()));
            }
            sum += u64::from(bytes);
        }
        if sum == self.bytes { Ok(()) } else { Err(field("sum of the ranges", sum)) }
    }
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
