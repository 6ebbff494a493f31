//! Network interfaces: speed, packet sizes, BIG TCP.

use std::{collections::BTreeMap, fs, net::IpAddr, path::Path};

use super::{Finding, bytes, quoted, said};
use crate::{
    host::{
        bind::{addresses, masked_addresses},
        rtnetlink::{self, PacketSizes},
    },
    printable::printable,
};

/// The facts about the machine's network interfaces.
#[derive(Debug, Clone, Default)]
pub struct Interfaces {
    /// The interfaces that have an address, in the system's order.
    pub all: Vec<Interface>,
    /// Two interfaces that lead to other machines and have addresses in one subnet, with the second's
    /// address.
    pub same_subnet: Option<(String, String, IpAddr)>,
    /// The reason why the packet sizes are not known, if they are not.
    pub unknown_sizes: Option<String>,
}

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Whether it is the loopback.
    pub is_loopback: bool,
    /// Whether a device is behind it.
    pub is_hardware: bool,
    /// The device's driver.
    pub driver: Option<String>,
    /// Its speed in Mbit/s, where the system knows one.
    pub speed_mbit: Option<u64>,
    /// Its packet sizes.
    pub sizes: PacketSizes,
}

impl Interfaces {
    /// Looks.
    #[must_use]
    pub fn look() -> Self {
        let (links, unknown_sizes) = match rtnetlink::links() {
            Ok(links) => (links, None),
            Err(error) => (BTreeMap::new(), Some(error.to_string())),
        };
        let mut names: Vec<(String, bool)> = Vec::new();
        for (name, address) in addresses() {
            if !names.iter().any(|(known, _)| *known == name) {
                names.push((name, address.ip().is_loopback()));
            }
        }
        let all = names.into_iter().map(|(name, is_loopback)| {
            let folder = Path::new("/sys/class/net").join(&name);
            let driver = fs::read_link(folder.join("device/driver")).ok();
            let driver = driver.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
            Interface {
                is_loopback,
                is_hardware: folder.join("device").exists(),
                driver,
                speed_mbit: said(folder.join("speed")).and_then(|speed| speed.parse().ok()),
                sizes: links.get(&name).copied().unwrap_or_default(),
                // A name may hold anything but white space, slashes and colons (dev_valid_name in the
                // kernel).
                name: printable(&name),
            }
        });
        let all: Vec<Interface> = all.collect();
        let outward: Vec<(String, IpAddr, IpAddr)> = masked_addresses()
            .into_iter()
            .map(|(name, ip, mask)| (printable(&name), ip, mask))
            .filter(|(name, ..)| all.iter().any(|one| one.name == *name && one.is_outward()))
            .collect();
        Self { same_subnet: same_subnet(&outward), all, unknown_sizes }
    }

    /// Returns the speed of the fastest one in Mbit/s.
    #[must_use]
    pub fn fastest_mbit(&self) -> Option<u64> {
        self.all.iter().filter(|interface| interface.is_hardware).filter_map(|one| one.speed_mbit).max()
    }

    /// Returns the interfaces that lead to other machines.
    pub fn outward(&self) -> impl Iterator<Item = &Interface> {
        self.all.iter().filter(|interface| interface.is_outward())
    }

    /// Returns the findings about the interfaces.
    #[must_use]
    pub fn judge(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.all.iter().flat_map(Interface::judge).collect();
        if self.outward().next().is_none() {
            let seen = "no interface but the loopback has an address: no other machine can be reached";
            findings.push(Finding::better("network", seen).by("ip addr"));
        }
        if let Some((first, second, ip)) = &self.same_subnet {
            let seen = format!(
                "{first} and {second} have addresses in one subnet: what goes there leaves by one of them only, unless routes go by \
                 source"
            );
            let command = format!(
                "sudo ip rule add from {ip} table 101 && sudo ip route add default dev {} table 101",
                quoted(second)
            );
            findings.push(Finding::better("network", seen).by(command));
        }
        if let Some(why) = &self.unknown_sizes {
            let seen = format!("the packet sizes are not known, the kernel did not tell them: {why}");
            findings.push(Finding::better("network", seen));
        }
        findings
    }
}

impl Interface {
    /// Returns whether it leads to guests of this machine, by its name.
    #[must_use]
    pub fn leads_to_guests(&self) -> bool {
        OF_GUESTS.iter().any(|prefix| self.name.starts_with(prefix))
    }

