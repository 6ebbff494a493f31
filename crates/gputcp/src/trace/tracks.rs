//! The events of one end of a connection, between the threads that record and the one that writes the file.

use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use super::{
    event::{CALLER, Event, Kind, Segment},
    ring::Ring,
};

/// The events of one end of a connection, and its names.
#[derive(Debug)]
pub(crate) struct Tracks {
    connection: String,
    peer: String,
    is_sender: bool,
    hash: u64,
    /// The ring of messages and the control socket, then one per stream.
    rings: Box<[Ring]>,
    /// The sequence numbers of the messages in flight, by slot.
    pub(super) seqs: Box<[AtomicU64]>,
    /// The tests that found their message unfinished.
    pub(super) polls: AtomicU64,
    /// The reads of the control socket that found nothing.
    pub(super) empty: AtomicU64,
    counted: AtomicU64,
    /// The bytes of frames that the control socket took.
    pub(super) sent: AtomicU64,
    left_out: AtomicU64,
    is_named: AtomicBool,
    is_closed: AtomicBool,
    is_ended: AtomicBool,
}

impl Tracks {
    pub(super) fn new(connection: String, peer: &str, is_sender: bool, streams: usize, depth: usize) -> Self {
        let none = || AtomicU64::new(0);
        // FNV-1a: the name is the same at both ends.
        let hash = connection.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self {
            connection,
            peer: peer.to_owned(),
            is_sender,
            hash,
            rings: (0..=streams).map(|_| Ring::new()).collect(),
            seqs: (0..depth).map(|_| none()).collect(),
            polls: none(),
            empty: none(),
            counted: none(),
            sent: none(),
            left_out: none(),
            is_named: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            is_ended: AtomicBool::new(false),
        }
    }

    pub(super) fn message(&self, kind: Kind, at: u64, seq: u64, bytes: u64) {
        self.push(0, Event::span(kind, CALLER, at, at, Segment { seq, offset: 0, bytes }));
    }

    pub(super) fn push(&self, ring: usize, event: Event) {
        if let Some(ring) = self.rings.get(ring) {
            ring.push(event);
        }
    }

    pub(super) fn rings(&self) -> &[Ring] {
        &self.rings
    }

    /// Returns the number by which viewers know this end: of any machine's processes no two should be alike.
    pub(super) const fn pid(&self) -> u32 {
        ((self.hash >> 20) as u32 & 0x3fff_ffff) << 1 | self.is_sender as u32
    }

    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) const fn is_sender(&self) -> bool {
        self.is_sender
    }

    pub(super) fn connection(&self) -> &str {
        &self.connection
    }

    pub(super) fn peer(&self) -> &str {
        &self.peer
    }

    pub(super) fn streams(&self) -> u16 {
        (self.rings.len() - 1) as u16
    }

    /// Returns true the first time.
    pub(super) fn is_to_name(&self) -> bool {
        !self.is_named.swap(true, Relaxed)
    }

    /// Returns the tests and the reads without a result, if they have changed since the last time.
    pub(super) fn new_counts(&self) -> Option<(u64, u64)> {
        let (polls, empty) = (self.polls.load(Relaxed), self.empty.load(Relaxed));
        (self.counted.swap(polls + empty, Relaxed) != polls + empty).then_some((polls, empty))
    }

    pub(super) fn count_left_out(&self, events: u64) {
        self.left_out.fetch_add(events, Relaxed);
    }

    pub(super) fn left_out(&self) -> u64 {
        self.left_out.load(Relaxed)
    }

    pub(super) fn close(&self) {
        self.is_closed.store(true, Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Acquire)
    }

    /// Returns true once, after the end.
    pub(super) fn is_to_end(&self) -> bool {
        self.is_closed() && !self.is_ended.swap(true, AcqRel)
    }
}
