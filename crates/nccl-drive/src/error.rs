//! The reasons why a plugin could not be driven: the plugin, the call, its answer, and what to do.

use std::{ffi::c_int, fmt, sync::Arc};

use gputcp::Origin;
use gputcp_nccl_net::ResultCode;

/// A result of this side.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a plugin could not be driven.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No library of this name can be opened.
    #[error("{0}")]
    Open(Arc<str>),
    /// The library has no table that is known.
    #[error("{library} {has}")]
    NoTable {
        /// The library's name.
        library: Arc<str>,
        /// The tables that it has instead, and what to do.
        has: Arc<str>,
    },
    /// A table lacks what every plugin must have.
    #[error("the plugin {plugin} (v{version}) has no function {function}: it is broken, ask its authors")]
    Missing {
        /// The plugin.
        plugin: Arc<str>,
        /// The table's version.
        version: u32,
        /// The function.
        function: &'static str,
    },
    /// A table's name cannot be read.
    #[error("the plugin {library} (v{version}) has {what} for its name: it is broken, ask its authors")]
    Name {
        /// The library.
        library: Arc<str>,
        /// The table's version.
        version: u32,
        /// The reason, as a noun.
        what: &'static str,
    },
    /// A function failed.
    #[error("the plugin {plugin} (v{version}) failed in {call} with {}{}", Answer(*.code), Said(.said))]
    Call {
        /// The plugin.
        plugin: Arc<str>,
        /// The table's version.
        version: u32,
        /// The function.
        call: &'static str,
        /// The code that it returned.
        code: c_int,
        /// The plugin's first warning within the call, if it gave one.
        said: Option<Arc<str>>,
    },
    /// A function succeeded with an answer that makes no sense.
    #[error("the plugin {plugin} (v{version}) answers {call} with {what}: it is broken, ask its authors")]
    Absurd {
        /// The plugin.
        plugin: Arc<str>,
        /// The table's version.
        version: u32,
        /// The function.
        call: &'static str,
        /// The answer.
        what: Arc<str>,
    },
    /// There is no device at all.
    #[error(
        "the plugin {plugin} finds no device that it can use: see what it says with -v; often its interfaces are down, \
         or NCCL_SOCKET_IFNAME excludes them"
    )]
    NoDevices {
        /// The plugin.
        plugin: Arc<str>,
    },
    /// There is no such device.
    #[error("the plugin {plugin} has no device {asked}: it has {there}")]
    NoDevice {
        /// The plugin.
        plugin: Arc<str>,
        /// The device that was asked for.
        asked: Arc<str>,
        /// The devices that there are.
        there: Arc<str>,
    },
    /// The device takes no such memory.
    #[error("the plugin {plugin} takes no {memory} memory on its device {device}: choose other memory")]
    Memory {
        /// The plugin.
        plugin: Arc<str>,
        /// The device's name.
        device: Arc<str>,
        /// The memory.
        memory: &'static str,
    },
    /// The plugin's version cannot say a length.
    #[error("{bytes} bytes are more than version {version} of the interface can say in {call}: use less")]
    TooLong {
        /// The length.
        bytes: u64,
        /// The table's version.
        version: u32,
        /// The function.
        call: &'static str,
    },
    /// The connection does not know the memory.
    #[error("the plugin's connection was not told of this memory: register it first")]
    NotRegistered,
    /// The connection has failed before.
    #[error("the plugin's connection has failed before: make a new one")]
    Failed,
    /// The memory refused something on this side.
    #[error(transparent)]
    Gpu(#[from] gputcp_gpu::Error),
}

impl Error {
    /// Returns whether the other end, or the network on the way to it, is the likely cause. The plugin says
    /// so with `ncclRemoteError`. An `ncclSystemError` of a call that connects or moves data counts too:
    /// sockets fail so at a dead peer.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Call { code, call, .. } => match ResultCode::of(*code) {
                Some(ResultCode::Remote) => true,
                Some(ResultCode::System) => {
                    ["connect", "accept", "isend", "irecv", "iflush", "test"].contains(call)
                }
                _ => false,
            },
            _ => false,
        }
    }
}

impl From<Error> for gputcp::Error {
    fn from(error: Error) -> Self {
        let origin = if error.is_remote() { Origin::Peer } else { Origin::Local };
        Self::Transport { origin, source: Arc::new(error) }
    }
}

/// A code in readable form.
struct Answer(c_int);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ResultCode::of(self.0) {
            Some(code) => write!(f, "code {} ({code})", self.0),
            None => write!(f, "code {}, which is none of NCCL's", self.0),
        }
    }
}

struct Said<'a>(&'a Option<Arc<str>>);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(said) => write!(f, "; its last words: {said}"),
            None => f.write_str("; see what it says with -v"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(call: &'static str, code: c_int, said: Option<Arc<str>>) -> Error {
        Error::Call { plugin: "Net".into(), version: 8, call, code, said }
    }

    #[test]
    fn a_failed_call_is_named_with_its_code() {
        assert_eq!(
            call("isend", 3, Some("no slot".into())).to_string(),
            "the plugin Net (v8) failed in isend with code 3 (ncclInternalError); its last words: no slot"
        );
        assert_eq!(
            call("init", -9, None).to_string(),
            "the plugin Net (v8) failed in init with code -9, which is none of NCCL's; see what it says with -v"
        );
    }

    #[test]
    fn a_dead_peer_is_told_from_a_broken_plugin() {
        assert!(call("init", 6, None).is_remote() && call("test", 2, None).is_remote());
        assert!(!call("init", 2, None).is_remote() && !call("test", 3, None).is_remote());
    }
}
