//! The identity of this machine, by which two ends can tell whether they are one.

use std::{fs, os::unix::fs::MetadataExt as _, thread};

use serde::{Deserialize, Serialize};

/// A machine, as it introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The host's name.
    pub host: String,
    /// The kernel's name for this boot: the same on two ends means the same kernel.
    pub boot_id: String,
    /// The network namespace: two of them on one kernel are two machines to TCP.
    pub network_namespace: u64,
    /// The cores that this process may use.
    pub cores: u32,
}

impl Identity {
    /// Returns this machine's identity.
    #[must_use]
    pub fn of_this_host() -> Self {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            boot_id: boot_id.trim().to_owned(),
            network_namespace: fs::metadata("/proc/self/ns/net").map_or(0, |namespace| namespace.ino()),
            cores: thread::available_parallelism().map_or(1, |cores| cores.get() as u32),
        }
    }

    /// Returns whether traffic between the two stays inside one kernel's loopback. Unknown counts as no.
    #[must_use]
    pub fn is_same_host(&self, other: &Self) -> bool {
        !self.boot_id.is_empty()
            && self.boot_id == other.boot_id
            && self.network_namespace != 0
            && self.network_namespace == other.network_namespace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_itself() {
        let here = Identity::of_this_host();
        assert!(here.is_same_host(&Identity::of_this_host()));
        assert!(!here.is_same_host(&Identity { network_namespace: 1, ..here.clone() }));
        let unknown = Identity { boot_id: String::new(), ..here };
        assert!(!unknown.is_same_host(&unknown));
    }
}
