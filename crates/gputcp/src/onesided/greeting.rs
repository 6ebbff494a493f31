//! The first message on each of a link's connections: to which link it belongs, and what it is for.
//!
//! ```text
//! 0 magic "GTOG"  4 purpose u16  6 window u16  8 zero [8]  16 link token [16]  32 address [128]
//! ```

use gputcp_proto::{Violation, frame::Token};

use super::Address;

/// The first message on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) purpose: Purpose,
    /// The chunks that this end has under way at most, each way.
    pub(super) window: u16,
    /// The link's name, made by the end that connected first.
    pub(super) token: Token,
    /// The address of the end that connects.
    pub(super) from: Address,
}

/// The use of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Data,
    Commands,
}

impl Greeting {
    pub(super) const BYTES: usize = 32 + Address::BYTES;
    const MAGIC: u32 = u32::from_le_bytes(*b"GTOG");

    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..4].copy_from_slice(&Self::MAGIC.to_le_bytes());
        out[4..6].copy_from_slice(&self.purpose.number().to_le_bytes());
        out[6..8].copy_from_slice(&self.window.to_le_bytes());
        out[16..32].copy_from_slice(&self.token.0);
        out[32..].copy_from_slice(&self.from.to_bytes());
        out
    }

    /// Reads a greeting.
    ///
    /// # Errors
    /// A [`Violation`] if the bytes are none.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Violation> {
        let field = |field, value| Violation::Field { frame: "greeting", field, value };
        let whole: &[u8; Self::BYTES] = bytes.try_into().map_err(|_| field("length", bytes.len() as u64))?;
        let u16_at = |at: usize| u16::from_le_bytes([whole[at], whole[at + 1]]);
        let magic = u32::from_le_bytes([whole[0], whole[1], whole[2], whole[3]]);
        if magic != Self::MAGIC {
            return Err(Violation::Magic { expected: Self::MAGIC, found: magic });
        }
        let purpose = match u16_at(4) {
            1 => Purpose::Data,
            2 => Purpose::Commands,
            other => return Err(field("purpose", other.into())),
        };
        if let Some(&value) = whole[8..16].iter().find(|&&byte| byte != 0) {
            return Err(field("reserved byte", value.into()));
        }
        let window = u16_at(6);
        if window != WINDOW {
            return Err(field("window", window.into()));
        }
        let mut token = [0; 16];
        token.copy_from_slice(&whole[16..32]);
        let from = Address::from_bytes(&whole[32..]).map_err(|_| field("address", 0))?;
        Ok(Self { purpose, window, token: Token(token), from })
    }
}

impl Purpose {
    const fn number(self) -> u16 {
        match self {
            Self::Data => 1,
            Self::Commands => 2,
        }
    }
}

/// The chunks of one operation under way at a time: a request waits behind so many of each other transfer's
/// at most. Both ends' reads and writes together fit the slots of a connection.
pub(super) const WINDOW: u16 = 12;
