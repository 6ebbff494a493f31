//! A sender's rules against a receiver that announces anything.

use std::collections::VecDeque;

use gputcp_fuzz::{Counts, Rng, mutate, near, run};
use gputcp_proto::{
    frame::{Announce, Control, INLINE_BYTES_MAX, Mark, RECEIVES_MAX, STREAMS_MAX},
    plan::{MESSAGE_BYTES_MAX, SegmentPlan},
    send::{Carrier, Segment, SendSide},
    window::Slot,
};

const N: usize = 32;

#[test]
fn nothing_is_sent_that_was_not_agreed_on() {
    let counts = run("sender", |random, counts| Case::new(random).play(random, counts));
    assert!(counts.of("announcements refused") > 0 && counts.of("segments") > 0);
}

/// A connection, and the model of the frames that its peer may send.
struct Case {
    side: SendSide<N>,
    plan: SegmentPlan,
    streams: usize,
    peer_slots: u64,
    inline_bytes: u64,
    eager: (u64, u64),
    /// The longest group that was agreed on; `None` if receives are not grouped.
    groups: Option<u16>,
    /// The announcements that were accepted, by sequence number.
    announced: Vec<Announce>,
    done: u64,
    sends: Vec<Send>,
    /// Whether all of a message was dealt, by sequence number of the receive.
    dealt: Vec<bool>,
    segments: VecDeque<Segment>,
}

/// A message in flight.
struct Send {
    slot: Slot,
    bytes: u64,
    inline: bool,
    dealt: u64,
    written: u64,
}

impl Case {
    fn new(random: &mut Rng) -> Self {
        let segment_bytes = random.u64(1..=20_000);
        let piece_bytes = random.u64(1..=segment_bytes);
        let most = if random.u8(0..8) == 0 { STREAMS_MAX.into() } else { 4 };
        let streams = random.usize(1..=most);
        let (depth, peer_slots) = (random.usize(1..=N), random.usize(1..=N));
        let inline_bytes = near(random, 1000) % u64::from(INLINE_BYTES_MAX + 1);
        let groups = (random.u8(0..3) == 0).then(|| random.u16(2..=RECEIVES_MAX));
        let eager = match groups {
            None => (random.u64(0..=8), inline_bytes.min(random.u64(0..=2000))),
            Some(_) => (0, 0),
        };
        let mut side = SendSide::new(depth, segment_bytes, peer_slots)
            .with_pieces(piece_bytes)
            .with_streams(streams)
            .with_inline(inline_bytes)
            .with_eager(eager.0 as usize, eager.1);
        if let Some(most) = groups {
            side = side.with_groups(most);
        }
        Self {
            side,
            plan: SegmentPlan::new(segment_bytes).with_pieces(piece_bytes),
            streams,
            peer_slots: peer_slots as u64,
            inline_bytes,
            eager,
            groups,
            announced: vec![],
            done: 0,
            sends: vec![],
            dealt: vec![],
            segments: VecDeque::new(),
        }
    }

    fn play(mut self, random: &mut Rng, counts: &mut Counts) {
        for _ in 0..random.usize(1..400) {
            match random.u8(0..10) {
                0..=2 => self.hear(random, counts),
                3 | 4 => self.post(random),
                5 | 6 => {
                    if !self.deal(random, counts) {
                        return;
                    }
                }
                7 => self.write(random),
                8 => self.finish(random),
                _ => {
                    self.side.set_idle(random.usize(..self.streams), random.bool());
                    if let Some(stream) = self.side.to_wake() {
                        assert!(stream < self.streams);
                    }
                    let _ = self.side.to_want();
                }
            }
        }
    }

    /// Returns the next announcement of an honest peer.
    fn due(&self, random: &mut Rng) -> Announce {
        let seq = self.announced.len() as u64;
        let dealt = self.dealt.iter().skip(self.done as usize).take_while(|dealt| **dealt).count() as u64;
        let capacity = match random.u8(0..4) {
            0 => near(random, MESSAGE_BYTES_MAX),
            1 => random.u64(0..=self.inline_bytes + 1),
            _ => random.u64(0..=100_000),
        };
        let done = random.u64(self.done..=self.done + dealt);
        let inline_bytes = random.u64(0..=self.inline_bytes.min(capacity)) as u32;
        let mark = self.groups.map(|most| {
            let following = match self.following() {
                0 => random.u8(0..most as u8),
                following => following - 1,
            };
            Mark { tag: random.i32(0..3), following }
        });
        Announce { seq, capacity, inline_bytes, done, mark }
    }

    /// Returns how many receives are to follow the last mark in its group.
    fn following(&self) -> u8 {
        self.announced.last().and_then(|announce| announce.mark).map_or(0, |mark| mark.following)
    }

