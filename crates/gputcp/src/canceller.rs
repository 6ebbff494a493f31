//! Ends a connection from a thread that does not own it, such as a signal handler's or a watchdog's.

use std::sync::Arc;

/// Ends every wait on one connection. Cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Canceller(Arc<dyn Cancel>);

impl Canceller {
    /// A canceller of a connection, for a transport behind the traits of [`crate::contract`].
    #[must_use]
    pub fn new(connection: Arc<dyn Cancel>) -> Self {
        Self(connection)
    }

    /// Fails the connection with [`crate::Error::Cancelled`]. The built-in transport tells the peer the
    /// reason; a plugin has no way to.
    pub fn cancel(&self, reason: &str) {
        self.0.cancel(reason);
    }
}

impl std::fmt::Debug for Canceller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Canceller")
    }
}

/// A connection as its canceller knows it.
pub trait Cancel: Send + Sync {
    /// Ends every wait on the connection, now and later. Called from any thread.
    fn cancel(&self, reason: &str);
}
