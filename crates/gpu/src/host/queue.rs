//! The queue between a lane and its worker: commands in order, with their fragments.
//!
//! It is bounded, and a push waits for room.
//!
//! Invariant: every fragment in the queue lies within the source and the destination of its command.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gputcp_proto::bounce::Fragment;

use super::Stores;
use crate::{Error, lane::check_fragments, memory::Hold};

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// The worker waits here for commands, and while it is being late.
    work: Condvar,
    /// A push waits here for room, and the start of a lane for its worker.
    room: Condvar,
}

/// Copies of fragments from one place to another. Holds both until it is dropped.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) source: Hold,
    pub(super) destination: Hold,
    pub(super) stores: Stores,
    /// The number of the queue's fragments that belong to this command.
    fragments: usize,
}

impl Queue {
    pub(super) fn new() -> Self {
        let state = State {
            commands: VecDeque::with_capacity(COMMANDS_MAX),
            fragments: VecDeque::with_capacity(QUEUED_FRAGMENTS_MAX),
            closed: false,
            has_worker: false,
            worker_waits: false,
            push_waits: false,
        };
        Self { state: Mutex::new(state), work: Condvar::new(), room: Condvar::new() }
    }

    /// Appends a command; waits while the queue is full.
    pub(super) fn push(
        &self,
        source: &Hold,
        destination: &Hold,
        fragments: &[Fragment],
        stores: Stores,
    ) -> Result<(), Error> {
        check_fragments(fragments, source, destination)?;
        let (source, destination) = (source.clone(), destination.clone());
        let command = Command { source, destination, stores, fragments: fragments.len() };
        let mut state = self.state();
        while !state.closed && !state.has_room(fragments.len()) {
            state.push_waits = true;
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(Error::LaneLost);
        }
        state.commands.push_back(command);
        state.fragments.extend(fragments);
        let wake = std::mem::take(&mut state.worker_waits);
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Notes that the worker runs: the allocations of a thread's start are behind it.
    pub(super) fn worker_begins(&self) {
        self.state().has_worker = true;
        self.room.notify_all();
    }

    /// Waits until the worker runs, so that no part of its start falls after connect (invariant I4).
    pub(super) fn wait_for_worker(&self) {
        let state = self.state();
        drop(self.room.wait_while(state, |state| !state.has_worker && !state.closed));
    }

    /// Returns the next command, and waits for one. `None` when the queue is closed and empty.
    pub(super) fn next(&self) -> Option<Command> {
        let mut state = self.state();
        loop {
            if let Some(command) = state.commands.pop_front() {
                self.made_room(state);
                return Some(command);
            }
            if state.closed {
                return None;
            }
            state.worker_waits = true;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Calls `run` with each fragment of the command that came last, outside the lock.
    pub(super) fn for_each_fragment(&self, command: &Command, mut run: impl FnMut(&Fragment)) {
        let mut left = command.fragments;
        let mut batch = [NO_FRAGMENT; BATCH];
        while left > 0 {
            let taken = left.min(BATCH);
            let mut state = self.state();
            for (fragment, queued) in batch.iter_mut().zip(state.fragments.drain(..taken)) {
                *fragment = queued;
            }
            self.made_room(state);
            left -= taken;
            batch[..taken].iter().for_each(&mut run);
        }
    }

    /// Waits for a time, or until the queue is closed.
    pub(super) fn pause(&self, time: Duration) {
        let state = self.state();
        // A push may wake the worker early; it then waits for the rest.
        drop(self.work.wait_timeout_while(state, time, |state| !state.closed));
    }

    /// Closes the queue: the worker runs the queued commands and ends.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.work.notify_all();
        self.room.notify_all();
    }

    /// Lets a waiting push go on once the queue is half empty: woken for each place, the two threads would
    /// take turns.
    fn made_room(&self, mut state: MutexGuard<'_, State>) {
        let wake = state.push_waits && state.is_half_empty();
        state.push_waits &= !wake;
        drop(state);
        if wake {
            self.room.notify_all();
        }
    }

    /// Locks the state. Nothing panics while it is half changed: a poisoned lock guards a state that is
    /// whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct State {
    commands: VecDeque<Command>,
    /// The fragments of all queued commands, and the remaining ones of the running command.
    fragments: VecDeque<Fragment>,
    closed: bool,
    has_worker: bool,
    worker_waits: bool,
    push_waits: bool,
}

impl State {
    /// Returns whether the queue is half empty, so that any launch has room.
    fn is_half_empty(&self) -> bool {
        self.commands.len() <= COMMANDS_MAX / 2
            && self.fragments.len() <= QUEUED_FRAGMENTS_MAX - crate::FRAGMENTS_MAX
    }

    fn has_room(&self, fragments: usize) -> bool {
        self.commands.len() < COMMANDS_MAX && self.fragments.len() + fragments <= QUEUED_FRAGMENTS_MAX
    }
}

/// A full window of 32 bounce slabs and one of 32 staging slabs, one command each.
const COMMANDS_MAX: usize = 64;
/// One full launch that runs and one that is queued: 32768 × 24 B = 768 KiB a lane.
const QUEUED_FRAGMENTS_MAX: usize = 2 * crate::FRAGMENTS_MAX;
/// The number of fragments that the worker takes out at once: 64 × 24 B = 1.5 KiB of its stack.
const BATCH: usize = 64;
const NO_FRAGMENT: Fragment = Fragment { source_offset: 0, bytes: 0, destination_offset: 0 };
