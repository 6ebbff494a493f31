//! A live receiver, and a bare sender that sends it anything.

mod regions;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Instant,
};

use gputcp::{Error, GroupRequest, Part, Progress, ReceivedGroup, RecvComm, RecvRequest};
use gputcp_fuzz::{Counts, Rng, mutate, near, run, watch_panics};
use gputcp_proto::{
    frame::{Announce, Control, EAGER_BYTES, Join, SegmentHeader, Welcome},
    plan::SegmentPlan,
};

use self::regions::{RECEIVES, ROOM, Regions, data, region};
use crate::{
    MOMENT, Sockets, bounded,
    common::{listen, soon},
    kind,
    plan::Plan,
};

#[test]
fn no_sender_can_crash_stall_or_fool_a_receiver() {
    watch_panics();
    let counts = run("a live receiver", |random, counts| {
        counts.one("connections");
        bounded(|| Case::new(random).play(random, counts));
    });
    assert!(counts.of("frames") > 0);
}

struct Case {
    plan: Plan,
    cut: SegmentPlan,
    peer: Sockets,
    comm: RecvComm,
    regions: Regions,
    receives: Vec<Receive>,
    open: Vec<Open>,
    /// The messages that were sent before their receives were posted: number and length.
    early: Vec<(u64, u64)>,
    /// The payload that follows a header is what its header says, so what is received can be held against it.
    faithful: bool,
    failed: bool,
}

/// A receive, and what the peer means to send to it.
struct Receive {
    capacity: u64,
    total: u64,
    /// The pieces that are not sent.
    left: Vec<u64>,
    /// It went in one frame.
    whole: bool,
    /// How much was received, once it is.
    received: Option<u64>,
}

/// A request, and the first of its receives.
struct Open {
    request: Option<PeerRequest>,
    first: usize,
}

enum PeerRequest {
    One(RecvRequest),
    Group(GroupRequest),
}

impl Open {
    /// Tests the request, or waits for it for a moment. Returns how much each receive got, once all are
    /// finished. Not called again after an error.
    fn ask(&mut self, comm: &mut RecvComm, wait: bool) -> Result<Option<Vec<u64>>, Error> {
        let lengths = |group: ReceivedGroup| group.parts().iter().map(|part| part.bytes).collect();
        match self.request.take() {
            None => Ok(None),
            Some(PeerRequest::One(request)) if wait => Ok(Some(vec![comm.wait(request, MOMENT)?.bytes])),
            Some(PeerRequest::Group(request)) if wait => Ok(Some(lengths(comm.wait_group(request, MOMENT)?))),
            Some(PeerRequest::One(request)) => Ok(match comm.test(request)? {
                Progress::Done(received) => Some(vec![received.bytes]),
                Progress::NotYet(request) => {
                    self.request = Some(PeerRequest::One(request));
                    None
                }
            }),
            Some(PeerRequest::Group(request)) => Ok(match comm.test_group(request)? {
                Progress::Done(group) => Some(lengths(group)),
                Progress::NotYet(request) => {
                    self.request = Some(PeerRequest::Group(request));
                    None
                }
            }),
        }
    }
}

impl Case {
    fn new(random: &mut Rng) -> Self {
        let plan = Plan::draw(random);
        let (mut listener, handle) = listen(&plan.options);
        let join = plan.join(&handle);
        let sockets = (0..=plan.options.streams).map(|index| {
            let mut socket = TcpStream::connect(handle.address).unwrap();
            socket.write_all(&Join { index, ..join }.encode()).unwrap();
            socket
        });
        let mut sockets: Vec<_> = sockets.collect();
        let comm = listener.accept(soon()).unwrap();
        let mut control = sockets.remove(0);
        control.read_exact(&mut [0; Welcome::BYTES]).unwrap();
        control.set_nonblocking(false).unwrap();
        let regions = Regions::new(plan.place);
        let cut = SegmentPlan::new(join.segment_bytes.into()).with_pieces(join.piece_bytes.into());
        let (receives, open, early) = (vec![], vec![], vec![]);
        let faithful = random.u8(0..4) > 0;
        Self {
            plan,
            cut,
            peer: Sockets::new(control, sockets),
            comm,
            regions,
            receives,
            open,
            early,
            faithful,
            failed: false,
        }
    }

    fn play(mut self, random: &mut Rng, counts: &mut Counts) {
        for _ in 0..random.usize(1..120) {
            match random.u8(0..16) {
                0..=3 => self.post(random, counts),
                4..=7 => self.segment(random, counts),
                8..=10 => self.inline(random, counts),
                11..=13 => self.ask(random, counts),
                14 => self.listen(random),
                _ => self.say_anything(random, counts),
            }
            if self.failed && random.u8(0..8) == 0 {
                break;
            }
        }
        // A message that was sent in full is received, one way or the other.
        for _ in 0..2 * self.open.len() {
            self.ask(random, counts);
        }
        self.end(random, counts);
    }

