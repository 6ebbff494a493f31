//! How threads that finish work wake the one that waits for it: an event descriptor, rung only while somebody waits.
//!
//! A descriptor and not a condition variable, because the waiter also watches the control socket: one `poll` covers both,
//! and a message that travels on the control socket costs one wake-up instead of two.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::event::{EventfdFlags, eventfd};

#[derive(Debug)]
pub(crate) struct Doorbell {
    event: OwnedFd,
    waiting: AtomicBool,
}

impl Doorbell {
    pub(crate) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event, waiting: AtomicBool::new(false) })
    }

    /// Wakes the waiter, if there is one. Costs a load otherwise.
    pub(crate) fn ring(&self) {
        // SeqCst pairs with `listen`: either the waiter sees the finished work, or this sees the waiter.
        if self.waiting.swap(false, Ordering::SeqCst) {
            // Only fails when the counter is full, and then the waiter is woken anyway.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    /// Says that a wait begins. Look at the condition once more after this, then poll [`Doorbell::descriptor`].
    pub(crate) fn listen(&self) {
        self.waiting.store(true, Ordering::SeqCst);
    }

    /// Says that the wait is over.
    pub(crate) fn silence(&self) {
        // A false `waiting` means that it was rung: take the ring off the descriptor.
        if !self.waiting.swap(false, Ordering::SeqCst) {
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
        }
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
