//! The times at which the receiver announces its posted receives to the sender.
//!
//! An announcement costs a write and, at the sender, a wake-up. So announcements are held back and go out
//! together, in one of two modes:
//!
//! - *Prompt*, at first and for long messages. Held announcements go out when there are four, or when the
//!   sender has few announced receives left.
//! - *Quiet*, after four short messages in a row, which need no announcement while there are eager places.
//!   Held announcements go out when they would make half of the places usable, or when the sender has used up
//!   its credit. A message that cannot go eagerly ends this mode: by a `Want` if the one before it was short,
//!   else by its own start.
//!
//! # No message waits for a held announcement
//!
//! Let message `s` be posted at both ends and not sent, and all messages before it be sent. They arrive,
//! whether a caller polls or not. Each post and each arrival asks whether a write is due, so consider the
//! last of them: then `begun = s`.
//!
//! - `s` could go eagerly, had it a place. Since it is not sent, `told_done + places <= s` and `told <= s`.
//!   The sender has no credit left, and the posted receive is worth a write: it is due, prompt or quiet.
//! - `s` cannot, and `s - 1` was short. The sender sends a `Want` of `s`, which makes this side prompt until
//!   a short message behind `s`. As `told <= s = begun`, no announced receive is unmatched: it is due.
//! - `s` cannot, and `s - 1` was not short. By its number `s - 1` is the newest message seen, so this side is
//!   prompt since that message began. The rest is as before.

use crate::frame::{Announce, Control, EAGER_PLACES_MAX, RECEIVES_MAX, SLOTS_MAX};

/// The announcements of one connection.
#[derive(Debug)]
pub struct Announcer {
    held: [Announce; HELD],
    held_count: usize,
    frames: [u8; HELD * Control::BYTES],
    /// The number of eager places agreed at connect.
    places: u64,
    /// Receives announced: those of sequence numbers `..told`.
    told: u64,
    /// Receives that the sender knows to be finished.
    told_done: u64,
    /// Receives that are finished, by the latest report.
    done: u64,
    /// Messages of which bytes have come.
    begun: u64,
    /// The newest known message, and how many short ones in a row end with it.
    newest: Option<u64>,
    short_in_a_row: u64,
}

impl Announcer {
    /// Returns the announcer of a connection with so many eager places.
    ///
    /// # Panics
    /// If there are more than [`EAGER_PLACES_MAX`].
    #[must_use]
    pub const fn new(places: usize) -> Self {
        assert!(places <= EAGER_PLACES_MAX as usize, "as many places as the frames can say");
        Self {
            held: [Announce { seq: 0, capacity: 0, inline_bytes: 0, done: 0, mark: None }; HELD],
            held_count: 0,
            frames: [0; HELD * Control::BYTES],
            places: places as u64,
            told: 0,
            told_done: 0,
            done: 0,
            begun: 0,
            newest: None,
            short_in_a_row: 0,
        }
    }

    /// Holds the announcement of a posted receive, and returns the bytes to write now: whole frames, or none.
    pub fn posted(&mut self, announce: Announce) -> &[u8] {
        self.hold(announce);
        self.due(STARVING)
    }

    /// Does the same for a group of receives, which go out together.
    ///
    /// # Panics
    /// If there are more than [`RECEIVES_MAX`].
    pub fn posted_group(&mut self, announces: &[Announce]) -> &[u8] {
        assert!(announces.len() <= RECEIVES_MAX as usize, "a group is as long as the frames can say");
        announces.iter().for_each(|announce| self.hold(*announce));
        self.due(STARVING)
    }

    fn hold(&mut self, announce: Announce) {
        self.held[self.held_count] = announce;
        self.held_count += 1;
        self.done = self.done.max(announce.done);
    }

    /// Notes that a message's first bytes came and that `done` receives are finished; returns the bytes to
    /// write now.
    ///
    /// `short` tells whether the message could come without an announcement.
    pub fn begun(&mut self, seq: u64, short: bool, done: u64) -> &[u8] {
        self.begun += 1;
        self.done = self.done.max(done);
        match self.newest {
            Some(newest) if seq <= newest => {
                if seq == newest && !short {
                    self.short_in_a_row = 0;
                }
            }
            newest => {
                let follows = newest.is_some_and(|newest| newest + 1 == seq);
                self.short_in_a_row = match (short, follows) {
                    (true, true) => self.short_in_a_row + 1,
                    (true, false) => 1,
                    (false, _) => 0,
                };
                self.newest = Some(seq);
            }
        }
        self.due(LOW_WATER)
    }

    /// Notes that the sender waits for the announcement of this receive, and returns the bytes to write now.
    pub fn wanted(&mut self, seq: u64) -> &[u8] {
        if self.newest.is_none_or(|newest| newest <= seq) {
            self.newest = Some(seq);
            self.short_in_a_row = 0;
        }
        self.flush()
    }

