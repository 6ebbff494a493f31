//! The receiver's device in miniature: bounce buffers, destinations, and a lane that works late and in order.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use gputcp_proto::{
    bounce::{Completion, Unpack},
    recv::Landing,
};

use crate::model::{BUFFERS, CAPACITY, SEGMENT, SLOTS};

/// The memory that the receiver's driver and its lane share.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) bounce: [[u8; SEGMENT]; BUFFERS],
    pub(crate) destinations: [[u8; CAPACITY]; SLOTS],
    /// The unpacks that are launched and not finished, oldest first.
    pub(crate) unpacks: VecDeque<Job>,
    pub(crate) launched: u64,
    pub(crate) finished: u64,
    pub(crate) flag_too_early: bool,
}

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) buffer: usize,
    slot: usize,
    offset: usize,
    bytes: usize,
}

impl Memory {
    /// Finishes the oldest unpack.
    ///
    /// All its bytes move now, at the last moment. That is the worst case for a driver that reuses its buffer
    /// or its destination too early.
    pub(crate) fn finish_oldest(&mut self) {
        let Job { buffer, slot, offset, bytes } = self.unpacks.pop_front().expect("an unpack is running");
        let source = &self.bounce[buffer][..bytes];
        self.destinations[slot][offset..offset + bytes].copy_from_slice(source);
        self.finished += 1;
    }
}

/// Launches unpacks.
pub(crate) struct Lane(pub(crate) Rc<RefCell<Memory>>);

impl Unpack for Lane {
    type Done = Flag;
    type Error = String;

    fn launch(&mut self, index: usize, landing: &Landing) -> Result<Flag, String> {
        let mut memory = self.0.borrow_mut();
        memory.launched += 1;
        memory.unpacks.push_back(Job {
            buffer: index % BUFFERS,
            slot: landing.slot_index(),
            offset: landing.offset() as usize,
            bytes: landing.bytes() as usize,
        });
        Ok(Flag { ticket: memory.launched, memory: Handle(self.0.clone()) })
    }
}

/// A flag that is set when the lane has finished as many unpacks as were launched up to this one.
#[derive(Debug)]
pub(crate) struct Flag {
    ticket: u64,
    memory: Handle,
}

impl Flag {
    pub(crate) fn is_set(&self) -> bool {
        let memory = self.memory.0.borrow();
        memory.flag_too_early || memory.finished >= self.ticket
    }
}

impl Completion for Flag {
    type Error = String;

    fn is_done(&mut self) -> Result<bool, String> {
        Ok(self.is_set())
    }
}

/// Prints nothing: the memory is part of the model's state already, and once per flag would only cost time.
struct Handle(Rc<RefCell<Memory>>);

impl std::fmt::Debug for Handle {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
