//! The progress: a bar on a terminal, and a line every so often if asked for. It is always on stderr.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::tally::Tally;
use crate::{
    output::Talk,
    settings::{Settings, request::Amount, size::show_size},
};

/// The progress of one size.
pub struct Progress {
    bar: ProgressBar,
    talk: Talk,
    interval: Option<Duration>,
    next: Option<Instant>,
    began: Instant,
    bytes: u64,
    /// The bytes of a sample.
    sample_bytes: u64,
    /// The name of the samples.
    many: &'static str,
    amount: Amount,
}

impl Progress {
    /// Begins the display of a size.
    #[must_use]
    pub fn new(
        talk: Talk,
        interval: Option<Duration>,
        (bytes, settings): (u64, &Settings),
        amount: Amount,
    ) -> Self {
        let visible = std::io::stderr().is_terminal() && !talk.is_quiet();
        let target =
            if visible { ProgressDrawTarget::stderr_with_hz(5) } else { ProgressDrawTarget::hidden() };
        let length = match amount {
            Amount::Count(count) => u64::from(count),
            Amount::Time(time) => time.as_millis() as u64,
        };
        let bar = ProgressBar::with_draw_target(Some(length), target);
        if let Ok(style) = ProgressStyle::with_template("{prefix:>8} {wide_bar} {percent:>3} % {msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(show_size(bytes));
        let began = Instant::now();
        Self {
            bar,
            talk,
            interval,
            next: interval.map(|interval| began + interval),
            began,
            bytes,
            sample_bytes: bytes.saturating_mul(settings.messages(bytes)),
            many: settings.many(),
            amount,
        }
    }

    /// Shows the progress after a message.
    pub fn update(&mut self, tally: &Tally) {
        if !self.bar.is_hidden() {
            self.bar.set_position(match self.amount {
                Amount::Count(_) => tally.messages(),
                Amount::Time(_) => self.began.elapsed().as_millis() as u64,
            });
            if let Some(rate) = tally.so_far(self.sample_bytes) {
                self.bar.set_message(format!("{rate:.2} GB/s"));
            }
        }
        let now = Instant::now();
        if let (Some(next), Some(interval)) = (self.next, self.interval)
            && now >= next
        {
            self.next = Some(now + interval);
            let (seconds, size) = (self.began.elapsed().as_secs_f64(), show_size(self.bytes));
            let rate = tally.so_far(self.sample_bytes);
            let rate = rate.map(|rate| format!(", {rate:.2} GB/s so far")).unwrap_or_default();
            let line = format!("{seconds:6.1} s  {size}: {} {}{rate}", tally.messages(), self.many);
            self.bar.suspend(|| self.talk.note(&line));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
