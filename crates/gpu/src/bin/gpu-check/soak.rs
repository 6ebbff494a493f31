//! Messages of all shapes from the first GPU to the last, for a given time.
//!
//! Lengths, places, segments, rings and unpack modes are random, on several threads. Each message is verified
//! to the byte at its destination, and the bytes around it must be untouched. A message depends on its seed
//! alone, so a failed one can be repeated.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use gputcp_gpu::{Buffer, Device, Lane, LaneSpec, Pattern};

use crate::{
    Outcome,
    passage::{Passage, SLABS_MAX},
    random::Random,
    unpacks::MODES,
};

/// The parameters of a soak test.
pub(crate) struct Soak {
    /// The device of all sources, and the device of all destinations.
    pub(crate) devices: [Device; 2],
    pub(crate) time: Duration,
    /// The seed of the first message; each next message has the next seed.
    pub(crate) seed: u64,
    /// The seed of a message that is damaged before its verification, to show that the damage is found.
    pub(crate) damage: Option<u64>,
}

/// The counts that all threads share.
#[derive(Default)]
struct Count {
    messages: AtomicU64,
    bytes: AtomicU64,
    next: AtomicU64,
}

/// The buffers and lanes of a thread.
struct Line {
    source: Buffer,
    destination: Buffer,
    sender: Lane,
    receiver: Lane,
}

/// A message, drawn from its seed.
#[derive(Debug)]
struct Message {
    bytes: u64,
    from: u64,
    to: u64,
    segment_bytes: u64,
    slabs: usize,
    mode: usize,
}

impl Soak {
    /// Runs until the time is over, or a message fails. Reports progress on stderr, and the result on stdout.
    pub(crate) fn run(&self) -> Outcome {
        let (count, began) = (Count::default(), Instant::now());
        let end = began + self.time;
        let outcome = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        let outcome = self.work(&count, end);
                        if outcome.is_err() {
                            // The other threads finish their current message.
                            count.next.store(u64::MAX / 2, Relaxed);
                        }
                        outcome
                    })
                })
                .collect();
            let mut tell_at = began + EVERY;
            while threads.iter().any(|thread| !thread.is_finished()) {
                thread::sleep(LOOK_EVERY);
                if Instant::now() >= tell_at {
                    eprintln!("{}", count.so_far(began));
                    tell_at += EVERY;
                }
            }
            let mut outcomes = threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())));
            outcomes.find(Result::is_err).unwrap_or(Ok(()))
        });
        let verified = if outcome.is_ok() { "every byte verified" } else { "FAILED" };
        println!("{}, {verified}", count.so_far(began));
        outcome
    }

    /// Runs one thread's messages, on lanes of its own.
    fn work(&self, count: &Count, end: Instant) -> Outcome {
        let [source, destination] = &self.devices;
        let spec = LaneSpec { slots: SLABS_MAX, slab_bytes: SLAB };
        let mut line = Line {
            source: source.allocate(AREA)?,
            destination: destination.allocate(AREA)?,
            sender: source.lane(spec)?,
            receiver: destination.lane(spec)?,
        };
        // At least one message each, however late the thread came here.
        loop {
            let number = count.next.fetch_add(1, Relaxed);
            if number >= u64::MAX / 2 {
                return Ok(());
            }
            let seed = self.seed.wrapping_add(number);
            let message = Message::draw(seed);
            self.one(seed, &message, &mut line).map_err(|why| {
                format!("seed {seed}: {message:?}: {why}; to repeat it: --soak 1 --seed {seed}")
            })?;
            count.messages.fetch_add(1, Relaxed);
            count.bytes.fetch_add(message.bytes, Relaxed);
            if Instant::now() >= end {
                return Ok(());
            }
        }
    }

    fn one(&self, seed: u64, message: &Message, line: &mut Line) -> Outcome {
        let Line { source, destination, sender, receiver } = line;
        let &Message { bytes, from, to, segment_bytes, slabs, mode } = message;
        let [data, before, after] = [0, 1, 2].map(|iteration| Pattern { seed, iteration });
        source.fill(data, from, bytes)?;
        // The old content must be overwritten, and the bytes around it must stay.
        destination.fill(before, to - MARGIN, MARGIN + bytes)?;
        destination.fill(after, to + bytes, MARGIN)?;
        let passage = Passage {
            from: (source, from),
            to: (destination, to),
            layouts: None,
            bytes,
            segment_bytes,
            slabs,
            mode: MODES[mode],
        };
        passage.carry(sender, receiver)?;
        if self.damage == Some(seed) {
            let wrong = Pattern { seed: !seed, ..data };
            destination.fill(wrong, to + bytes / 2, 1)?;
        }
        let looks = [
            (data, to, bytes, "the message"),
            (before, to - MARGIN, MARGIN, "what is before it"),
            (after, to + bytes, MARGIN, "what is after it"),
        ];
        for (pattern, at, bytes, what) in looks {
            destination.verify(pattern, at, bytes)?.map_err(|wrong| format!("{what} is wrong: {wrong:?}"))?;
        }
        Ok(())
    }
}

