//! A short message on its way in: whole, inside a frame of the control socket.
//!
//! A message whose receive is not posted goes to an eager place. The later of its last byte and its receive
//! takes it from there.

use super::{Work, arrival::Arrival};
use crate::{bounce::Unpacking, connection::SocketError, recv::Early};

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
