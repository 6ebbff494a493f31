//! A receiver's rules, and its announcer, against a sender that says anything.

use std::collections::{BTreeMap, VecDeque};

use gputcp_fuzz::{Counts, Rng, mutate, near, run};
use gputcp_proto::{
    Violation,
    announce::Announcer,
    frame::{Announce, Control, INLINE_BYTES_MAX, Mark, RECEIVES_MAX, SegmentHeader},
    plan::SegmentPlan,
    recv::{Early, InPlace, Landing, RecvSide, Unfinished},
    window::Slot,
};

const N: usize = 32;

#[test]
fn nothing_lands_that_was_not_asked_for() {
    let counts = run("receiver", |random, counts| Case::new(random).play(random, counts));
    assert!(counts.of("landings") > 0 && counts.of("frames refused") > 0);
}

/// A connection, and the model of what has landed.
struct Case {
    side: RecvSide<N>,
    plan: SegmentPlan,
    segment_bytes: u64,
    announcer: Announcer,
    inline_bytes: u64,
    eager: (u64, u64),
    groups: Option<u16>,
    receives: Vec<Receive>,
    /// The number of receives posted, and the number that the announcer has announced.
    posted: u64,
    told: u64,
    landings: Vec<Landing>,
    /// The message on its way to an eager place, as the control socket has one message at a time.
    early: Option<Early>,
    /// Data sockets that the peer has not ended, and whether it has said goodbye.
    streams: usize,
    goodbye: bool,
    over: bool,
}

/// A receive in flight.
struct Receive {
    slot: Slot,
    capacity: u64,
    inline_bytes: u64,
    /// The message's length as the peer means it, and the pieces that are not sent.
    total: u64,
    left: VecDeque<u64>,
    /// The landings: the start of each, and its length.
    landed: BTreeMap<u64, u64>,
    placed: u64,
}

impl Case {
    fn new(random: &mut Rng) -> Self {
        let segment_bytes = random.u64(1..=20_000);
        let piece_bytes = random.u64(1..=segment_bytes);
        let inline_bytes = near(random, 1000) % u64::from(INLINE_BYTES_MAX + 1);
        let groups = (random.u8(0..4) == 0).then(|| random.u16(2..=RECEIVES_MAX));
        let eager = match groups {
            None => (random.u64(0..=8), inline_bytes.min(random.u64(0..=2000))),
            Some(_) => (0, 0),
        };
        let side = RecvSide::new(random.usize(1..=N), segment_bytes, inline_bytes);
        let streams = random.usize(1..4);
        Self {
            side: side.with_pieces(piece_bytes).with_eager(eager.0 as usize, eager.1).with_streams(streams),
            plan: SegmentPlan::new(segment_bytes).with_pieces(piece_bytes),
            segment_bytes,
            announcer: Announcer::new(eager.0 as usize),
            inline_bytes,
            eager,
            groups,
            receives: vec![],
            posted: 0,
            told: 0,
            landings: vec![],
            early: None,
            streams,
            goodbye: false,
            over: false,
        }
    }

    fn play(mut self, random: &mut Rng, counts: &mut Counts) {
        for _ in 0..random.usize(1..400) {
            match random.u8(0..10) {
                0 | 1 => self.post(random, counts),
                2 | 3 => self.hear_segment(random, counts),
                4 => self.hear_inline(random, counts),
                5 | 6 => self.place(random),
                7 | 8 => self.finish(random),
                _ => {
                    let seq = near(random, self.posted);
                    let frames = self.announcer.wanted(seq).to_vec();
                    self.tell(&frames);
                    self.end(random);
                }
            }
            if self.over {
                return;
            }
        }
    }

    fn post(&mut self, random: &mut Rng, counts: &mut Counts) {
        let count = self.groups.map_or(1, |most| random.u16(1..=most));
        if !self.side.has_room_for(count.into()) {
            return;
        }
        let mut announces: Vec<Announce> = vec![];
        for following in (0..count as u8).rev() {
            let capacity = match random.u8(0..6) {
                0 => 0,
                1 => random.u64(0..=self.inline_bytes),
                2 => near(random, 1 << 40),
                _ => random.u64(0..=100_000),
            };
            let (slot, announce) = self.side.post(capacity, random.bool()).expect("there is room");
            assert!(u64::from(announce.inline_bytes) <= self.inline_bytes.min(capacity));
            let total = random.u64(0..=capacity.min(100_000));
            let pieces = total.div_ceil(self.plan.piece_of(total));
            let inline_bytes = announce.inline_bytes.into();
            let (landed, placed) = (BTreeMap::new(), 0);
            self.receives.push(Receive {
                slot,
                capacity,
                inline_bytes,
                total,
                left: (0..pieces).collect(),
                landed,
                placed,
            });
            self.posted += 1;
            announces.push(Announce {
                mark: self.groups.map(|_| Mark { tag: random.i32(0..3), following }),
                ..announce
            });
        }
        let frames = match *announces {
            [announce] => self.announcer.posted(announce).to_vec(),
            _ => self.announcer.posted_group(&announces).to_vec(),
        };
        self.tell(&frames);
        if self.groups.is_none() {
            let receive = self.receives.last().expect("it was just posted");
            match self.side.take_early(&receive.slot) {
                Ok(None) => {}
                Ok(Some((place, landing))) => {
                    assert!((place as u64) < self.eager.0);
                    self.landed(landing, counts);
                }
                Err(_) => self.over = true,
            }
        }
    }

