//! Whether the peer still does its duty while requests are in flight.
//!
//! A peer's program may take any time before it posts a send or a receive: a rank that saves a checkpoint is
//! not dead. Its threads, not its program, owe two things at all times: to answer a `Ping`, and to go on with
//! a message that has begun. A peer that was stopped, or whose threads hang, does neither, though its kernel
//! acknowledges all that comes.
//!
//! The rule has no clock. Its caller looks at regular times and passes the time since its last look. A look
//! that comes much too late (this process was stopped itself) counts as one interval. So a process that goes
//! on does not blame its peer.

use std::time::Duration;

/// The silence of one connection, look by look.
#[derive(Debug)]
pub struct Liveness {
    timeout: Duration,
    interval: Duration,
    was_waiting: bool,
    was_amid: bool,
    heard: u64,
    silent: Duration,
    has_asked: bool,
    moved: u64,
    stalled: Duration,
}

/// The findings of a look. Both counters only ever grow, or wrap.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Requests are in flight.
    pub is_waiting: bool,
    /// A message has begun and is not over.
    pub is_amid: bool,
    /// Frames and payload bytes that have come from the peer's process.
    pub heard: u64,
    /// Payload bytes that have moved, either way.
    pub moved: u64,
}

/// The consequence of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// All is well so far.
    Nothing,
    /// Nothing has come for half of the timeout: send a `Ping`.
    Ask,
    /// The peer's process has not answered for the whole timeout.
    Silent,
    /// The peer answers, and has not gone on with a message for the whole timeout.
    Stalled,
}

impl Liveness {
    /// Returns the state of a connection that is looked at every [`Liveness::interval`].
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            interval: (timeout / 4).min(INTERVAL),
            was_waiting: false,
            was_amid: false,
            heard: 0,
            silent: Duration::ZERO,
            has_asked: false,
            moved: 0,
            stalled: Duration::ZERO,
        }
    }

    /// Returns the time between two looks. A failure is found within two intervals behind the timeout, and
    /// never before it.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// Takes a look, `since` after the last.
    pub fn look(&mut self, since: Duration, look: Look) -> Next {
        let since = since.min(2 * self.interval);
        // A wait or a message that began since the last look is not older than that look.
        let begins = (look.is_waiting && !self.was_waiting, look.is_amid && !self.was_amid);
        (self.was_waiting, self.was_amid) = (look.is_waiting, look.is_amid);
        if !look.is_waiting || begins.0 || look.heard != self.heard {
            (self.silent, self.has_asked) = (Duration::ZERO, false);
        } else {
            self.silent += since;
        }
        if !look.is_amid || begins.1 || look.moved != self.moved {
            self.stalled = Duration::ZERO;
        } else {
            self.stalled += since;
        }
        (self.heard, self.moved) = (look.heard, look.moved);
        if self.silent >= self.timeout {
            Next::Silent
        } else if self.stalled >= self.timeout {
            Next::Stalled
        } else if self.silent >= self.timeout / 2 && !self.has_asked {
            self.has_asked = true;
            Next::Ask
        } else {
            Next::Nothing
        }
    }
}

/// The longest time between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    const WAITING: Look = Look { is_waiting: true, is_amid: false, heard: 5, moved: 7 };
    const TIMEOUT: Duration = Duration::from_secs(30);

    /// Looks every interval until something other than [`Next::Nothing`] follows; returns the time until
    /// then.
    fn until(
        liveness: &mut Liveness,
        look: impl Fn(u32) -> Look,
        most: Duration,
    ) -> Option<(Next, Duration)> {
        let interval = liveness.interval();
        (1..=(most.as_nanos() / interval.as_nanos()) as u32)
            .map(|at| (liveness.look(interval, look(at)), at * interval))
            .find(|(next, _)| *next != Next::Nothing)
    }

    fn begun() -> Liveness {
        let mut liveness = Liveness::new(TIMEOUT);
        assert_eq!(liveness.look(Duration::ZERO, WAITING), Next::Nothing);
        liveness
    }

    #[test]
    fn a_silent_peer_is_asked_once_and_given_up_at_the_timeout() {
        let mut liveness = begun();
        assert_eq!(until(&mut liveness, |_| WAITING, TIMEOUT), Some((Next::Ask, TIMEOUT / 2)));
        assert_eq!(until(&mut liveness, |_| WAITING, TIMEOUT), Some((Next::Silent, TIMEOUT / 2)));
    }

    #[test]
    fn a_peer_that_answers_may_take_any_time() {
        let mut liveness = begun();
        for heard in 5..1000 {
            let silent = until(&mut liveness, |_| Look { heard, ..WAITING }, TIMEOUT);
            assert_eq!(silent, Some((Next::Ask, TIMEOUT / 2)));
            let answer = Look { heard: heard + 1, ..WAITING };
            assert_eq!(liveness.look(liveness.interval(), answer), Next::Nothing);
        }
    }

    #[test]
    fn nothing_is_owed_while_nothing_is_in_flight() {
        let idle = Look { is_waiting: false, ..WAITING };
        assert_eq!(until(&mut begun(), |_| idle, 100 * TIMEOUT), None);
    }

    #[test]
    fn a_message_that_has_begun_must_go_on_though_the_peer_answers() {
        let look = |at: u32| Look { is_amid: true, heard: at.into(), ..WAITING };
        let found = until(&mut begun(), look, 2 * TIMEOUT);
        assert_eq!(found, Some((Next::Stalled, TIMEOUT + INTERVAL)), "from the first look that saw it on");
        // The message goes on, however slowly.
        let look = |at: u32| Look { moved: u64::from(at / 290), ..look(at) };
        assert_eq!(until(&mut begun(), look, 100 * TIMEOUT), None);
    }

    #[test]
    fn a_process_that_was_stopped_itself_does_not_blame_its_peer() {
        let mut liveness = begun();
        let hour = Duration::from_secs(3600);
        assert_eq!(liveness.look(hour, Look { is_amid: true, ..WAITING }), Next::Nothing);
        assert_eq!(liveness.look(hour, Look { is_amid: true, ..WAITING }), Next::Nothing);
    }

    #[test]
    fn short_timeouts_are_looked_at_more_often() {
        assert_eq!(Liveness::new(Duration::from_millis(100)).interval(), Duration::from_millis(25));
        assert_eq!(Liveness::new(TIMEOUT).interval(), INTERVAL);
    }
}
