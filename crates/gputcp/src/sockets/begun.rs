//! Waits for threads to begin, so that nothing of their start falls after connect (invariant I4).
//!
//! A lock that lives as long as what the threads serve, and not a channel: the last end of a channel frees it, and a thread may
//! drop its end long after the other has read what it said.

use std::sync::{Condvar, Mutex, PoisonError};

use super::locks::lock;

/// Counts the threads that have begun.
#[derive(Debug, Default)]
pub(crate) struct Begun {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Begun {
    /// Notes that the calling thread has all that it needs.
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
