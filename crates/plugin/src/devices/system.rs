//! The system's data on an interface, in /sys/class/net.

use std::{
    ffi::CString,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// Returns the PCI function behind it, from which NCCL counts the distance of GPUs.
///
/// That of a virtio interface lies one folder above its device.
pub(super) fn pci_path(interface: &str) -> Option<CString> {
    let device = fs::canonicalize(folder(interface).join("device")).ok()?;
    let function = device.ancestors().find(|folder| is_pci(folder))?;
    CString::new(function.as_os_str().as_bytes()).ok()
}

/// Returns its NUMA node, if the machine has several and reports it.
pub(super) fn numa_node(interface: &str) -> Option<u32> {
    fs::read_to_string(folder(interface).join("device/numa_node")).ok()?.trim().parse().ok()
}

fn is_pci(folder: &Path) -> bool {
    fs::read_link(folder.join("subsystem")).is_ok_and(|bus| bus.file_name().is_some_and(|name| name == "pci"))
}

fn folder(interface: &str) -> PathBuf {
    Path::new("/sys/class/net").join(interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_neither() {
        assert_eq!((pci_path("lo"), numa_node("lo")), (None, None));
        assert_eq!(pci_path("nowhere"), None);
    }
}
