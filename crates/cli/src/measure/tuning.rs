//! Which congestion control the data sockets shall use, and whether this machine has it.

use std::fs;

use rustix::net::{AddressFamily, SocketType, socket, sockopt};

use crate::{host::identity::Identity, settings::resolve::CUBIC};

/// Whether sockets of this process may use a congestion control.
///
/// # Errors
/// A sentence that says which there are.
pub fn check_congestion(name: &str) -> Result<(), String> {
    let tried = socket(AddressFamily::INET, SocketType::STREAM, None)
        .and_then(|socket| sockopt::set_tcp_congestion(socket, name));
    tried.map_err(|error| {
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

/// Whether sockets of this process may use cubic.
#[must_use]
pub fn has_cubic() -> bool {
    check_congestion(CUBIC).is_ok()
}
