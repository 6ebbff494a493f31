//! The reasons why a transfer ended. Every variant has its [`Origin`]; its message says the event, the side
//! concerned, and the remedy.

use std::{io, sync::Arc, time::Duration};

use gputcp_proto::{Violation, frame::JoinVerdict};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a connection or a transfer failed. Cheap to clone: every request in flight fails with the
/// same error.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer broke the protocol.
    #[error("the peer at {peer} {violation}; the connection was closed")]
    PeerMisbehaved {
        /// The peer's address.
        peer: Arc<str>,
        /// The rule that it broke.
        violation: Violation,
    },
    /// The peer's end of the connection vanished.
    #[error(
        "the peer at {peer} is gone ({detail}): it crashed, was killed, or the network between was cut; look at its log"
    )]
    PeerGone {
        /// The peer's address.
        peer: Arc<str>,
        /// The sign by which this side noticed.
        detail: Arc<str>,
    },
    /// The peer said that it failed, and why.
    #[error("the peer at {peer} gave up: {reason}")]
    PeerAborted {
        /// The peer's address.
        peer: Arc<str>,
        /// The peer's own reason.
        reason: Arc<str>,
    },
    /// The peer closed in good order while this side still waited for data.
    #[error(
        "the peer at {peer} closed the connection while {open} requests were open: both ends must move the same messages"
    )]
    PeerClosed {
        /// The peer's address.
        peer: Arc<str>,
        /// The number of requests that were open here.
        open: usize,
    },
    /// No process listens there, or the listener refuses this side.
    #[error("could not connect to {peer}: {why}")]
    Refused {
        /// The address that was tried.
        peer: Arc<str>,
        /// The reason of the refusal.
        why: Arc<str>,
    },
    /// The two ends have different keys, or only one has any.
    #[error("the peer at {peer} asks for a key, or has another one: give both ends the same")]
    WrongKey {
        /// The peer's address.
        peer: Arc<str>,
    },
    /// The two ends cut their messages differently.
    #[error(
        "a chunk of {expected} bytes came with {got}: both ends need the same chunk length and message length, and a \
         plugin that carries it must tell its size right"
    )]
    Mismatched {
        /// The chunk's length here, in bytes.
        expected: u64,
        /// The length that arrived, or was sent, in bytes.
        got: u64,
    },
    /// A wait reached its bound.
    #[error(
        "{what} with {peer} took longer than {:?}: the peer is stuck, the network lost it, or the timeout is too short",
        rounded(*.after)
    )]
    Timeout {
        /// The operation that waited.
        what: &'static str,
        /// The peer's address or name.
        peer: Arc<str>,
        /// The bound.
        after: Duration,
    },
    /// No sender connected to a listener in time.
    #[error(
        "no sender connected to {address} within {:?}: start it, or check the address and the firewall",
        rounded(*.after)
    )]
    NoPeer {
        /// The listener's address.
        address: Arc<str>,
        /// The bound.
        after: Duration,
    },
    /// This side's user ended the operation.
    #[error("cancelled: {reason}")]
    Cancelled {
        /// The canceller's reason.
        reason: Arc<str>,
    },
    /// The operating system refused something on this side.
    #[error("could not {doing}: {source}")]
    System {
        /// The operation that failed.
        doing: Arc<str>,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// The GPU, or the memory, refused something on this side.
    #[error(transparent)]
    Device(#[from] Arc<gputcp_gpu::Error>),
    /// A transport other than the built-in one failed: one behind the traits of [`crate::contract`].
    #[error("{source}")]
    Transport {
        /// The side that erred.
        origin: Origin,
        /// The transport's own error.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The caller asked for something impossible.
    #[error("{0}")]
    Usage(Arc<str>),
}

/// The side at fault for an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The peer, or the network on the way to it.
    Peer,
    /// The caller.
    Caller,
    /// This machine.
    Local,
    /// The user ended it.
    User,
}

impl Error {
    /// Returns the side at fault. The command derives its exit code from it.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match self {
            Self::PeerMisbehaved { .. }
            | Self::PeerGone { .. }
            | Self::PeerAborted { .. }
            | Self::PeerClosed { .. }
            | Self::Refused { .. }
            | Self::WrongKey { .. }
            | Self::Timeout { .. }
            | Self::NoPeer { .. } => Origin::Peer,
            Self::Cancelled { .. } => Origin::User,
            Self::System { .. } | Self::Device(_) => Origin::Local,
            Self::Transport { origin, .. } => *origin,
            Self::Mismatched { .. } | Self::Usage(_) => Origin::Caller,
        }
    }

    pub(crate) fn system(doing: impl Into<Arc<str>>, source: impl Into<io::Error>) -> Self {
        Self::System { doing: doing.into(), source: Arc::new(source.into()) }
    }

    pub(crate) fn usage(what: impl Into<Arc<str>>) -> Self {
        Self::Usage(what.into())
    }

    pub(crate) fn refused(peer: &Arc<str>, verdict: JoinVerdict) -> Self {
        let why = match verdict {
            JoinVerdict::Accepted => "it accepted",
            JoinVerdict::WrongToken => {
                "the handle belongs to another listener (it is stale, or was mixed up)"
            }
            JoinVerdict::BadSettings => {
                "it does not take these settings: ask for fewer streams or shorter segments"
            }
            JoinVerdict::Busy => "it has too many half-made connections, try again",
            JoinVerdict::WrongKey => return Self::WrongKey { peer: peer.clone() },
            JoinVerdict::WrongVersion => "it speaks another version, run the same gputcp on both ends",
        };
        Self::Refused { peer: peer.clone(), why: why.into() }
    }
}

impl From<gputcp_gpu::Error> for Error {
    fn from(error: gputcp_gpu::Error) -> Self {
        Self::Device(Arc::new(error))
    }
}

/// Returns a bound as it was set: a deadline, less the moment before the wait, is a little shorter.
fn rounded(after: Duration) -> Duration {
    Duration::from_millis(u64::try_from((after + Duration::from_micros(500)).as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_reads_as_it_was_set() {
        let after = Duration::from_nanos(9_999_999_680);
        let none = Error::NoPeer { address: "10.0.0.1:9000".into(), after }.to_string();
        assert_eq!(
            none,
            "no sender connected to 10.0.0.1:9000 within 10s: start it, or check the address and the firewall"
        );
        let late = Error::Timeout { what: "an answer", peer: "10.0.0.1:9000".into(), after }.to_string();
        assert!(late.starts_with("an answer with 10.0.0.1:9000 took longer than 10s: "), "{late}");
        assert_eq!(rounded(Duration::from_millis(300)), Duration::from_millis(300));
    }
}
