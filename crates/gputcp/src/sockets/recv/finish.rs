//! Ends a receive. Its user tests or waits until its bytes are at their destination, and then its slot goes
//! back (invariant I1). The calling thread reads the control socket and follows the unpacks meanwhile.

use std::{
    sync::{MutexGuard, atomic::Ordering},
    time::Duration,
};

use gputcp_proto::{
    recv::{Received, RecvSide, Unfinished},
    window::Slot,
};

use super::{RecvComm, RecvRequest, RecvState};
use crate::{
    Error, Progress, Result,
    sockets::{
        SHORT_BYTES,
        agreed::SLOTS,
        bound::Bound,
        locks::{lock, write_lock},
        shared::{Ready, Shared},
    },
};

impl RecvComm {
    /// Returns the finished receive, or the request while bytes are missing. Where a short message may come,
    /// it reads the frames of the control socket. Never waits for the peer.
    ///
    /// # Errors
    /// If the connection has failed.
    pub fn test(&mut self, request: RecvRequest) -> Result<Progress<Received, RecvRequest>> {
        let RecvRequest { slot, bytes } = request;
        let slot = match self.shared.finish(slot)? {
            Progress::Done(received) => return Ok(Progress::Done(received)),
            Progress::NotYet(slot) => slot,
        };
        self.read_what_has_come(bytes);
        match self.shared.finish(slot)? {
            Progress::Done(received) => Ok(Progress::Done(received)),
            Progress::NotYet(slot) => {
                self.shared.check()?;
                Ok(Progress::NotYet(RecvRequest { slot, bytes }))
            }
        }
    }

    /// Waits until the message is at its destination, for as long as bytes move: a slow network is no dead
    /// one.
    ///
    /// # Errors
    /// If the connection has failed, or none of its bytes have moved for `timeout`. That ends the connection:
    /// no request of it can succeed any more.
    pub fn wait(&mut self, request: RecvRequest, timeout: Duration) -> Result<Received> {
        let bound = Bound::silence(timeout);
        let index = request.slot.index();
        let mut slot = Some(request.slot);
        let shared = &self.shared;
        let spin = self.may_come_short(request.bytes);
        shared.wait_for("receiving a message", bound, Some(index), spin, || {
            let Some(held) = slot.take() else { return Ok(Ready::No) };
            match shared.finish(held)? {
                Progress::Done(received) => Ok(Ready::Yes(received)),
                Progress::NotYet(held) => {
                    slot = Some(held);
                    Ok(shared.newest_unpack().map_or(Ready::No, Ready::AfterLane))
                }
            }
        })
    }

    /// Reads the frames of the control socket, where one may be for a receive of up to `bytes`.
    pub(super) fn read_what_has_come(&self, bytes: u64) {
        if self.shared.is_left_to_polls() || self.may_come_short(bytes) {
            self.shared.poll();
        }
    }

    /// Returns whether a message to a receive of `bytes` is likely to travel on the control socket. Receives
    /// are often longer than their messages.
    pub(super) fn may_come_short(&self, bytes: u64) -> bool {
        bytes <= SHORT_BYTES.min(self.inline_bytes) || (self.inline_bytes > 0 && self.shared.came_short())
    }
}

impl Shared<RecvState> {
    /// Returns whether the last bytes came on the control socket: the next are likely to, too.
    fn came_short(&self) -> bool {
        lock(&self.state).parts.came_short.load(Ordering::Relaxed)
    }

    /// Looks at the lanes, then at the request and, under the same lock, at whether its bytes can still come.
    ///
    /// # Errors
    /// If a lane is lost, or the peer has closed the connection without the bytes.
    fn finish(&self, slot: Slot) -> Result<Progress<Received, Slot>> {
        let finished = self.reaped(|side| side.is_complete(&slot))?.finish(slot);
        match finished {
            Ok(received) => Ok(Progress::Done(received)),
            Err(Unfinished::NotYet(slot)) => Ok(Progress::NotYet(slot)),
            Err(Unfinished::Never(_)) => Err(self.peer_closed()),
        }
    }

    /// Returns the state, after a look at the lanes if a receive is not complete.
    pub(super) fn reaped(
        &self,
        is_complete: impl FnOnce(&RecvSide<SLOTS>) -> bool,
    ) -> Result<MutexGuard<'_, RecvState>> {
        let state = lock(&self.state);
        let parts = (!is_complete(&state.side) && !state.parts.rings.is_empty()).then(|| state.parts.clone());
        let Some(parts) = parts else { return Ok(state) };
        drop(state);
        for ring in &parts.rings {
            let reaped = self.reap(&mut lock(ring));
            reaped.inspect_err(|error| self.fail(error.clone()))?;
        }
        Ok(lock(&self.state))
    }

    /// Returns the reason why a receive never finishes: the peer has closed the connection, or a failure has
    /// ended its streams. The failure tells more.
    pub(super) fn peer_closed(&self) -> Error {
        let closed = || {
            let open = lock(&self.state).side.in_flight();
            Error::PeerClosed { peer: self.peer.clone(), open }
        };
        self.check().err().unwrap_or_else(closed)
    }
}

impl RecvState {
    /// Ends a receive that is complete.
    pub(super) fn finish(&mut self, slot: Slot) -> Result<Received, Unfinished> {
        let index = slot.index();
        self.side.finish(slot).inspect(|_| {
            // Cleared before the slot can be issued again, which takes this lock.
            *write_lock(&self.parts.destinations[index]) = None;
        })
    }
}
