//! A whole connection in miniature: its parts, and the steps that can happen next.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use gputcp_proto::{
    bounce::{Filled, Filling, Unpacking},
    frame::{Announce, SegmentHeader},
    recv::RecvSide,
    send::{Segment, SendSide},
    window::{Slot, Window},
};

use crate::lane::{Flag, Memory};

/// The longest segment, in bytes.
pub(crate) const SEGMENT: usize = 2;
/// The capacity of every receive, in bytes.
pub(crate) const CAPACITY: usize = 4;
pub(crate) const SLOTS: usize = 2;
pub(crate) const SOCKETS: usize = 2;
pub(crate) const BUFFERS: usize = 2;

/// A mistake of a driver that no type can prevent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// The flag of an unpack is set when it is launched.
    FlagTooEarly,
    /// A segment counts as written when it is dealt.
    WrittenTooEarly,
    /// A bounce buffer is dropped instead of released.
    BufferDropped,
}

/// One step of the driver, or of the world.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    PostSend,
    PostReceive,
    HearAnnouncement,
    DealInline,
    ReadInline,
    Deal(usize),
    Write(usize),
    Begin(usize),
    ReadByte(usize),
    Launch(usize),
    LaneFinishes,
    Poll(usize),
}

/// The state of everything. `RING` is the number of bounce buffers in the driver's ring; there are
/// [`BUFFERS`].
#[derive(Debug)]
pub(crate) struct Model<const RING: usize> {
    pub(crate) flaw: Flaw,
    pub(crate) sizes: &'static [u64],
    // The sender.
    pub(crate) send: SendSide<SLOTS>,
    pub(crate) sources: [[u8; CAPACITY]; SLOTS],
    pub(crate) sends: [Option<Slot>; SLOTS],
    pub(crate) posted: usize,
    /// The message and the offset that are dealt next, by the model's own count.
    pub(crate) cursor: (usize, u64),
    pub(crate) sent: u64,
    // The wire.
    pub(crate) announcements: VecDeque<Announce>,
    pub(crate) control: VecDeque<u8>,
    pub(crate) writing: [Option<Writing>; SOCKETS],
    pub(crate) wires: [VecDeque<u8>; SOCKETS],
    // The receiver.
    pub(crate) recv: RecvSide<SLOTS>,
    pub(crate) receives: [Option<Slot>; SLOTS],
    pub(crate) asked: usize,
    pub(crate) ring: Window<RING>,
    pub(crate) reading: [Reading; SOCKETS],
    pub(crate) unpacking: Vec<Unpacking<Flag>>,
    pub(crate) memory: Rc<RefCell<Memory>>,
    pub(crate) received: u64,
    pub(crate) finished: usize,
}

/// A segment on its way to a socket. The segment itself is gone already if it was counted too early.
#[derive(Debug)]
pub(crate) struct Writing {
    pub(crate) segment: Option<Segment>,
    pub(crate) header: SegmentHeader,
    pub(crate) source: usize,
}

/// The work of a receiver's socket.
#[derive(Debug)]
pub(crate) enum Reading {
    Idle,
    Filling(Filling),
    Filled(Filled),
}

impl<const RING: usize> Model<RING> {
    /// Returns a connection over which messages of these sizes will go.
    pub(crate) fn new(sizes: &'static [u64], flaw: Flaw) -> Self {
        let memory = Memory { flag_too_early: flaw == Flaw::FlagTooEarly, ..Memory::default() };
        Self {
            flaw,
            sizes,
            send: SendSide::new(SLOTS, SEGMENT as u64, SLOTS),
            sources: Default::default(),
            sends: [const { None }; SLOTS],
            posted: 0,
            cursor: (0, 0),
            sent: 0,
            announcements: VecDeque::new(),
            control: VecDeque::new(),
            writing: [const { None }; SOCKETS],
            wires: Default::default(),
            recv: RecvSide::new(SLOTS, SEGMENT as u64, 0),
            receives: [const { None }; SLOTS],
            asked: 0,
            ring: Window::new(),
            reading: [const { Reading::Idle }; SOCKETS],
            unpacking: vec![],
            memory: Rc::new(RefCell::new(memory)),
            received: 0,
            finished: 0,
        }
    }

    /// Returns whether every message has been received.
    pub(crate) const fn is_over(&self) -> bool {
        self.finished == self.sizes.len()
    }

    /// Returns the steps that can happen now. Every step makes progress, so every run ends.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps = vec![];
        let mut add = |possible: bool, step| steps.extend(possible.then_some(step));
        let left = |done: usize| done < self.sizes.len();
        add(left(self.posted) && self.sends[self.posted % SLOTS].is_none(), Step::PostSend);
        add(left(self.asked) && self.receives[self.asked % SLOTS].is_none(), Step::PostReceive);
        add(!self.announcements.is_empty(), Step::HearAnnouncement);
        add(!self.control.is_empty(), Step::ReadInline);
        let next = self.next_to_deal();
        add(next == Some(0), Step::DealInline);
        for socket in 0..SOCKETS {
            let idle = self.writing[socket].is_none();
            add(idle && next.is_some_and(|bytes| bytes > 0), Step::Deal(socket));
            add(!idle && self.wires[socket].is_empty(), Step::Write(socket));
            match &self.reading[socket] {
                Reading::Idle => {
                    add(!self.wires[socket].is_empty() && self.has_buffer(), Step::Begin(socket))
                }
                Reading::Filling(_) => add(true, Step::ReadByte(socket)),
                Reading::Filled(_) => add(true, Step::Launch(socket)),
            }
        }
        add(!self.memory.borrow().unpacks.is_empty(), Step::LaneFinishes);
        for (at, unpacking) in self.unpacking.iter().enumerate() {
            add(unpacking.completion().is_set(), Step::Poll(at));
        }
        steps
    }

    /// Returns the length of the message to deal from, if it is both posted and announced.
    pub(crate) fn next_to_deal(&self) -> Option<u64> {
        let heard = self.asked - self.announcements.len();
        let (message, _) = self.cursor;
        (message < heard.min(self.posted)).then(|| self.sizes[message])
    }

    /// Returns whether the ring has a bounce buffer to give, by the model's own count of buffers that are
    /// out.
    fn has_buffer(&self) -> bool {
        let next = self.ring.next_seq();
        next < RING as u64 || self.ring.holder(next - RING as u64).is_none()
    }
}
