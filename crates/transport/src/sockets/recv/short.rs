//! Short messages: whole, inside a frame of the control socket, taken by whoever reads that. Host destinations are received
//! in place, device memory by the control socket's own bounce ring.

use std::{sync::atomic::Ordering, time::Instant};

use gputcp_gpu::{MemoryKind, WriteClaim};
use gputcp_proto::{
    bounce::Filling,
    recv::{InPlace, Landing, Placed},
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

impl Shared<RecvState> {
    /// Takes the message whose frame was just read.
    pub(super) fn take_inline(&self, seq: u64, bytes: u64, reader: &mut Reader) -> Result<()> {
        let mut state = lock(&self.state);
        let landing = state.side.begin_inline(seq, bytes);
        let parts = state.parts.clone();
        drop(state);
        let landing = landing.map_err(|violation| self.misbehaved(violation))?;
        lock(&parts.announcer).matched(self)?;
        parts.came_short.store(true, Ordering::Relaxed);
        let place = read_lock(&parts.destinations[landing.slot_index()]);
        let Some(destination) = place.as_ref() else { unreachable!("a posted receive has a destination") };
        if destination.kind() == MemoryKind::Host || bytes == 0 {
            let placed = self.receive_in_place(landing, destination, reader)?;
            drop(place);
            self.placed(placed);
        } else {
            self.bounce_inline(landing, destination, &parts, reader)?;
        }
        Ok(())
    }

    /// Device memory comes here only to receive nothing.
    fn receive_in_place(
        &self,
        landing: Landing,
        destination: &WriteClaim,
        reader: &mut Reader,
    ) -> Result<Placed> {
        let bytes = landing.bytes();
        let deadline = Instant::now() + self.timeout;
        let taken = reader.payload(&self.control, bytes, deadline, |have, piece| match piece {
            Piece::Here(bytes) => {
                destination.copy_from(have, bytes);
                Ok(bytes.len())
            }
            Piece::Coming(socket) => destination.recv(socket, have, bytes - have),
        });
        taken.map_err(|error| self.socket_failed(&error))?;
        self.counters.carried.fetch_add(bytes, Ordering::Relaxed);
        match InPlace::new(landing).advance(bytes) {
            Ok(placed) => Ok(placed),
            Err(_) => unreachable!("the whole payload was read"),
        }
    }

    /// Reads the payload into a bounce buffer and launches its unpack.
    fn bounce_inline(
        &self,
        landing: Landing,
        destination: &WriteClaim,
        parts: &Parts,
        reader: &mut Reader,
    ) -> Result<()> {
        let (Some(lane), Some(ring)) = (&parts.short, parts.rings.last()) else {
            unreachable!("device memory is refused without lanes")
        };
        let (bytes, index) = (landing.bytes(), landing.slot_index());
        let slot = self.wait_for_bounce_slot(ring)?;
        let mut lane = lock(lane);
        let mut progress = Some(Err(Filling::new(slot, landing)));
        let deadline = Instant::now() + self.timeout;
        let taken = reader.payload(&self.control, bytes, deadline, |_, piece| {
            let Some(Err(filling)) = progress.take() else { return Ok(0) };
            let got = match piece {
                Piece::Here(bytes) => {
                    lane.put(&filling, bytes);
                    Ok(bytes.len())
                }
                Piece::Coming(socket) => lane.recv(&filling, socket),
            };
            progress = Some(match got {
                Ok(got) => filling.advance(got as u64),
                Err(_) => Err(filling),
            });
            got
        });
        taken.map_err(|error| self.socket_failed(&error))?;
        self.counters.carried.fetch_add(bytes, Ordering::Relaxed);
        let Some(Ok(filled)) = progress else { unreachable!("the whole payload was read") };
        // Launched under the ring's lock: a waiter that finds the ring empty must not miss it.
        let mut ring = lock(ring);
        ring.push(filled.unpack(&mut lane.unpack_into(destination, parts.mode))?);
        drop(ring);
        // The waiter goes on to watch the lane.
        self.doorbell.ring(index);
        Ok(())
    }
}
