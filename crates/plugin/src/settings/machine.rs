//! What follows from this machine's cores where nobody says.

use std::{num::NonZero, thread};

use gputcp::IoPool;

/// How many streams a connection has if nobody says. NCCL makes many connections, one for each channel, peer and direction: all
/// of them together keep the threads busy, so each has few. Between two processes that share 32 cores, sends were 8 to 31 %
/// faster with two than with four, for 8 to 18 % less CPU, and an all-reduce between 7 % slower and 18 % faster. With 16 cores and
/// with 48 and more nothing was measured.
pub(super) const fn streams_on(cores: usize) -> u16 {
    match cores {
        ..16 => 1,
        16..48 => 2,
        48..64 => 3,
        _ => 4,
    }
}

/// How many threads a process has if nobody says: as many as could run at once. A thread moves 2 to 5 GB/s, and a quarter of them cost
/// half of the rate where two processes on 32 cores had 8 channels (22 instead of 44 GB/s). Who has nothing to do sleeps.
pub(super) fn threads_on(cores: usize) -> usize {
    cores.clamp(2, IoPool::THREADS_MAX)
}

/// The cores that this process may use.
pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_follow_from_the_cores() {
        let expected = [(1, 1), (2, 1), (15, 1), (16, 2), (32, 2), (47, 2), (48, 3), (64, 4), (208, 4)];
        assert_eq!(expected.map(|(cores, _)| (cores, streams_on(cores))), expected);
    }

    #[test]
    fn threads_follow_from_the_cores() {
        assert_eq!([1, 2, 32, 500].map(threads_on), [2, 2, 32, 64]);
    }
}
