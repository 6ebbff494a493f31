//! Short messages: whole, inside a frame of the control socket, taken by the thread that reads it. Host
//! destinations are received in place, device memory by the control socket's own bounce ring. A message of
//! which only a part has come waits beside the reader for the next thread that reads. A message whose receive
//! is not posted goes to an eager place; the post takes it from there.

use std::sync::atomic::Ordering;

use gputcp_gpu::MemoryKind;
use gputcp_proto::{
    Violation,
    bounce::Filling,
    recv::{Early, InPlace, Landing},
    send::TooLong,
};
use rustix::net::RecvFlags;

use super::{Parts, RecvState};
use crate::{
    Error, Result,
    sockets::{
        control::{Piece, Reader},
        locks::{lock, read_lock},
        shared::Shared,
    },
};

/// A short message that is being read.
#[derive(Debug)]
pub(super) enum Coming {
    InPlace(InPlace),
    Filling(Filling),
    /// A message to an eager place, and the bytes that the place has of it.
    Early(Early, u64),
}

impl Shared<RecvState> {
    /// Begins to take the message whose frame was just read.
    pub(super) fn take_inline(&self, seq: u64, bytes: u64, reader: &mut Reader) -> Result<()> {
        let mut state = lock(&self.state);
        let begun = match state.side.begin_early(seq, bytes) {
            Ok(Some(early)) => Ok(Err(early)),
            Ok(None) => state.side.begin_inline(seq, bytes).map(Ok),
            Err(violation) => Err(violation),
        };
        let (done, parts) = (state.side.done(), state.parts.clone());
        drop(state);
        let begun = begun.map_err(|violation| self.refused(violation, &parts))?;
        let is_short = bytes <= parts.eager_bytes;
        self.tell(&parts, |announcer| announcer.begun(seq, is_short, done))?;
        parts.came_short.store(true, Ordering::Relaxed);
        *lock(&parts.coming) = Some(match begun {
            Ok(landing) => self.begin_short(landing, &parts)?,
            Err(early) => Coming::Early(early, 0),
        });
        reader.amid = true;
        Ok(())
    }

    /// Takes the bytes that have come of the message that was begun. Returns true when that is all of it.
    pub(super) fn take_rest_of_inline(&self, reader: &mut Reader) -> Result<bool> {
        let parts = self.parts();
        let mut coming = lock(&parts.coming);
        while let Some(current) = coming.take() {
            let missing = current.missing();
            let got = match missing {
                0 => Some(0),
                _ => self.read_piece(&current, missing, &parts, reader)?,
            };
            let Some(got) = got else {
                *coming = Some(current);
                return Ok(false);
            };
            self.counters.carried.fetch_add(got, Ordering::Relaxed);
            *coming = self.advance(current, got, &parts)?;
        }
        reader.amid = false;
        Ok(true)
    }

    /// Takes a message that came before its receive, which was posted now, to its destination.
    pub(super) fn take_early(
        &self,
        early: Result<Option<(usize, Landing)>, Violation>,
        parts: &Parts,
    ) -> Result<()> {
        let taken = match early {
            Ok(None) => return Ok(()),
            Ok(Some((place, landing))) => self.take_from_place(place, landing, parts),
            Err(violation) => Err(self.refused(violation, parts)),
        };
        taken.inspect_err(|error| self.fail(error.clone()))
    }

    /// Takes a message from an eager place. The place is used again when the receive is finished, and not
    /// before.
    fn take_from_place(&self, place: usize, landing: Landing, parts: &Parts) -> Result<()> {
        let bytes = landing.bytes();
        let current = self.begin_short(landing, parts)?;
        let message = &lock(&parts.places[place])[..bytes as usize];
        match &current {
            Coming::InPlace(in_place) => {
                let place = read_lock(&parts.destinations[in_place.landing().slot_index()]);
                let Some(destination) = place.as_ref() else {
                    unreachable!("a posted receive has a destination")
                };
                // The CPU may not write device memory, not even 0 bytes of it.
                if bytes > 0 {
                    destination.copy_from(0, message);
                }
            }
            Coming::Filling(filling) => {
                let Some(lane) = &parts.short else { unreachable!("device memory is refused without lanes") };
                lock(lane).put(filling, message);
            }
            Coming::Early(..) => unreachable!("it has a destination"),
        }
        match self.advance(current, bytes, parts)? {
            None => Ok(()),
            Some(_) => unreachable!("all of it was here"),
        }
    }

    /// Returns the error of a violation. The sender of an early message could not know that its receive is
    /// shorter: that is an error of usage.
    fn refused(&self, violation: Violation, parts: &Parts) -> Error {
        match violation {
            Violation::Overflow { total, capacity, .. }
                if !parts.places.is_empty() && total <= parts.eager_bytes =>
            {
                Error::usage(format!(
                    "{}: post a receive that is long enough",
                    TooLong { bytes: total, capacity }
                ))
            }
            violation => self.misbehaved(violation),
        }
    }

