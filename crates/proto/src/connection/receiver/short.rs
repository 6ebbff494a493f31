//! A short message on its way in: whole, inside a frame of the control socket.
//!
//! A message whose receive is not posted goes to an eager place. The later of its last byte and its receive
//! takes it from there.

use super::{Receiver, Work, arrival::Arrival, tell};
use crate::{
    Violation,
    bounce::{Completion, Unpacking},
    connection::{Failure, Inbox, SocketError, Step},
    recv::Early,
    send::TooLong,
};

/// A short message on its way.
#[must_use = "dropped, its bytes can never arrive"]
#[derive(Debug)]
pub struct Short<D>(pub(super) Place<D>);

#[derive(Debug)]
pub(super) enum Place<D> {
    /// From the socket to its destination.
    Arriving(Arrival<D>),
    /// From the socket to an eager place, which has so many bytes of it.
    Early(Early, u64),
    /// From this eager place to its destination.
    Delivering(usize, Arrival<D>),
    /// Over, or out of hand for a moment.
    Over,
}

impl<D> Short<D> {
    /// Returns the next thing to do.
    pub fn work(&mut self) -> Work<'_> {
        match &mut self.0 {
            Place::Arriving(arrival) | Place::Delivering(_, arrival) => arrival.work(),
            Place::Early(early, have) if *have < early.bytes() => {
                Work::Early { place: early.place(), have: *have, missing: early.bytes() - *have }
            }
            Place::Early(..) | Place::Over => Work::Connection,
        }
    }

    /// Returns the eager place that has its bytes; `None` where the socket gives them.
    #[must_use]
    pub const fn source(&self) -> Option<usize> {
        match &self.0 {
            Place::Delivering(place, _) => Some(*place),
            _ => None,
        }
    }

    /// Counts bytes that have come to where [`Short::work`] says.
    ///
    /// # Errors
    /// If there are none: the stream ended inside the message.
    pub fn got(&mut self, bytes: u64) -> Result<(), SocketError> {
        match &mut self.0 {
            Place::Arriving(arrival) | Place::Delivering(_, arrival) => arrival.got(bytes),
            Place::Early(..) if bytes == 0 => Err(SocketError::Ended),
            Place::Early(_, have) => {
                *have += bytes;
                Ok(())
            }
            Place::Over => Ok(()),
        }
    }

    /// Takes the unpack that was launched.
    pub fn launched(&mut self, unpacking: Unpacking<D>) {
        if let Place::Arriving(arrival) | Place::Delivering(_, arrival) = &mut self.0 {
            arrival.launched(unpacking);
        }
    }
}

impl<D: Completion + Clone> Receiver<D> {
    /// Takes a short message as far as it goes without its socket. [`Step::Over`] when it is all done.
    ///
    /// # Errors
    /// If the lane is lost.
    pub fn step_short(&mut self, short: &mut Short<D>) -> Result<Step<D>, D::Error> {
        if self.life.has_failed() {
            return Ok(Step::Over);
        }
        match std::mem::replace(&mut short.0, Place::Over) {
            Place::Arriving(mut arrival) => {
                let step = self.advance(&mut arrival)?;
                short.0 = Place::Arriving(arrival);
                Ok(step)
            }
            Place::Delivering(place, mut arrival) => {
                let step = self.advance(&mut arrival)?;
                short.0 = Place::Delivering(place, arrival);
                Ok(step)
            }
            Place::Early(early, have) if have < early.bytes() => {
                short.0 = Place::Early(early, have);
                Ok(Step::GoOn)
            }
            Place::Early(early, _) => {
                let place = early.place();
                match self.side.early_is_whole(early) {
                    Ok(None) => Ok(Step::Over),
                    Ok(Some(landing)) => {
                        let is_bounced = self.is_bounced[landing.slot_index()];
                        short.0 = Place::Delivering(place, Arrival::new(landing, is_bounced, self.streams));
                        Ok(Step::GoOn)
                    }
                    Err(violation) => {
                        self.refuse(violation);
                        Ok(Step::Over)
                    }
                }
            }
            Place::Over => Ok(Step::Over),
        }
    }

    /// Begins to take a short message, whose frame was just read.
    pub(super) fn begin_short(&mut self, seq: u64, bytes: u64, inbox: &mut Inbox<D>) {
        let begun = match self.side.begin_early(seq, bytes) {
            Ok(Some(early)) => Ok(Place::Early(early, 0)),
            Ok(None) => self.side.begin_inline(seq, bytes).map(|landing| {
                let is_bounced = self.is_bounced[landing.slot_index()];
                Place::Arriving(Arrival::new(landing, is_bounced, self.streams))
            }),
            Err(violation) => Err(violation),
        };
        match begun {
            Ok(place) => {
                let (is_short, done) = (bytes <= self.eager_bytes, self.side.done());
                tell(&mut self.life, self.announcer.begun(seq, is_short, done));
                self.came_short = true;
                inbox.begin(Short(place));
            }
            Err(violation) => self.refuse(violation),
        }
    }

    /// Fails the connection for a message that its receive does not take. The sender of an early message
    /// could not know that its receive is shorter: that is an error of usage.
    pub(super) fn refuse(&mut self, violation: Violation) {
        self.life.fail(match violation {
            Violation::Overflow { total, capacity, .. } if self.has_places && total <= self.eager_bytes => {
                Failure::TooLong(TooLong { bytes: total, capacity })
            }
            violation => Failure::Violation(violation),
        });
    }
}
