//! The choice of the data socket for the next segment: the free one with the least unread bytes.
//!
//! A socket takes far more than its share before it blocks: its buffers hold megabytes. Dealt to the first
//! stream that asks, segments pile up on one while the others starve, and the rate falls to that of one
//! stream. So the sender knows how much each stream still holds: the receiver reports with each announcement
//! which receives are finished. A stream leaves a segment to an idle one that holds less, and no stream holds
//! more than its share of the open bytes.
//!
//! A slow stream holds more for longer, so it is dealt less: it takes its share of the window, not of the
//! traffic.

use crate::{frame::STREAMS_MAX, window::place};

#[derive(Debug)]
pub(crate) struct Streams {
    count: usize,
    /// One bit for each stream that waits for a segment to carry.
    idle: u64,
    /// One bit for each idle stream that was told to come and has not come yet.
    called: u64,
    /// Bytes dealt to a stream whose receives are not known to be finished.
    unread: [u64; STREAMS],
    /// The same for each message that is open, by sequence number modulo the most that may be.
    of_message: Box<[[u64; STREAMS]]>,
}

impl Streams {
    pub(crate) fn new(count: usize, open: usize) -> Self {
        assert!(count <= STREAMS, "a connection has at most 64 streams");
        Self { count, idle: 0, called: 0, unread: [0; STREAMS], of_message: vec![[0; STREAMS]; open].into() }
    }

    /// Returns whether the stream is the one to carry a segment of `bytes`, when `open` bytes may be under
    /// way in all.
    pub(crate) fn is_next(&self, stream: usize, bytes: u64, open: u64) -> bool {
        let holds = self.unread[stream];
        // Some stream is always within its share: all of them together hold less than the open bytes.
        let share = open / self.count as u64 + bytes;
        let fewer = self.least_of(self.idle).is_some_and(|idle| self.unread[idle] + bytes <= holds);
        holds + bytes <= share && !fewer
    }

    /// Returns the idle stream that holds the least and was not called yet.
    ///
    /// `None` if as many are on their way as there are segments.
    ///
    /// The caller wakes another stream each time. Woken by each other, eight streams took a quarter of a
    /// millisecond to be there.
    pub(crate) fn to_call(&self, segments: u64) -> Option<usize> {
        let called = u64::from(self.called.count_ones());
        if called < segments { self.least_of(self.idle & !self.called) } else { None }
    }

    /// Marks a stream as called.
    pub(crate) const fn call(&mut self, stream: usize) {
        self.called |= 1 << stream;
    }

    /// Returns the stream of this set that holds the least.
    fn least_of(&self, set: u64) -> Option<usize> {
        (0..self.count).filter(|&stream| set & (1 << stream) != 0).min_by_key(|&stream| self.unread[stream])
    }

    pub(crate) const fn count(&self) -> u64 {
        self.count as u64
    }

    /// Returns how many bytes a stream was dealt whose receives are not known to be finished.
    pub(crate) const fn holds(&self, stream: usize) -> u64 {
        self.unread[stream]
    }

    pub(crate) fn took(&mut self, stream: usize, seq: u64, bytes: u64) {
        self.unread[stream] += bytes;
        let index = place(seq, self.of_message.len());
        self.of_message[index][stream] += bytes;
    }

    /// Notes that the receive of this number is finished.
    pub(crate) fn finished(&mut self, seq: u64) {
        let index = place(seq, self.of_message.len());
        let of_message = &mut self.of_message[index];
        for (unread, bytes) in self.unread.iter_mut().zip(of_message).take(self.count) {
            *unread -= std::mem::take(bytes);
        }
    }

    pub(crate) const fn set_idle(&mut self, stream: usize, is_idle: bool) {
        if is_idle {
            self.idle |= 1 << stream;
        } else {
            self.idle &= !(1 << stream);
            self.called &= !(1 << stream);
        }
    }
}

const STREAMS: usize = STREAMS_MAX as usize;
const _: () = assert!(STREAMS == u64::BITS as usize);
