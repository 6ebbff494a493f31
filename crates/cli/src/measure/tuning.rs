//! The congestion control that the data sockets shall use, and whether this machine has it.

use std::fs;

use gputcp::CongestionControl;

use crate::host::identity::Identity;

/// Checks that sockets of this process may use a congestion control.
///
/// # Errors
/// A sentence that says which there are.
pub fn check_congestion(name: &CongestionControl) -> Result<(), String> {
    name.check_usable().map_err(|error| {
        let list = |what: &str| {
            let names = fs::read_to_string(format!("/proc/sys/net/ipv4/tcp_{what}_congestion_control"));
            names.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(", ")
        };
        format!(
            "congestion control {name} cannot be used on {} ({error}): choose one of {} (there are {}; an administrator \
             allows more with the sysctl net.ipv4.tcp_allowed_congestion_control)",
            Identity::of_this_host().host,
            list("allowed"),
            list("available"),
        )
    })
}

/// Returns whether sockets of this process may use cubic.
#[must_use]
pub fn has_cubic() -> bool {
    CongestionControl::cubic().check_usable().is_ok()
}
