//! Messages of every kind are posted, announced, dealt, written, landed and finished in any order over
//! several sockets.

use std::collections::{BTreeSet, VecDeque};

use gputcp_proto::{
    announce::Announcer,
    frame::{Control, SegmentHeader},
    recv::{Early, InPlace, Landing, RecvSide, Unfinished},
    send::{Carrier, Segment, SendSide},
    window::Slot,
};
use proptest::prelude::*;

const STEP: u64 = 4096;
const INLINE: u64 = 512;
const EAGER: u64 = 200;

/// The parameters and the messages of a connection.
#[derive(Debug, Clone)]
struct Plan {
    messages: Vec<Message>,
    sockets: usize,
    piece_bytes: u64,
    eager_places: usize,
    send_depth: usize,
    recv_depth: usize,
    picks: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Message {
    bytes: u64,
    /// The bytes that the receive takes beyond the message.
    spare: u64,
    source_on_host: bool,
    destination_on_host: bool,
}

struct Exchange<'a, const N: usize> {
    plan: &'a Plan,
    send: SendSide<N>,
    sends: VecDeque<Slot>,
    posted: usize,
    dealt: Vec<VecDeque<Segment>>,
    wires: Vec<VecDeque<[u8; SegmentHeader::BYTES]>>,
    control: VecDeque<[u8; Control::BYTES]>,
    announcer: Announcer,
    announcements: VecDeque<[u8; Control::BYTES]>,
    /// A message that is being read to an eager place.
    early: Option<Early>,
    recv: RecvSide<N>,
    receives: VecDeque<Slot>,
    asked: usize,
    reading: Vec<Option<InPlace>>,
    begun: BTreeSet<u64>,
    dealt_bytes: u64,
    landed_bytes: u64,
    sent: Vec<u64>,
    received: Vec<u64>,
}

/// Runs the plan: the picks decide the first steps, then each part gets its turn until nothing is left.
fn exchange<const N: usize>(plan: &Plan) -> Result<(), TestCaseError> {
    let mut exchange = Exchange::<N>::new(plan);
    for &pick in &plan.picks {
        exchange.step(pick)?;
    }
    for turn in 0.. {
        if exchange.received.len() == plan.messages.len() && exchange.sent.len() == plan.messages.len() {
            break;
        }
        prop_assert!(turn < 200_000, "stuck: {} of {}", exchange.received.len(), plan.messages.len());
        exchange.step((turn % 251) as u8)?;
    }
    exchange.reconcile()
}

