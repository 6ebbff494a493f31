//! The local address to use: given as an address, as an interface, or the way NCCL names interfaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use nix::ifaddrs::getifaddrs;

use crate::failure::Failure;

/// The user's choice of the local address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// This address.
    Address(IpAddr),
    /// An address of this interface.
    Interface(String),
    /// An address of the first interface that matches NCCL's pattern: `eth` (prefix), `=eth0` (exact),
    /// `^docker` (all but), several separated by commas.
    Nccl(String),
}

/// The protocols that may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Either.
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl Bind {
    /// Parses an address or an interface.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        // IFNAMSIZ is 16 with its end; a name holds no slash and no space (dev_valid_name in the kernel).
        if text.is_empty()
            || text.len() > 15
            || text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace())
        {
            return Err("that is neither an address nor an interface's name".into());
        }
        Ok(Self::Interface(text.to_owned()))
    }

    /// Parses NCCL's pattern for interfaces.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse_nccl(text: &str) -> Result<Self, String> {
        let names = text.trim().trim_start_matches(['^', '=']);
        if names.split(',').any(|name| name.is_empty() || name.len() > 64) {
            return Err("that is no list of interfaces".into());
        }
        Ok(Self::Nccl(text.trim().to_owned()))
    }

    /// Returns the address that is meant, with port 0.
    ///
    /// # Errors
    /// [`Failure::Usage`] if this machine has none such.
    pub fn resolve(&self, family: Family) -> Result<SocketAddr, Failure> {
        match self {
            Self::Address(address) if !family.admits(*address) => {
                let version = if address.is_ipv4() { 4 } else { 6 };
                Err(Failure::Usage(format!(
                    "the address {address} to bind to is of IPv{version}, which was excluded: drop one of the two"
                )))
            }
            Self::Address(address) => Ok(SocketAddr::new(*address, 0)),
            Self::Interface(name) => choose(family, |candidate| candidate == name)
                .ok_or_else(|| missing(&format!("interface {name}"), family)),
            Self::Nccl(pattern) => {
                choose(family, |candidate| matches_nccl(pattern, candidate)).ok_or_else(|| {
                    missing(&format!("interface that NCCL_SOCKET_IFNAME={pattern} means"), family)
                })
            }
        }
    }
}

impl Family {
    /// Returns whether this address may be used.
    #[must_use]
    pub const fn admits(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }

    /// Returns the address of this very machine.
    #[must_use]
    pub const fn loopback(self) -> IpAddr {
        match self {
            Self::Any | Self::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Self::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        }
    }
}

/// Returns all addresses of this machine, with the interface each belongs to.
#[must_use]
pub fn addresses() -> Vec<(String, SocketAddr)> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::new(IpAddr::V4(v4.ip()), 0));
            let v6 = || {
                let v6 = address.as_sockaddr_in6()?;
                Some(SocketAddr::V6(SocketAddrV6::new(v6.ip(), 0, 0, v6.scope_id())))
            };
            Some((interface.interface_name, v4.or_else(v6)?))
        })
        .collect()
}

/// Returns all addresses of this machine with the masks of their subnets: interface, address, mask.
/// Link-local ones are the same on every interface, and left out.
#[must_use]
pub fn masked_addresses() -> Vec<(String, IpAddr, IpAddr)> {
    let ip = |address: nix::sys::socket::SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    let is_local = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    interfaces
        .filter_map(|interface| {
            let (address, mask) = (ip(interface.address?)?, ip(interface.netmask?)?);
            (!is_local(&address)).then_some((interface.interface_name, address, mask))
        })
        .collect()
}

/// Returns the best address of the interfaces that match: IPv4 first, a link-local one last.
fn choose(family: Family, matches: impl Fn(&str) -> bool) -> Option<SocketAddr> {
    addresses()
        .into_iter()
        .filter(|(name, address)| matches(name) && family.admits(address.ip()))
        .map(|(_, address)| address)
        .min_by_key(|address| match address {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(v6) if !v6.ip().is_unicast_link_local() => 1,
            SocketAddr::V6(_) => 2,
        })
}

fn missing(what: &str, family: Family) -> Failure {
    let kind = match family {
        Family::Any => "",
        Family::V4 => "IPv4 ",
        Family::V6 => "IPv6 ",
    };
    let mut names: Vec<String> = addresses().into_iter().map(|(name, _)| name).collect();
    names.dedup();
    Failure::Usage(format!("no {kind}address belongs to the {what}: choose one of {}", names.join(", ")))
}

fn matches_nccl(pattern: &str, name: &str) -> bool {
    let (all_but, pattern) = pattern.strip_prefix('^').map_or((false, pattern), |rest| (true, rest));
    let (exact, pattern) = pattern.strip_prefix('=').map_or((false, pattern), |rest| (true, rest));
    let hit = pattern.split(',').any(|want| if exact { name == want } else { name.starts_with(want) });
    hit != all_but
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nccl_patterns() {
        assert!(matches_nccl("eth", "eth1"));
        assert!(!matches_nccl("=eth", "eth1"));
        assert!(matches_nccl("=eth1,ib0", "ib0"));
        assert!(!matches_nccl("^docker,lo", "lo"));
        assert!(matches_nccl("^docker,lo", "eth0"));
    }

    #[test]
    fn the_loopback_has_its_mask() {
        let all = masked_addresses();
        let loopback = all.iter().find(|(_, ip, _)| *ip == IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert_eq!(loopback.map(|(.., mask)| *mask), "255.0.0.0".parse().ok(), "{all:?}");
    }

    #[test]
    fn the_loopback_interface_resolves() {
        let address = Bind::parse("lo").unwrap().resolve(Family::Any).unwrap();
        assert!(address.ip().is_loopback());
        assert_eq!(Bind::parse("nowhere0").unwrap().resolve(Family::Any).unwrap_err().exit_code(), 2);
        assert_eq!(Bind::parse("127.0.0.1").unwrap().resolve(Family::V6).unwrap_err().exit_code(), 2);
        for bad in ["", "a/b", "a b", "averyveryverylongname", "::g"] {
            assert!(Bind::parse(bad).is_err(), "{bad}");
        }
    }
}
