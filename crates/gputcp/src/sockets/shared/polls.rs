//! Whether a caller polls a connection all the time, as NCCL's one thread does: then the background reader
//! may stay away. A caller that looks now and then, and rests while requests are under way, relies on the
//! background reader in between.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

/// The times of a connection's polls, in microseconds from some time before it began.
#[derive(Debug)]
pub(super) struct Polls {
    began: Instant,
    last: AtomicU64,
    /// When the first request was posted after none was in flight. Before that there was no request to poll
    /// for.
    resumed: AtomicU64,
    /// When the last pause between two polls ended.
    paused: AtomicU64,
}

impl Polls {
    pub(super) fn new() -> Self {
        let never = || AtomicU64::new(0);
        Self { began: Instant::now(), last: never(), resumed: never(), paused: never() }
    }

    /// Notes that a request is posted and none was in flight.
    pub(super) fn resume(&self) {
        self.resumed.store(self.now(), Relaxed);
    }

    /// Notes a poll.
    pub(super) fn poll(&self) {
        self.poll_at(self.now());
    }

    /// Returns whether a caller polls all the time.
    pub(super) fn go_on(&self) -> bool {
        self.go_on_at(self.now())
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_micros() as u64 + BEFORE
    }

    fn poll_at(&self, now: u64) {
        let last = self.last.swap(now, Relaxed).max(self.resumed.load(Relaxed));
        if now.saturating_sub(last) > PAUSE {
            self.paused.store(now, Relaxed);
        }
    }

    fn go_on_at(&self, now: u64) -> bool {
        now.saturating_sub(self.last.load(Relaxed)) <= PAUSE
            && now.saturating_sub(self.paused.load(Relaxed)) > STEADY
    }
}

/// A longer time is a pause: a thread that carries 128 KiB for each of several connections between two polls
/// takes less.
const PAUSE: u64 = 250;
/// The time after a pause in which another may follow.
const STEADY: u64 = 2000;
/// The offset of the clock, so that a time of 0 is long before the connection began.
const BEFORE: u64 = 2 * STEADY;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_polled_a_new_connection() {
        assert!(!Polls::new().go_on());
    }

    #[test]
    fn who_asks_all_the_time_is_relied_on_at_once_and_for_a_moment() {
        let polls = Polls::new();
        polls.resumed.store(10_000, Relaxed);
        polls.poll_at(10_010);
        assert!(polls.go_on_at(10_020) && polls.go_on_at(10_010 + PAUSE));
        assert!(!polls.go_on_at(10_011 + PAUSE));
        // No request was in flight for a while: no pause.
        polls.resumed.store(50_000, Relaxed);
        assert!(!polls.go_on_at(50_001));
        polls.poll_at(50_010);
        assert!(polls.go_on_at(50_020));
    }

    #[test]
    fn who_rests_between_looks_is_not_relied_on() {
        let polls = Polls::new();
        polls.resumed.store(10_000, Relaxed);
        // A few polls in a row, every 800 us.
        for look in 0..10 {
            for poll in 0..5 {
                let now = 10_000 + 800 * (look + 1) + poll;
                polls.poll_at(now);
                assert!(!polls.go_on_at(now + 1), "look {look}");
            }
        }
        // It no longer rests.
        let mut now = 18_000;
        for _ in 0..30 {
            now += 100;
            polls.poll_at(now);
        }
        assert!(polls.go_on_at(now));
    }
}