    fn is_outward(&self) -> bool {
        !self.is_loopback && !self.leads_to_guests()
    }

    fn judge(&self) -> Vec<Finding> {
        let Self { name, .. } = self;
        let driver = match &self.driver {
            Some(driver) => format!("driver {driver}"),
            None if self.is_loopback => "the loopback".into(),
            None => "virtual".into(),
        };
        let mtu = self.sizes.mtu.map_or_else(String::new, |mtu| format!(", MTU {mtu}"));
        let speed = self.speed_mbit.map_or_else(String::new, |mbit| format!(", {mbit} Mbit/s"));
        let seen = format!("{driver}{speed}{mtu}{}", self.sizes.packets());
        let mut findings = vec![Finding::ok(name, seen)];
        if self.leads_to_guests() {
            return findings;
        }
        findings.extend(self.judge_big_tcp());
        let Some(mbit) = self.speed_mbit else {
            if !self.is_loopback {
                let seen = "the system does not know its speed, so NCCL is told 100000 Mbit/s; say the real one, like";
                findings.push(Finding::better(name, seen).by("export GPUTCP_SPEED=25000"));
            }
            return findings;
        };
        if self.is_hardware && mbit >= FAST_MBIT && self.sizes.mtu.is_some_and(|mtu| mtu < JUMBO_BYTES) {
            let seen = "packets of 1500 bytes cost CPU at this speed; if every switch and host on the way takes longer ones";
            findings.push(
                Finding::better(name, seen).by(format!("sudo ip link set dev {} mtu 9000", quoted(name))),
            );
        }
        findings
    }

    /// Judges BIG TCP: packets of more than 64 KiB between TCP and the interface.
    fn judge_big_tcp(&self) -> Option<Finding> {
        let (gso, gro) = (self.sizes.gso_ipv4?, self.sizes.gro_ipv4?);
        let most = if self.is_loopback { BIG_BYTES } else { self.sizes.tso_most?.min(BIG_BYTES) };
        let is_worth_it = (self.is_loopback || self.is_hardware) && most >= 2 * USUAL_BYTES;
        if !is_worth_it || gso.min(gro) >= most {
            return None;
        }
        let gain =
            if self.is_loopback { "1.35 times the rate, measured over loopback" } else { "less CPU a byte" };
        let seen = format!(
            "BIG TCP is off over IPv4, and up to {} a packet would be taken ({gain})",
            bytes(most.into())
        );
        let command = format!(
            "sudo ip link set dev {} gso_max_size {most} gro_max_size {most} gso_ipv4_max_size {most} gro_ipv4_max_size {most}",
            quoted(&self.name)
        );
        Some(Finding::better(&self.name, seen).by(command))
    }
}

/// Returns the first two interfaces with addresses in one subnet. Each is a name, an address and its mask.
fn same_subnet(all: &[(String, IpAddr, IpAddr)]) -> Option<(String, String, IpAddr)> {
    let network = |ip: &IpAddr, mask: &IpAddr| match (ip, mask) {
        (IpAddr::V4(ip), IpAddr::V4(mask)) => Some(u128::from(ip.to_bits() & mask.to_bits())),
        (IpAddr::V6(ip), IpAddr::V6(mask)) => Some(ip.to_bits() & mask.to_bits()),
        _ => None,
    };
    all.iter().enumerate().find_map(|(at, (second, ip, mask))| {
        let shares = |other: &&(String, IpAddr, IpAddr)| {
            other.0 != *second && other.2 == *mask && network(&other.1, &other.2) == network(ip, mask)
        };
        let (first, ..) = all[..at].iter().find(shares)?;
        Some((first.clone(), second.clone(), *ip))
    })
}

impl PacketSizes {
    fn packets(&self) -> String {
        let pair = |what: &str, sizes: Option<(u32, u32)>| {
            sizes.map_or_else(String::new, |(gso, gro)| format!(", {what} gso/gro {gso}/{gro}"))
        };
        pair("IPv6", self.gso.zip(self.gro)) + &pair("IPv4", self.gso_ipv4.zip(self.gro_ipv4))
    }
}

