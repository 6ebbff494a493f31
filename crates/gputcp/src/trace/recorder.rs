//! The life of messages over sockets that a program drives itself, beside those of connections.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{
    Trace,
    event::{Kind, STREAMS, Segment},
    now,
    pen::Pen,
    tracks::Tracks,
};

/// Records the messages of one socket ([`Trace::recorder`]).
#[derive(Debug)]
pub struct Recorder {
    trace: Trace,
    tracks: Arc<Tracks>,
    pen: Pen,
    next: AtomicU64,
}

impl Recorder {
    pub(super) fn new(trace: &Trace, connection: &str, is_sender: bool) -> Self {
        let tracks = Arc::new(Tracks::new(connection.to_owned(), connection, is_sender, 1, 0));
        trace.add(tracks.clone());
        let pen = Pen::new(&tracks, STREAMS);
        Self { trace: trace.clone(), tracks, pen, next: AtomicU64::new(0) }
    }

    /// Returns the time of the trace's clock, in nanoseconds.
    #[must_use]
    pub fn now() -> u64 {
        now()
    }

    /// Records the next message: its time of posting, its first call or first byte, its last one, and when
    /// the caller knew. Both ends record the same messages in the same order.
    pub fn message(&mut self, bytes: u64, posted: u64, first: u64, last: u64) {
        let seq = self.next.fetch_add(1, Relaxed);
        self.tracks.message(Kind::Posted, posted, seq, bytes);
        self.pen.carried(first, last, Segment { seq, offset: 0, bytes });
        self.tracks.message(Kind::Done, last, seq, bytes);
        self.tracks.message(Kind::Seen, now(), seq, bytes);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.tracks.close();
        self.trace.flush();
    }
}
