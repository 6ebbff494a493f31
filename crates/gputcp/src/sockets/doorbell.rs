//! How threads that finish work wake the one that waits for it: an event descriptor, rung only while somebody waits, and
//! only for what it waits for. A wake-up per chunk, on two cores, cost more than the chunk's protocol.
//!
//! A descriptor and not a condition variable, because the waiter also watches the control socket: one `poll` covers both,
//! and a message that travels on the control socket costs one wake-up instead of two.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::event::{EventfdFlags, eventfd};

#[derive(Debug)]
pub(crate) struct Doorbell {
    event: OwnedFd,
    /// The slot that somebody sleeps for, [`NOBODY`], or [`ANYTHING`].
    sleeper: AtomicU32,
}

impl Doorbell {
    pub(crate) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event, sleeper: AtomicU32::new(NOBODY) })
    }

    /// Wakes who sleeps for this slot. Costs a load otherwise.
    pub(crate) fn ring(&self, slot: usize) {
        // SeqCst pairs with `listen`: either the sleeper sees the finished work, or this sees the sleeper.
        let sleeper = self.sleeper.load(Ordering::SeqCst);
        if sleeper == slot as u32 || sleeper == ANYTHING {
            self.ring_all();
        }
    }

    /// Wakes whoever sleeps: the connection failed, or the peer said goodbye.
    pub(crate) fn ring_all(&self) {
        if self.sleeper.swap(NOBODY, Ordering::SeqCst) != NOBODY {
            // Only fails when the counter is full, and then the sleeper is woken anyway.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    /// Says that a sleep begins, for a slot or for anything. Look at the condition once more after this, then poll
    /// [`Doorbell::descriptor`].
    pub(crate) fn listen(&self, slot: Option<usize>) {
        self.sleeper.store(slot.map_or(ANYTHING, |slot| slot as u32), Ordering::SeqCst);
    }

    /// Says that the sleep is over.
    pub(crate) fn silence(&self) {
        // Nobody sleeps any more, so it was rung: take the ring off the descriptor.
        if self.sleeper.swap(NOBODY, Ordering::SeqCst) == NOBODY {
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
        }
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

const NOBODY: u32 = u32::MAX;
const ANYTHING: u32 = u32::MAX - 1;
