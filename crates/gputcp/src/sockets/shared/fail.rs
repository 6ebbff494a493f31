//! Fails a connection. Any failure poisons it (invariant I7), and the first one is kept. Every socket is shut
//! down, so every blocked thread returns. Every request in flight ends with that same error.

use std::{io, sync::Arc};

use gputcp_proto::connection::{End, Failure, SocketError};

use super::{Shared, Side};
use crate::{Error, Result};

impl<S: Side> Shared<S> {
    /// Poisons the connection. The first failure counts.
    pub(crate) fn fail(&self, error: Error) {
        let failure = if matches!(error, Error::Timeout { .. }) { Failure::TimedOut } else { Failure::Local };
        let mut end = self.end();
        end.life_mut().fail(failure);
        self.go_on(end, Some(&error));
    }

    /// Returns the failure, if the connection has failed.
    pub(crate) fn check(&self) -> Result<()> {
        self.failure.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failure.get().is_some()
    }

    /// Returns the error of a request that never finishes: the peer has closed the connection, or a failure
    /// has ended its streams. The failure tells more.
    pub(crate) fn peer_closed(&self) -> Error {
        let open = self.end().in_flight();
        self.check().err().unwrap_or_else(|| Error::PeerClosed { peer: self.peer.clone(), open })
    }

    /// Returns the error that a failure stands for.
    pub(super) fn error_of(&self, failure: &Failure) -> Error {
        let peer = self.peer.clone();
        let gone = |detail: Arc<str>| Error::PeerGone { peer: peer.clone(), detail };
        let late = |what| Error::Timeout { what, peer: peer.clone(), after: self.timeout };
        match failure {
            Failure::Violation(violation) => {
                Error::PeerMisbehaved { peer: peer.clone(), violation: violation.clone() }
            }
            Failure::TooLong(too_long) => {
                Error::usage(format!("{too_long}: post a receive that is long enough"))
            }
            Failure::Socket(SocketError::TimedOut) => late("the exchange"),
            Failure::Socket(SocketError::Closed | SocketError::Aborted) => {
                gone("it reset the connection".into())
            }
            Failure::Socket(SocketError::Ended) => {
                gone("its connection closed in the middle of a message".into())
            }
            Failure::Socket(SocketError::System(number)) => {
                gone(io::Error::from_raw_os_error(*number).to_string().into())
            }
            Failure::ControlClosed => gone("its connection closed without a goodbye".into()),
            Failure::StreamClosed => gone("a data socket closed without a goodbye".into()),
            Failure::Unread => gone("it leaves its control socket unread".into()),
            Failure::Aborted(reason) => {
                Error::PeerAborted { peer: peer.clone(), reason: reason.as_str().into() }
            }
            Failure::Silent => late("an answer that the peer's threads owe"),
            Failure::Stalled => late("a message that has begun"),
            Failure::TimedOut => late("a wait"),
            Failure::Local => Error::Cancelled { reason: "the connection failed".into() },
        }
    }
}

/// Returns the meaning of a socket's error for the connection.
pub(crate) fn socket_error(error: &io::Error) -> SocketError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => SocketError::Closed,
        io::ErrorKind::ConnectionAborted => SocketError::Aborted,
        io::ErrorKind::TimedOut => SocketError::TimedOut,
        io::ErrorKind::UnexpectedEof => SocketError::Ended,
        _ => SocketError::System(error.raw_os_error().unwrap_or(rustix::io::Errno::IO.raw_os_error())),
    }
}
