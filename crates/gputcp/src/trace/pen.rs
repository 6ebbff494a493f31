//! The recording of one socket: its segments and the rests of its task, by one thread at a time.

use std::sync::Arc;

use super::{
    event::{Event, Kind, Reason, STREAMS, Segment},
    now,
    tracks::Tracks,
};

/// The recording of one socket's segments.
#[derive(Debug)]
pub(crate) struct Pen {
    tracks: Arc<Tracks>,
    track: u16,
    /// The segment under way.
    under_way: Option<Carrying>,
    /// When the first bytes of a header came.
    header_at: u64,
    /// The calls without a result since the last segment ended.
    empty: u32,
    rest: Option<(u64, Reason)>,
}

#[derive(Debug, Clone, Copy)]
struct Carrying {
    at: u64,
    calls: u32,
    segment: Segment,
}

impl Pen {
    pub(super) fn new(tracks: &Arc<Tracks>, track: u16) -> Self {
        Self { tracks: tracks.clone(), track, under_way: None, header_at: 0, empty: 0, rest: None }
    }

    /// Records that the copy of a segment to its staging buffer was launched since `at`.
    pub(crate) fn staged(&self, at: u64, segment: Segment) {
        self.push(Event::span(Kind::Stage, self.track, at, now(), segment));
    }

    /// Records that a segment is about to be written, unless it has begun.
    pub(crate) fn write_begins(&mut self, segment: Segment) {
        if self.under_way.is_none() {
            self.begin(Kind::WriteBegins, now(), segment);
        }
    }

    /// Records that the first bytes of a header have come, in a call that began at `called_at`. A blocking
    /// socket was waited for.
    pub(crate) fn header_came(&mut self, called_at: u64) {
        self.header_at = now();
        if self.header_at - called_at > BLOCKED_NS {
            let rest = Kind::Rest(Reason::Socket);
            self.push(Event::span(rest, self.track, called_at, self.header_at, Segment::NONE));
        }
    }

    /// Records that a segment's header has come, unless it has begun.
    pub(crate) fn read_begins(&mut self, segment: Segment) {
        if self.under_way.is_none() {
            self.begin(Kind::ReadBegins, self.header_at, segment);
        }
    }

    /// Records that a short message's header has come.
    pub(super) fn read_begins_at(&mut self, at: u64, segment: Segment) {
        self.begin(Kind::ReadBegins, at, segment);
    }

    /// Counts a call, and records the end of the segment if it moved the last of the bytes that were left.
    /// `None` is a call without a result.
    pub(crate) fn tried(&mut self, moved: Option<usize>, left_bytes: u64) {
        match (moved, &mut self.under_way) {
            (None, _) => self.empty += 1,
            (Some(bytes), Some(carrying)) => {
                carrying.calls += 1;
                if bytes as u64 == left_bytes {
                    self.end();
                }
            }
            (Some(_), None) => {}
        }
    }

    /// Records that the unpack of a segment was launched since `at`.
    pub(crate) fn unpack(&self, at: u64, segment: Segment) {
        self.push(Event::span(Kind::Unpack, self.track, at, now(), segment));
    }

    /// Notes that the task has nothing to do.
    pub(crate) fn rests(&mut self, reason: Reason) {
        self.rest = Some((now(), reason));
    }

    /// Records how long the task had nothing to do, if it had.
    pub(crate) fn goes_on(&mut self) {
        let Some((at, reason)) = self.rest.take() else { return };
        let until = now();
        // A task that has done its share mostly goes on at once.
        if reason != Reason::Turn || until - at > TURN_NS {
            self.push(Event::span(Kind::Rest(reason), self.track, at, until, Segment::NONE));
        }
    }

    /// Records a span of a segment between two times.
    pub(super) fn carried(&self, at: u64, until: u64, segment: Segment) {
        let (begins, ends) = match self.tracks.is_sender() {
            true => (Kind::WriteBegins, Kind::Write),
            false => (Kind::ReadBegins, Kind::Read),
        };
        self.push(Event::span(begins, self.track, at, at, segment));
        self.push(Event::span(ends, self.track, at, until, segment));
    }

    fn begin(&mut self, kind: Kind, at: u64, segment: Segment) {
        self.under_way = Some(Carrying { at, calls: 0, segment });
        self.push(Event::span(kind, self.track, at, at, segment));
    }

    pub(super) fn end(&mut self) {
        let kind = if self.tracks.is_sender() { Kind::Write } else { Kind::Read };
        let Some(Carrying { at, calls, segment }) = self.under_way.take() else { return };
        let empty = std::mem::take(&mut self.empty);
        self.push(Event { calls, empty, ..Event::span(kind, self.track, at, now(), segment) });
    }

    fn push(&self, event: Event) {
        let ring = if self.track < STREAMS { 0 } else { usize::from(self.track - STREAMS) + 1 };
        self.tracks.push(ring, event);
    }
}

/// A shorter pause between two shares of a task's work is not recorded.
const TURN_NS: u64 = 2000;
/// A call that takes longer has waited for bytes.
const BLOCKED_NS: u64 = 2000;