    fn hear(&mut self, random: &mut Rng, counts: &mut Counts) {
        let mut announce = self.due(random);
        if announce.seq >= announce.done + self.peer_slots && random.u8(0..8) > 0 {
            // An honest peer has no slot for it.
            return;
        }
        match random.u8(0..16) {
            0 => announce.seq = near(random, announce.seq),
            1 => announce.capacity = near(random, announce.capacity),
            2 => announce.inline_bytes = near(random, self.inline_bytes) as u32,
            3 => announce.done = near(random, announce.done),
            4 => announce.mark = announce.mark.xor(Some(Mark { tag: 0, following: 0 })),
            5 => {
                if let Some(mark) = &mut announce.mark {
                    mark.following = near(random, mark.following.into()) as u8;
                }
            }
            6 => {
                let mut bytes = Control::Announce(announce).encode();
                mutate(random, &mut bytes);
                let Ok(Control::Announce(changed)) = Control::decode(&bytes) else { return };
                announce = changed;
            }
            _ => {}
        }
        let before = (random.u8(0..32) == 0).then(|| format!("{:?}", self.side));
        let accepted = self.side.announced(&announce);
        counts.one("announcements");
        assert_eq!(accepted.is_ok(), self.is_right(&announce), "{announce:?}: {accepted:?}");
        if accepted.is_ok() {
            self.announced.push(announce);
            self.done = announce.done;
        } else {
            counts.one("announcements refused");
            if let Some(before) = before {
                assert_eq!(before, format!("{:?}", self.side), "a refused announcement changes nothing");
            }
        }
    }

    /// Applies the rules once more, as plainly as can be.
    fn is_right(&self, announce: &Announce) -> bool {
        let Announce { seq, capacity, inline_bytes, done, mark } = *announce;
        let group = match (self.groups, mark) {
            (None, None) => true,
            (Some(most), Some(mark)) => match self.following() {
                0 => u16::from(mark.following) < most,
                following => mark.following == following - 1,
            },
            _ => false,
        };
        seq == self.announced.len() as u64
            && done >= self.done
            && (self.done..done).all(|seq| self.dealt.get(seq as usize) == Some(&true))
            && seq < done + self.peer_slots
            && u64::from(inline_bytes) <= self.inline_bytes
            && u64::from(inline_bytes) <= capacity
            && group
    }

    fn post(&mut self, random: &mut Rng) {
        let bytes = match random.u8(0..4) {
            0 => 0,
            1 => random.u64(0..=self.inline_bytes),
            2 => random.u64(0..=self.eager.1),
            _ => random.u64(0..=100_000),
        };
        let inline = random.bool();
        let posted = self.side.post_tagged(bytes, inline, random.i32(0..3));
        if let Some(slot) = posted {
            self.sends.push(Send { slot, bytes, inline, dealt: 0, written: 0 });
        }
    }

    /// Deals a segment; false if the connection is over.
    ///
    /// It is over if a message is longer than its receive, which is this side's mistake.
    fn deal(&mut self, random: &mut Rng, counts: &mut Counts) -> bool {
        let carrier = match random.u8(0..4) {
            0 => Carrier::Any,
            1 => Carrier::Control,
            _ => Carrier::Stream(random.usize(..self.streams)),
        };
        let Ok(dealt) = self.side.deal(carrier) else { return false };
        let Some(segment) = dealt else { return true };
        counts.one("segments");
        let index = segment.slot_index();
        let send =
            self.sends.iter_mut().find(|send| send.slot.index() == index && send.dealt < send.bytes.max(1));
        let send = send.expect("a segment is of a message in flight");
        let (seq, bytes, total) = (segment.seq(), segment.bytes(), send.bytes);
        assert_eq!((segment.offset(), segment.header().total), (send.dealt, total));
        assert_eq!(u64::from(segment.header().bytes), bytes);
        match self.announced.get(seq as usize) {
            Some(announce) => {
                assert!(total <= announce.capacity, "{segment:?} to {announce:?}");
                let may = send.inline && total <= announce.inline_bytes.into();
                assert_eq!(segment.is_inline(), may || total == 0);
            }
            None => {
                assert!(segment.is_inline() && (send.inline || total == 0), "{segment:?} is not announced");
                assert!(seq < self.done + self.eager.0 && total <= self.eager.1, "{segment:?} has no place");
            }
        }
        if segment.is_inline() {
            assert!(bytes == total && total <= self.inline_bytes, "{segment:?}");
        } else {
            assert!(bytes > 0 && bytes <= self.plan.longest_of(total), "{segment:?}");
        }
        send.dealt += bytes.max(1);
        if send.dealt >= total {
            let seq = seq as usize;
            self.dealt.resize(self.dealt.len().max(seq + 1), false);
            assert!(!std::mem::replace(&mut self.dealt[seq], true), "{segment:?} is one of a second message");
        }
        self.segments.push_back(segment);
        true
    }

    fn write(&mut self, random: &mut Rng) {
        if self.segments.is_empty() {
            return;
        }
        let segment = self.segments.remove(random.usize(..self.segments.len())).expect("it is there");
        let index = segment.slot_index();
        let send = self.sends.iter_mut().find(|send| send.slot.index() == index).expect("it is in flight");
        send.written += segment.bytes();
        let complete = send.written == send.bytes;
        assert_eq!(self.side.written(segment), complete);
    }

    fn finish(&mut self, random: &mut Rng) {
        if self.sends.is_empty() {
            return;
        }
        let mut send = self.sends.swap_remove(random.usize(..self.sends.len()));
        match self.side.finish(send.slot) {
            Ok(sent) => {
                assert_eq!((sent.bytes, send.written), (send.bytes, send.bytes));
                assert!(send.bytes == 0 || send.dealt == send.bytes);
            }
            Err(slot) => {
                send.slot = slot;
                self.sends.push(send);
            }
        }
    }
}
