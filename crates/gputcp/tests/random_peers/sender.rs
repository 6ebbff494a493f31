//! A live sender, and a bare receiver that announces it anything.

use std::{
    io::{ErrorKind, Read as _},
    net::TcpStream,
    time::Instant,
};

use gputcp::{Error, Progress, SendComm, SendRequest};
use gputcp_fuzz::{Counts, Rng, mutate, near, run, watch_panics};
use gputcp_gpu::{Buffer, Pattern};
use gputcp_proto::frame::{Announce, Control, Mark, SegmentHeader};

use crate::{MOMENT, Sockets, bounded, common::sender_welcomed, kind, plan::Plan};

#[test]
fn no_receiver_can_crash_or_stall_a_sender_nor_get_more_than_it_asked_for() {
    watch_panics();
    let counts = run("a live sender", |random, counts| {
        counts.one("connections");
        bounded(|| Case::new(random).play(random, counts));
    });
    assert!(counts.of("frames") > 0);
}

struct Case {
    plan: Plan,
    peer: Sockets,
    comm: SendComm,
    memory: Buffer,
    open: Vec<SendRequest>,
    lengths: Vec<u64>,
    announced: Vec<Announce>,
    /// By sequence number, how much has come of its message and how long it is.
    came: Vec<(u64, u64)>,
    heard: Vec<Heard>,
    /// No frame was sent that must end the connection.
    honest: bool,
    failed: bool,
}

/// The bytes of one socket that are no whole frame yet.
#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
}

impl Case {
    fn new(random: &mut Rng) -> Self {
        let plan = Plan::draw(random);
        let (comm, control, data) = sender_welcomed(plan.options.clone(), None, &plan.welcome());
        let memory = plan.place.buffer(LONGEST);
        memory.fill(DATA, 0, LONGEST).unwrap();
        let heard = (0..=data.len()).map(|_| Heard::default()).collect();
        Self {
            plan,
            peer: Sockets::new(control, data),
            comm,
            memory,
            open: vec![],
            lengths: vec![],
            announced: vec![],
            came: vec![],
            heard,
            honest: true,
            failed: false,
        }
    }

    fn play(mut self, random: &mut Rng, counts: &mut Counts) {
        for _ in 0..random.usize(1..120) {
            match random.u8(0..16) {
                0..=3 => self.post(random, counts),
                4..=8 => self.announce(random, counts),
                9..=11 => self.ask(random, counts),
                12..=14 => self.hear(counts),
                _ => self.say_anything(random, counts),
            }
            if self.failed && random.u8(0..8) == 0 {
                break;
            }
        }
        for _ in 0..self.open.len() {
            self.hear(counts);
            self.ask(random, counts);
        }
        self.end(random, counts);
    }

    fn post(&mut self, random: &mut Rng, counts: &mut Counts) {
        let bytes = match random.u8(0..4) {
            0 => 0,
            1 => random.u64(0..=self.plan.inline_bytes()),
            2 => random.u64(0..=200),
            _ => random.u64(0..=LONGEST),
        };
        // Before it is posted: it may be there at once.
        self.lengths.push(bytes);
        match self.comm.isend_tagged(&self.memory, 0, bytes, random.i32(0..2)) {
            Err(error) => self.fail(&error, counts),
            Ok(None) => {}
            Ok(Some(request)) => {
                counts.one("sends");
                self.open.push(request);
            }
        }
    }

