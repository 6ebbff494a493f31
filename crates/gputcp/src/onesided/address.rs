//! The address of an endpoint: the bytes by which peers find its listener.

use std::{fmt, net::SocketAddr};

use gputcp_proto::handle::Handle;

use crate::{Error, Result};

/// The address of an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address([u8; Self::BYTES]);

impl Address {
    /// The address's length.
    pub const BYTES: usize = 128;

    pub(super) fn of(handle: Handle) -> Self {
        Self(handle.encode())
    }

    pub(super) fn handle(&self) -> Result<Handle> {
        Handle::decode(&self.0)
            .map_err(|violation| Error::usage(format!("the endpoint's address is none: it {violation}")))
    }

    /// Returns whether it names the machine of this socket address, and no other.
    pub(super) fn is_at(&self, peer: &str) -> bool {
        let (Ok(handle), Ok(peer)) = (self.handle(), peer.parse::<SocketAddr>()) else { return false };
        handle.addresses().all(|own| own.ip().to_canonical() == peer.ip().to_canonical())
    }

    /// Returns the address as bytes, to be sent to a peer.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; Self::BYTES] {
        self.0
    }

    /// Reads an address.
    ///
    /// # Errors
    /// If the bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let found = bytes.len();
        let bytes = bytes.try_into().map_err(|_| {
            Error::usage(format!("an endpoint's address has {} bytes, and {found} were given", Self::BYTES))
        })?;
        let address = Self(bytes);
        address.handle().map(|_| address)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.handle() {
            Ok(handle) => write!(f, "Address({})", handle.address),
            Err(_) => f.write_str("Address(invalid)"),
        }
    }
}