    fn post(&mut self, random: &mut Rng, counts: &mut Counts) {
        let count = random.usize(1..=self.plan.max_receives().into());
        let first = self.receives.len();
        if first + count > RECEIVES {
            return;
        }
        let capacities: Vec<u64> = (0..count)
            .map(|_| match random.u8(0..5) {
                0 => 0,
                1 => random.u64(0..=self.plan.inline_bytes().min(ROOM)),
                _ => random.u64(0..=ROOM),
            })
            .collect();
        for at in first..first + count {
            self.regions.prepare(at);
        }
        let (tag, memory) = (random.i32(0..3), &self.regions.memory);
        let posted = if count == 1 {
            let posted = self.comm.irecv_tagged(memory, region(first), capacities[0], tag);
            posted.map(|request| request.map(PeerRequest::One))
        } else {
            let part = |(at, &bytes): (usize, &u64)| Part {
                destination: memory,
                offset: region(first + at),
                bytes,
                tag,
            };
            let group: Vec<_> = capacities.iter().enumerate().map(part).collect();
            self.comm.irecv_group(&group).map(|request| request.map(PeerRequest::Group))
        };
        match posted {
            Ok(None) => return,
            Ok(Some(request)) => self.open.push(Open { request: Some(request), first }),
            // It may have been posted all the same, where its message had come and was too long: it is
            // checked at the end.
            Err(error) => self.fail(&error, counts),
        }
        counts.add("receives", count as u64);
        for capacity in capacities {
            let seq = self.receives.len() as u64;
            let early = self.early.iter().find(|(early, _)| *early == seq).map(|(_, bytes)| *bytes);
            let total = early.unwrap_or_else(|| random.u64(0..=capacity));
            let pieces = if early.is_some() { 0 } else { total.div_ceil(self.cut.piece_of(total)) };
            let mut left: Vec<u64> = (0..pieces).collect();
            random.shuffle(&mut left);
            let whole = early.is_some();
            self.receives.push(Receive { capacity, total, left, whole, received: None });
        }
    }

    /// Sends a segment that may come now, or nearly.
    fn segment(&mut self, random: &mut Rng, counts: &mut Counts) {
        let open = |(at, receive): (usize, &Receive)| (!receive.left.is_empty()).then_some(at);
        let open: Vec<usize> = self.receives.iter().enumerate().filter_map(open).collect();
        if open.is_empty() && random.u8(0..40) > 0 {
            return;
        }
        let at = random.choice(open).unwrap_or(self.receives.len());
        let mut header = match self.receives.get_mut(at) {
            None => SegmentHeader { seq: at as u64, offset: 0, total: 10, bytes: 10 },
            Some(Receive { total, left, .. }) => {
                let piece = self.cut.piece_of(*total);
                let offset = left.pop().expect("it is open") * piece;
                SegmentHeader {
                    seq: at as u64,
                    offset,
                    total: *total,
                    bytes: piece.min(*total - offset) as u32,
                }
            }
        };
        let mut bytes = header.encode();
        if random.u8(0..40) == 0 {
            match random.u8(0..6) {
                0 => header.seq = near(random, header.seq),
                1 => header.offset = near(random, header.offset),
                2 => header.total = near(random, header.total),
                3 => header.bytes = near(random, header.bytes.into()) as u32,
                _ => {}
            }
            bytes = header.encode();
            if random.bool() {
                mutate(random, &mut bytes);
            }
        }
        let payload = match SegmentHeader::decode(&bytes) {
            Ok(header) => self.payload(random, header.seq, header.offset, header.bytes),
            Err(_) => vec![],
        };
        let stream = random.usize(..self.peer.data.len());
        self.peer.send(counts, stream, &[&bytes[..], &payload].concat());
    }

    /// Sends a short message that may come now, before its receive or behind it, or nearly.
    fn inline(&mut self, random: &mut Rng, counts: &mut Counts) {
        let inline_bytes = self.plan.inline_bytes();
        let fits = |(at, receive): (usize, &Receive)| {
            let pieces = receive.total.div_ceil(self.cut.piece_of(receive.total));
            let is_new = receive.left.len() as u64 == pieces && !receive.whole;
            (is_new && receive.received.is_none() && receive.total <= inline_bytes).then_some(at)
        };
        let fitting: Vec<usize> = self.receives.iter().enumerate().filter_map(fits).collect();
        let (seq, bytes) = match random.choice(fitting).filter(|_| random.bool()) {
            Some(at) => {
                self.receives[at].left.clear();
                self.receives[at].whole = true;
                (at as u64, self.receives[at].total)
            }
            None => {
                let most = inline_bytes.min(EAGER_BYTES.into()).min(ROOM);
                let bytes = random.u64(0..=most);
                let Some(seq) = self.place(random) else { return };
                self.early.push((seq, bytes));
                (seq, bytes)
            }
        };
        let mut frame = Control::Inline { seq, bytes: bytes as u32 }.encode();
        if random.u8(0..30) == 0 {
            let changed = match random.u8(0..3) {
                0 => Control::Inline { seq: near(random, seq), bytes: bytes as u32 },
                1 => Control::Inline { seq, bytes: near(random, bytes) as u32 },
                _ => Control::Want { seq: near(random, seq) },
            };
            frame = changed.encode();
            if random.bool() {
                mutate(random, &mut frame);
            }
        }
        let payload = match Control::decode(&frame) {
            Ok(Control::Inline { seq, bytes }) => self.payload(random, seq, 0, bytes),
            Ok(Control::Abort { bytes }) => vec![b'x'; bytes as usize],
            _ => vec![],
        };
        self.peer.say(counts, &[&frame[..], &payload].concat());
    }

