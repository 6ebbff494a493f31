//! Wakes the thread that waits for a request, from the threads that finish work. An event descriptor is rung
//! only while a thread sleeps, and only for the slot that it sleeps for. A wake-up per chunk, on two cores,
//! cost more than the chunk's protocol.
//!
//! It is a descriptor and not a condition variable, because the waiting thread also watches the control
//! socket. One `poll` covers both. A message that travels on the control socket costs one wake-up instead of
//! two.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicU32, Ordering},
};

use gputcp_proto::connection::Slots;
use rustix::event::{EventfdFlags, eventfd};

#[derive(Debug)]
pub(crate) struct Doorbell {
    event: OwnedFd,
    /// The slot that a thread sleeps for, [`AWAKE`], or [`ANYTHING`].
    sleeper: AtomicU32,
}

impl Doorbell {
    pub(crate) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event, sleeper: AtomicU32::new(AWAKE) })
    }

    /// Wakes the thread that sleeps for one of these slots. Costs a load if no thread does.
    pub(crate) fn ring(&self, done: &Slots) {
        // SeqCst pairs with `listen`: either the sleeper sees the finished work, or this sees the sleeper.
        match self.sleeper.load(Ordering::SeqCst) {
            AWAKE => {}
            sleeper if sleeper == ANYTHING || done.contains(sleeper as usize) => self.ring_all(),
            _ => {}
        }
    }

    /// Wakes the sleeping thread: the connection failed, or the peer said goodbye.
    pub(crate) fn ring_all(&self) {
        if self.sleeper.swap(AWAKE, Ordering::SeqCst) != AWAKE {
            // The write fails only when the counter is full, and then the sleeper is woken anyway.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    /// Begins a sleep, for a slot or for anything. The caller looks at its condition once more after this,
    /// then polls [`Doorbell::descriptor`].
    pub(crate) fn listen(&self, slot: Option<usize>) {
        self.sleeper.store(slot.map_or(ANYTHING, |slot| slot as u32), Ordering::SeqCst);
    }

    /// Ends the sleep.
    pub(crate) fn silence(&self) {
        // No thread sleeps any more, so the bell was rung: take the ring off the descriptor.
        if self.sleeper.swap(AWAKE, Ordering::SeqCst) == AWAKE {
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
        }
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

const AWAKE: u32 = u32::MAX;
const ANYTHING: u32 = u32::MAX - 1;
