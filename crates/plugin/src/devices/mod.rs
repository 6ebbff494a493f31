//! The devices that NCCL is told of: one for each usable network interface.

mod interfaces;
mod pattern;
mod system;

use std::{ffi::CString, fmt, net::SocketAddr};

pub(crate) use self::pattern::Pattern;
use crate::settings::Settings;

/// A network interface, as NCCL knows it.
#[derive(Debug)]
pub(crate) struct Device {
    /// The interface's name.
    pub(crate) name: CString,
    /// Where listeners listen; the port is 0.
    pub(crate) address: SocketAddr,
    /// The PCI function behind it, as a path in /sys.
    pub(crate) pci_path: Option<CString>,
    /// In Mbit/s.
    pub(crate) speed_mbit: u32,
}

/// All devices, in the system's order.
///
/// # Errors
/// A sentence, if there are none.
pub(crate) fn find(settings: &Settings) -> Result<Vec<Device>, String> {
    let chosen = interfaces::choose(settings.interfaces.as_ref())?;
    let device = |(name, address): (String, SocketAddr)| {
        Some(Device {
            address,
            pci_path: system::pci_path(&name),
            speed_mbit: settings
                .speed_mbit
                .or_else(|| system::speed_mbit(&name))
                .unwrap_or_else(|| unknown_mbit(address)),
            name: CString::new(name).ok()?,
        })
    };
    Ok(chosen.into_iter().filter_map(device).collect())
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, address, speed_mbit, .. } = self;
        write!(f, "{} ({}, {speed_mbit} Mbit/s)", name.to_string_lossy(), address.ip())
    }
}

/// What an interface is said to have whose speed the system does not know, as a virtual one or the loopback. NCCL makes
/// as many channels as the speed is worth: with its own guess of 10 Gb/s it makes few, and the network idles.
const fn unknown_mbit(address: SocketAddr) -> u32 {
    if address.ip().is_loopback() { LOOPBACK_MBIT } else { VIRTUAL_MBIT }
}

const VIRTUAL_MBIT: u32 = 100_000;
/// Eight streams of a large machine move 40 GB/s. NCCL makes four channels for it, and two for 100 Gb/s: an all-reduce of 256 MiB
/// between two H200 ran at 16.3 GB/s instead of 7.9.
const LOOPBACK_MBIT: u32 = 400_000;