    /// Returns the number of a message that may come before its receive; rarely of one that may not.
    fn place(&self, random: &mut Rng) -> Option<u64> {
        let posted = self.receives.len() as u64;
        let done = self.receives.iter().take_while(|receive| receive.received.is_some()).count() as u64;
        let free = |seq: &u64| self.early.iter().all(|(early, _)| early != seq);
        let free: Vec<u64> = (posted..done + self.plan.eager_places()).filter(free).collect();
        random.choice(free).or_else(|| (random.u8(0..80) == 0).then_some(posted))
    }

    /// Returns the bytes that follow a header: those that it announces, or some others.
    fn payload(&self, random: &mut Rng, seq: u64, offset: u64, bytes: u32) -> Vec<u8> {
        // More is refused by its header.
        let bytes = if u64::from(bytes) > 2 * ROOM { 0 } else { bytes as usize };
        let mut payload = vec![0; bytes];
        if offset < 1 << 40 {
            data(seq).fill(offset, &mut payload);
        }
        if !self.faithful && random.u8(0..10) == 0 {
            payload.truncate(random.usize(..=bytes));
        }
        payload
    }

    fn say_anything(&mut self, random: &mut Rng, counts: &mut Counts) {
        match random.u8(0..14) {
            12 => self.peer.say(counts, &Control::Ping.encode().repeat(random.usize(1..100))),
            13 => self.peer.say(counts, &Control::Pong.encode()),
            0 => self.peer.break_off(random),
            1 => self.peer.say(counts, &Control::Goodbye.encode()),
            2 => {
                let announce = Announce { seq: 0, capacity: 1, inline_bytes: 0, done: 0, mark: None };
                self.peer.say(counts, &Control::Announce(announce).encode());
            }
            3 => self.peer.say(counts, &Control::Abort { bytes: 3 }.encode()),
            4 if !self.faithful => {
                let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(50).collect();
                self.peer.say(counts, &noise);
            }
            5 if !self.faithful => {
                let stream = random.usize(..self.peer.data.len());
                self.peer.send(counts, stream, &[0x55; 33]);
            }
            _ => {
                let seq = near(random, self.receives.len() as u64);
                self.peer.say(counts, &Control::Want { seq }.encode());
            }
        }
    }

    /// Reads announcements, so that they do not pile up.
    fn listen(&mut self, random: &mut Rng) {
        let socket = &mut self.peer.control;
        socket.set_nonblocking(true).unwrap();
        let _ = socket.read(&mut vec![0; random.usize(1..4096)]);
        socket.set_nonblocking(false).unwrap();
    }

    /// Asks for a request, or waits for it for a moment.
    fn ask(&mut self, random: &mut Rng, counts: &mut Counts) {
        if self.open.is_empty() {
            return;
        }
        let wait = random.u8(0..80) == 0;
        let mut open = self.open.swap_remove(random.usize(..self.open.len()));
        let asked = open.ask(&mut self.comm, wait);
        match asked {
            Err(error) => self.fail(&error, counts),
            Ok(None) => self.open.push(open),
            Ok(Some(lengths)) => {
                for (at, bytes) in (open.first..).zip(lengths) {
                    counts.one("received");
                    assert!(bytes <= self.receives[at].capacity);
                    self.receives[at].received = Some(bytes);
                    self.regions.check(at, &self.receives[at], self.faithful);
                }
            }
        }
    }

    fn fail(&mut self, error: &Error, counts: &mut Counts) {
        if !self.failed {
            counts.one(kind(error));
        }
        self.failed = true;
    }

    fn end(self, random: &mut Rng, counts: &mut Counts) {
        let Self { peer, comm, regions, receives, open, faithful, .. } = self;
        let peer = if random.bool() { Some(peer) } else { None };
        match random.u8(0..3) {
            0 => drop(comm),
            1 => drop(comm.close(Instant::now() + MOMENT)),
            _ => drop(comm.leave(MOMENT)),
        }
        drop((peer, open));
        counts.one("ends");
        regions.wait_until_free();
        for (at, receive) in receives.iter().enumerate() {
            regions.check(at, receive, faithful);
        }
    }
}
