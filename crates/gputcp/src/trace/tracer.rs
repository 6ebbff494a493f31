//! The hooks of a connection, for the places that know the times. A [`Tracer`] serves the end as a whole and
//! its control socket, and has a [`Pen`] for each data socket's task.

use std::sync::{Arc, Mutex, atomic::Ordering::Relaxed};

use gputcp_proto::frame::Control;

use super::{
    Trace,
    event::{BACKGROUND, CALLER, CONTROL_IN, CONTROL_OUT, Event, Kind, Reason, STREAMS, Segment},
    lock, now,
    pen::Pen,
    tracks::Tracks,
};

/// The recording of one end of a connection. Dropped, it writes what is left.
#[derive(Debug)]
pub(crate) struct Tracer {
    trace: Trace,
    tracks: Arc<Tracks>,
    /// The short message that is being read, and that is being written.
    short_in: Mutex<Pen>,
    short_out: Mutex<Pen>,
}

impl Tracer {
    /// Makes all that the connection will ever record into (invariant I4).
    pub(crate) fn new(
        trace: &Trace,
        connection: String,
        peer: &str,
        is_sender: bool,
        streams: usize,
        depth: usize,
    ) -> Self {
        let tracks = Arc::new(Tracks::new(connection, peer, is_sender, streams, depth));
        trace.add(tracks.clone());
        let pen = |track| Mutex::new(Pen::new(&tracks, track));
        Self { short_in: pen(CONTROL_IN), short_out: pen(CONTROL_OUT), trace: trace.clone(), tracks }
    }

    /// Returns the pen of a data socket's task.
    pub(crate) fn pen(&self, stream: usize) -> Pen {
        Pen::new(&self.tracks, STREAMS + stream as u16)
    }

    /// Records that the caller posted a message, in a call that began at `at`.
    pub(crate) fn posted(&self, at: u64, slot: usize, seq: u64, bytes: u64) {
        self.tracks.seqs[slot].store(seq, Relaxed);
        self.tracks.message(Kind::Posted, at, seq, bytes);
    }

    /// Records that all bytes of a message are written, or at their destination.
    pub(crate) fn done(&self, slot: usize) {
        self.tracks.message(Kind::Done, now(), self.tracks.seqs[slot].load(Relaxed), 0);
    }

    /// Records that the caller has this message back.
    pub(crate) fn seen(&self, seq: u64, bytes: u64) {
        self.tracks.message(Kind::Seen, now(), seq, bytes);
    }

    /// Counts a test that found its message unfinished.
    pub(crate) fn polled(&self) {
        self.tracks.polls.fetch_add(1, Relaxed);
    }

    /// Counts a read of the control socket that found nothing.
    pub(crate) fn found_nothing(&self) {
        self.tracks.empty.fetch_add(1, Relaxed);
    }

    /// Records a frame that was taken, and whose bytes were read at `read_at`.
    pub(crate) fn heard(&self, frame: &Control, at: u64, read_at: u64) {
        match *frame {
            Control::Announce(announce) => {
                let segment = Segment { seq: announce.seq, offset: 0, bytes: announce.capacity };
                self.tracks.push(0, Event::span(Kind::Heard, CONTROL_IN, at, now(), segment));
            }
            Control::Inline { seq, bytes } => {
                let mut pen = lock(&self.short_in);
                pen.read_begins_at(read_at, Segment { seq, offset: 0, bytes: bytes.into() });
                if bytes == 0 {
                    pen.end();
                }
            }
            _ => {}
        }
    }

    /// Records the announcements among the frames that the control socket took, in a call that began at `at`.
    /// The first byte that it takes counts.
    pub(crate) fn sent(&self, at: u64, frames: &[u8], taken: usize) {
        let before = self.tracks.sent.fetch_add(taken as u64, Relaxed);
        let amid = (before % Control::BYTES as u64) as usize;
        let first = if amid == 0 { 0 } else { Control::BYTES - amid };
        let until = now();
        let (whole, _) = frames.get(first..).unwrap_or_default().as_chunks::<{ Control::BYTES }>();
        let begun = taken.saturating_sub(first).div_ceil(Control::BYTES);
        for frame in whole.iter().take(begun) {
            if let Ok(Control::Announce(announce)) = Control::decode(frame) {
                let segment = Segment { seq: announce.seq, offset: 0, bytes: announce.capacity };
                self.tracks.push(0, Event::span(Kind::Announced, CONTROL_OUT, at, until, segment));
            }
        }
    }

    /// Calls with the pen of the short message that is being read.
    pub(crate) fn short_in(&self, record: impl FnOnce(&mut Pen)) {
        record(&mut lock(&self.short_in));
    }

    /// Calls with the pen of the short message that is being written.
    pub(crate) fn short_out(&self, record: impl FnOnce(&mut Pen)) {
        record(&mut lock(&self.short_out));
    }

    /// Records the unpack of a short message that was launched since `at`, by the reader or by the caller.
    pub(crate) fn unpack_short(&self, at: u64, segment: Segment, by_caller: bool) {
        let track = if by_caller { CALLER } else { CONTROL_IN };
        self.tracks.push(0, Event::span(Kind::Unpack, track, at, now(), segment));
    }

    /// Records that a stream's task was woken.
    pub(crate) fn woken(&self, stream: usize) {
        let (track, at) = (STREAMS + stream as u16, now());
        self.tracks.push(1 + stream, Event::span(Kind::Woken, track, at, at, Segment::NONE));
    }

    /// Records that the caller slept since `at`.
    pub(crate) fn slept(&self, at: u64, reason: Reason) {
        self.tracks.push(0, Event::span(Kind::Sleep(reason), CALLER, at, now(), Segment::NONE));
    }

    /// Records that the background reader attended to the control socket since `at`.
    pub(crate) fn attended(&self, at: u64) {
        self.tracks.push(0, Event::span(Kind::Background, BACKGROUND, at, now(), Segment::NONE));
    }

    /// Writes all that is recorded by now.
    pub(crate) fn flush(&self) {
        self.trace.flush();
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.tracks.close();
        self.trace.flush();
    }
}