    /// Begins a message. Device memory is received in place only to receive 0 bytes.
    fn begin_short(&self, landing: Landing, parts: &Parts) -> Result<Coming> {
        let place = read_lock(&parts.destinations[landing.slot_index()]);
        let Some(destination) = place.as_ref() else { unreachable!("a posted receive has a destination") };
        let in_place = destination.kind() == MemoryKind::Host || landing.bytes() == 0;
        drop(place);
        if in_place {
            return Ok(Coming::InPlace(InPlace::new(landing)));
        }
        let Some(ring) = parts.rings.last() else { unreachable!("device memory is refused without lanes") };
        Ok(Coming::Filling(Filling::new(self.wait_for_bounce_slot(ring)?, landing)))
    }

    fn read_piece(
        &self,
        current: &Coming,
        missing: u64,
        parts: &Parts,
        reader: &mut Reader,
    ) -> Result<Option<u64>> {
        let got = match current {
            Coming::InPlace(in_place) => {
                let place = read_lock(&parts.destinations[in_place.landing().slot_index()]);
                let Some(destination) = place.as_ref() else {
                    unreachable!("a posted receive has a destination")
                };
                reader.take(&self.control, missing, |piece| match piece {
                    Piece::Here(bytes) => {
                        destination.copy_from(in_place.have(), bytes);
                        Ok(bytes.len())
                    }
                    Piece::Coming(socket) => destination.recv(socket, in_place.have(), missing),
                })
            }
            Coming::Filling(filling) => {
                let Some(lane) = &parts.short else { unreachable!("device memory is refused without lanes") };
                let mut lane = lock(lane);
                reader.take(&self.control, missing, |piece| match piece {
                    Piece::Here(bytes) => {
                        lane.put(filling, bytes);
                        Ok(bytes.len())
                    }
                    Piece::Coming(socket) => lane.recv(filling, socket),
                })
            }
            Coming::Early(early, have) => {
                let mut place = lock(&parts.places[early.place()]);
                let room = &mut place[*have as usize..early.bytes() as usize];
                reader.take(&self.control, missing, |piece| match piece {
                    Piece::Here(bytes) => {
                        room[..bytes.len()].copy_from_slice(bytes);
                        Ok(bytes.len())
                    }
                    Piece::Coming(socket) => Ok(rustix::net::recv(socket, &mut *room, RecvFlags::empty())?.0),
                })
            }
        };
        got.map_err(|error| self.socket_failed(&error))
    }

    /// Counts bytes that have come, and launches the unpack of a message that is whole.
    fn advance(&self, current: Coming, got: u64, parts: &Parts) -> Result<Option<Coming>> {
        let filled = match current {
            Coming::InPlace(in_place) => {
                return Ok(match in_place.advance(got) {
                    Ok(placed) => {
                        self.placed(placed);
                        None
                    }
                    Err(rest) => Some(Coming::InPlace(rest)),
                });
            }
            Coming::Filling(filling) => match filling.advance(got) {
                Ok(filled) => filled,
                Err(rest) => return Ok(Some(Coming::Filling(rest))),
            },
            Coming::Early(early, have) if have + got < early.bytes() => {
                return Ok(Some(Coming::Early(early, have + got)));
            }
            Coming::Early(early, _) => {
                let place = early.place();
                let landing = lock(&self.state).side.early_is_whole(early);
                match landing.map_err(|violation| self.refused(violation, parts))? {
                    None => {}
                    Some(landing) => self.take_from_place(place, landing, parts)?,
                }
                return Ok(None);
            }
        };
        let (Some(lane), Some(ring)) = (&parts.short, parts.rings.last()) else {
            unreachable!("device memory is refused without lanes")
        };
        let index = filled.landing().slot_index();
        let place = read_lock(&parts.destinations[index]);
        let Some(destination) = place.as_ref() else { unreachable!("a posted receive has a destination") };
        let mut lane = lock(lane);
        // Launched under the ring's lock: a waiter that finds the ring empty must not miss it.
        let mut ring = lock(ring);
        ring.push(filled.unpack(&mut lane.unpack_into(destination, parts.mode))?);
        drop((ring, lane, place));
        // The waiter goes on to watch the lane.
        self.doorbell.ring(index);
        Ok(None)
    }
}

impl Coming {
    const fn missing(&self) -> u64 {
        match self {
            Self::InPlace(in_place) => in_place.missing(),
            Self::Filling(filling) => filling.missing(),
            Self::Early(early, have) => early.bytes() - *have,
        }
    }
}
