//! A device over several interfaces.
//!
//! Its connections' data sockets are spread over all of them, and any free one carries the next segment.

use std::ffi::{CString, c_int};

use gputcp::Handle;

use super::Device;

/// Returns a device over all interfaces of the highest speed, if there are two to four that are equally good.
///
/// They are of one family of addresses, on one NUMA node, and their speed is known. If several nodes have
/// interfaces, NCCL's own choice of the nearest is worth more.
pub(super) fn of_the_fastest(devices: &[Device]) -> Option<Device> {
    let known = || devices.iter().filter(|device| device.is_speed_known);
    let speed = known().map(|device| device.speed_mbit).max()?;
    let parts: Vec<&Device> = known().filter(|device| device.speed_mbit == speed).collect();
    let mut nodes: Vec<u32> = parts.iter().filter_map(|device| device.numa_node).collect();
    nodes.dedup();
    let is_one_as_good = nodes.len() <= 1 && parts.len() > 1;
    is_one_as_good.then(|| join(&parts, Vec::new()).ok()).flatten()
}

/// Returns a device over these; `behind` are their numbers if NCCL asked for it.
///
/// # Errors
/// The end of a sentence with the reason why they cannot be joined.
pub(super) fn join(parts: &[&Device], behind: Vec<c_int>) -> Result<Device, String> {
    let most = Handle::ADDRESSES_MAX;
    let (Some(first), 1..=Handle::ADDRESSES_MAX) = (parts.first(), parts.len()) else {
        return Err(format!("a device is over 1 to {most} interfaces, not {}", parts.len()));
    };
    if let Some(part) = parts.iter().find(|part| part.is_merged()) {
        return Err(format!("{} is over several interfaces already", part.name.to_string_lossy()));
    }
    if let Some((at, part)) =
        parts.iter().enumerate().find(|(at, part)| parts[..*at].iter().any(|other| other.name == part.name))
    {
        return Err(format!(
            "{} was named twice, the second time in place {at}",
            part.name.to_string_lossy()
        ));
    }
    let addresses: Vec<_> = parts.iter().flat_map(|part| part.addresses.iter().copied()).collect();
    if let Some(other) = addresses.iter().find(|other| other.is_ipv4() != addresses[0].is_ipv4()) {
        return Err(format!("{} and {} are of different families", addresses[0].ip(), other.ip()));
    }
    let names: Vec<_> = parts.iter().map(|part| part.name.to_string_lossy()).collect();
    Ok(Device {
        name: CString::new(names.join("+")).map_err(|_| "a name holds a zero".to_owned())?,
        addresses,
        pci_path: first.pci_path.clone(),
        numa_node: first.numa_node,
        speed_mbit: parts.iter().fold(0, |sum: u32, part| sum.saturating_add(part.speed_mbit)),
        is_speed_known: parts.iter().all(|part| part.is_speed_known),
        behind,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn device(name: &str, ip: &str, speed_mbit: u32, numa_node: Option<u32>) -> Device {
        Device {
            name: CString::new(name).unwrap(),
            addresses: vec![(ip.parse::<std::net::IpAddr>().unwrap(), 0).into()],
            pci_path: CString::new(format!("/sys/devices/{name}")).ok(),
            numa_node,
            speed_mbit,
            is_speed_known: true,
            behind: Vec::new(),
        }
    }

    #[test]
    fn the_fastest_are_joined_and_the_rest_stays_out() {
        let (slow, one) =
            (device("eth0", "10.0.0.1", 1000, None), device("eth1", "10.0.1.1", 25_000, Some(0)));
        let two = device("eth2", "10.0.2.1", 25_000, Some(0));
        let merged = of_the_fastest(&[slow.clone(), one.clone(), two.clone()]).unwrap();
        assert_eq!(merged.name.to_str(), Ok("eth1+eth2"));
        assert_eq!((merged.speed_mbit, merged.addresses.len()), (50_000, 2));
        assert_eq!(merged.pci_path, one.pci_path);
        let none = |devices: &[Device]| assert!(of_the_fastest(devices).is_none(), "{devices:?}");
        none(&[]);
        none(&[slow.clone(), one.clone()]);
        none(&[slow, one.clone(), Device { is_speed_known: false, ..two.clone() }]);
        none(&[one.clone(), Device { numa_node: Some(1), ..two.clone() }]);
        none(&[one.clone(), device("eth3", "fd00::1", 25_000, Some(0))]);
        let five: Vec<Device> =
            (0..5).map(|n| device(&format!("eth{n}"), &format!("10.0.{n}.1"), 25_000, None)).collect();
        none(&five);
        assert_eq!(of_the_fastest(&five[..4]).unwrap().speed_mbit, 100_000);
    }
}
