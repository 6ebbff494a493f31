//! The 128-byte handle by which a sender finds a listener.
//!
//! The listener makes it, and any other channel carries it. The command uses its bootstrap connection; the
//! plugin uses NCCL's own bootstrap, and keeps the last eight bytes for itself.
//!
//! ```text
//! 0 magic "GTHD"  4 version u16  6 family u8 (4 or 6)  7 addresses u8 (1 to 4)  8 token [16]
//! 24 four times: 0 address [16] (IPv4 in the first four bytes)  16 port u16  18 zero [2]
//!                20 scope id u32; zero if there is none
//! 120 zero [8]
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::{
    Violation,
    frame::{Token, VERSION, array_at, check_magic, check_version, check_zero, put, u16_at, u32_at},
};

/// The addresses of a listener, and the token that proves that a connector has its handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    /// The listener's address; the first, if it has several.
    pub address: SocketAddr,
    /// The listener's other addresses, without a gap before the last. All are of one family.
    pub others: [Option<SocketAddr>; Self::ADDRESSES_MAX - 1],
    /// The listener's token.
    pub token: Token,
}

impl Handle {
    /// The handle's length: NCCL's `NCCL_NET_HANDLE_MAXSIZE`.
    pub const BYTES: usize = 128;
    /// The most addresses of a listener: as many as NCCL merges to one device before version 12 of its
    /// interface.
    pub const ADDRESSES_MAX: usize = 4;
    const MAGIC: u32 = u32::from_le_bytes(*b"GTHD");

    /// Returns the handle of a listener with one address.
    #[must_use]
    pub const fn at(address: SocketAddr, token: Token) -> Self {
        Self { address, others: [None; Self::ADDRESSES_MAX - 1], token }
    }

    /// Returns all addresses, the first one first.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        std::iter::once(self.address).chain(self.others.into_iter().flatten())
    }

    /// Returns the handle's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        put(&mut out, 0, &Self::MAGIC.to_le_bytes());
        put(&mut out, 4, &VERSION.to_le_bytes());
        out[6] = if self.address.is_ipv4() { 4 } else { 6 };
        out[7] = self.addresses().count() as u8;
        put(&mut out, 8, &self.token.0);
        for (index, address) in self.addresses().enumerate() {
            let at = PLACES + index * PLACE;
            match address {
                SocketAddr::V4(v4) => put(&mut out, at, &v4.ip().octets()),
                SocketAddr::V6(v6) => {
                    put(&mut out, at, &v6.ip().octets());
                    put(&mut out, at + 20, &v6.scope_id().to_le_bytes());
                }
            }
            put(&mut out, at + 16, &address.port().to_le_bytes());
        }
        out
    }

    /// Reads the handle in these bytes.
    ///
    /// # Errors
    /// A [`Violation`] if it is none, is of another version, or names no address.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, Violation> {
        check_magic(Self::MAGIC, bytes)?;
        check_version(u16_at(bytes, 4))?;
        let count = usize::from(bytes[7]);
        if !(1..=Self::ADDRESSES_MAX).contains(&count) {
            return Err(field("number of addresses", bytes[7].into()));
        }
        let address = |index: usize| address(bytes[6], &array_at(bytes, PLACES + index * PLACE));
        let mut others = [None; Self::ADDRESSES_MAX - 1];
        for (index, other) in (1..count).zip(&mut others) {
            *other = Some(address(index)?);
        }
        check_zero("handle", &bytes[PLACES + count * PLACE..])?;
        Ok(Self { address: address(0)?, others, token: Token(array_at(bytes, 8)) })
    }
}

/// Reads the address in a place.
fn address(family: u8, place: &[u8; PLACE]) -> Result<SocketAddr, Violation> {
    let port = u16_at(place, 16);
    if port == 0 {
        return Err(field("port", 0));
    }
    check_zero("handle", &place[18..20])?;
    match family {
        4 => {
            check_zero("handle", &place[4..16])?;
            check_zero("handle", &place[20..])?;
            Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(array_at::<4>(place, 0))), port))
        }
        6 => {
            let ip = Ipv6Addr::from(array_at::<16>(place, 0));
            Ok(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, u32_at(place, 20))))
        }
        other => Err(field("address family", other.into())),
    }
}

const fn field(field: &'static str, value: u64) -> Violation {
    Violation::Field { frame: "handle", field, value }
}

/// The offset at which the addresses begin. The next constant is the length of each.
const PLACES: usize = 24;
const PLACE: usize = 24;
const _: () =
    assert!(PLACES + Handle::ADDRESSES_MAX * PLACE == Handle::BYTES - 8, "the plugin's eight bytes are free");

#[cfg(test)]
mod tests;
