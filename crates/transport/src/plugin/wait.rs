//! Waiting for code that can only be asked again: a short spin, then short sleeps, a bound on silence, and an end by
//! whoever cancels.

use std::{
    hint,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{Error, Result, canceller::Cancel};

/// Says that a connection was cancelled, and why.
#[derive(Debug, Default)]
pub(super) struct Cancelled {
    /// Looked at on every way round.
    is_so: AtomicBool,
    reason: Mutex<Arc<str>>,
}

impl Cancelled {
    pub(super) fn check(&self) -> Result<()> {
        if !self.is_so.load(Ordering::Acquire) {
            return Ok(());
        }
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Err(Error::Cancelled { reason })
    }
}

impl Cancel for Cancelled {
    fn cancel(&self, reason: &str) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason.into();
        self.is_so.store(true, Ordering::Release);
    }
}

/// How fast requests end: by it one looks no more often than is of use.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<Instant>,
    /// From one end to the next, on average of the last few.
    each: Duration,
}

impl Pace {
    /// The first after a pause is posted: how long that was says nothing.
    pub(super) const fn begins(&mut self) {
        self.last = None;
    }

    /// So many requests were found to have ended.
    pub(super) fn ended(&mut self, count: u64) {
        let now = Instant::now();
        if let (Some(last), count @ 1..) = (self.last, count) {
            let took = (now - last) / count.min(64) as u32;
            self.each = (3 * self.each + took) / 4;
        }
        self.last = Some(now);
    }

    /// In about this time half of those outstanding will have ended: the others keep the plugin busy meanwhile. On two cores
    /// a look for every request cost each side a twentieth of them, and one for every quarter still a tenth of the rate.
    fn half(&self, outstanding: usize) -> Duration {
        (self.each * outstanding as u32 / 2).min(HALF_MAX)
    }
}

/// One wait. Nothing is known of the bytes inside a plugin: only the end of a request breaks the silence.
#[derive(Debug)]
pub(super) struct Wait<'a> {
    cancelled: &'a Cancelled,
    what: &'static str,
    with: &'a Arc<str>,
    patience: Duration,
    spin: Duration,
    least: Duration,
    since: Instant,
    sleep: Duration,
}

impl<'a> Wait<'a> {
    /// For a request of `bytes` bytes.
    pub(super) fn new(
        cancelled: &'a Cancelled,
        (what, with): (&'static str, &'a Arc<str>),
        patience: Duration,
        bytes: u64,
    ) -> Self {
        let (spin, least) = if bytes <= SHORT_BYTES { (SPIN_SHORT, SLEEP_SHORT) } else { (SPIN, SLEEP) };
        Self { cancelled, what, with, patience, spin, least, since: Instant::now(), sleep: least }
    }

    /// A request has ended: the silence begins anew.
    pub(super) fn moved(&mut self) {
        self.since = Instant::now();
        self.sleep = self.least;
    }

    /// Rests a little, before the plugin is asked again.
    ///
    /// # Errors
    /// If the connection was cancelled, or the silence has lasted too long.
    pub(super) fn rest(&mut self) -> Result<()> {
        self.rest_for(&Pace::default(), 0)
    }

    /// The same, with so many requests outstanding that end at this pace.
    ///
    /// # Errors
    /// As [`Self::rest`].
    pub(super) fn rest_for(&mut self, pace: &Pace, outstanding: usize) -> Result<()> {
        if self.since.elapsed() < self.spin {
            hint::spin_loop();
            return Ok(());
        }
        let sleep = self.next_sleep()?;
        thread::sleep(sleep.max(pace.half(outstanding)));
        Ok(())
    }

    /// How long to rest for, where there is a better way than to sleep.
    ///
    /// # Errors
    /// As [`Self::rest`].
    pub(super) fn next_sleep(&mut self) -> Result<Duration> {
        self.cancelled.check()?;
        if self.since.elapsed() >= self.patience {
            return Err(Error::Timeout { what: self.what, peer: self.with.clone(), after: self.patience });
        }
        let sleep = self.sleep;
        if self.since.elapsed() >= BRISK {
            self.sleep = (2 * sleep).min(SLEEP_MAX);
        }
        Ok(sleep)
    }
}

/// Short messages are waited for as the sockets' own are: a sleep would double their round trip.
const SHORT_BYTES: u64 = 64 << 10;
const SPIN_SHORT: Duration = Duration::from_micros(60);
/// A chunk of the usual length takes ten times as long; the window behind it keeps everyone busy.
const SPIN: Duration = Duration::from_micros(5);
/// To which the kernel adds its slack of 50 µs.
const SLEEP_SHORT: Duration = Duration::from_micros(10);
/// With the slack, 100 µs: a window of 12 chunks of 512 KiB lasts for 250 µs at 25 GB/s. Looking more often takes the cores
/// from the plugin's own threads.
const SLEEP: Duration = Duration::from_micros(50);
/// Whoever has been silent for longer is no longer asked so often.
const BRISK: Duration = Duration::from_millis(1);
const SLEEP_MAX: Duration = Duration::from_micros(250);
/// Half of 12 chunks of 512 KiB at 4 GB/s.
const HALF_MAX: Duration = Duration::from_micros(800);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_ends_a_wait_and_an_end_begins_it_anew() {
        let (cancelled, with) = (Cancelled::default(), Arc::from("them"));
        let mut wait = Wait::new(&cancelled, ("receiving", &with), Duration::from_millis(20), 1 << 20);
        let began = Instant::now();
        let error = loop {
            if let Err(error) = wait.rest() {
                break error;
            }
        };
        assert!(matches!(error, Error::Timeout { what: "receiving", .. }), "{error}");
        assert!(began.elapsed() >= Duration::from_millis(20));
        wait.moved();
        assert!(wait.rest().is_ok());
    }

    #[test]
    fn many_outstanding_requests_are_looked_for_less_often() {
        let mut pace = Pace::default();
        assert_eq!(pace.half(16), Duration::ZERO, "nothing is known");
        for _ in 0..40 {
            pace.ended(4);
            thread::sleep(Duration::from_micros(200));
        }
        // 50 µs each at least; a busy machine sleeps for longer.
        assert!(pace.half(16) >= Duration::from_micros(300), "{pace:?}");
        assert!(pace.half(1) < pace.half(16));
        assert_eq!(pace.half(1_000_000), HALF_MAX);
        let before = pace.half(1);
        pace.begins();
        thread::sleep(Duration::from_millis(20));
        pace.ended(1);
        assert_eq!(pace.half(1), before, "a pause says nothing");
        pace.ended(0);
    }

    #[test]
    fn a_cancelled_wait_says_why() {
        let (cancelled, with) = (Cancelled::default(), Arc::from("them"));
        cancelled.cancel("enough");
        let mut wait = Wait::new(&cancelled, ("sending", &with), Duration::from_secs(60), 1 << 20);
        assert_eq!(wait.next_sleep().unwrap_err().to_string(), "cancelled: enough");
    }
}
