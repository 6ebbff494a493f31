//! Messages of all shapes from the first GPU to the last, for a given time.
//!
//! Lengths, places, segments, rings and unpack modes are random, on several threads. Each message is verified
//! to the byte at its destination, and the bytes around it must be untouched. A message depends on its seed
//! alone, so a failed one can be repeated.

use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use gputcp_gpu::{Buffer, Device, Lane, LaneSpec, Pattern};

use crate::{
    Outcome, ensure,
    passage::{Passage, SLABS_MAX},
    random::Random,
    text,
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
    /// The number of threads that are done.
    done: Mutex<usize>,
    changed: Condvar,
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
                        *count.done.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                        count.changed.notify_all();
                        outcome
                    })
                })
                .collect();
            count.tell(began);
            let mut outcomes = threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())));
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
        let mut lanes = (source.lane(spec).map_err(text)?, destination.lane(spec).map_err(text)?);
        let source = source.allocate(AREA).map_err(text)?;
        let destination = destination.allocate(AREA).map_err(text)?;
        // At least one message each, however late the thread came here.
        loop {
            let number = count.next.fetch_add(1, Relaxed);
            if number >= u64::MAX / 2 {
                return Ok(());
            }
            let seed = self.seed.wrapping_add(number);
            let message = Message::draw(seed);
            self.one(seed, &message, (&source, &destination), &mut lanes).map_err(|why| {
                format!("seed {seed}: {message:?}: {why}; to repeat it: --soak 1 --seed {seed}")
            })?;
            count.messages.fetch_add(1, Relaxed);
            count.bytes.fetch_add(message.bytes, Relaxed);
            if Instant::now() >= end {
                return Ok(());
            }
        }
    }

    fn one(
        &self,
        seed: u64,
        message: &Message,
        (source, destination): (&Buffer, &Buffer),
        (sender, receiver): &mut (Lane, Lane),
    ) -> Outcome {
        let &Message { bytes, from, to, segment_bytes, slabs, mode } = message;
        let [data, before, after] = [0, 1, 2].map(|iteration| Pattern { seed, iteration });
        source.fill(data, from, bytes).map_err(text)?;
        // The old content must be overwritten, and the bytes around it must stay.
        destination.fill(before, to - MARGIN, MARGIN + bytes).map_err(text)?;
        destination.fill(after, to + bytes, MARGIN).map_err(text)?;
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
            destination.fill(wrong, to + bytes / 2, 1).map_err(text)?;
        }
        let looks = [
            (data, to, bytes, "the message"),
            (before, to - MARGIN, MARGIN, "what is before it"),
            (after, to + bytes, MARGIN, "what is after it"),
        ];
        for (pattern, at, bytes, what) in looks {
            let verified = destination.verify(pattern, at, bytes).map_err(text)?;
            ensure(verified.is_ok(), || format!("{what} is wrong: {verified:?}"))?;
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
    /// Reports progress until all threads are done.
    fn tell(&self, began: Instant) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        while *done < THREADS {
            let (next, waited) =
                self.changed.wait_timeout(done, EVERY).unwrap_or_else(PoisonError::into_inner);
            done = next;
            if waited.timed_out() {
                eprintln!("{}", self.so_far(began));
            }
        }
    }

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
const EVERY: Duration = Duration::from_secs(10);

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
