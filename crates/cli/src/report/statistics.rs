//! Figures from times. A histogram keeps any number of messages in constant memory, to one part in ten
//! thousand.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::{CeilingKind, Slices, Spread, Times};

/// The times of one size's messages.
#[derive(Debug, Clone)]
pub struct Samples {
    times_ns: Histogram<u32>,
    goodput: Moments,
    shortest_ns: u64,
    longest_ns: u64,
}

/// Mean and variance, one value at a time (Welford's method: no cancellation).
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Samples {
    /// Makes samples without a message.
    #[must_use]
    pub fn new() -> Self {
        let times_ns =
            Histogram::new_with_bounds(1, LONGEST_NS, 4).expect("the bounds are constants that fit");
        Self { times_ns, goodput: Moments::default(), shortest_ns: u64::MAX, longest_ns: 0 }
    }

    /// Takes note of a message of `bytes` that took `time`.
    pub fn add(&mut self, bytes: u64, time: Duration) {
        let ns = (time.as_nanos() as u64).clamp(1, LONGEST_NS);
        self.times_ns.saturating_record(ns);
        self.goodput.add(bytes as f64 / ns as f64);
        self.shortest_ns = self.shortest_ns.min(ns);
        self.longest_ns = self.longest_ns.max(ns);
    }

    /// Returns the number of messages.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.times_ns.len()
    }

    /// Returns the times in microseconds; none without a message.
    #[must_use]
    pub fn times(&self) -> Option<Times> {
        (self.count() > 0).then(|| {
            let us = |ns: f64| round(ns / 1e3);
            let [low, high] = self.median_interval();
            Times {
                p50: us(self.quantile_ns(0.5)),
                p99: us(self.quantile_ns(0.99)),
                min: us(self.shortest_ns as f64),
                max: us(self.longest_ns as f64),
                mean: us(self.times_ns.mean()),
                p50_ci95: [us(low), us(high)],
            }
        })
    }

    /// Returns the goodput of messages of `bytes` in GB/s; none without a message. Bytes per nanosecond are
    /// gigabytes per second.
    #[must_use]
    pub fn goodput(&self, bytes: u64) -> Option<Spread> {
        (self.count() > 0).then(|| {
            let rate = |ns: f64| round(bytes as f64 / ns);
            let [low, high] = self.median_interval();
            Spread {
                median: rate(self.quantile_ns(0.5)),
                min: rate(self.longest_ns as f64),
                max: rate(self.shortest_ns as f64),
                mean: round(self.goodput.mean),
                stddev: round(self.goodput.stddev()),
                median_ci95: [rate(high), rate(low)],
            }
        })
    }

    /// Returns the same as a ceiling's slices: rates of messages of `bytes`, or times in microseconds.
    #[must_use]
    pub fn slices(&self, kind: CeilingKind, bytes: u64) -> Option<Slices> {
        let count = self.count();
        match kind {
            CeilingKind::Sockets | CeilingKind::GpuPipeline => self
                .goodput(bytes)
                .map(|Spread { median, min, max, .. }| Slices { kind, count, median, min, max }),
            CeilingKind::SocketPingPong => {
                self.times().map(|Times { p50, min, max, .. }| Slices { kind, count, median: p50, min, max })
            }
        }
    }

    /// Returns the 95 % confidence interval of the true median, for any distribution: the samples at two
    /// ranks. The number of samples below the median is binomial with one half. The ranks come from the
    /// normal approximation; few samples give the whole range.
    fn median_interval(&self) -> [f64; 2] {
        let n = self.count() as f64;
        let half = 1.96 * n.sqrt() / 2.0;
        let (low, high) = ((n / 2.0 - half).floor(), (n / 2.0 + half).ceil() + 1.0);
        let low = if low < 1.0 { self.shortest_ns as f64 } else { self.quantile_ns(low / n) };
        let high = if high > n { self.longest_ns as f64 } else { self.quantile_ns(high / n) };
        [low, high]
    }

    fn quantile_ns(&self, quantile: f64) -> f64 {
        // The histogram's buckets are 1/10000 wide; what was really seen bounds them.
        (self.times_ns.value_at_quantile(quantile)).clamp(self.shortest_ns, self.longest_ns) as f64
    }
}

