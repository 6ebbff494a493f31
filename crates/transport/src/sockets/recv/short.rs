//! Short messages: whole, inside a frame of the control socket, taken by whoever reads that. Host destinations are received
//! in place, device memory by the control socket's own bounce ring. A message of which only a part has come waits beside the
//! reader for whoever reads next.

use std::sync::atomic::Ordering;

use gputcp_gpu::MemoryKind;
use gputcp_proto::{
    bounce::Filling,
    recv::{InPlace, Landing},
};

use super::{Parts, RecvState};
use crate::{
    Result,
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
}

impl Shared<RecvState> {
    /// Begins to take the message whose frame was just read.
    pub(super) fn take_inline(&self, seq: u64, bytes: u64, reader: &mut Reader) -> Result<()> {
        let mut state = lock(&self.state);
        let landing = state.side.begin_inline(seq, bytes);
        let parts = state.parts.clone();
        drop(state);
        let landing = landing.map_err(|violation| self.misbehaved(violation))?;
        self.matched(&parts)?;
        parts.came_short.store(true, Ordering::Relaxed);
        *lock(&parts.coming) = Some(self.begin_short(landing, &parts)?);
        reader.amid = true;
        Ok(())
    }

    /// Takes what there is of the message that was begun. True when that is all of it.
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

    /// Device memory is received in place only to receive nothing.
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
        };
        got.map_err(|error| self.socket_failed(&error))
    }

    /// Counts bytes that have come; launches the unpack of a message that is whole.
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
        }
    }
}