    /// Takes the announcer's frames: the receives in order, each once.
    fn tell(&mut self, frames: &[u8]) {
        let (frames, rest) = frames.as_chunks();
        assert!(rest.is_empty());
        for frame in frames {
            match Control::decode(frame) {
                Ok(Control::Announce(announce)) => {
                    assert_eq!(announce.seq, self.told);
                    assert!(announce.done <= self.side.done());
                }
                other => panic!("{other:?}"),
            }
            self.told += 1;
        }
        assert!(self.told <= self.posted);
    }

    /// Rarely, an end of the peer's: as the transport does, nothing more is heard there.
    fn end(&mut self, random: &mut Rng) {
        match random.u8(0..12) {
            0 if self.early.is_none() => {
                self.side.goodbye();
                self.goodbye = true;
            }
            1 if self.streams > 0 => {
                self.side.stream_ended();
                self.streams -= 1;
            }
            _ => {}
        }
    }

    fn hear_segment(&mut self, random: &mut Rng, counts: &mut Counts) {
        if self.streams == 0 {
            return;
        }
        let mut header = self.due(random);
        match random.u8(0..12) {
            0 => header.seq = near(random, header.seq),
            1 => header.offset = near(random, header.offset),
            2 => header.total = near(random, header.total),
            3 => header.bytes = near(random, header.bytes.into()) as u32,
            4 => {
                let mut bytes = header.encode();
                mutate(random, &mut bytes);
                let Ok(changed) = SegmentHeader::decode(&bytes) else { return };
                header = changed;
            }
            _ => {}
        }
        counts.one("frames");
        match self.side.begin(&header) {
            Ok(landing) => {
                assert!(landing.bytes() > 0 && landing.bytes() <= self.plan.longest_of(header.total));
                assert_eq!((landing.seq(), landing.offset()), (header.seq, header.offset));
                if landing.offset() == 0 {
                    let frames = self.announcer.begun(landing.seq(), false, self.side.done()).to_vec();
                    self.tell(&frames);
                }
                self.landed(landing, counts);
            }
            Err(_) => counts.one("frames refused"),
        }
    }

    /// Returns a segment that may come, if one may.
    fn due(&mut self, random: &mut Rng) -> SegmentHeader {
        let open = |receive: &Receive| !receive.left.is_empty();
        let open = self.receives.iter().enumerate().filter(|(_, receive)| open(receive)).map(|(at, _)| at);
        let Some(at) = random.choice(open.collect::<Vec<_>>()) else {
            return SegmentHeader { seq: self.posted, offset: 0, total: 10, bytes: 10 };
        };
        let receive = &mut self.receives[at];
        let (seq, total) = (receive.slot.seq().wire(), receive.total);
        let piece = self.plan.piece_of(total);
        let Some(first) = receive.left.pop_front() else {
            return SegmentHeader { seq, offset: 0, total, bytes: self.segment_bytes as u32 };
        };
        // The segment has as many pieces as fit, or fewer.
        let most = self.plan.longest_of(total) / piece;
        let mut last = first;
        while receive.left.front() == Some(&(last + 1)) && last - first + 1 < most && random.bool() {
            receive.left.pop_front();
            last += 1;
        }
        if random.u8(0..4) == 0 {
            receive.left.rotate_left(1.min(receive.left.len()));
        }
        let offset = first * piece;
        let bytes = ((last + 1) * piece).min(total) - offset;
        SegmentHeader { seq, offset, total, bytes: bytes as u32 }
    }