impl Default for Samples {
    fn default() -> Self {
        Self::new()
    }
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let from_old = value - self.mean;
        self.mean += from_old / self.count;
        self.squares += from_old * (value - self.mean);
    }

    fn stddev(&self) -> f64 {
        if self.count < 2.0 { 0.0 } else { (self.squares / (self.count - 1.0)).sqrt() }
    }
}

/// Rounds to five digits: more would pretend.
#[must_use]
pub fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let digits = 4 - value.abs().log10().floor() as i32;
    // Through text: scaling by a power of ten would leave digits that are not there.
    format!("{value:.*}", digits.max(0) as usize).parse().unwrap_or(value)
}

/// A day: no message takes longer, the timeout sees to that.
const LONGEST_NS: u64 = 86_400_000_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn samples(milliseconds: &[u64]) -> Samples {
        let mut samples = Samples::new();
        for &time in milliseconds {
            samples.add(1_000_000, Duration::from_millis(time));
        }
        samples
    }

    #[test]
    fn five_messages() {
        let samples = samples(&[4, 2, 1, 5, 3]);
        let goodput = samples.goodput(1_000_000).unwrap();
        assert_eq!((goodput.median, goodput.min, goodput.max), (0.33333, 0.2, 1.0));
        assert_eq!(goodput.mean, 0.45667);
        assert_eq!(goodput.stddev, 0.32438);
        let times = samples.times().unwrap();
        assert!((times.p50 - 3000.0).abs() < 1.0, "{times:?}");
        assert_eq!((times.p99, times.min, times.max), (5000.0, 1000.0, 5000.0));
    }

    #[test]
    fn no_message_has_no_figures() {
        assert_eq!(Samples::new().times(), None);
        assert_eq!(Samples::new().goodput(1), None);
    }

    #[test]
    fn the_interval_narrows() {
        let wide = samples(&(1..=20).collect::<Vec<_>>()).times().unwrap().p50_ci95;
        assert!((wide[0] - 5000.0).abs() < 1.0 && (wide[1] - 16_000.0).abs() < 2.0, "{wide:?}");
        let narrow = samples(&(1..=20).flat_map(|n| [n; 100]).collect::<Vec<_>>()).times().unwrap().p50_ci95;
        assert!(narrow[1] - narrow[0] <= 2000.0, "{narrow:?}");
        assert_eq!(samples(&[7]).times().unwrap().p50_ci95, [7000.0, 7000.0]);
    }

    #[test]
    fn rounding_keeps_five_digits() {
        assert_eq!(round(0.000_123_456_7), 0.000_123_46);
        assert_eq!(round(123_456_789.4), 123_456_789.0);
        assert_eq!(round(f64::NAN), 0.0);
    }

    proptest! {
        #[test]
        fn figures_are_in_order(times in proptest::collection::vec(1u64..1_000_000_000_000, 1..200)) {
            let mut samples = Samples::new();
            for &time in &times {
                samples.add(4096, Duration::from_nanos(time));
            }
            let t = samples.times().unwrap();
            prop_assert!(t.min <= t.p50 && t.p50 <= t.p99 && t.p99 <= t.max);
            prop_assert!(t.p50_ci95[0] <= t.p50 && t.p50 <= t.p50_ci95[1]);
            let g = samples.goodput(4096).unwrap();
            prop_assert!(g.min <= g.median && g.median <= g.max);
            prop_assert!(g.median_ci95[0] <= g.median && g.median <= g.median_ci95[1]);
            prop_assert!(g.stddev >= 0.0);
        }
    }
}