impl<'a, const N: usize> Exchange<'a, N> {
    fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            send: SendSide::new(plan.send_depth, STEP, plan.recv_depth)
                .with_pieces(plan.piece_bytes)
                .with_streams(plan.sockets)
                .with_inline(INLINE)
                .with_eager(plan.eager_places, EAGER),
            sends: VecDeque::new(),
            posted: 0,
            dealt: (0..plan.sockets).map(|_| VecDeque::new()).collect(),
            wires: vec![VecDeque::new(); plan.sockets],
            control: VecDeque::new(),
            announcer: Announcer::new(plan.eager_places),
            announcements: VecDeque::new(),
            early: None,
            recv: RecvSide::new(plan.recv_depth, STEP, INLINE)
                .with_pieces(plan.piece_bytes)
                .with_eager(plan.eager_places, EAGER),
            receives: VecDeque::new(),
            asked: 0,
            reading: (0..plan.sockets).map(|_| None).collect(),
            begun: BTreeSet::new(),
            dealt_bytes: 0,
            landed_bytes: 0,
            sent: vec![],
            received: vec![],
        }
    }

    /// Tries one step; it may be impossible now.
    fn step(&mut self, pick: u8) -> Result<(), TestCaseError> {
        let socket = usize::from(pick / 10) % self.plan.sockets;
        match pick % 10 {
            0 => self.post_send(),
            1 => self.post_receive(),
            2 => {
                let Some(frame) = self.announcements.pop_front() else { return Ok(()) };
                let Ok(Control::Announce(announce)) = Control::decode(&frame) else { panic!("{frame:?}") };
                prop_assert_eq!(self.send.announced(&announce), Ok(()));
            }
            3 if pick < 40 => self.deal(socket, Carrier::Any)?,
            3 => self.deal(socket, Carrier::Stream(socket))?,
            4 => self.deal(socket, Carrier::Control)?,
            5 => self.write(socket),
            6 => self.begin(socket)?,
            7 => self.advance(socket, u64::from(pick) * 40),
            8 => self.read_control()?,
            // The sends and receives finish in any order: the oldest first, or the newest.
            _ if pick >= 128 => self.finish()?,
            _ => {
                self.sends.rotate_left(usize::from(!self.sends.is_empty()));
                self.receives.rotate_left(usize::from(!self.receives.is_empty()));
                self.finish()?;
            }
        }
        prop_assert!(self.send.in_flight() <= self.plan.send_depth);
        prop_assert!(self.recv.in_flight() <= self.plan.recv_depth);
        prop_assert!(self.landed_bytes <= self.dealt_bytes, "nothing lands that was not sent");
        Ok(())
    }

    fn post_send(&mut self) {
        let Some(message) = self.plan.messages.get(self.posted) else { return };
        if let Some(slot) = self.send.post(message.bytes, message.source_on_host) {
            self.posted += 1;
            self.sends.push_back(slot);
        }
        self.want();
    }

    /// Asks for a held announcement. Called after each step that may move the cursor.
    fn want(&mut self) {
        if let Some(seq) = self.send.to_want() {
            self.control.push_back(Control::Want { seq }.encode());
        }
    }

    fn post_receive(&mut self) {
        let Some(message) = self.plan.messages.get(self.asked) else { return };
        let posted = self.recv.post(message.bytes + message.spare, message.destination_on_host);
        if let Some((slot, announce)) = posted {
            self.asked += 1;
            let early = self.recv.take_early(&slot).expect("every receive is long enough");
            self.receives.push_back(slot);
            self.announcements.extend(self.announcer.posted(announce).as_chunks().0);
            if let Some((_, landing)) = early {
                self.land(landing);
            }
        }
    }

    fn deal(&mut self, socket: usize, carrier: Carrier) -> Result<(), TestCaseError> {
        let ready = self.send.is_ready();
        for slot in &self.sends {
            prop_assert_eq!(self.send.is_begun(slot), self.begun.contains(&slot.seq().wire()));
        }
        let Some(segment) = self.send.deal(carrier).expect("every receive is long enough") else {
            prop_assert!(!ready || carrier != Carrier::Any);
            return Ok(());
        };
        prop_assert!(ready);
        self.begun.insert(segment.seq());
        self.dealt_bytes += segment.bytes();
        let message = &self.plan.messages[segment.seq() as usize];
        let both_on_host = message.source_on_host && message.destination_on_host;
        let inline = message.bytes == 0 || (both_on_host && message.bytes <= INLINE);
        // Every receive takes short messages where there are eager places.
        prop_assert_eq!(segment.is_inline(), inline);
        prop_assert!(inline || carrier != Carrier::Control);
        let ends = segment.offset() + segment.bytes() == message.bytes;
        prop_assert!(inline || ends || segment.bytes() % self.plan.piece_bytes == 0);
        prop_assert!(inline || segment.bytes() <= STEP);
        self.dealt[socket].push_back(segment);
        self.want();
        Ok(())
    }

    fn write(&mut self, socket: usize) {
        let Some(segment) = self.dealt[socket].pop_front() else { return };
        if segment.is_inline() {
            let frame = Control::Inline { seq: segment.seq(), bytes: segment.bytes() as u32 };
            self.control.push_back(frame.encode());
        } else {
            self.wires[socket].push_back(segment.header().encode());
        }
        self.send.written(segment);
    }

    fn begin(&mut self, socket: usize) -> Result<(), TestCaseError> {
        if self.reading[socket].is_some() {
            return Ok(());
        }
        let Some(header) = self.wires[socket].pop_front() else { return Ok(()) };
        let landing = SegmentHeader::decode(&header).and_then(|header| self.recv.begin(&header));
        prop_assert!(landing.is_ok(), "{:?}", landing);
        if let Some((0, seq)) = landing.as_ref().ok().map(|landing| (landing.offset(), landing.seq())) {
            let frames = self.announcer.begun(seq, false, self.recv.done());
            self.announcements.extend(frames.as_chunks().0);
        }
        self.reading[socket] = landing.ok().map(InPlace::new);
        Ok(())
    }

    fn advance(&mut self, socket: usize, at_most: u64) {
        let Some(reading) = self.reading[socket].take() else { return };
        let got = at_most.min(reading.missing());
        self.landed_bytes += got;
        match reading.advance(got) {
            Ok(placed) => _ = self.recv.place(placed),
            Err(reading) => self.reading[socket] = Some(reading),
        }
    }

    fn read_control(&mut self) -> Result<(), TestCaseError> {
        if let Some(early) = self.early.take() {
            let landing = self.recv.early_is_whole(early).expect("every receive is long enough");
            landing.into_iter().for_each(|landing| self.land(landing));
            return Ok(());
        }
        let Some(frame) = self.control.pop_front() else { return Ok(()) };
        let (seq, bytes) = match Control::decode(&frame) {
            Ok(Control::Inline { seq, bytes }) => (seq, u64::from(bytes)),
            Ok(Control::Want { seq }) => {
                self.announcements.extend(self.announcer.wanted(seq).as_chunks().0);
                return Ok(());
            }
            other => panic!("{other:?}"),
        };
        let early = self.recv.begin_early(seq, bytes);
        prop_assert!(early.is_ok(), "{:?}", early);
        self.early = early.unwrap_or_default();
        if self.early.is_none() {
            let landing = self.recv.begin_inline(seq, bytes);
            prop_assert!(landing.is_ok(), "{:?}", landing);
            landing.into_iter().for_each(|landing| self.land(landing));
        }
        let frames = self.announcer.begun(seq, bytes <= EAGER, self.recv.done());
        self.announcements.extend(frames.as_chunks().0);
        Ok(())
    }

    fn land(&mut self, landing: Landing) {
        let bytes = landing.bytes();
        self.landed_bytes += bytes;
        let placed = InPlace::new(landing).advance(bytes).expect("the whole message is there");
        self.recv.place(placed);
    }

    fn finish(&mut self) -> Result<(), TestCaseError> {
        if let Some(slot) = self.sends.pop_back() {
            let (seq, complete) = (slot.seq().wire(), self.send.is_complete(&slot));
            match self.send.finish(slot) {
                Ok(sent) => {
                    prop_assert!(complete);
                    prop_assert_eq!(sent.bytes, self.plan.messages[seq as usize].bytes);
                    self.sent.push(seq);
                }
                Err(slot) => {
                    prop_assert!(!complete);
                    self.sends.push_back(slot);
                }
            }
        }
        if let Some(slot) = self.receives.pop_back() {
            let (seq, complete) = (slot.seq().wire(), self.recv.is_complete(&slot));
            match self.recv.finish(slot) {
                Ok(received) => {
                    prop_assert!(complete);
                    prop_assert_eq!(received.bytes, self.plan.messages[seq as usize].bytes);
                    self.received.push(seq);
                }
                Err(Unfinished::Never(slot)) => prop_assert!(false, "{:?} is lost", slot),
                Err(Unfinished::NotYet(slot)) => {
                    prop_assert!(!complete);
                    self.receives.push_back(slot);
                }
            }
        }
        Ok(())
    }

    fn reconcile(mut self) -> Result<(), TestCaseError> {
        let asked: u64 = self.plan.messages.iter().map(|message| message.bytes).sum();
        prop_assert_eq!((self.dealt_bytes, self.landed_bytes), (asked, asked), "sent = landed = asked for");
        prop_assert_eq!((self.send.in_flight(), self.recv.in_flight()), (0, 0));
        prop_assert!(self.wires.iter().all(VecDeque::is_empty) && self.control.is_empty());
        let each_once: Vec<_> = (0..self.plan.messages.len() as u64).collect();
        self.sent.sort_unstable();
        self.received.sort_unstable();
        prop_assert_eq!(&self.sent, &each_once);
        prop_assert_eq!(&self.received, &each_once);
        Ok(())
    }
}

