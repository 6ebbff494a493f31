//! The address of an endpoint: the bytes by which peers find its listener.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

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

    /// Returns the handle with those addresses alone that are among `known`; `None` if there are none.
    pub(super) fn at(&self, known: &[IpAddr]) -> Option<Handle> {
        let handle = self.handle().ok()?;
        let is_known = |address: &SocketAddr| known.contains(&address.ip().to_canonical());
        let mut addresses = handle.addresses().filter(is_known);
        let mut at = Handle::at(addresses.next()?, handle.token);
        at.others.iter_mut().zip(addresses).for_each(|(place, address)| *place = Some(address));
        Some(at)
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

#[cfg(test)]
mod tests {
    use gputcp_proto::frame::Token;

    use super::*;

    #[test]
    fn a_stranger_is_found_where_its_sockets_come_from_and_nowhere_else() {
        let mut handle = Handle::at("10.0.0.1:7".parse().unwrap(), Token([1; 16]));
        handle.others[0] = Some("10.0.1.1:8".parse().unwrap());
        handle.others[1] = Some("10.0.2.1:9".parse().unwrap());
        let at = |known: &[&str]| {
            let known: Vec<IpAddr> = known.iter().map(|ip| ip.parse().unwrap()).collect();
            let found = Address::of(handle).at(&known)?;
            Some(found.addresses().map(|address| address.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(at(&["10.0.1.1", "10.0.9.9"]), Some(vec!["10.0.1.1:8".into()]));
        assert_eq!(at(&["10.0.2.1", "10.0.0.1"]), Some(vec!["10.0.0.1:7".into(), "10.0.2.1:9".into()]));
        assert_eq!(at(&["10.0.9.9"]), None);
    }
}