    /// Returns the next announcement of an honest peer; `None` while it has no slot.
    fn due(&self, random: &mut Rng) -> Option<Announce> {
        let seq = self.announced.len() as u64;
        // A receive is finished when all of its message has come; all before it are, too.
        let whole = |&(came, total): &(u64, u64)| came == total.max(1);
        let whole = self.came.iter().take_while(|message| whole(message)).count() as u64;
        let done = random.choice([whole, self.announced.last().map_or(0, |last| last.done)])?;
        let done = done.max(self.announced.last().map_or(0, |last| last.done));
        let slots = u64::from(self.plan.peer_slots) * u64::from(self.plan.max_receives());
        if seq >= done + slots {
            return None;
        }
        let capacity =
            if random.u8(0..5) == 0 { random.u64(0..=LONGEST) } else { LONGEST + random.u64(0..9) };
        let inline_bytes = self.plan.inline_bytes().min(capacity) as u32;
        let mark = (self.plan.max_receives() > 1).then(|| {
            let following =
                match self.announced.last().and_then(|last| last.mark).map_or(0, |mark| mark.following) {
                    0 => random.u8(0..self.plan.max_receives() as u8),
                    following => following - 1,
                };
            Mark { tag: random.i32(0..2), following }
        });
        Some(Announce { seq, capacity, inline_bytes, done, mark })
    }

    fn announce(&mut self, random: &mut Rng, counts: &mut Counts) {
        let Some(due) = self.due(random) else { return };
        let mut announce = due;
        if random.u8(0..16) > 0 {
            self.peer.say(counts, &Control::Announce(announce).encode());
            if self.honest {
                self.announced.push(announce);
            }
            return;
        }
        match random.u8(0..7) {
            0 => announce.seq = near(random, announce.seq),
            1 => announce.capacity = near(random, announce.capacity),
            2 => announce.inline_bytes = near(random, announce.inline_bytes.into()) as u32,
            3 | 6 => announce.inline_bytes = random.u32(0..=256 << 10),
            4 => announce.done = near(random, announce.done),
            5 => announce.mark = Some(Mark { tag: random.i32(..), following: random.u8(..) }),
            _ => {}
        }
        let mut bytes = Control::Announce(announce).encode();
        if random.u8(0..3) == 0 {
            mutate(random, &mut bytes);
        }
        self.peer.say(counts, &bytes);
        if Control::decode(&bytes) == Ok(Control::Announce(due)) && self.honest {
            self.announced.push(due);
        } else {
            self.honest = false;
        }
    }

    fn say_anything(&mut self, random: &mut Rng, counts: &mut Counts) {
        if random.u8(0..12) > 0 {
            return;
        }
        self.honest = false;
        match random.u8(0..9) {
            7 => self.peer.say(counts, &Control::Ping.encode().repeat(random.usize(1..100))),
            8 => self.peer.say(counts, &Control::Pong.encode()),
            0 => self.peer.break_off(random),
            1 => self.peer.say(counts, &Control::Goodbye.encode()),
            2 => self.peer.say(counts, &Control::Want { seq: near(random, 0) }.encode()),
            3 => self.peer.say(counts, &Control::Inline { seq: 0, bytes: 4 }.encode()),
            4 => {
                let text = Control::Abort { bytes: 4 }.encode();
                self.peer.say(counts, &[&text[..], b"\x1b[2J"].concat());
            }
            5 => {
                let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(50).collect();
                self.peer.say(counts, &noise);
            }
            _ => {
                let stream = random.usize(..self.peer.data.len());
                self.peer.send(counts, stream, &[7; 100]);
            }
        }
    }

    fn ask(&mut self, random: &mut Rng, counts: &mut Counts) {
        if self.open.is_empty() {
            return;
        }
        let request = self.open.swap_remove(random.usize(..self.open.len()));
        let asked = if random.u8(0..80) == 0 {
            self.comm.wait(request, MOMENT).map(Progress::Done)
        } else {
            self.comm.test(request)
        };
        match asked {
            Err(error) => self.fail(&error, counts),
            Ok(Progress::NotYet(request)) => self.open.push(request),
            Ok(Progress::Done(sent)) => {
                counts.one("sent");
                assert!(self.lengths.contains(&sent.bytes));
            }
        }
    }

