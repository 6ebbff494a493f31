//! The match of messages and receives, if receives are grouped and told apart by tags.
//!
//! A request for several receives is a *group* of places, each with a tag; a single receive is a group of
//! one. A message goes to the oldest group that has an open place, and there to the first open place of its
//! tag. While there is none, the send is not posted, and its caller asks again. So the messages of one group
//! may come in any order, and no group takes a message before those ahead of it are full. NCCL's own
//! transport for InfiniBand follows the same rule.
//!
//! The place's sequence number is the message's. Segments, slots and acknowledgements, all behind the match,
//! know sequence numbers only.

use std::ops::Range;

use crate::{
    Violation,
    frame::{Mark, RECEIVES_MAX},
    window::place,
};

/// The announced places of one connection, at the sender.
#[derive(Debug)]
pub(crate) struct Groups {
    /// The places by sequence number modulo their count, which is the most that may be open.
    places: Box<[Member]>,
    /// The longest group that was agreed on at connect.
    most: u16,
    /// The oldest open place; all before it are taken.
    oldest: u64,
    announced: u64,
    /// The number of receives still to come of the group, by the last mark.
    following: u8,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    mark: Mark,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Taken,
    /// All of its message is dealt.
    Dealt,
}

impl Groups {
    /// Returns the places for groups of up to `most` receives, of which up to `open` are open at a time.
    pub(crate) fn new(most: u16, open: usize) -> Self {
        assert!(most <= RECEIVES_MAX, "a group is as long as the frames can say");
        let place = Member { mark: Mark { tag: 0, following: 0 }, state: State::Dealt };
        Self { places: vec![place; open].into(), most, oldest: 0, announced: 0, following: 0 }
    }

    /// Checks the mark of the next place.
    ///
    /// # Errors
    /// A [`Violation`] if it does not go on with the group that was begun, or begins one that is too long.
    pub(crate) fn check(&self, mark: Mark) -> Result<(), Violation> {
        let right = match self.following {
            0 => u16::from(mark.following) < self.most,
            following => mark.following == following - 1,
        };
        let (frame, field, value) = ("tagged announcement", "following count", mark.following.into());
        if right { Ok(()) } else { Err(Violation::Field { frame, field, value }) }
    }

    /// Opens the next place, whose mark was checked. The receive that had its room in the ring is finished.
    pub(crate) fn open(&mut self, mark: Mark) {
        let index = place(self.announced, self.places.len());
        debug_assert!(self.places[index].state == State::Dealt, "no more are open than there is room for");
        self.places[index] = Member { mark, state: State::Open };
        self.announced += 1;
        self.following = mark.following;
    }

    /// Takes the place of a message of this tag, and returns its sequence number.
    pub(crate) fn take(&mut self, tag: i32) -> Option<u64> {
        for seq in self.oldest..self.announced {
            let Member { mark, state } = self.at(seq);
            if mark.tag == tag && *state == State::Open {
                *state = State::Taken;
                while self.oldest < self.announced && self.at(self.oldest).state != State::Open {
                    self.oldest += 1;
                }
                return Some(seq);
            }
            if mark.following == 0 {
                break;
            }
        }
        None
    }

    /// Notes that all of the message at this place is dealt.
    pub(crate) fn dealt(&mut self, seq: u64) {
        self.at(seq).state = State::Dealt;
    }

    /// Returns whether all messages at these places are dealt.
    pub(crate) fn are_dealt(&self, mut seqs: Range<u64>) -> bool {
        seqs.end <= self.announced
            && seqs.all(|seq| self.places[place(seq, self.places.len())].state == State::Dealt)
    }

    fn at(&mut self, seq: u64) -> &mut Member {
        let index = place(seq, self.places.len());
        &mut self.places[index]
    }
}

#[cfg(test)]
mod tests;
