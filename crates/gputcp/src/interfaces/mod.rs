//! The machine's interfaces, and the choice of those that are used.

mod pattern;

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};

pub use self::pattern::Pattern;

/// The interfaces that a user asks for, and the settings by which.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The interfaces by name.
    pub pattern: Option<&'a Pattern>,
    /// The family of their addresses.
    pub family: Option<Family>,
    /// The name of the setting of the pattern, for sentences.
    pub pattern_setting: &'a str,
    /// The name of the setting of the family.
    pub family_setting: &'a str,
}

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Returns whether an address is of this family.
    #[must_use]
    pub const fn admits(self, ip: IpAddr) -> bool {
        matches!((self, ip), (Self::V4, IpAddr::V4(_)) | (Self::V6, IpAddr::V6(_)))
    }
}

/// An interface that is up and running and has an address that other machines can reach it by.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Interface {
    name: String,
    address: SocketAddr,
    is_loopback: bool,
}

/// Returns the names and addresses of the interfaces to use.
///
/// Those are the ones that are asked for. Otherwise they are all but the loopback and those of containers and
/// virtual machines on this one; otherwise the loopback. The ports are 0.
///
/// # Errors
/// A sentence that names the interfaces there are, if none can be used.
pub fn choose(wanted: &Wanted<'_>) -> Result<Vec<(String, SocketAddr)>, String> {
    choose_of(all(wanted.family)?, wanted).map_err(|why| match wanted.family {
        Some(_) => format!("{why}, or unset {}, which leaves out some", wanted.family_setting),
        None => why,
    })
}

/// Returns an interface's speed in Mbit/s, if the system knows one: a virtual interface reports none, or -1.
#[must_use]
pub fn speed_mbit(interface: &str) -> Option<u32> {
    let text = fs::read_to_string(Path::new("/sys/class/net").join(interface).join("speed")).ok()?;
    text.trim().parse().ok().filter(|speed| (1..=SPEED_MAX).contains(speed))
}

fn choose_of(all: Vec<Interface>, wanted: &Wanted<'_>) -> Result<Vec<(String, SocketAddr)>, String> {
    let (asked, setting) = (wanted.pattern, wanted.pattern_setting);
    let names: Vec<&str> = all.iter().map(|interface| interface.name.as_str()).collect();
    let there =
        if names.is_empty() { "there are none".into() } else { format!("there are {}", names.join(", ")) };
    let outward = |interface: &&Interface| {
        !interface.is_loopback && !OF_GUESTS.iter().any(|prefix| interface.name.starts_with(prefix))
    };
    let mut chosen: Vec<Interface> = match asked {
        Some(pattern) => all.iter().filter(|interface| pattern.admits(&interface.name)).cloned().collect(),
        None => all.iter().filter(outward).cloned().collect(),
    };
    if chosen.is_empty() && asked.is_none() {
        chosen = all.iter().filter(|interface| interface.is_loopback).cloned().collect();
    }
    if chosen.is_empty() {
        let which = if asked.is_some() { format!("that {setting} means") } else { "to use".into() };
        return Err(format!(
            "there is no interface {which}: of those that are up, have a carrier and an address, {there}; set {setting} to one"
        ));
    }
    Ok(chosen.into_iter().map(|interface| (interface.name, interface.address)).collect())
}

