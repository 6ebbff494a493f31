//! The question for a listener's handle. A socket that begins with it belongs to no connection: the listener
//! answers with its [`Handle`](crate::handle::Handle), and closes the socket.

use super::{VERSION, check_magic, check_version, check_zero, put, u16_at};
use crate::Violation;

/// The only frame on a socket that asks for a listener's handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask;

impl Ask {
    /// Its length on the wire.
    pub const BYTES: usize = 8;
    const MAGIC: u32 = u32::from_le_bytes(*b"GTAS");

    /// Returns the frame's bytes.
    #[must_use]
    pub fn encode(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        put(&mut out, 0, &Self::MAGIC.to_le_bytes());
        put(&mut out, 4, &VERSION.to_le_bytes());
        out
    }

    /// Returns whether these bytes claim to be the frame, of whatever version.
    #[must_use]
    pub fn is_meant(bytes: &[u8; Self::BYTES]) -> bool {
        check_magic(Self::MAGIC, bytes).is_ok()
    }

    /// Decodes the frame.
    ///
    /// # Errors
    /// A [`Violation`] if the bytes are none, or of another version.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, Violation> {
        check_magic(Self::MAGIC, bytes)?;
        check_version(u16_at(bytes, 4))?;
        check_zero("ask", &bytes[6..])?;
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_frame_decodes() {
        let bytes = Ask.encode();
        assert_eq!(Ask::decode(&bytes), Ok(Ask));
        for bit in 0..8 * bytes.len() {
            let mut other = bytes;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(Ask::decode(&other).is_err(), "bit {bit}");
            assert_eq!(Ask::is_meant(&other), bit >= 32, "bit {bit}");
        }
    }
}
