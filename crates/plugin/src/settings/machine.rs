//! Defaults that follow from this machine's cores.

use std::{num::NonZero, thread};

use gputcp::IoPool;

/// Returns how many streams a connection has by default.
///
/// NCCL makes many connections, one for each channel, peer and direction. All of them together keep the
/// threads busy, so each has few. Two processes that share 32 cores sent 8 to 31 % faster with two streams
/// than with four, for 8 to 18 % less CPU. Their all-reduce was between 7 % slower and 18 % faster. With 16
/// cores and with 48 and more nothing was measured.
pub(super) const fn streams_on(cores: usize) -> u16 {
    match cores {
        ..16 => 1,
        16..48 => 2,
        48..64 => 3,
        _ => 4,
    }
}

/// Returns how many threads a process has by default: as many as can run at once.
///
/// A thread moves 2 to 5 GB/s. A quarter of them cost half of the rate when two processes on 32 cores had 8
/// channels (22 instead of 44 GB/s). A thread without work sleeps.
pub(super) fn threads_on(cores: usize) -> usize {
    cores.clamp(2, IoPool::THREADS_MAX)
}

/// Returns how many cores this process may use.
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
