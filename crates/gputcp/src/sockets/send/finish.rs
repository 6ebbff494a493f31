//! Ends a send. Its user tests or waits until the sockets have taken its bytes, and then its slot goes back
//! (invariant I1). Behind the peer's goodbye, a send that has not begun never will.

use std::time::Duration;

use gputcp_proto::{send::Sent, window::Slot};

use super::{SendComm, SendRequest, SendState};
use crate::{
    Progress, Result,
    sockets::{
        bound::Bound,
        locks::{lock, write_lock},
        shared::{Ready, Shared},
    },
};

impl SendComm {
    /// Returns the finished send, or the request while bytes are left. Reads the peer's announcements, and
    /// may then write short messages. Never waits for the peer.
    ///
    /// # Errors
    /// If the connection has failed.
    pub fn test(&mut self, request: SendRequest) -> Result<Progress<Sent, SendRequest>> {
        // Also for a request that is finished already: the next ones need announcements, and unread they
        // would wake the background reader.
        self.shared.poll();
        match self.shared.finish(request.slot) {
            Ok(sent) => Ok(Progress::Done(sent)),
            Err(slot) => {
                self.shared.check()?;
                if self.shared.peer_has_said_goodbye() && !self.shared.is_begun(&slot) {
                    return Err(self.shared.peer_closed());
                }
                Ok(Progress::NotYet(SendRequest { slot }))
            }
        }
    }

    /// Waits until the sockets have taken the message, for as long as bytes move: a slow network is no dead
    /// one.
    ///
    /// # Errors
    /// If the connection has failed, or none of its bytes have moved for `timeout`. That ends the connection:
    /// no request of it can succeed any more.
    pub fn wait(&mut self, request: SendRequest, timeout: Duration) -> Result<Sent> {
        let bound = Bound::silence(timeout);
        let index = request.slot.index();
        let mut slot = Some(request.slot);
        self.shared.wait_for("sending a message", bound, Some(index), false, || {
            let Some(held) = slot.take() else { return Ok(Ready::No) };
            match self.shared.finish(held) {
                Ok(sent) => Ok(Ready::Yes(sent)),
                Err(held) => {
                    let hopeless = self.shared.peer_has_said_goodbye() && !self.shared.is_begun(&held);
                    slot = Some(held);
                    if hopeless { Err(self.shared.peer_closed()) } else { Ok(Ready::No) }
                }
            }
        })
    }
}

impl Shared<SendState> {
    fn finish(&self, slot: Slot) -> Result<Sent, Slot> {
        let mut state = lock(&self.state);
        let index = slot.index();
        let sent = state.side.finish(slot)?;
        // Before the slot can be issued again, which takes this lock.
        *write_lock(&state.parts.sources[index]) = None;
        Ok(sent)
    }

    fn is_begun(&self, slot: &Slot) -> bool {
        lock(&self.state).side.is_begun(slot)
    }
}