    /// Reads the bytes that are there on every socket, and checks them against the announcements.
    fn hear(&mut self, counts: &mut Counts) {
        read_all(&mut self.peer.control, &mut self.heard[0].bytes);
        while let Some((header, rest)) = self.heard[0].bytes.split_first_chunk() {
            let payload = match Control::decode(header).expect("a sender of ours says what there is") {
                Control::Inline { bytes, .. } | Control::Abort { bytes } => bytes as usize,
                Control::Want { .. } | Control::Ping | Control::Pong | Control::Goodbye => 0,
                Control::Announce(_) => panic!("a sender announced a receive"),
            };
            let Some(payload) = rest.get(..payload).map(<[u8]>::to_vec) else { break };
            if let Ok(Control::Inline { seq, .. }) = Control::decode(header) {
                counts.one("messages");
                self.came(seq, 0, payload.len() as u64, &payload, true);
            }
            self.heard[0].bytes.drain(..Control::BYTES + payload.len());
        }
        for stream in 0..self.peer.data.len() {
            read_all(&mut self.peer.data[stream], &mut self.heard[stream + 1].bytes);
            while let Some((header, rest)) = self.heard[stream + 1].bytes.split_first_chunk() {
                let header = SegmentHeader::decode(header).expect("a sender of ours sends segments");
                let SegmentHeader { seq, offset, total, bytes } = header;
                let Some(payload) = rest.get(..bytes as usize).map(<[u8]>::to_vec) else { break };
                counts.one("segments");
                assert!(offset + u64::from(bytes) <= total && bytes > 0, "{header:?}");
                self.came(seq, offset, total, &payload, false);
                self.heard[stream + 1].bytes.drain(..SegmentHeader::BYTES + payload.len());
            }
        }
    }

    fn came(&mut self, seq: u64, offset: u64, total: u64, payload: &[u8], inline: bool) {
        assert!(self.lengths.contains(&total), "a message of {total} bytes was not sent");
        assert_eq!(DATA.verify(offset, payload), Ok(()), "of message {seq}");
        assert!(!inline || total <= self.plan.inline_bytes(), "{total} bytes inside a frame");
        if !self.honest {
            return;
        }
        let done = self.announced.last().map_or(0, |last| last.done);
        match self.announced.get(seq as usize) {
            // A message that was sent eagerly meets its announcement on the way.
            Some(_) if inline && self.plan.eager_places() > 0 => {}
            Some(announce) => {
                assert!(total <= announce.capacity, "{total} bytes to {announce:?}");
                assert!(!inline || total <= announce.inline_bytes.into());
            }
            None => {
                assert!(inline && seq < done + self.plan.eager_places(), "receive {seq} is not announced")
            }
        }
        let seq = seq as usize;
        self.came.resize(self.came.len().max(seq + 1), (0, u64::MAX));
        let (came, whole) = &mut self.came[seq];
        assert!(*whole == u64::MAX || *whole == total);
        *whole = total;
        // One of no bytes comes once as well.
        *came += (payload.len() as u64).max(1);
        assert!(*came <= total.max(1), "message {seq} came twice");
    }

    fn fail(&mut self, error: &Error, counts: &mut Counts) {
        if !self.failed {
            counts.one(kind(error));
        }
        self.failed = true;
    }

    fn end(mut self, random: &mut Rng, counts: &mut Counts) {
        let peer = random.bool();
        if peer {
            self.hear(counts);
        }
        let Self { comm, open, peer: sockets, .. } = self;
        let sockets = peer.then_some(sockets);
        match random.u8(0..3) {
            0 => drop(comm),
            1 => drop(comm.close(Instant::now() + MOMENT)),
            _ => drop(comm.leave(MOMENT)),
        }
        drop((sockets, open));
    }
}

/// Reads without waiting.
fn read_all(socket: &mut TcpStream, bytes: &mut Vec<u8>) {
    socket.set_nonblocking(true).unwrap();
    let mut piece = [0; 16 << 10];
    loop {
        match socket.read(&mut piece) {
            Ok(0) => break,
            Ok(got) => bytes.extend_from_slice(&piece[..got]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    socket.set_nonblocking(false).unwrap();
}

const DATA: Pattern = Pattern { seed: 3, iteration: 4 };
const LONGEST: u64 = 100 << 10;
