//! Ends a connection of sockets from another thread.

use super::shared::{Shared, Side};
pub(super) use crate::canceller::Canceller;
use crate::{Error, canceller::Cancel};

impl<S: Side> Cancel for Shared<S> {
    fn cancel(&self, reason: &str) {
        self.fail(Error::Cancelled { reason: reason.into() });
    }
}
