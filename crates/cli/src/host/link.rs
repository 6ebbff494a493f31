//! The link that the data takes: which interface, and how fast it says it is.

use std::{fs, net::IpAddr, path::Path};

use super::bind::addresses;

/// Returns the interface that owns this local address.
#[must_use]
pub fn interface_of(address: IpAddr) -> Option<String> {
    let address = address.to_canonical();
    addresses().into_iter().find(|(_, candidate)| candidate.ip() == address).map(|(name, _)| name)
}

/// Returns the interface's speed in bits per second, where that can be believed: hardware that names one.
/// Virtual interfaces name a number too (veth says 10 Gb/s whatever it does), so only those with a device
/// behind them count.
#[must_use]
pub fn bits_per_s(interface: &str) -> Option<f64> {
    let folder = Path::new("/sys/class/net").join(interface);
    if !folder.join("device").exists() {
        return None;
    }
    let megabits: i64 = fs::read_to_string(folder.join("speed")).ok()?.trim().parse().ok()?;
    (megabits > 0).then_some(megabits as f64 * 1e6)
}
