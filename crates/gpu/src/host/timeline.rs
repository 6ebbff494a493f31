//! A software lane's timeline: the number of its finished commands.
//!
//! Polling takes no lock, and a waiting thread uses no core.

use std::{
    hint,
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Instant,
};

use crate::Error;

#[derive(Debug)]
pub(crate) struct Timeline {
    completed: AtomicU64,
    /// Whether the worker is gone: the timeline moves no more.
    ended: AtomicBool,
    waiters: AtomicUsize,
    gate: Mutex<()>,
    moved: Condvar,
}

impl Timeline {
    pub(crate) const fn new() -> Self {
        Self {
            completed: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            waiters: AtomicUsize::new(0),
            gate: Mutex::new(()),
            moved: Condvar::new(),
        }
    }

    /// Returns the number of finished commands.
    pub(crate) fn completed(&self) -> u64 {
        self.completed.load(SeqCst)
    }

    /// Returns whether the command that was launched as number `point` is done.
    pub(crate) fn has_reached(&self, point: u64) -> Result<bool, Error> {
        if self.completed() >= point {
            return Ok(true);
        }
        // The last command may have finished between the two loads.
        if self.ended.load(SeqCst) && self.completed() < point {
            Err(Error::LaneLost)
        } else {
            Ok(self.completed() >= point)
        }
    }

    /// Waits for `point`. Without a deadline it waits as long as the worker lives.
    pub(crate) fn wait(&self, point: u64, deadline: Option<Instant>) -> Result<bool, Error> {
        for _ in 0..SPINS {
            if self.has_reached(point)? {
                return Ok(true);
            }
            hint::spin_loop();
        }
        // Either the worker sees this waiter after it has moved the timeline, or the waiter sees the move.
        // Both sides write before they read, in one order (SeqCst).
        self.waiters.fetch_add(1, SeqCst);
        let reached = self.block(point, deadline);
        self.waiters.fetch_sub(1, SeqCst);
        reached
    }

    fn block(&self, point: u64, deadline: Option<Instant>) -> Result<bool, Error> {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.has_reached(point)? {
            gate = match deadline {
                None => self.moved.wait(gate).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(false);
                    }
                    self.moved.wait_timeout(gate, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        Ok(true)
    }

    /// Counts a command as done.
    pub(crate) fn advance(&self) {
        self.completed.fetch_add(1, SeqCst);
        self.wake();
    }

    /// Ends the timeline: no further command will be done.
    pub(crate) fn end(&self) {
        self.ended.store(true, SeqCst);
        self.wake();
    }

    fn wake(&self) {
        if self.waiters.load(SeqCst) > 0 {
            // A waiter that has polled, but does not sleep yet, holds the gate.
            drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner));
            self.moved.notify_all();
        }
    }
}

/// About 5 µs on x86-64: as long as a sleep and a wake-up take.
const SPINS: u32 = 200;
