//! A lane in virtual time: work finishes late, in launch order.

use std::{cell::Cell, collections::VecDeque, convert::Infallible, rc::Rc};

use gputcp_proto::bounce::Completion;

use crate::{
    settings::{Flaw, Settings},
    world::{Actor, World},
};

/// A lane whose pieces of work are described by `W`.
#[derive(Debug)]
pub struct Lane<W> {
    /// Work that is launched and not finished, with the time of its end.
    work: VecDeque<(u64, W)>,
    launched: u64,
    finished: Rc<Cell<u64>>,
    owner: Actor,
    ns_max: u64,
    lies: bool,
}

/// A ticket that tells when a piece of work is finished.
#[derive(Debug)]
pub struct Ticket {
    number: u64,
    finished: Rc<Cell<u64>>,
    lies: bool,
}

impl Completion for Ticket {
    type Error = Infallible;

    fn is_done(&mut self) -> Result<bool, Infallible> {
        Ok(self.lies || self.finished.get() >= self.number)
    }
}

impl<W> Lane<W> {
    /// Returns a lane that wakes the thread `owner` when its work is finished.
    #[must_use]
    pub fn new(settings: &Settings, owner: Actor) -> Self {
        Self {
            work: VecDeque::new(),
            launched: 0,
            finished: Rc::default(),
            owner,
            ns_max: settings.lane_ns_max,
            lies: settings.flaw == Flaw::LyingLanes,
        }
    }

    /// Launches a piece of work.
    pub fn launch(&mut self, world: &mut World, work: W) -> Ticket {
        let before = self.work.back().map_or_else(|| world.now(), |&(done_at, _)| done_at);
        let done_at = before + world.rng.u64(1..=self.ns_max);
        self.work.push_back((done_at, work));
        self.launched += 1;
        world.wake_at(self.owner, done_at);
        Ticket { number: self.launched, finished: self.finished.clone(), lies: self.lies }
    }

    /// Returns the oldest piece of work, if its time has come.
    ///
    /// The caller does the work at once and as a whole: the worst case for a buffer that was reused too
    /// early.
    pub fn next_finished(&mut self, world: &mut World) -> Option<W> {
        let &(done_at, _) = self.work.front()?;
        if done_at > world.now() {
            world.wake_at(self.owner, done_at);
            return None;
        }
        self.finished.set(self.finished.get() + 1);
        self.work.pop_front().map(|(_, work)| work)
    }

    /// Returns the work that is launched and not finished.
    pub fn running(&self) -> impl Iterator<Item = &W> {
        self.work.iter().map(|(_, work)| work)
    }
}
