//! The looks after the peer at regular times, and the bounds that they have to keep.

use std::time::Duration;

use super::{Driver, side::Side};
use crate::{
    faults::{Role, WireName},
    settings::TIMEOUT,
    world::World,
};

#[derive(Default)]
pub(super) struct Looks {
    last: u64,
    /// The time since which a message has begun and nothing has moved, and the bytes that had come then.
    still_since: Option<u64>,
    moved: u64,
    /// The time since which requests are in flight.
    waiting_since: Option<u64>,
}

impl<S: Side> Driver<'_, S> {
    pub(super) fn look(&mut self, world: &mut World) {
        let now = world.clock.now;
        let since = Duration::from_nanos(now - self.looks.last);
        self.looks.last = now;
        let carried = self.desk.carried;
        let in_kernel = self.in_kernel(world);
        let moved = self.end.wants_count(carried).then_some(in_kernel);
        // A lane that is lost has failed the end.
        let _ = self.end.look(since, carried, moved);
        self.perform(world);
        self.check_bounds(carried + self.end.placed_bytes() + in_kernel, world);
        let interval = self.end.life().look_interval().as_nanos() as u64;
        world.clock.wake_at(S::PARTY, Role::Timer, now + interval);
    }

    /// Returns a number that changes with each payload byte that moves between the kernels.
    fn in_kernel(&self, world: &World) -> u64 {
        let data = (0..self.tasks.len()).map(WireName::Data);
        let control = self.end.is_amid_write().then_some(S::OUT);
        data.chain(control).map(|name| world.wires.arrived(name, world.clock.now)).sum()
    }

    /// Demands that the connection has failed where the peer does nothing for the timeout and some looks.
    fn check_bounds(&mut self, moved: u64, world: &mut World) {
        let now = world.clock.now;
        let is_live = !self.end.life().has_failed();
        let looks = &mut self.looks;
        let is_still = self.end.is_amid() && looks.moved == moved;
        looks.moved = moved;
        let still_since = is_still.then(|| looks.still_since.unwrap_or(now));
        let waiting_since = self.end.is_waiting().then(|| looks.waiting_since.unwrap_or(now));
        (looks.still_since, looks.waiting_since) = (still_since, waiting_since);
        let bound = (TIMEOUT + 4 * self.end.life().look_interval()).as_nanos() as u64;
        let is_stuck = still_since.is_some_and(|since| now - since > bound);
        world.clock.demand(!(is_live && is_stuck), || format!("{:?}: a stall has no end", S::PARTY));
        let is_silent = waiting_since.is_some_and(|since| now - since.max(self.desk.heard_at) > bound);
        world.clock.demand(!(is_live && is_silent), || format!("{:?}: a silence has no end", S::PARTY));
    }
}