    fn hear_inline(&mut self, random: &mut Rng, counts: &mut Counts) {
        if self.goodbye {
            return;
        }
        if let Some(early) = self.early.take() {
            match self.side.early_is_whole(early) {
                Ok(None) => {}
                Ok(Some(landing)) => self.landed(landing, counts),
                Err(_) => self.over = true,
            }
            return;
        }
        let receive = (!self.receives.is_empty()).then(|| random.usize(..self.receives.len()));
        let receive = receive.filter(|_| random.bool()).map(|at| &self.receives[at]);
        let (seq, most) = match receive {
            Some(receive) => (receive.slot.seq().wire(), receive.inline_bytes),
            None => (self.posted + random.u64(0..=self.eager.0), self.eager.1),
        };
        let mut frame = Control::Inline { seq, bytes: random.u64(0..=most) as u32 };
        match random.u8(0..12) {
            0 => frame = Control::Inline { seq: near(random, seq), bytes: most as u32 },
            1 => frame = Control::Inline { seq, bytes: near(random, most) as u32 },
            2 => {
                let mut bytes = frame.encode();
                mutate(random, &mut bytes);
                frame = Control::decode(&bytes).unwrap_or(frame);
            }
            _ => {}
        }
        let Control::Inline { seq, bytes } = frame else { return };
        counts.one("frames");
        // The calls of the control socket's reader.
        let begun = match self.side.begin_early(seq, bytes.into()) {
            Ok(Some(early)) => Ok(Err(early)),
            Ok(None) => self.side.begin_inline(seq, bytes.into()).map(Ok),
            Err(violation) => Err(violation),
        };
        match begun {
            Err(violation) => {
                counts.one("frames refused");
                assert!(
                    !matches!(violation, Violation::Segment { .. } | Violation::Length { .. }),
                    "{violation:?}"
                );
                return;
            }
            Ok(Ok(landing)) => {
                assert!(landing.bytes() <= self.inline_bytes);
                self.landed(landing, counts);
            }
            Ok(Err(early)) => {
                assert!(seq >= self.posted && seq - self.side.done() < self.eager.0);
                assert!(early.bytes() <= self.eager.1 && (early.place() as u64) < self.eager.0);
                self.early = Some(early);
            }
        }
        let short = u64::from(bytes) <= self.eager.1;
        let frames = self.announcer.begun(seq, short, self.side.done()).to_vec();
        self.tell(&frames);
    }

    /// Checks that a landing is within its receive and beside all others.
    fn landed(&mut self, landing: Landing, counts: &mut Counts) {
        counts.one("landings");
        let of_landing = |receive: &&mut Receive| receive.slot.seq().wire() == landing.seq();
        let receive = self.receives.iter_mut().find(of_landing).expect("a landing is of a receive in flight");
        assert_eq!(receive.slot.index(), landing.slot_index());
        let (from, to) = (landing.offset(), landing.offset() + landing.bytes());
        assert!(to <= receive.capacity);
        for (&start, &bytes) in &receive.landed {
            assert!(to <= start || start + bytes <= from, "{landing:?} lands on another");
        }
        if landing.bytes() > 0 {
            receive.landed.insert(from, landing.bytes());
        }
        self.landings.push(landing);
    }

    fn place(&mut self, random: &mut Rng) {
        if self.landings.is_empty() {
            return;
        }
        let landing = self.landings.swap_remove(random.usize(..self.landings.len()));
        let of_landing = |receive: &&mut Receive| receive.slot.seq().wire() == landing.seq();
        let receive = self.receives.iter_mut().find(of_landing).expect("it is not finished before");
        let bytes = landing.bytes();
        receive.placed += bytes;
        let placed = InPlace::new(landing).advance(bytes).expect("all of it is here");
        self.side.place(placed);
    }

    fn finish(&mut self, random: &mut Rng) {
        if self.receives.is_empty() {
            return;
        }
        let mut receive = self.receives.swap_remove(random.usize(..self.receives.len()));
        let seq = receive.slot.seq().wire();
        match self.side.finish(receive.slot) {
            Ok(received) => {
                assert!(received.bytes <= receive.capacity);
                assert_eq!(received.bytes, receive.placed, "received is what was placed");
                assert_eq!(received.bytes, receive.landed.values().sum::<u64>());
                assert!(self.landings.iter().all(|landing| landing.seq() != seq));
            }
            Err(Unfinished::Never(_)) => {
                assert!(self.is_over(), "receive {seq} is called lost, and more can come");
                self.over = true;
            }
            Err(Unfinished::NotYet(slot)) => {
                assert!(!self.is_over(), "receive {seq} is waited for, and nothing more can come");
                receive.slot = slot;
                self.receives.push(receive);
            }
        }
    }

    /// Nothing more can come, and all that came is where it belongs.
    const fn is_over(&self) -> bool {
        self.goodbye && self.streams == 0 && self.landings.is_empty()
    }
}
