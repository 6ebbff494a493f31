//! Waits for threads to begin, so that nothing of their start falls after connect (invariant I4).
//!
//! It is a lock that lives as long as the object that the threads serve, and not a channel. The last end of a
//! channel frees it. A thread may drop its end long after the other end has read the message.

use std::sync::{Condvar, Mutex, PoisonError};

use super::locks::lock;

/// Counts the threads that have begun.
#[derive(Debug, Default)]
pub(crate) struct Begun {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Begun {
    /// Counts the calling thread, which has all that it needs.
    pub(crate) fn one_more(&self) {
        *lock(&self.count) += 1;
        self.changed.notify_all();
    }

    /// Blocks until `count` threads have begun.
    pub(crate) fn wait_for(&self, count: usize) {
        let begun = self.changed.wait_while(lock(&self.count), |begun| *begun < count);
        drop(begun.unwrap_or_else(PoisonError::into_inner));
    }
}
