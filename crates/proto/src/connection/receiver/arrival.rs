//! The way of one segment to its destination: in place, or into a bounce buffer and through its unpack.
//!
//! The segment is a part of a message on a data socket, or a whole short message.

use super::Work;
use crate::{
    bounce::{Filled, Filling, Unpacking},
    connection::SocketError,
    recv::{InPlace, Landing, Placed},
};

/// A segment on its way.
#[must_use = "dropped, its bytes can never arrive"]
#[derive(Debug)]
pub(super) struct Arrival<D> {
    /// The ring of its bounce buffer.
    pub(super) ring: usize,
    pub(super) stage: Stage<D>,
}

/// How far a segment has come.
#[derive(Debug)]
pub(super) enum Stage<D> {
    /// Its destination is read into.
    InPlace(InPlace),
    /// It needs a bounce buffer.
    Landing(Landing),
    /// A bounce buffer is read into.
    Filling(Filling),
    /// The bounce buffer has all of it.
    Filled(Filled),
    /// Its unpack is being launched, or the segment is out of hand for another reason.
    Launching,
    /// Its unpack is launched.
    Unpacking(Unpacking<D>),
    /// It is at its destination.
    Placed(Placed),
}

impl<D> Arrival<D> {
    pub(super) fn new(landing: Landing, is_bounced: bool, ring: usize) -> Self {
        // The CPU may not write device memory; of a message without bytes there is nothing to write.
        let stage = if is_bounced && landing.bytes() > 0 {
            Stage::Landing(landing)
        } else if landing.bytes() == 0 {
            let Ok(placed) = InPlace::new(landing).advance(0) else { unreachable!("0 of 0 bytes are all") };
            Stage::Placed(placed)
        } else {
            Stage::InPlace(InPlace::new(landing))
        };
        Self { ring, stage }
    }

    /// Returns the next thing to do.
    pub(super) fn work(&mut self) -> Work<'_> {
        if matches!(self.stage, Stage::Filled(_)) {
            let Stage::Filled(filled) = self.take() else { unreachable!("it was a moment ago") };
            return Work::Unpack(filled);
        }
        match &self.stage {
            Stage::InPlace(in_place) => Work::InPlace(in_place),
            Stage::Filling(filling) => Work::Bounce(filling),
            _ => Work::Connection,
        }
    }

    /// Counts bytes that have come.
    ///
    /// # Errors
    /// If there are none: the stream ended inside the segment.
    pub(super) fn got(&mut self, bytes: u64) -> Result<(), SocketError> {
        if bytes == 0 {
            return Err(SocketError::Ended);
        }
        self.stage = match self.take() {
            Stage::InPlace(in_place) => match in_place.advance(bytes) {
                Ok(placed) => Stage::Placed(placed),
                Err(rest) => Stage::InPlace(rest),
            },
            Stage::Filling(filling) => match filling.advance(bytes) {
                Ok(filled) => Stage::Filled(filled),
                Err(rest) => Stage::Filling(rest),
            },
            stage => stage,
        };
        Ok(())
    }

    /// Takes the unpack that was launched.
    pub(super) fn launched(&mut self, unpacking: Unpacking<D>) {
        self.stage = Stage::Unpacking(unpacking);
    }

    pub(super) const fn take(&mut self) -> Stage<D> {
        std::mem::replace(&mut self.stage, Stage::Launching)
    }
}
