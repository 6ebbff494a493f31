//! The clock, the pending events and the randomness of a run.
//!
//! The simulation knows no other time or chance.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

/// The thread or user that an event wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// The sender's user, which posts sends.
    SenderUser,
    /// The sender's thread of the control socket.
    SenderControl,
    /// The sender's thread of a data socket.
    SenderStream(usize),
    /// The sender's watch over its timeout.
    SenderTimer,
    /// The receiver's user, which posts receives.
    ReceiverUser,
    /// The receiver's thread of the control socket.
    ReceiverControl,
    /// The receiver's thread of a data socket.
    ReceiverStream(usize),
    /// The receiver's watch over its timeout.
    ReceiverTimer,
}

/// The world that a run happens in. Times are nanoseconds since its start.
#[derive(Debug)]
pub struct World {
    now: u64,
    /// Pending events: time, order of arrival, thread. At most a few events per thread are in it: later wakes
    /// are merged into earlier ones.
    queue: BinaryHeap<Reverse<(u64, u64, Actor)>>,
    /// The time at which each thread is woken next.
    due: BTreeMap<Actor, u64>,
    order: u64,
    events: u64,
    trace: u64,
    /// The source of every choice of the run.
    pub rng: fastrand::Rng,
}

impl World {
    /// Returns a world in which every choice follows from the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            now: 0,
            queue: BinaryHeap::new(),
            due: BTreeMap::new(),
            order: 0,
            events: 0,
            trace: FNV_START,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Returns the time.
    #[must_use]
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// Wakes a thread at a time, or earlier if that was asked for before.
    pub fn wake_at(&mut self, actor: Actor, at: u64) {
        let at = at.max(self.now);
        if self.due.get(&actor).is_some_and(|&due| due <= at) {
            return;
        }
        self.due.insert(actor, at);
        self.order += 1;
        self.queue.push(Reverse((at, self.order, actor)));
    }

    /// Wakes a thread as soon as the scheduler of a real system might: within 5 µs.
    pub fn wake_soon(&mut self, actor: Actor) {
        let at = self.now + self.rng.u64(0..5_000);
        self.wake_at(actor, at);
    }

    /// Advances to the next event; `None` when nothing will ever happen again.
    pub fn next_event(&mut self) -> Option<Actor> {
        loop {
            let Reverse((at, _, actor)) = self.queue.pop()?;
            // An event whose time is no longer the one noted was replaced by an earlier one.
            if self.due.get(&actor) == Some(&at) {
                self.due.remove(&actor);
                self.now = at;
                self.events += 1;
                self.note(&format_args!("{actor:?}"), at);
                return Some(actor);
            }
        }
    }

    /// Adds an event and its amount to the trace.
    pub fn note(&mut self, what: &dyn std::fmt::Display, amount: u64) {
        let text = what.to_string();
        for byte in text.bytes().chain(amount.to_le_bytes()) {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
    }

    /// Returns a hash over all events in their order: two runs with the same hash went the same way.
    #[must_use]
    pub const fn trace(&self) -> u64 {
        self.trace
    }

    /// Returns the number of events.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }
}

/// FNV-1a, 64 bits: the standard library's hasher may change from one compiler to the next, and traces with
/// it.
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_their_times() {
        let mut world = World::new(1);
        world.wake_at(Actor::SenderUser, 30);
        world.wake_at(Actor::ReceiverUser, 10);
        world.wake_at(Actor::SenderControl, 10);
        world.wake_at(Actor::SenderUser, 20);
        world.wake_at(Actor::SenderUser, 40);
        let order: Vec<_> =
            std::iter::from_fn(|| world.next_event().map(|actor| (actor, world.now()))).collect();
        assert_eq!(order, [(Actor::ReceiverUser, 10), (Actor::SenderControl, 10), (Actor::SenderUser, 20)]);
    }

    #[test]
    fn the_trace_tells_runs_apart() {
        let trace = |amount| {
            let mut world = World::new(1);
            world.note(&"read", amount);
            world.trace()
        };
        assert_eq!(trace(1), trace(1));
        assert_ne!(trace(1), trace(2));
    }
}
