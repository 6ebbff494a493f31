//! Ending a connection from a thread that does not own it: a signal handler's, a watchdog's.

use std::sync::Arc;

use super::shared::{Shared, Side};
use crate::Error;

/// Ends every wait on one connection. Cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Canceller(Arc<dyn Cancel>);

impl Canceller {
    pub(crate) fn new<S: Side + Send + 'static>(shared: Arc<Shared<S>>) -> Self {
        Self(shared)
    }

    /// Fails the connection with [`Error::Cancelled`]; the peer is told the reason.
    pub fn cancel(&self, reason: &str) {
        self.0.cancel(reason);
    }
}

impl std::fmt::Debug for Canceller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Canceller")
    }
}

trait Cancel: Send + Sync {
    fn cancel(&self, reason: &str);
}

impl<S: Side + Send> Cancel for Shared<S> {
    fn cancel(&self, reason: &str) {
        self.fail(Error::Cancelled { reason: reason.into() });
    }
}
