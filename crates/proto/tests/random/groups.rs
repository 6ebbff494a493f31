//! Receives in groups, from the post to the finish.
//!
//! The messages of a tag land in the places of that tag, in order. The order of tags in which messages are
//! posted does not matter, nor that in which segments arrive.

use std::collections::{BTreeMap, VecDeque};

use gputcp_proto::{
    announce::Announcer,
    frame::{Announce, Control, Mark, SegmentHeader},
    recv::{InPlace, RecvSide},
    send::{Carrier, Segment, SendSide},
    window::Slot,
};
use proptest::prelude::*;

const STEP: u64 = 4096;
const INLINE: u64 = 512;
const SLOTS: usize = 4;
const MOST: usize = 8;

/// A place, and the message that belongs there.
#[derive(Debug, Clone, Copy)]
struct GroupPart {
    tag: i32,
    bytes: u64,
    spare: u64,
}

struct Exchange {
    groups: VecDeque<Vec<GroupPart>>,
    /// The messages that are not posted yet, by tag.
    messages: BTreeMap<i32, VecDeque<u64>>,
    send: SendSide<{ SLOTS * MOST }>,
    sends: Vec<(Slot, u64)>,
    wire: Vec<Segment>,
    announcer: Announcer,
    announcements: VecDeque<[u8; Control::BYTES]>,
    recv: RecvSide<{ SLOTS * MOST }>,
    receives: Vec<Vec<(Slot, GroupPart)>>,
}

impl Exchange {
    fn new(groups: Vec<Vec<GroupPart>>) -> Self {
        let mut messages: BTreeMap<i32, VecDeque<u64>> = BTreeMap::new();
        for place in groups.iter().flatten() {
            messages.entry(place.tag).or_default().push_back(place.bytes);
        }
        Self {
            groups: groups.into(),
            messages,
            send: SendSide::new(SLOTS * MOST, STEP, SLOTS * MOST)
                .with_streams(1)
                .with_inline(INLINE)
                .with_groups(MOST as u16),
            sends: vec![],
            wire: vec![],
            announcer: Announcer::new(0),
            announcements: VecDeque::new(),
            recv: RecvSide::new(SLOTS * MOST, STEP, INLINE),
            receives: vec![],
        }
    }

    fn post_group(&mut self) {
        let Some(group) = self.groups.front().filter(|group| self.recv.has_room_for(group.len())) else {
            return;
        };
        let mut announces = vec![];
        let mut posted = vec![];
        for (place, following) in group.iter().zip((0..group.len() as u8).rev()) {
            let (slot, announce) = self.recv.post(place.bytes + place.spare, true).unwrap();
            announces.push(Announce { mark: Some(Mark { tag: place.tag, following }), ..announce });
            posted.push((slot, *place));
        }
        self.announcements.extend(self.announcer.posted_group(&announces).as_chunks().0);
        self.receives.push(posted);
        self.groups.pop_front();
    }

    fn post_send(&mut self, pick: usize) {
        let Some((&tag, queue)) = self.messages.iter_mut().nth(pick % 4) else { return };
        let Some(&bytes) = queue.front() else { return };
        if let Some(slot) = self.send.post_tagged(bytes, true, tag) {
            queue.pop_front();
            self.sends.push((slot, bytes));
        }
    }

    fn arrive(&mut self, pick: usize) -> Result<(), TestCaseError> {
        if self.wire.is_empty() {
            return Ok(());
        }
        let segment = self.wire.swap_remove(pick % self.wire.len());
        let SegmentHeader { seq, offset, bytes, .. } = segment.header();
        let landing = if segment.is_inline() {
            self.recv.begin_inline(seq, bytes.into())
        } else {
            self.recv.begin(&segment.header())
        };
        prop_assert!(landing.is_ok(), "{:?}", landing);
        self.send.written(segment);
        let landing = landing.unwrap();
        if offset == 0 {
            let due = self.announcer.begun(seq, false, self.recv.done());
            self.announcements.extend(due.as_chunks().0);
        }
        let whole = landing.bytes();
        self.recv.place(InPlace::new(landing).advance(whole).expect("all of it is here"));
        Ok(())
    }

    fn finish(&mut self) -> Result<(), TestCaseError> {
        if let Some(at) = self.sends.iter().position(|(slot, _)| self.send.is_complete(slot)) {
            let (slot, bytes) = self.sends.swap_remove(at);
            prop_assert_eq!(self.send.finish(slot).unwrap().bytes, bytes);
        }
        let is_done =
            |group: &Vec<(Slot, GroupPart)>| group.iter().all(|(slot, _)| self.recv.is_complete(slot));
        if let Some(at) = self.receives.iter().position(is_done) {
            for (slot, place) in self.receives.swap_remove(at) {
                prop_assert_eq!(self.recv.finish(slot).unwrap().bytes, place.bytes);
            }
        }
        Ok(())
    }

    fn step(&mut self, pick: u16) -> Result<(), TestCaseError> {
        let more = usize::from(pick / 6);
        match pick % 6 {
            0 => self.post_group(),
            1 => self.post_send(more),
            2 => {
                let Some(frame) = self.announcements.pop_front() else { return Ok(()) };
                let Ok(Control::Announce(announce)) = Control::decode(&frame) else { panic!("{frame:?}") };
                prop_assert_eq!(self.send.announced(&announce), Ok(()));
            }
            3 => self.wire.extend(self.send.deal(Carrier::Any).expect("every receive is long enough")),
            4 => self.arrive(more)?,
            _ => self.finish()?,
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.groups.is_empty() && self.receives.is_empty() && self.sends.is_empty()
    }
}

fn any_groups() -> impl Strategy<Value = Vec<Vec<GroupPart>>> {
    let bytes = prop_oneof![Just(0), 1..512u64, 512..5 * STEP];
    let place = (0..4i32, bytes, 0..3 * STEP).prop_map(|(tag, bytes, spare)| GroupPart { tag, bytes, spare });
    prop::collection::vec(prop::collection::vec(place, 1..=MOST), 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn messages_of_a_tag_land_in_its_places_in_order(
        groups in any_groups(),
        picks in prop::collection::vec(any::<u16>(), 0..1500),
    ) {
        let mut exchange = Exchange::new(groups);
        for pick in picks {
            exchange.step(pick)?;
        }
        for turn in 0.. {
            if exchange.is_over() {
                break;
            }
            prop_assert!(turn < 100_000, "stuck");
            exchange.step((turn % 251) as u16)?;
        }
        prop_assert!(exchange.messages.values().all(VecDeque::is_empty));
        prop_assert_eq!((exchange.send.in_flight(), exchange.recv.in_flight()), (0, 0));
    }
}
