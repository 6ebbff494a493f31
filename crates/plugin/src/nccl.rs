//! The variables of NCCL's own that this network sets, if they are unset.
//!
//! NCCL cuts the data from one rank to another into pieces of 128 KiB. Its one thread that carries pieces
//! between GPU and network then has more to do than the sockets. Between two H200 on one machine a send of 64
//! MiB runs at 10.5 GB/s, and at 17.4 with pieces of 512 KiB. With eight channels it is 12.2 and 32.6 (NCCL
//! 2.28.9; docs/benchmarks/history.md).
//!
//! NCCL reads this variable after it has started the plugin, once in a process. All ranks need the same
//! value, so it is a constant, and does not depend on the machine. `NCCL_NCHANNELS_PER_NET_PEER` would help
//! as well. But NCCL reads it before it starts the plugin, and again for the next communicator: ranks could
//! differ.

use std::{env, ffi::OsString};

/// The variables, and the values that they get if they are unset.
const BETTER: [(&str, &str); 1] = [("NCCL_P2P_NET_CHUNKSIZE", "524288")];

/// Sets the variables that are unset, and returns their names and values.
pub(crate) fn set_unset() -> Vec<String> {
    let missing = unset(|name| env::var_os(name));
    for (name, value) in &missing {
        // SAFETY: not every reader of the environment takes Rust's lock, so this code alone cannot prove
        // itself safe. NCCL starts plugins from its own start, where it has just read the environment itself.
        // It sets variables from its configuration files there in the same way. The call happens once in a
        // process, and not at all with GPUTCP_NCCL_DEFAULTS=0.
        unsafe { env::set_var(name, value) };
    }
    missing.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn unset(get: impl Fn(&str) -> Option<OsString>) -> Vec<(&'static str, &'static str)> {
    BETTER.into_iter().filter(|(name, _)| get(name).is_none()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_has_set_is_left_alone() {
        assert_eq!(unset(|_| None), BETTER);
        // An empty value counts as set: NCCL then takes its own.
        assert!(unset(|name| (name == BETTER[0].0).then(OsString::new)).is_empty());
    }
}
