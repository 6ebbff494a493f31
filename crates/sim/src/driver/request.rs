//! A request of the user's.

use gputcp_proto::{connection::receiver::Short, frame::RECEIVES_MAX, window::Slot};

use crate::lane::Ticket;

/// A request in flight: a message, or a group of receives.
#[derive(Debug)]
pub(crate) struct Request {
    /// Its number in the order of posting.
    pub(crate) number: usize,
    pub(crate) slots: [Option<Slot>; MOST],
    /// Its message, while that is on its way from an eager place.
    pub(crate) early: Option<Short<Ticket>>,
}

impl Request {
    pub(crate) fn of_one(number: usize, slot: Slot) -> Self {
        let mut slots = [const { None }; MOST];
        slots[0] = Some(slot);
        Self { number, slots, early: None }
    }

    pub(crate) fn into_one(self) -> (usize, Slot) {
        let [Some(slot), ..] = self.slots else { unreachable!("a request has a slot") };
        (self.number, slot)
    }
}

/// The most receives of a request.
pub(crate) const MOST: usize = RECEIVES_MAX as usize;
