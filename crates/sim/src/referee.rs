//! The rules once more, in another form: each frame and each segment that an end accepts is judged here too.
//!
//! The referee sees all that an end has accepted, and keeps all of it. So its rules are simpler than those of
//! the end, which keeps a window.

use gputcp_proto::{
    connection,
    frame::{Announce, Control, SegmentHeader},
};

use crate::{clock::Clock, faults::Party};

/// All that one end has accepted.
pub(crate) struct Referee {
    party: Party,
    agreed: connection::Settings,
    /// The capacities of the receives that were posted here, and whether each is finished.
    receives: Vec<(u64, bool)>,
    /// The segments that have begun: number, first byte and end.
    segments: Vec<(u64, u64, u64)>,
    shorts: Vec<u64>,
    announced: u64,
    is_goodbye_heard: bool,
    /// The messages that came before their receives.
    pub(crate) early: u64,
}

impl Referee {
    pub(crate) fn new(party: Party, agreed: connection::Settings) -> Self {
        let (receives, segments, shorts) = (vec![], vec![], vec![]);
        Self { party, agreed, receives, segments, shorts, announced: 0, is_goodbye_heard: false, early: 0 }
    }

    pub(crate) fn posted(&mut self, capacity: u64) {
        self.receives.push((capacity, false));
    }

    pub(crate) fn finished(&mut self, seq: u64) {
        self.receives[seq as usize].1 = true;
    }

    /// Judges a frame that was accepted.
    pub(crate) fn frame(&mut self, clock: &mut Clock, frame: &Control) {
        let is_right = match *frame {
            Control::Announce(announce) => self.announce(&announce),
            Control::Inline { seq, bytes } => self.short(seq, bytes.into()),
            Control::Want { .. } => self.party == Party::Receiver && !self.is_goodbye_heard,
            Control::Goodbye => !std::mem::replace(&mut self.is_goodbye_heard, true),
            Control::Ping | Control::Pong | Control::Abort { .. } => true,
        };
        let party = self.party;
        clock.demand(is_right, || format!("{party:?} accepts {frame:?}, against the rules"));
    }

    fn announce(&mut self, announce: &Announce) -> bool {
        let Announce { seq, capacity, inline_bytes, done, mark } = *announce;
        let is_next = seq == self.announced;
        self.announced += 1;
        let agreed = &self.agreed;
        is_next
            && self.party == Party::Sender
            && seq < done + agreed.peer_depth as u64
            && u64::from(inline_bytes) <= agreed.inline_bytes.min(capacity)
            && mark.is_some() == (agreed.max_receives > 1)
    }

    fn short(&mut self, seq: u64, bytes: u64) -> bool {
        let is_new = !self.shorts.contains(&seq) && !self.segments.iter().any(|segment| segment.0 == seq);
        self.shorts.push(seq);
        let fits = match self.receives.get(seq as usize) {
            Some((capacity, is_finished)) => !is_finished && bytes <= self.agreed.inline_bytes.min(*capacity),
            None => {
                self.early += 1;
                let open =
                    seq - self.receives.iter().take_while(|(_, is_finished)| *is_finished).count() as u64;
                open < self.agreed.eager_places as u64 && bytes <= self.agreed.eager_bytes
            }
        };
        is_new && fits && self.party == Party::Receiver && !self.is_goodbye_heard
    }

    /// Judges a segment that was accepted.
    pub(crate) fn segment(&mut self, clock: &mut Clock, header: &SegmentHeader) {
        let SegmentHeader { seq, offset, total, bytes } = *header;
        let end = offset + u64::from(bytes);
        let overlaps = |other: &(u64, u64, u64)| other.0 == seq && offset < other.2 && other.1 < end;
        let is_new = !self.segments.iter().any(overlaps) && !self.shorts.contains(&seq);
        let is_asked =
            self.receives.get(seq as usize).is_some_and(|(capacity, done)| !done && total <= *capacity);
        self.segments.push((seq, offset, end));
        clock.demand(is_new && is_asked && end <= total, || {
            format!("the receiver accepts {header:?}, against the rules")
        });
    }
}
