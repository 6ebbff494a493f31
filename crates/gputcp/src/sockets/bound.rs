//! The bound of a wait: a deadline, or the longest time without progress.

use std::time::{Duration, Instant};

/// The bound of one wait.
#[derive(Debug)]
pub(crate) enum Bound {
    /// The wait lasts until then, whatever happens.
    Deadline(Instant),
    /// The wait lasts as long as bytes move: a slow network is no dead one. It ends when no byte has moved
    /// for `timeout`, at most [`LOOK`] later.
    Silence {
        timeout: Duration,
        /// The count at the last look.
        moved: Option<u64>,
        /// The time of the look that last saw the count change.
        changed: Instant,
        next_look: Instant,
    },
}

impl Bound {
    pub(crate) fn silence(timeout: Duration) -> Self {
        let now = Instant::now();
        Self::Silence { timeout, moved: None, changed: now, next_look: now + LOOK.min(timeout / 2) }
    }

    /// Returns when to call [`Bound::goes_on`].
    pub(crate) const fn next_look(&self) -> Instant {
        match self {
            Self::Deadline(deadline) => *deadline,
            Self::Silence { next_look, .. } => *next_look,
        }
    }

    /// Returns whether to go on waiting. `look` counts the bytes that have moved; it costs system calls and
    /// is called only here.
    pub(crate) fn goes_on(&mut self, look: impl FnOnce() -> u64) -> bool {
        match self {
            Self::Deadline(_) => false,
            Self::Silence { timeout, moved, changed, next_look } => {
                let now = Instant::now();
                let seen = Some(look());
                if *moved != seen {
                    (*moved, *changed) = (seen, now);
                }
                *next_look = (*changed + *timeout).min(now + LOOK.min(*timeout / 2));
                now.duration_since(*changed) < *timeout
            }
        }
    }

    /// Returns the length of the wait, for the message.
    pub(crate) fn length(&self, began: Instant) -> Duration {
        match self {
            Self::Deadline(deadline) => deadline.saturating_duration_since(began),
            Self::Silence { timeout, .. } => *timeout,
        }
    }
}

/// The interval of looks at a silent connection. A look reads the kernel's counters of each socket, about a
/// microsecond each.
const LOOK: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_noticed_a_look_after_the_timeout_and_no_later() {
        for timeout in [Duration::from_millis(60), Duration::from_secs(30), Duration::from_secs(86_400)] {
            let mut bound = Bound::silence(timeout);
            let began = Instant::now();
            // Something moves just before the first look, and nothing after that.
            let Bound::Silence { next_look, changed, .. } = &mut bound else { unreachable!() };
            let first = *next_look - began;
            assert!(first <= LOOK.min(timeout / 2) + Duration::from_millis(50), "{first:?}");
            *changed = began;
            assert!(bound.goes_on(|| 1));
            let Bound::Silence { next_look, changed, .. } = &bound else { unreachable!() };
            assert!(*next_look <= (*changed + timeout).min(Instant::now() + LOOK));
        }
    }

    #[test]
    fn a_deadline_is_a_deadline() {
        assert!(!Bound::Deadline(Instant::now()).goes_on(|| unreachable!("it does not matter what moves")));
    }

    #[test]
    fn silence_ends_and_movement_does_not() {
        let timeout = Duration::from_millis(40);
        let mut bound = Bound::silence(timeout);
        for moved in 1..6 {
            std::thread::sleep(timeout / 2);
            assert!(bound.goes_on(|| moved), "it moves");
        }
        std::thread::sleep(timeout / 2);
        assert!(bound.goes_on(|| 5), "it was still moving a moment ago");
        std::thread::sleep(timeout);
        assert!(!bound.goes_on(|| 5), "it has stopped");
    }
}