impl Message {
    /// Draws any message whose segments fit a slab, and number at most 4096.
    fn draw(seed: u64) -> Self {
        let mut random = Random(seed);
        // Short lengths are as likely as long ones, and odd lengths occur as well as whole pages.
        let mut length = |most: u64| {
            let bound = 1 << random.below(u64::from(most.ilog2()) + 1);
            let any = 1 + random.below(most.min(2 * bound));
            if random.below(3) == 0 { any.next_multiple_of(4096).min(most) } else { any }
        };
        let segment_bytes = length(SLAB);
        let bytes = length(BYTES_MAX.min(segment_bytes * 4096));
        let mut place = || match random.below(3) {
            0 => MARGIN,
            1 => MARGIN + 4096 * random.below((AREA - bytes - 2 * MARGIN) / 4096 + 1),
            _ => MARGIN + random.below(AREA - bytes - 2 * MARGIN + 1),
        };
        let (from, to) = (place(), place());
        let slabs = 1 + random.below(SLABS_MAX as u64) as usize;
        Self { bytes, from, to, segment_bytes, slabs, mode: random.below(MODES.len() as u64) as usize }
    }
}

impl Count {
    fn so_far(&self, began: Instant) -> String {
        let (messages, bytes) = (self.messages.load(Relaxed), self.bytes.load(Relaxed));
        format!("soak: {messages} messages, {bytes} bytes in {:.0} s", began.elapsed().as_secs_f64())
    }
}

/// The number of threads, each with lanes and buffers of its own.
const THREADS: usize = 4;
/// The length of a slab, and so of the longest segment.
const SLAB: u64 = 1 << 20;
/// The longest message: long enough for every ring to go round.
const BYTES_MAX: u64 = 24 << 20;
/// The bytes of a thread's buffer at each end: room for the longest message anywhere in it.
const AREA: u64 = 32 << 20;
/// The bytes that are checked on either side of a message.
const MARGIN: u64 = 4 << 10;
/// The time between two reports of progress.
const EVERY: Duration = Duration::from_secs(10);
/// The time between two looks at whether all threads are done.
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_message_fits() {
        let mut odd = 0;
        for seed in 0..20_000 {
            let Message { bytes, from, to, segment_bytes, slabs, .. } = Message::draw(seed);
            assert!((1..=BYTES_MAX).contains(&bytes) && (1..=SLAB).contains(&segment_bytes));
            assert!(bytes.div_ceil(segment_bytes) <= 4096 && (1..=SLABS_MAX).contains(&slabs));
            for at in [from, to] {
                assert!(at >= MARGIN && at + bytes + MARGIN <= AREA, "seed {seed}");
                odd += u64::from(!at.is_multiple_of(16));
            }
        }
        assert!(odd > 5000);
    }
}