fn any_message() -> impl Strategy<Value = Message> {
    let bytes =
        prop_oneof![Just(0), 1..=INLINE, INLINE..=STEP, STEP..20 * STEP, (1..8u64).prop_map(|n| n * STEP)];
    let spare = prop_oneof![Just(0), 0..10 * STEP];
    (bytes, spare, any::<bool>(), any::<bool>()).prop_map(
        |(bytes, spare, source_on_host, destination_on_host)| Message {
            bytes,
            spare,
            source_on_host,
            destination_on_host,
        },
    )
}

fn on_host_if(places: bool, messages: Vec<Message>) -> Vec<Message> {
    let on_host =
        |message: Message| Message { destination_on_host: places || message.destination_on_host, ..message };
    messages.into_iter().map(on_host).collect()
}

fn any_plan(slots: usize) -> impl Strategy<Value = Plan> {
    let messages = prop::collection::vec(any_message(), 1..4 * slots);
    (
        messages,
        (1..=4usize, 256..=STEP, 0..=8usize),
        1..=slots,
        1..=slots,
        prop::collection::vec(any::<u8>(), 0..3000),
    )
        .prop_map(|(messages, (sockets, piece_bytes, places), send_depth, recv_depth, picks)| Plan {
            // A place takes messages that its receive may not take inline, so those are asked of a receiver
            // of host memory.
            messages: on_host_if(places > 0, messages),
            eager_places: places,
            sockets,
            piece_bytes,
            send_depth,
            recv_depth,
            picks,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn sent_is_landed_is_placed_with_16_slots(plan in any_plan(16)) {
        exchange::<16>(&plan)?;
    }

    #[test]
    fn sent_is_landed_is_placed_with_32_slots(plan in any_plan(32)) {
        exchange::<32>(&plan)?;
    }
}
