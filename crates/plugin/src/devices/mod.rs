//! The devices that the plugin reports to NCCL: one for each usable network interface, then those over
//! several of them.

mod list;
mod merged;
mod system;

use std::{
    ffi::{CString, c_int},
    fmt,
    net::{IpAddr, SocketAddr},
};

use gputcp::interfaces::{self, Wanted};

pub(crate) use self::list::Devices;
use crate::settings::{Merging, Settings};

/// A network interface, or several, as NCCL knows it.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    /// The interface's name; several joined by `+`, as NCCL's own merged devices are called.
    pub(crate) name: CString,
    /// The addresses for listeners, one of each interface; the ports are 0.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The PCI function behind it, as a path in /sys; the first interface's.
    pub(crate) pci_path: Option<CString>,
    /// The NUMA node of the function.
    numa_node: Option<u32>,
    /// The speed in Mbit/s, of all interfaces together.
    pub(crate) speed_mbit: u32,
    /// Whether the speed is the system's or the user's, not a guess.
    is_speed_known: bool,
    /// The numbers of the devices that NCCL had joined to this one; empty if it stands for itself.
    pub(crate) behind: Vec<c_int>,
}

impl Device {
    /// Returns whether it is over several interfaces.
    pub(crate) fn is_merged(&self) -> bool {
        self.addresses.len() > 1
    }

    /// Returns whether an address is one of its own.
    pub(crate) fn has(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|address| address.ip() == ip)
    }
}

/// Returns all devices, in the system's order; a merged one last.
///
/// # Errors
/// A sentence, if there are none.
pub(crate) fn find(settings: &Settings) -> Result<Devices, String> {
    let chosen = interfaces::choose(&Wanted {
        pattern: settings.interfaces.as_ref(),
        family: settings.family,
        pattern_setting: "NCCL_SOCKET_IFNAME",
        family_setting: "NCCL_SOCKET_FAMILY",
    })?;
    let device = |(name, address): (String, SocketAddr)| {
        let speed_mbit = settings.speed_mbit.or_else(|| interfaces::speed_mbit(&name));
        Some(Device {
            addresses: vec![address],
            pci_path: system::pci_path(&name),
            numa_node: system::numa_node(&name),
            speed_mbit: speed_mbit.unwrap_or_else(|| unknown_mbit(address)),
            is_speed_known: speed_mbit.is_some(),
            behind: Vec::new(),
            name: CString::new(name).ok()?,
        })
    };
    let mut devices: Vec<Device> = chosen.into_iter().filter_map(device).collect();
    no_faster_than_known(&mut devices);
    if settings.merging == Merging::Ours {
        devices.extend(merged::of_the_fastest(&devices));
    }
    Ok(Devices::of(devices))
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, addresses, speed_mbit, .. } = self;
        let ips: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
        write!(f, "{} ({}, {speed_mbit} Mbit/s)", name.to_string_lossy(), ips.join(" and "))
    }
}

/// Limits the guessed speeds to the slowest that the system knows, if it knows any.
///
/// A bridge or a tunnel beside a network card must not be NCCL's first choice, which goes by the speed.
fn no_faster_than_known(devices: &mut [Device]) {
    let known = devices.iter().filter(|device| device.is_speed_known);
    let Some(slowest) = known.map(|device| device.speed_mbit).min() else { return };
    for device in devices.iter_mut().filter(|device| !device.is_speed_known) {
        device.speed_mbit = device.speed_mbit.min(slowest);
    }
}

/// Returns the speed that is reported if the system knows none, as for a virtual interface or the loopback.
///
/// NCCL makes as many channels as the speed is worth. With its own guess of 10 Gb/s it makes few, and the
/// network idles.
const fn unknown_mbit(address: SocketAddr) -> u32 {
    if address.ip().is_loopback() { LOOPBACK_MBIT } else { VIRTUAL_MBIT }
}

const VIRTUAL_MBIT: u32 = 100_000;
/// The loopback's speed: eight streams of a large machine move 40 GB/s.
///
/// NCCL makes four channels for it, and two for 100 Gb/s. An all-reduce of 256 MiB between two H200 ran at
/// 16.3 GB/s instead of 7.9.
const LOOPBACK_MBIT: u32 = 400_000;

#[cfg(test)]
mod tests {
    use super::{merged::tests::device, *};

    #[test]
    fn who_does_not_say_how_fast_it_is_is_not_preferred() {
        let unknown = |name| Device { is_speed_known: false, ..device(name, "10.9.0.1", VIRTUAL_MBIT, None) };
        let mut mixed = [
            unknown("br0"),
            device("eth0", "10.0.0.1", 25_000, None),
            device("eth1", "10.0.1.1", 10_000, None),
        ];
        no_faster_than_known(&mut mixed);
        assert_eq!(mixed.map(|device| device.speed_mbit), [10_000, 25_000, 10_000]);
        let mut alone = [unknown("br0"), unknown("br1")];
        no_faster_than_known(&mut alone);
        assert_eq!(alone.map(|device| device.speed_mbit), [VIRTUAL_MBIT; 2]);
    }
}
