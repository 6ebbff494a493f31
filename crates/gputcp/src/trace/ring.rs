//! A ring of events: filled by the threads of a connection, emptied by the thread that writes the file.
//!
//! The writer exchanges its own empty buffer for the filled one, so a recording thread never waits for the
//! file. Both have the same length, made at connect.

use std::sync::Mutex;

use super::{event::Event, lock};

#[derive(Debug)]
pub(super) struct Ring(Mutex<Filling>);

#[derive(Debug)]
struct Filling {
    events: Vec<Event>,
    left_out: u64,
}

impl Ring {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Filling { events: buffer(), left_out: 0 }))
    }

    /// Adds an event, or counts it where there is no room.
    pub(super) fn push(&self, event: Event) {
        let mut filling = lock(&self.0);
        if filling.events.len() < EVENTS {
            filling.events.push(event);
        } else {
            filling.left_out += 1;
        }
    }

    /// Exchanges the events for an empty buffer. Returns how many events found no room since the last time.
    pub(super) fn exchange(&self, empty: &mut Vec<Event>) -> u64 {
        let mut filling = lock(&self.0);
        std::mem::swap(&mut filling.events, empty);
        std::mem::take(&mut filling.left_out)
    }
}

/// Makes a buffer of a ring's length. The system gives memory to the part that is used.
pub(super) fn buffer() -> Vec<Event> {
    Vec::with_capacity(EVENTS)
}

/// The events of a ring: those of 50 ms at 300 000 a second. A message of 8 bytes leaves about six at an end,
/// and takes 20 µs or more if each waits for the one before it.
pub(super) const EVENTS: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::event::Kind;

    const EVENT: Event = Event {
        kind: Kind::Woken,
        track: 0,
        calls: 0,
        empty: 0,
        at: 0,
        until: 0,
        seq: 0,
        offset: 0,
        bytes: 0,
    };

    #[test]
    fn a_full_ring_counts_and_an_exchange_makes_room() {
        let (ring, mut empty) = (Ring::new(), buffer());
        (0..EVENTS + 3).for_each(|_| ring.push(EVENT));
        assert_eq!((ring.exchange(&mut empty), empty.len()), (3, EVENTS));
        empty.clear();
        ring.push(EVENT);
        assert_eq!((ring.exchange(&mut empty), empty.len()), (0, 1));
    }
}
