//! The task of a data socket: works until it would have to wait, and waits for that alone.
//!
//! It has no other wakes, as no thread has them: an effect that is missing, or forgotten, shows here.

use std::time::Duration;

use gputcp_proto::connection::{Failure, Step};

use super::{
    Driver,
    side::{Did, Side},
};
use crate::{
    faults::{Role, WireName},
    lane::Ticket,
    world::World,
};

pub(super) struct Task<S: Side> {
    pub(super) stream: S::Stream,
    wait: Wait,
    /// It was woken since it last began to wait for work.
    is_woken: bool,
    /// The wakes in a row that brought no work.
    in_vain: u32,
}

enum Wait {
    Nothing,
    Work,
    Socket,
    Lane(Ticket),
    Until(u64),
    Over,
}

impl<S: Side> Task<S> {
    pub(super) const fn new(stream: S::Stream) -> Self {
        Self { stream, wait: Wait::Nothing, is_woken: false, in_vain: 0 }
    }

    pub(super) fn end(&mut self) {
        self.wait = Wait::Over;
    }
}

impl<S: Side> Driver<'_, S> {
    /// Wakes a task that waits for work. A pool steps a task at any time; a thread waits in its socket.
    pub(super) fn wake_task(&mut self, number: usize, world: &mut World) {
        let task = &mut self.tasks[number];
        task.is_woken = true;
        if matches!(task.wait, Wait::Work | Wait::Until(_)) || self.desk.settings.is_pool {
            world.clock.wake(S::PARTY, Role::Stream(number));
        }
    }

    /// Goes on with a task, if the event that it waits for has come.
    pub(super) fn go_on(&mut self, number: usize, world: &mut World) {
        let (now, is_pool) = (world.clock.now, self.desk.settings.is_pool);
        let task = &mut self.tasks[number];
        let until = match &task.wait {
            Wait::Over => return,
            Wait::Work if !task.is_woken => return,
            Wait::Until(at) if !task.is_woken => *at,
            Wait::Lane(ticket) if !(is_pool && task.is_woken) => ticket.done_at(),
            _ => now,
        };
        if until > now {
            return world.clock.wake_at(S::PARTY, Role::Stream(number), until);
        }
        task.is_woken = false;
        task.wait = Wait::Nothing;
        for _ in 0..world.clock.rng.u8(1..=4) {
            if let Some(wait) = self.part(number, world) {
                self.wait(number, wait, world);
                return;
            }
        }
        world.clock.wake(S::PARTY, Role::Stream(number));
    }

    fn wait(&mut self, number: usize, wait: Wait, world: &mut World) {
        let (party, role) = (S::PARTY, Role::Stream(number));
        match &wait {
            Wait::Lane(ticket) => world.clock.wake_at(party, role, ticket.done_at()),
            Wait::Until(at) => world.clock.wake_at(party, role, *at),
            _ => {}
        }
        let task = &mut self.tasks[number];
        task.in_vain = if matches!(wait, Wait::Work) { task.in_vain + 1 } else { 0 };
        let is_vain = task.in_vain > IN_VAIN_MAX;
        world.clock.demand(!is_vain, || format!("{party:?}: the task of stream {number} is woken in vain"));
        task.wait = wait;
        // It was woken while it worked.
        if task.is_woken && matches!(task.wait, Wait::Work | Wait::Until(_)) {
            world.clock.wake(party, role);
        }
    }

    /// Does a part of the work. Returns the event to wait for, if it has to wait.
    fn part(&mut self, number: usize, world: &mut World) -> Option<Wait> {
        let carried = self.desk.carried;
        let did = S::work(&mut self.tasks[number].stream, number, &mut self.desk, world);
        if self.desk.carried != carried && S::PARTY == crate::faults::Party::Receiver {
            self.desk.heard_at = world.clock.now;
        }
        match did {
            Did::Some => {
                self.tasks[number].in_vain = 0;
                None
            }
            Did::Blocked => Some(Wait::Socket),
            Did::Lost => {
                self.fail(Failure::Local, world);
                None
            }
            Did::Hear => {
                self.read(world);
                self.step_task(number, world)
            }
            Did::Connection => self.step_task(number, world),
        }
    }

    fn step_task(&mut self, number: usize, world: &mut World) -> Option<Wait> {
        let stream = &mut self.tasks[number].stream;
        let step = self.end.step(stream, number, &mut self.desk, world);
        let step = step.unwrap_or_else(|_| {
            self.end.life_mut().fail(Failure::Local);
            Step::Over
        });
        self.perform(world);
        match step {
            Step::GoOn => None,
            Step::Idle => Some(Wait::Work),
            Step::Lane(ticket) => Some(Wait::Lane(ticket)),
            Step::Until(at) => Some(Wait::Until(at.as_nanos() as u64)),
            Step::EndOfStream => {
                world.clock.log(S::PARTY, None, || format!("ends data socket {number}"));
                world.end(WireName::Data(number));
                Some(Wait::Over)
            }
            Step::Over => Some(Wait::Over),
        }
    }
}

/// More wakes in vain than the frames of a run explain.
const IN_VAIN_MAX: u32 = 1000;

/// Returns the time of the world as a connection's.
pub(super) const fn time(world: &World) -> Duration {
    Duration::from_nanos(world.clock.now)
}
