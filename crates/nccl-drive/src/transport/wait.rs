//! Waits for code that can only be polled: a short spin, then short sleeps. Silence has a bound, and a
//! canceller ends the wait.

use std::{
    hint,
    num::{NonZero, NonZeroU64},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::thread::{current_timer_slack, set_current_timer_slack};

use gputcp::{Cancel, Error, Result};

/// Says that a connection was cancelled, and why.
#[derive(Debug, Default)]
pub(super) struct Cancelled {
    /// Read before each sleep.
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

/// The rest between two polls, adapted to the requests that the last polls found done. A certain part of the
/// outstanding requests should have ended by then, as the others keep the plugin busy meanwhile.
///
/// On few cores that part is a half. On two, a poll for every request cost each side a twentieth of the
/// cores. One for every quarter still cost a tenth of the rate. On many cores it is an eighth. Both ends rest
/// there, and each waits for requests that the other has not seen yet. On 32 cores a half reached 0.85 of the
/// rate, and an eighth 0.97.
///
/// The pace follows the finished requests, not their durations, which contain the rests of both ends. Where
/// the plugin stands still, one end has only finished requests left; it finds that, and rests for less.
#[derive(Debug)]
pub(super) struct Pace {
    /// One in this many requests should have ended.
    part: u64,
    /// The rest for each outstanding request.
    each: Duration,
    /// The requests that were outstanding when the last rest began.
    outstanding: u64,
    /// The requests that have ended since.
    ended: u64,
}

impl Pace {
    /// Returns the pace for a machine with this many cores.
    pub(super) const fn on(cores: usize) -> Self {
        let part = if cores <= FEW_CORES { HALF } else { EIGHTH };
        Self { part, each: Duration::ZERO, outstanding: 0, ended: 0 }
    }

    /// Returns the pace for the cores that this process may use.
    pub(super) fn here() -> Self {
        Self::on(thread::available_parallelism().map_or(1, NonZero::get))
    }

    /// Counts requests that a poll found to have ended.
    pub(super) const fn ended(&mut self, count: u64) {
        self.ended += count;
    }

    /// Returns how long to rest with this many requests outstanding.
    fn next_rest(&mut self, outstanding: usize) -> Duration {
        let (ended, before) = (std::mem::take(&mut self.ended), self.outstanding);
        if ended > 0 && self.part * ended >= 2 * before {
            self.each = self.each * 3 / 4;
        } else if ended > 0 && self.part * ended < before {
            self.each = (self.each * 5 / 4 + EACH_MORE).min(EACH_MAX * 2 / self.part as u32);
        }
        self.outstanding = outstanding as u64;
        (self.each * outstanding as u32).clamp(REST_LEAST, REST_MAX)
    }
}

/// One wait. The driver knows nothing of the bytes inside a plugin: only the end of a request breaks the
/// silence.
#[derive(Debug)]
pub(super) struct Wait<'a> {
    cancelled: &'a Cancelled,
    what: &'static str,
    with: &'a Arc<str>,
    timeout: Duration,
    spin: Duration,
    least: Duration,
    since: Instant,
    sleep: Duration,
}

impl<'a> Wait<'a> {
    /// Begins a wait for a request of `bytes` bytes.
    pub(super) fn new(
        cancelled: &'a Cancelled,
        what: &'static str,
        with: &'a Arc<str>,
        timeout: Duration,
        bytes: u64,
    ) -> Self {
        let (spin, least) = if bytes <= SHORT_BYTES { (SPIN_SHORT, SLEEP_SHORT) } else { (SPIN, SLEEP) };
        Self { cancelled, what, with, timeout, spin, least, since: Instant::now(), sleep: least }
    }

    /// Polls for what the plugin makes in its own time, such as a connection, until the deadline.
    ///
    /// # Errors
    /// If it is not made by then, or the poll fails.
    pub(super) fn made_by<T>(
        deadline: Instant,
        what: &'static str,
        with: &'a Arc<str>,
        mut poll: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let (cancelled, left) = (Cancelled::default(), deadline.saturating_duration_since(Instant::now()));
        let mut wait = Wait::new(&cancelled, what, with, left, u64::MAX);
        loop {
            if let Some(made) = poll()? {
                return Ok(made);
            }
            wait.rest()?;
        }
    }

    /// Begins the silence anew, as a request has ended.
    pub(super) fn moved(&mut self) {
        self.since = Instant::now();
        self.sleep = self.least;
    }

    /// Rests a little, before the plugin is polled again.
    ///
    /// # Errors
    /// If the connection was cancelled, or the silence has lasted too long.
    pub(super) fn rest(&mut self) -> Result<()> {
        // Nothing is outstanding, so there is no pace to keep.
        self.rest_for(&mut Pace::on(1), 0)
    }

    /// Spins, or rests for at least as long as the pace demands with this many requests outstanding.
    ///
    /// # Errors
    /// As [`Self::rest`].
    pub(super) fn rest_for(&mut self, pace: &mut Pace, outstanding: usize) -> Result<()> {
        if self.since.elapsed() < self.spin {
            hint::spin_loop();
            return Ok(());
        }
        let sleep = self.next_sleep()?;
        let rest = pace.next_rest(outstanding);
        // By pace alone as long as requests end.
        let is_brisk = outstanding > 0 && self.since.elapsed() < BRISK;
        sleep_for(if is_brisk { rest } else { sleep.max(rest) });
        Ok(())
    }

    /// Returns how long to rest, for a caller that has a better way than to sleep.
    ///
    /// # Errors
    /// As [`Self::rest`].
    pub(super) fn next_sleep(&mut self) -> Result<Duration> {
        self.cancelled.check()?;
        if self.since.elapsed() >= self.timeout {
            return Err(Error::Timeout { what: self.what, peer: self.with.clone(), after: self.timeout });
        }
        let sleep = self.sleep;
        if self.since.elapsed() >= BRISK {
            self.sleep = (2 * sleep).min(SLEEP_MAX);
        }
        Ok(sleep)
    }
}

/// Sleeps without the kernel's usual slack of 50 µs, after which a fast plugin has nothing left to do.
fn sleep_for(rest: Duration) {
    // Where the slack cannot be set, the sleep is longer.
    let usual = current_timer_slack().ok().and_then(NonZeroU64::new);
    let _ = set_current_timer_slack(Some(NonZeroU64::MIN));
    thread::sleep(rest);
    let _ = set_current_timer_slack(usual);
}

/// A short message is waited for as the sockets' own are: a sleep would double its round trip.
const SHORT_BYTES: u64 = 64 << 10;
const SPIN_SHORT: Duration = Duration::from_micros(60);
/// A chunk of the usual length takes ten times as long; the window behind it keeps both ends busy.
const SPIN: Duration = Duration::from_micros(5);
const SLEEP_SHORT: Duration = Duration::from_micros(30);
/// More frequent polls for a lone request take the cores from the plugin's own threads.
const SLEEP: Duration = Duration::from_micros(100);
/// A plugin that has been silent for longer is polled less often.
const BRISK: Duration = Duration::from_millis(1);
const SLEEP_MAX: Duration = Duration::from_micros(250);
const HALF: u64 = 2;
const EIGHTH: u64 = 8;
/// The most cores on which polls take cores from the plugin's own threads: so on 2, and not on 32. Nothing in
/// between was measured.
const FEW_CORES: usize = 4;
/// Half of a chunk of 512 KiB at 4 GB/s; where an eighth should have ended, a quarter of that.
const EACH_MAX: Duration = Duration::from_micros(66);
/// Half of a window of 24 of them.
const REST_MAX: Duration = Duration::from_micros(1600);
const EACH_MORE: Duration = Duration::from_micros(1);
/// With the wake-up, half of a window of 12 chunks of 512 KiB at 35 GB/s.
const REST_LEAST: Duration = Duration::from_micros(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_ends_a_wait_and_an_end_begins_it_anew() {
        let (cancelled, with) = (Cancelled::default(), Arc::from("them"));
        let mut wait = Wait::new(&cancelled, "receiving", &with, Duration::from_millis(20), 1 << 20);
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

    /// One end of a plugin that moves a chunk at a time, in microseconds.
    struct End {
        pace: Pace,
        posted: u64,
        seen: u64,
        wakes: u64,
        looks: u64,
    }

    /// Returns the share of the plugin's rate that is reached, and the polls for each chunk, once both ends
    /// have found their pace. Both have a window of `window` chunks, and first rest `each` for every one of
    /// them. The plugin moves a chunk in `chunk`.
    fn run(cores: usize, chunk: u64, window: u64, each: Duration) -> (f64, f64) {
        const END: u64 = 200_000;
        let end = |wakes| End { pace: Pace { each, ..Pace::on(cores) }, posted: 0, seen: 0, wakes, looks: 0 };
        // Not in step at first.
        let mut ends = [end(0), end(400)];
        let (mut moved, mut busy_until, mut half_way) = (0, 0, [0; 3]);
        for now in 0..END {
            if now == END / 2 {
                half_way = [moved, ends[0].looks, ends[1].looks];
            }
            for end in ends.iter_mut().filter(|end| end.wakes == now) {
                end.looks += 1;
                end.pace.ended(moved - end.seen);
                end.seen = moved;
                end.posted = moved + window;
                let rest = end.pace.next_rest(window as usize);
                // A wake-up takes its time.
                end.wakes += rest.as_micros() as u64 + 40;
            }
            if busy_until <= now && ends.iter().all(|end| moved < end.posted) {
                moved += 1;
                busy_until = now + chunk;
            }
        }
        let chunks = (moved - half_way[0]) as f64;
        let looks = ends[0].looks.max(ends[1].looks) - half_way[1].max(half_way[2]);
        (chunks * chunk as f64 / (END / 2) as f64, looks as f64 / chunks)
    }

    #[test]
    fn a_fast_plugin_is_not_held_up() {
        // Chunks of 512 KiB at 35, 21, 10 and 4 GB/s.
        for chunk in [15, 25, 52, 131] {
            for each in [Duration::ZERO, EACH_MAX] {
                for (cores, window) in [(2, 16), (32, 24)] {
                    let (share, _) = run(cores, chunk, window, each);
                    assert!(
                        share > 0.97,
                        "{share} of the rate on {cores} cores with chunks of {chunk} µs, from {each:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_slow_plugin_is_not_asked_for_every_request() {
        for window in [12, 16] {
            let (share, looks) = run(2, 131, window, Duration::ZERO);
            assert!(share > 0.97 && looks < 0.35, "{looks} looks a chunk, {share} of the rate");
        }
    }

    #[test]
    fn where_cores_are_many_rests_are_short() {
        // The model's wake-ups are those of a quiet machine, on which a half would do as well. So the longest
        // rest is checked, too.
        let (share, looks) = run(32, 131, 24, Duration::ZERO);
        assert!(share > 0.97 && looks < 0.6, "{looks} looks a chunk, {share} of the rate");
        let (few, many) = (EACH_MAX, EACH_MAX / 4);
        for (cores, most) in [(1, few), (FEW_CORES, few), (FEW_CORES + 1, many), (64, many)] {
            let mut pace = Pace::on(cores);
            for _ in 0..50 {
                pace.ended(1);
                pace.next_rest(16);
            }
            assert_eq!(pace.next_rest(16), 16 * most, "{cores} cores");
        }
    }

    #[test]
    fn a_rest_grows_while_little_is_found_and_shrinks_when_all_is() {
        let mut pace = Pace::on(2);
        let mut rest_after = |ended, outstanding| {
            pace.ended(ended);
            pace.next_rest(outstanding)
        };
        assert_eq!(rest_after(0, 16), REST_LEAST, "nothing is known");
        for _ in 0..50 {
            rest_after(2, 16);
        }
        assert_eq!(rest_after(2, 16), 16 * EACH_MAX);
        assert_eq!(rest_after(9, 16), 16 * EACH_MAX, "about half is right");
        assert_eq!(rest_after(0, 16), 16 * EACH_MAX, "nothing found says nothing");
        assert_eq!(rest_after(16, 16), 12 * EACH_MAX);
        assert_eq!(rest_after(9, 1), EACH_MAX * 3 / 4, "one that is alone is not waited for so long");
    }

    #[test]
    fn a_cancelled_wait_says_why() {
        let (cancelled, with) = (Cancelled::default(), Arc::from("them"));
        cancelled.cancel("enough");
        let mut wait = Wait::new(&cancelled, "sending", &with, Duration::from_secs(60), 1 << 20);
        assert_eq!(wait.next_sleep().unwrap_err().to_string(), "cancelled: enough");
    }
}