/// Interfaces that lead to containers and virtual machines of this one, or to an overlay over another
/// interface.
const OF_GUESTS: [&str; 9] = ["docker", "virbr", "veth", "br-", "cni", "flannel", "cali", "tap", "vnet"];
/// The longest packet that measured well (docs/benchmarks/history.md); the kernel allows 524,280 bytes.
const BIG_BYTES: u32 = 524_280;
const USUAL_BYTES: u32 = 65_536;
const JUMBO_BYTES: u32 = 4000;
const FAST_MBIT: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(mtu: u32, most: u32, tso_most: Option<u32>) -> PacketSizes {
        PacketSizes {
            mtu: Some(mtu),
            gso: Some(most),
            gro: Some(most),
            gso_ipv4: Some(most),
            gro_ipv4: Some(most),
            tso_most,
        }
    }

    #[test]
    fn machines_that_nobody_here_has() {
        let loopback = Interface { name: "lo".into(), is_loopback: true, ..Interface::default() };
        let card = Interface {
            name: "eth0".into(),
            is_hardware: true,
            driver: Some("mlx5_core".into()),
            speed_mbit: Some(100_000),
            ..Interface::default()
        };
        let all = vec![
            Interface { sizes: sizes(65_536, 65_536, Some(524_280)), ..loopback.clone() },
            Interface { sizes: sizes(65_536, 524_280, Some(524_280)), ..loopback },
            Interface { sizes: sizes(1500, 65_536, Some(262_144)), ..card.clone() },
            Interface { sizes: sizes(9000, 65_536, Some(65_536)), ..card.clone() },
            Interface { speed_mbit: None, sizes: sizes(9000, 65_536, None), ..card.clone() },
            Interface { name: "docker0".into(), is_hardware: false, driver: None, ..card },
        ];
        let report =
            crate::doctor::Report::new("x".into(), Interfaces { all, ..Interfaces::default() }.judge());
        insta::assert_snapshot!(report.text().split_once('\n').map_or("", |(_, rest)| rest));
    }

    #[test]
    fn a_strange_name_is_a_word_to_the_shell() {
        let strange = Interface {
            name: "a;reboot".into(),
            is_loopback: true,
            sizes: sizes(65_536, 65_536, None),
            ..Interface::default()
        };
        let found = Interfaces { all: vec![strange], ..Interfaces::default() }.judge();
        let command = found.iter().find_map(|finding| finding.command.as_deref());
        assert!(command.is_some_and(|command| command.contains(" dev 'a;reboot' ")), "{found:?}");
    }

    #[test]
    fn interfaces_of_one_subnet_are_found() {
        let address =
            |name: &str, ip: &str, mask: &str| (name.to_owned(), ip.parse().unwrap(), mask.parse().unwrap());
        let mut all = vec![
            address("eth0", "10.0.1.2", "255.255.255.0"),
            address("eth0", "10.0.2.3", "255.255.255.0"),
            address("eth0", "10.0.2.4", "255.255.255.0"),
            address("eth1", "10.0.3.2", "255.255.255.0"),
            address("eth1", "10.0.1.3", "255.255.0.0"),
            address("eth1", "fd00:1::1", "ffff:ffff::"),
        ];
        assert_eq!(same_subnet(&all), None);
        all.push(address("eth2", "10.0.3.9", "255.255.255.0"));
        let found = same_subnet(&all);
        assert_eq!(found, Some(("eth1".into(), "eth2".into(), "10.0.3.9".parse().unwrap())));
        let report = Interfaces { same_subnet: found, ..Interfaces::default() }.judge();
        let command = report.last().and_then(|finding| finding.command.as_deref());
        assert!(
            command.is_some_and(|command| command.starts_with("sudo ip rule add from 10.0.3.9 ")),
            "{report:?}"
        );
    }

    #[test]
    fn a_machine_alone_and_an_old_kernel_are_said_so() {
        let alone = Interfaces { unknown_sizes: Some("no such".into()), ..Interfaces::default() };
        let report = crate::doctor::Report::new("x".into(), alone.judge());
        assert!(report.text().contains("no other machine can be reached: ip addr"), "{}", report.text());
        assert!(report.text().contains("did not tell them: no such"), "{}", report.text());
    }

    #[test]
    fn this_machine_has_a_loopback() {
        assert!(Interfaces::look().all.iter().any(|interface| interface.is_loopback));
    }
}