/// Returns each interface with its best address, of this family if one is asked for: one of IPv4 if it has
/// any.
fn all(family: Option<Family>) -> Result<Vec<Interface>, String> {
    let list = getifaddrs().map_err(|error| format!("could not list the network interfaces: {error}"))?;
    let mut found: Vec<Interface> = list
        .filter(|entry| entry.flags.contains(InterfaceFlags::IFF_UP) && entry.flags.intersects(CARRIER))
        .filter_map(|entry| {
            let address = entry.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            // A link-local address means nothing without its interface, which only the other machine knows.
            let v6 = || address.as_sockaddr_in6().map(|v6| v6.ip()).filter(|ip| !ip.is_unicast_link_local());
            let ip = v4.or_else(|| v6().map(IpAddr::V6))?;
            if family.is_some_and(|family| !family.admits(ip)) {
                return None;
            }
            Some(Interface {
                name: name_of(&entry.interface_name).to_owned(),
                address: SocketAddr::new(ip, 0),
                is_loopback: entry.flags.contains(InterfaceFlags::IFF_LOOPBACK),
            })
        })
        .collect();
    // The sort is stable: the system lists the addresses of IPv4 first, and an interface's IPv6 address is
    // taken if it has no other.
    found.sort_by_key(|interface| interface.address.is_ipv6());
    let mut named = BTreeSet::new();
    found.retain(|interface| named.insert(interface.name.clone()));
    Ok(found)
}

/// The flags of an interface with a carrier, without which it reaches no machine, whatever its address.
///
/// NCCL's own sockets leave out interfaces that are not running. A link may stay so for up to a second after
/// its carrier is there (the kernel's net/core/link_watch.c).
const CARRIER: InterfaceFlags = InterfaceFlags::IFF_RUNNING.union(InterfaceFlags::IFF_LOWER_UP);

/// Returns the interface of an address: `eth0` if the address has a label of its own, `eth0:1`
/// (netdevice(7)).
fn name_of(label: &str) -> &str {
    label.split(':').next().unwrap_or(label)
}

/// Interfaces that lead to guests of this machine, as NCCL leaves them out.
const OF_GUESTS: [&str; 2] = ["docker", "virbr"];
/// The highest speed that is believed: 100 Tbit/s.
const SPEED_MAX: u32 = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(names: &[&str]) -> Vec<Interface> {
        let one = |name: &&str| Interface {
            name: (*name).to_owned(),
            address: "10.0.0.1:0".parse().unwrap(),
            is_loopback: *name == "lo",
        };
        names.iter().map(one).collect()
    }

    fn chosen(names: &[&str], asked: Option<&str>) -> Result<Vec<String>, String> {
        let pattern = asked.map(|asked| Pattern::parse(asked).unwrap());
        let wanted = Wanted {
            pattern: pattern.as_ref(),
            family: None,
            pattern_setting: "NCCL_SOCKET_IFNAME",
            family_setting: "NCCL_SOCKET_FAMILY",
        };
        let chosen = choose_of(machine(names), &wanted)?;
        Ok(chosen.into_iter().map(|(name, _)| name).collect())
    }

    #[test]
    fn whoever_leads_outward_is_used_or_else_the_loopback() {
        let all = ["lo", "eth0", "docker0", "virbr0", "eth1"];
        assert_eq!(chosen(&all, None).unwrap(), ["eth0", "eth1"]);
        assert_eq!(chosen(&["lo", "docker0"], None).unwrap(), ["lo"]);
        assert_eq!(chosen(&all, Some("=docker0,lo")).unwrap(), ["lo", "docker0"]);
        assert_eq!(chosen(&all, Some("^lo,eth")).unwrap(), ["docker0", "virbr0"]);
    }

    #[test]
    fn none_is_a_sentence_that_names_those_there_are() {
        let why = chosen(&["lo", "eth0"], Some("ib")).unwrap_err();
        assert!(why.contains("NCCL_SOCKET_IFNAME means") && why.contains("lo, eth0"), "{why}");
        assert!(chosen(&["docker0"], None).unwrap_err().contains("no interface to use"));
    }

    #[test]
    fn a_labelled_address_is_on_its_interface() {
        assert_eq!(["eth0", "eth0:1", "eth0:pub:2"].map(name_of), ["eth0"; 3]);
    }

    #[test]
    fn this_machine_has_a_loopback() {
        assert!(all(None).unwrap().iter().any(|interface| interface.is_loopback));
        for (family, is_v4) in [(Family::V4, true), (Family::V6, false)] {
            assert!(all(Some(family)).unwrap().iter().all(|interface| interface.address.is_ipv4() == is_v4));
        }
    }
}
