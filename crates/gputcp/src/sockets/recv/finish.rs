//! Ends a receive. Its user tests or waits until its bytes are at their destination, and then its slot goes
//! back (invariant I1). The calling thread reads the control socket and follows the unpacks meanwhile.

use std::time::Duration;

use gputcp_proto::{
    connection::SHORT_BYTES,
    recv::{Received, Unfinished},
    window::Slot,
};

use super::{RecvComm, RecvMemory, RecvRequest};
use crate::{
    Progress, Result,
    sockets::{
        bound::Bound,
        locks::write_lock,
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

    /// Does the same without reading the control socket: another thread does.
    ///
    /// # Errors
    /// If the connection has failed.
    pub(crate) fn look_at(&mut self, request: RecvRequest) -> Result<Progress<Received, RecvRequest>> {
        let RecvRequest { slot, bytes } = request;
        let looked = self.shared.finish(slot)?;
        if !looked.is_done() {
            self.shared.check()?;
        }
        Ok(looked.map_not_yet(|slot| RecvRequest { slot, bytes }))
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
                    Ok(shared.end().newest_unpack().map_or(Ready::No, Ready::AfterLane))
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
        bytes <= SHORT_BYTES.min(self.inline_bytes)
            || (self.inline_bytes > 0 && self.shared.end().came_short())
    }
}

impl Shared<RecvMemory> {
    /// Looks at the lanes, then at the request and, under the same lock, at whether its bytes can still come.
    ///
    /// # Errors
    /// If a lane is lost, or the peer has closed the connection without the bytes.
    fn finish(&self, slot: Slot) -> Result<Progress<Received, Slot>> {
        let (index, seq) = (slot.index(), slot.seq().wire());
        let finished = self.act_on_lane(|end| {
            let finished = end.finish(slot)?;
            if finished.is_ok() {
                // Cleared before the slot can be issued again, which takes this lock.
                *write_lock(&self.memory.destinations[index]) = None;
            }
            Ok(finished)
        })?;
        if let Some(trace) = &self.trace {
            match &finished {
                Ok(received) => trace.seen(seq, received.bytes),
                Err(_) => trace.polled(),
            }
        }
        match finished {
            Ok(received) => Ok(Progress::Done(received)),
            Err(Unfinished::NotYet(slot)) => Ok(Progress::NotYet(slot)),
            Err(Unfinished::Never(_)) => Err(self.peer_closed()),
        }
    }
}
