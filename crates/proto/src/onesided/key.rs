//! Keys: the bytes by which a peer names a region.

use crate::{
    Violation,
    frame::{check_zero, u32_at, u64_at},
};

/// The operations that a peer may do on a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Reading and writing.
    ReadWrite,
}

/// An operation on a peer's region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The peer's bytes come here.
    Read,
    /// This side's bytes go there.
    Write,
}

/// The memory of a region. Ranges of one memory can share a chunk, whatever their regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// The host's.
    Host,
    /// The device's, of which an endpoint has one.
    Device,
}

/// The name of a region. Only its owner, and the peers that were given it, can know it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The region's place in its owner's table.
    pub(super) place: u32,
    /// The secret, 128 random bits.
    pub(super) secret: [u8; 16],
    bytes: u64,
    rights: Rights,
    space: Space,
}

impl Key {
    /// The key's length as bytes.
    pub const BYTES: usize = 40;
    const MAGIC: u32 = u32::from_le_bytes(*b"GTRK");

    pub(super) const fn new(place: u32, secret: [u8; 16], bytes: u64, rights: Rights, space: Space) -> Self {
        Self { place, secret, bytes, rights, space }
    }

    /// Returns the region's place in its owner's table.
    #[must_use]
    pub const fn place(&self) -> usize {
        self.place as usize
    }

    /// Returns the region's length in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the operations that it allows.
    #[must_use]
    pub const fn rights(&self) -> Rights {
        self.rights
    }

    /// Returns the memory that it is of.
    #[must_use]
    pub const fn space(&self) -> Space {
        self.space
    }

    /// Returns the key as bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..4].copy_from_slice(&Self::MAGIC.to_le_bytes());
        out[4..8].copy_from_slice(&self.place.to_le_bytes());
        out[8..16].copy_from_slice(&self.bytes.to_le_bytes());
        out[16] = self.rights.number();
        out[17] = self.space.number();
        out[24..].copy_from_slice(&self.secret);
        out
    }

    /// Reads the key in these bytes. Its owner alone knows whether it is good.
    ///
    /// # Errors
    /// A [`Violation`] if they are none.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, Violation> {
        crate::frame::check_magic(Self::MAGIC, bytes)?;
        check_zero("key of a region", &bytes[18..24])?;
        let bad =
            |field, value: u8| Violation::Field { frame: "key of a region", field, value: value.into() };
        let rights = Rights::from_number(bytes[16]).ok_or_else(|| bad("rights", bytes[16]))?;
        let space = Space::from_number(bytes[17]).ok_or_else(|| bad("memory", bytes[17]))?;
        let secret = crate::frame::array_at(bytes, 24);
        Ok(Self { place: u32_at(bytes, 4), secret, bytes: u64_at(bytes, 8), rights, space })
    }
}

impl std::fmt::Debug for Key {
    /// Leaves the secret out: logs get none of it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { place, bytes, rights, space, .. } = self;
        write!(f, "Key({place}, {bytes} bytes, {rights:?}, {space:?})")
    }
}

impl Rights {
    /// Returns whether they allow an operation.
    #[must_use]
    pub const fn allow(self, operation: Operation) -> bool {
        matches!(
            (self, operation),
            (Self::ReadWrite, _) | (Self::Read, Operation::Read) | (Self::Write, Operation::Write)
        )
    }

    const fn number(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Write => 2,
            Self::ReadWrite => 3,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Read),
            2 => Some(Self::Write),
            3 => Some(Self::ReadWrite),
            _ => None,
        }
    }
}

impl Space {
    const fn number(self) -> u8 {
        match self {
            Self::Host => 1,
            Self::Device => 2,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Host),
            2 => Some(Self::Device),
            _ => None,
        }
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}
