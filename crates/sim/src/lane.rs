//! A lane in virtual time: work finishes late, in launch order, or fails.

use std::{cell::Cell, collections::VecDeque, rc::Rc};

use gputcp_proto::{
    bounce::{Completion, Unpack},
    recv::Landing,
    send::Segment,
    stage::Stage,
};

use crate::clock::Clock;

/// A lane of an end.
pub(crate) struct Lane {
    /// Work that is launched and not finished, with the time of its end.
    work: VecDeque<(u64, Copy)>,
    launched: u64,
    state: Rc<State>,
    ns_max: u64,
    lies: bool,
}

/// A copy between a buffer and the memory of a slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copy {
    pub(crate) buffer: usize,
    pub(crate) slot: usize,
    pub(crate) offset: usize,
    pub(crate) bytes: usize,
    /// The lane fails with it.
    pub(crate) fails: bool,
}

/// A ticket that tells when a piece of work is finished.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    number: u64,
    done_at: u64,
    state: Rc<State>,
    lies: bool,
}

/// The lane is lost: a piece of its work has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost;

#[derive(Debug, Default)]
struct State {
    finished: Cell<u64>,
    is_lost: Cell<bool>,
}

/// A lane, to launch one piece of work on it.
pub(crate) struct Launcher<'a> {
    pub(crate) lane: &'a mut Lane,
    pub(crate) clock: &'a mut Clock,
    pub(crate) fails: bool,
}

impl Completion for Ticket {
    type Error = Lost;

    fn is_done(&mut self) -> Result<bool, Lost> {
        if self.state.is_lost.get() {
            return Err(Lost);
        }
        Ok(self.lies || self.state.finished.get() >= self.number)
    }
}

impl Ticket {
    /// Returns the time at which there is an answer.
    pub(crate) const fn done_at(&self) -> u64 {
        self.done_at
    }
}

impl Launcher<'_> {
    fn launch(&mut self, buffer: usize, slot: usize, offset: u64, bytes: u64) -> Result<Ticket, Lost> {
        let fails = self.fails;
        let copy = Copy { buffer, slot, offset: offset as usize, bytes: bytes as usize, fails };
        self.lane.launch(self.clock, copy)
    }
}

impl Unpack for Launcher<'_> {
    type Done = Ticket;
    type Error = Lost;

    fn launch(&mut self, index: usize, landing: &Landing) -> Result<Ticket, Lost> {
        Launcher::launch(self, index, landing.slot_index(), landing.offset(), landing.bytes())
    }
}

impl Stage for Launcher<'_> {
    type Done = Ticket;
    type Error = Lost;

    fn launch(&mut self, index: usize, segment: &Segment) -> Result<Ticket, Lost> {
        Launcher::launch(self, index, segment.slot_index(), segment.offset(), segment.bytes())
    }
}

impl Lane {
    pub(crate) fn new(ns_max: u64, lies: bool) -> Self {
        Self { work: VecDeque::new(), launched: 0, state: Rc::default(), ns_max, lies }
    }

    fn launch(&mut self, clock: &mut Clock, copy: Copy) -> Result<Ticket, Lost> {
        if self.state.is_lost.get() {
            return Err(Lost);
        }
        let before = self.work.back().map_or(clock.now, |&(done_at, _)| done_at);
        let done_at = before + clock.rng.u64(1..=self.ns_max);
        self.work.push_back((done_at, copy));
        self.launched += 1;
        Ok(Ticket { number: self.launched, done_at, state: self.state.clone(), lies: self.lies })
    }

    /// Returns the oldest piece of work, if its time has come.
    ///
    /// The caller does the work at once and as a whole: the worst case for a buffer that was reused too
    /// early.
    pub(crate) fn next_finished(&mut self, clock: &mut Clock) -> Option<Copy> {
        let &(done_at, copy) = self.work.front()?;
        if done_at > clock.now || self.state.is_lost.get() {
            return None;
        }
        self.work.pop_front();
        if copy.fails {
            clock.log_fault(|| "a lane fails");
            self.state.is_lost.set(true);
            return None;
        }
        self.state.finished.set(self.state.finished.get() + 1);
        Some(copy)
    }

    /// Returns the work that is launched and not finished; none of a lane that is lost.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Copy> {
        let is_lost = self.state.is_lost.get();
        self.work.iter().filter(move |_| !is_lost).map(|(_, copy)| copy)
    }
}