    fn due(&mut self, low_water: u64) -> &[u8] {
        let is_quiet = self.places > 0 && self.short_in_a_row >= IN_A_ROW;
        let is_due = if is_quiet {
            // The sender's credit as it knows it, and as it would be after a write.
            let known = self.told.max(self.told_done + self.places);
            let posted = self.told + self.held_count as u64;
            let gain = posted.max(self.done + self.places) - known;
            gain > 0 && (gain >= self.places.div_ceil(2) || known <= self.begun)
        } else {
            self.held_count >= BATCH || self.told.saturating_sub(self.begun) < low_water
        };
        if is_due { self.flush() } else { &[] }
    }

    fn flush(&mut self) -> &[u8] {
        if self.held_count == 0 {
            return &[];
        }
        for (announce, frame) in
            self.held[..self.held_count].iter().zip(self.frames.chunks_exact_mut(Control::BYTES))
        {
            frame.copy_from_slice(&Control::Announce(Announce { done: self.done, ..*announce }).encode());
        }
        self.told += self.held_count as u64;
        self.told_done = self.done;
        &self.frames[..std::mem::take(&mut self.held_count) * Control::BYTES]
    }
}

/// Announcements that go out together.
const BATCH: usize = 4;
/// The announced receives that the sender has left at least while messages arrive: 6 chunks of 512 KiB are 3
/// MiB ahead of its sockets.
const LOW_WATER: u64 = 6;
/// The announced receives that the sender has left at least while receives are posted.
///
/// Not 0, or held announcements would never go out: the match of the last announced receive sends them. Not
/// more than 1, because a write takes 5 µs on the loopback, and NCCL posts for all connections on one thread.
/// At messages of 128 KiB, that thread spent three quarters of its time on such writes.
const STARVING: u64 = 1;
/// Short messages in a row after which announcements are held back.
///
/// The last chunk of each operation may be short: it alone must not cost the next operation a `Want`.
const IN_A_ROW: u64 = 4;
/// The most announcements held at a time.
///
/// Prompt, fewer than a batch are held. Quiet, those beyond the sender's credit are fewer than half of the
/// places. Its credit is at most all places ahead of the announced receives, so at most twice the places are
/// held. A post of one receive comes on top; a group too, but its connection has no places.
const HELD: usize = 2 * EAGER_PLACES_MAX as usize + BATCH;
const _: () = assert!(HELD <= SLOTS_MAX as usize && HELD >= BATCH + RECEIVES_MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    const fn announce(seq: u64, done: u64) -> Announce {
        Announce { seq, capacity: 100, inline_bytes: 100, done, mark: None }
    }

    fn seqs(frames: &[u8]) -> Vec<(u64, u64)> {
        let (frames, rest) = frames.as_chunks();
        assert!(rest.is_empty());
        let seq = |frame: &[u8; Control::BYTES]| match Control::decode(frame) {
            Ok(Control::Announce(announce)) => (announce.seq, announce.done),
            other => panic!("{other:?}"),
        };
        frames.iter().map(seq).collect()
    }

    /// Runs rounds of one short message each, as of an all_reduce of 8 bytes, and returns the number of
    /// writes.
    fn rounds(announcer: &mut Announcer, seqs: std::ops::Range<u64>) -> usize {
        let mut writes = 0;
        for seq in seqs {
            writes += usize::from(!announcer.posted(announce(seq, seq)).is_empty());
            writes += usize::from(!announcer.begun(seq, true, seq).is_empty());
        }
        writes
    }

    #[test]
    fn without_places_every_message_of_a_ping_pong_is_announced() {
        assert_eq!(rounds(&mut Announcer::new(0), 0..100), 100);
    }

    #[test]
    fn with_places_one_write_does_for_four() {
        let mut announcer = Announcer::new(8);
        assert_eq!(rounds(&mut announcer, 0..4), 4, "prompt at first");
        assert!((20..=25).contains(&rounds(&mut announcer, 4..100)));
    }

    #[test]
    fn who_wants_is_told_at_once_and_promptly_from_then_on() {
        let mut announcer = Announcer::new(8);
        rounds(&mut announcer, 0..5);
        assert_eq!(seqs(announcer.posted(announce(5, 5))), []);
        let told = seqs(announcer.wanted(5));
        assert_eq!(told.last(), Some(&(5, 5)));
        assert_eq!(seqs(announcer.begun(5, false, 5)), []);
        assert_eq!(seqs(announcer.posted(announce(6, 6))), [(6, 6)]);
    }

    #[test]
    fn a_want_that_overtakes_short_messages_outlasts_them() {
        let mut announcer = Announcer::new(8);
        assert_eq!(seqs(announcer.wanted(6)), []);
        rounds(&mut announcer, 0..6);
        assert_eq!(seqs(announcer.posted(announce(6, 6))), [(6, 6)]);
    }

    #[test]
    fn any_number_may_be_wanted() {
        let mut announcer = Announcer::new(8);
        assert_eq!(seqs(announcer.wanted(u64::MAX)), []);
        assert_eq!(rounds(&mut announcer, 0..20), 20, "prompt for ever, as it asked");
    }
}
