//! Ends a send. Its user tests or waits until the sockets have taken its bytes, and then its slot goes back
//! (invariant I1). Behind the peer's goodbye, a send that has not begun never will.

use std::time::Duration;

use gputcp_proto::{recv::Unfinished, send::Sent, window::Slot};

use super::{SendComm, SendMemory, SendRequest};
use crate::{
    Progress, Result,
    sockets::{
        bound::Bound,
        locks::write_lock,
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
        match self.shared.finish(request.slot)? {
            Progress::Done(sent) => Ok(Progress::Done(sent)),
            Progress::NotYet(slot) => {
                self.shared.check()?;
                Ok(Progress::NotYet(SendRequest { slot }))
            }
        }
    }

    /// Does the same without reading the announcements: another thread does.
    ///
    /// # Errors
    /// If the connection has failed.
    pub(crate) fn look_at(&mut self, request: SendRequest) -> Result<Progress<Sent, SendRequest>> {
        let looked = self.shared.finish(request.slot)?;
        if !looked.is_done() {
            self.shared.check()?;
        }
        Ok(looked.map_not_yet(|slot| SendRequest { slot }))
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
            match self.shared.finish(held)? {
                Progress::Done(sent) => Ok(Ready::Yes(sent)),
                Progress::NotYet(held) => {
                    slot = Some(held);
                    Ok(Ready::No)
                }
            }
        })
    }
}

impl Shared<SendMemory> {
    /// Ends a send that the sockets have taken.
    ///
    /// # Errors
    /// If the peer has closed the connection, and the send has not begun.
    fn finish(&self, slot: Slot) -> Result<Progress<Sent, Slot>> {
        let index = slot.index();
        let mut seq = 0;
        let finished = self.act(|end| {
            seq = end.meets(&slot);
            end.finish(slot).inspect(|_| {
                // Before the slot can be issued again, which takes this lock.
                *write_lock(&self.memory.sources[index]) = None;
            })
        });
        if let Some(trace) = &self.trace {
            match &finished {
                Ok(sent) => trace.seen(seq, sent.bytes),
                Err(_) => trace.polled(),
            }
        }
        match finished {
            Ok(sent) => Ok(Progress::Done(sent)),
            Err(Unfinished::NotYet(slot)) => Ok(Progress::NotYet(slot)),
            Err(Unfinished::Never(_)) => Err(self.peer_closed()),
        }
    }
}
