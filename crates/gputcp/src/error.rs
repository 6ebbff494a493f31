//! Why a transfer ended. Every variant says who erred; the message says what happened, to whom, and what to do.

use std::{io, sync::Arc, time::Duration};

use gputcp_proto::{Violation, frame::JoinVerdict};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a connection or a transfer failed. Cheap to clone: every request in flight fails with the same error.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer broke the protocol.
    #[error("the peer at {peer} {violation}; the connection was closed")]
    PeerMisbehaved {
        /// Who.
        peer: Arc<str>,
        /// What it did.
        violation: Violation,
    },
    /// The peer's end of the connection vanished.
    #[error(
        "the peer at {peer} is gone ({detail}): it crashed, was killed, or the network between was cut; look at its log"
    )]
    PeerGone {
        /// Who.
        peer: Arc<str>,
        /// How this side noticed.
        detail: Arc<str>,
    },
    /// The peer said that it failed, and why.
    #[error("the peer at {peer} gave up: {reason}")]
    PeerAborted {
        /// Who.
        peer: Arc<str>,
        /// What it said.
        reason: Arc<str>,
    },
    /// The peer closed in good order while this side still waited for data.
    #[error(
        "the peer at {peer} closed the connection while {open} requests were open: both ends must move the same messages"
    )]
    PeerClosed {
        /// Who.
        peer: Arc<str>,
        /// How many requests were open here.
        open: usize,
    },
    /// Nobody listens there, or the listener does not want us.
    #[error("could not connect to {peer}: {why}")]
    Refused {
        /// Where to.
        peer: Arc<str>,
        /// Why not.
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
        "{what} with {peer} took longer than {after:?}: the peer is stuck, the network lost it, or the timeout is too short"
    )]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// With whom.
        peer: Arc<str>,
        /// The bound.
        after: Duration,
    },
    /// This side's user ended it.
    #[error("cancelled: {reason}")]
    Cancelled {
        /// Why.
        reason: Arc<str>,
    },
    /// The operating system refused something on this side.
    #[error("could not {doing}: {source}")]
    System {
        /// What was being done.
        doing: Arc<str>,
        /// What the system said.
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
    /// The caller asked for what cannot be.
    #[error("{0}")]
    Usage(Arc<str>),
}

/// Whose fault an error is.
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
    /// Whose fault it is; the command derives its exit code from this.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match self {
            Self::PeerMisbehaved { .. }
            | Self::PeerGone { .. }
            | Self::PeerAborted { .. }
            | Self::PeerClosed { .. }
            | Self::Refused { .. }
            | Self::WrongKey { .. }
            | Self::Timeout { .. } => Origin::Peer,
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
