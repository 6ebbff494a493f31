//! The clock, the pending events, the randomness and the log of a run.
//!
//! The simulation knows no other time or chance.

use std::fmt::Display;

use crate::faults::{Party, Role};

/// The time, the chance, and what is noted. Times are nanoseconds since the start of the run.
pub(crate) struct Clock {
    pub(crate) now: u64,
    /// The time at which each actor is woken next.
    due: [u64; ACTORS],
    /// The source of every choice of the run.
    pub(crate) rng: fastrand::Rng,
    pub(crate) events: u64,
    /// A hash over all events in their order.
    pub(crate) trace: u64,
    log: Option<Vec<Entry>>,
    /// The first demand that was broken.
    pub(crate) broken: Option<String>,
    /// The mishaps that have happened.
    pub(crate) hits: Hits,
}

/// An actor that an event wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Actor {
    pub(crate) party: Party,
    pub(crate) role: Role,
}

/// The mishaps that have happened so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hits {
    pub(crate) flip: bool,
    pub(crate) cut: bool,
    pub(crate) eof: bool,
    pub(crate) stall: bool,
    pub(crate) tampered: bool,
    /// An actor slept longer than any delay of a quiet network.
    pub(crate) slept: bool,
}

/// A line of the log.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) at: u64,
    pub(crate) party: Option<Party>,
    /// The message that it is about.
    pub(crate) message: Option<usize>,
    pub(crate) text: String,
}

impl Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let party = match self.party {
            Some(Party::Sender) => "sender",
            Some(Party::Receiver) => "receiver",
            None => "world",
        };
        let message = self.message.map_or_else(String::new, |message| format!("#{message}"));
        write!(f, "{:>14.3} µs  {party:<8}  {message:<4}  {}", self.at as f64 / 1e3, self.text)
    }
}

impl Actor {
    const fn index(self) -> usize {
        let role = match self.role {
            Role::User => 0,
            Role::Control => 1,
            Role::Writer => 2,
            Role::Timer => 3,
            Role::Stream(at) => 4 + at,
        };
        role * 2 + matches!(self.party, Party::Receiver) as usize
    }

    const fn at(index: usize) -> Self {
        let party = if index.is_multiple_of(2) { Party::Sender } else { Party::Receiver };
        let role = match index / 2 {
            0 => Role::User,
            1 => Role::Control,
            2 => Role::Writer,
            3 => Role::Timer,
            stream => Role::Stream(stream - 4),
        };
        Self { party, role }
    }
}

impl Clock {
    pub(crate) fn new(seed: u64, is_logged: bool) -> Self {
        Self {
            now: 0,
            due: [NEVER; ACTORS],
            rng: fastrand::Rng::with_seed(seed),
            events: 0,
            trace: FNV_START,
            log: is_logged.then(Vec::new),
            broken: None,
            hits: Hits::default(),
        }
    }

    /// Advances to the next event; `None` when nothing will ever happen again.
    pub(crate) fn next_event(&mut self) -> Option<Actor> {
        let (index, &at) = self.due.iter().enumerate().min_by_key(|(_, at)| **at)?;
        if at == NEVER {
            return None;
        }
        self.due[index] = NEVER;
        self.now = at;
        self.events += 1;
        self.note(index as u64 ^ at << 8);
        Some(Actor::at(index))
    }

    /// Wakes an actor at a time, or earlier if that was asked for before.
    pub(crate) fn wake_at(&mut self, party: Party, role: Role, at: u64) {
        let due = &mut self.due[Actor { party, role }.index()];
        *due = (*due).min(at.max(self.now));
    }

    /// Wakes an actor as soon as the scheduler of a real system might: within 5 µs.
    pub(crate) fn wake(&mut self, party: Party, role: Role) {
        let at = self.now + self.rng.u64(0..5_000);
        self.wake_at(party, role, at);
    }

    /// Adds a number to the trace.
    pub(crate) const fn note(&mut self, what: u64) {
        self.trace = (self.trace ^ what).wrapping_mul(FNV_PRIME);
    }

    /// Adds a line to the log, if there is one.
    pub(crate) fn log<T: Display>(&mut self, party: Party, message: Option<usize>, text: impl FnOnce() -> T) {
        if let Some(log) = &mut self.log {
            log.push(Entry { at: self.now, party: Some(party), message, text: text().to_string() });
        }
    }

    /// Adds a mishap to the log.
    pub(crate) fn log_fault<T: Display>(&mut self, text: impl FnOnce() -> T) {
        if let Some(log) = &mut self.log {
            log.push(Entry { at: self.now, party: None, message: None, text: text().to_string() });
        }
    }

    /// Notes that a demand is broken. The first counts.
    pub(crate) fn demand(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            let what = what();
            self.log_fault(|| format!("BROKEN: {what}"));
            self.broken = Some(what);
        }
    }

    /// Returns whether something happens that happens once in so many times.
    pub(crate) fn one_in(&mut self, count: u8) -> bool {
        self.rng.u8(0..count) == 0
    }

    pub(crate) fn take_log(&mut self) -> Vec<Entry> {
        self.log.take().unwrap_or_default()
    }
}

const NEVER: u64 = u64::MAX;
/// Both ends, of up to eight data sockets each.
const ACTORS: usize = 2 * (4 + 8);
/// FNV-1a, 64 bits: the standard library's hasher may change from one compiler to the next, and traces with
/// it.
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_their_times() {
        let mut clock = Clock::new(1, false);
        clock.wake_at(Party::Sender, Role::User, 30);
        clock.wake_at(Party::Receiver, Role::User, 10);
        clock.wake_at(Party::Sender, Role::Stream(7), 15);
        clock.wake_at(Party::Sender, Role::User, 20);
        clock.wake_at(Party::Sender, Role::User, 40);
        let next = || clock.next_event().map(|Actor { party, role }| (party, role, clock.now));
        let order: Vec<_> = std::iter::from_fn(next).collect();
        let expected = [
            (Party::Receiver, Role::User, 10),
            (Party::Sender, Role::Stream(7), 15),
            (Party::Sender, Role::User, 20),
        ];
        assert_eq!(order, expected);
    }

    #[test]
    fn the_trace_tells_runs_apart() {
        let trace = |amount| {
            let mut clock = Clock::new(1, false);
            clock.note(amount);
            clock.trace
        };
        assert_eq!(trace(1), trace(1));
        assert_ne!(trace(1), trace(2));
    }
}
