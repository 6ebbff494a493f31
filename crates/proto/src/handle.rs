//! The 128-byte handle by which a sender finds a listener. The listener makes it, any other channel carries it (the
//! bootstrap connection of the command, NCCL's own bootstrap for the plugin).
//!
//! ```text
//! 0 magic "GTHD"  4 version u16  6 family u16 (4 or 6)  8 token [16]  24 address [16] (IPv4 in the first four bytes)
//! 40 port u16  42 zero [2]  44 scope id u32  48 zero [80]
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::{
    Violation,
    frame::{Token, VERSION, array_at, check_magic, check_version, check_zero, put, u16_at, u32_at},
};

/// Where a listener is, and the token that proves one was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    /// The listener's address.
    pub address: SocketAddr,
    /// The listener's token.
    pub token: Token,
}

impl Handle {
    /// Its length: NCCL's `NCCL_NET_HANDLE_MAXSIZE`.
    pub const BYTES: usize = 128;
    const MAGIC: u32 = u32::from_le_bytes(*b"GTHD");

    /// The handle's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        put(&mut out, 0, &Self::MAGIC.to_le_bytes());
        put(&mut out, 4, &VERSION.to_le_bytes());
        put(&mut out, 8, &self.token.0);
        match self.address {
            SocketAddr::V4(v4) => {
                put(&mut out, 6, &4u16.to_le_bytes());
                put(&mut out, 24, &v4.ip().octets());
            }
            SocketAddr::V6(v6) => {
                put(&mut out, 6, &6u16.to_le_bytes());
                put(&mut out, 24, &v6.ip().octets());
                put(&mut out, 44, &v6.scope_id().to_le_bytes());
            }
        }
        put(&mut out, 40, &self.address.port().to_le_bytes());
        out
    }

    /// The handle in these bytes.
    ///
    /// # Errors
    /// A [`Violation`] if it is none, is of another version, or names no address.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, Violation> {
        check_magic(Self::MAGIC, bytes)?;
        check_version(u16_at(bytes, 4))?;
        check_zero("handle", &bytes[42..44])?;
        check_zero("handle", &bytes[48..])?;
        let port = u16_at(bytes, 40);
        if port == 0 {
            return Err(Violation::Field { frame: "handle", field: "port", value: 0 });
        }
        let address = match u16_at(bytes, 6) {
            4 => {
                check_zero("handle", &bytes[28..40])?;
                check_zero("handle", &bytes[44..48])?;
                SocketAddr::new(IpAddr::V4(Ipv4Addr::from(array_at::<4>(bytes, 24))), port)
            }
            6 => {
                let ip = Ipv6Addr::from(array_at::<16>(bytes, 24));
                SocketAddr::V6(SocketAddrV6::new(ip, port, 0, u32_at(bytes, 44)))
            }
            other => {
                return Err(Violation::Field {
                    frame: "handle",
                    field: "address family",
                    value: u64::from(other),
                });
            }
        };
        Ok(Self { address, token: Token(array_at(bytes, 8)) })
    }
}

#[cfg(test)]
mod tests;
