//! Fails a connection. Any failure poisons it (invariant I7), and the first one is kept. Every socket is shut
//! down, so every blocked thread returns. Every request in flight ends with that same error.

use std::{
    io,
    net::Shutdown,
    sync::Arc,
    time::{Duration, Instant},
};

use gputcp_proto::Violation;

use super::{Shared, Side};
use crate::{Error, Result, sockets::task::Step};

/// The end of a data socket, about which the control socket is heard.
#[derive(Debug)]
pub(crate) struct SocketEnd {
    error: Option<io::Error>,
    until: Instant,
}

impl<S: Side> Shared<S> {
    /// Poisons the connection. The first failure counts. Must not be called with the state locked.
    pub(crate) fn fail(&self, error: Error) {
        let is_news = match error {
            Error::PeerGone { .. } | Error::PeerAborted { .. } => false,
            // A sender that has said goodbye has sent all, and no caller waits for it. The receiver may take
            // the bytes that were sent however late.
            Error::Timeout { .. } => !(S::SENDS && self.is_closing()),
            _ => true,
        };
        let reason = error.to_string();
        // Set before all else, so that the peer's reaction to the abort is not taken for the cause.
        if self.failure.set(error).is_err() {
            return;
        }
        if is_news {
            self.control.write_abort(&reason);
        }
        for socket in self.data.iter().chain([self.control.socket()]) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.wake_all();
        self.doorbell.ring_all();
    }

    /// Notes that no more can be written on the control socket. Where the peer has closed or reset it, its
    /// earlier frames are still there to be read, and tell why. The thread that reads them fails the
    /// connection then. A sender that said goodbye is no loss.
    ///
    /// # Errors
    /// If the connection has failed by then.
    pub(crate) fn control_failed(&self, error: io::Error) -> Result<()> {
        let closed = is_closed(&error);
        if closed && !self.peer_has_said_goodbye() {
            self.control.broke(error);
            self.look();
        } else if !closed || S::SENDS {
            self.fail(self.socket_failed(&error));
        }
        self.check()
    }

    /// Hears the control socket about a data socket that failed or ended early. The control socket usually
    /// knows the cause (an abort, a goodbye), and gets a moment to tell it. Returns the event to wait for, or
    /// the end.
    pub(crate) fn hear(&self, verdict: &SocketEnd) -> Step {
        // On a busy machine the thread that usually reads it may not have run since.
        self.look();
        let in_order = verdict.error.is_none() && self.peer_has_said_goodbye();
        if in_order || self.is_closing() || self.has_failed() {
            return Step::Ended;
        }
        if Instant::now() < verdict.until {
            return Step::Until(verdict.until);
        }
        self.fail(match &verdict.error {
            Some(error) => self.socket_failed(error),
            None => self.gone("a data socket closed without a goodbye"),
        });
        Step::Ended
    }

    /// Returns the failure, if the connection has failed.
    pub(crate) fn check(&self) -> Result<()> {
        self.failure.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failure.get().is_some()
    }

    pub(crate) fn misbehaved(&self, violation: Violation) -> Error {
        Error::PeerMisbehaved { peer: self.peer.clone(), violation }
    }

    pub(crate) fn gone(&self, detail: impl Into<Arc<str>>) -> Error {
        Error::PeerGone { peer: self.peer.clone(), detail: detail.into() }
    }

    /// Returns the error that a failure of a socket stands for.
    pub(crate) fn socket_failed(&self, error: &io::Error) -> Error {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};
        match error.kind() {
            TimedOut => Error::Timeout { what: "the exchange", peer: self.peer.clone(), after: self.timeout },
            BrokenPipe | ConnectionReset | ConnectionAborted => self.gone("it reset the connection"),
            UnexpectedEof => self.gone("its connection closed in the middle of a message"),
            _ => self.gone(error.to_string()),
        }
    }
}

/// Returns whether the peer has closed or reset a socket.
pub(super) fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl SocketEnd {
    /// Returns the verdict on a socket's failure.
    pub(crate) fn on(error: io::Error) -> Self {
        Self { error: Some(error), until: Instant::now() + VERDICT }
    }

    /// Returns the verdict on a stream that ends at a segment's boundary. It ends in good order if the peer
    /// says goodbye on the control socket too.
    pub(crate) fn on_end() -> Self {
        Self { error: None, until: Instant::now() + VERDICT }
    }
}

/// The time that the control socket has to explain the failure of a data socket.
const VERDICT: Duration = Duration::from_millis(300);
