//! A request: a prepared transfer of NIXL's, which may be several of the library's.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
};

use gputcp::{
    Error, Progress,
    onesided::{Peer, Transfer},
};

use crate::{
    after::After,
    status::{Status, failed, refused},
};

/// A prepared transfer.
#[derive(Debug)]
pub(crate) struct Request {
    state: Mutex<State>,
    after: Arc<After>,
}

#[derive(Debug)]
struct State {
    parts: Vec<Part>,
    /// The notes to send when all parts are done, where no part carries them.
    notes: Vec<Vec<u8>>,
    stage: Stage,
}

/// The part between two endpoints.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) peer: Peer,
    pub(crate) transfer: Transfer,
    is_posted: bool,
}

#[derive(Debug)]
enum Stage {
    Prepared,
    /// Some parts are under way. With an error, all are cancelled.
    UnderWay(Option<Error>),
    Over(Status),
}

impl Part {
    pub(crate) const fn new(peer: Peer, transfer: Transfer) -> Self {
        Self { peer, transfer, is_posted: false }
    }
}

impl Request {
    pub(crate) fn new(parts: Vec<Part>, after: Arc<After>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State { parts, notes: Vec::new(), stage: Stage::Prepared }),
            after,
        })
    }

    /// Begins the transfer. The notes go to the remote agent after all of its bytes.
    pub(crate) fn post(self: &Arc<Self>, mut notes: Vec<Vec<u8>>) -> Status {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.look() == Status::IN_PROGRESS {
            return refused(Status::REPOST_ACTIVE, "a transfer was posted that is under way");
        }
        // One note travels with the only part: then no thread of this side has to wait for its end.
        let note = if state.parts.len() == 1 && notes.len() == 1 { notes.pop() } else { None };
        state.notes = notes;
        let mut failure = None;
        for part in &mut state.parts {
            if let Err(error) = part.transfer.post(note.as_deref()) {
                failure = Some(error);
                break;
            }
            part.is_posted = true;
        }
        match failure {
            Some(error) if !state.parts.iter().any(|part| part.is_posted) => {
                let status = failed("post a transfer", &error);
                state.stage = Stage::Over(status);
                return status;
            }
            failure => state.stage = Stage::UnderWay(failure),
        }
        let has_more = !state.notes.is_empty();
        state.cancel_if_failed();
        drop(state);
        if has_more {
            self.after.add(Arc::downgrade(self));
        }
        Status::IN_PROGRESS
    }

    /// Returns its status.
    ///
    /// Programs ask without pause. A thread of the endpoint's that waits for this core goes first.
    pub(crate) fn check(&self) -> Status {
        let status = self.state.lock().unwrap_or_else(PoisonError::into_inner).look();
        if status == Status::IN_PROGRESS {
            thread::yield_now();
        }
        status
    }

    /// Sends what is to be sent once it is done. Returns true if nothing is left to send.
    pub(crate) fn finish(request: &Weak<Self>) -> bool {
        request.upgrade().is_none_or(|request| request.check() != Status::IN_PROGRESS)
    }
}

impl State {
    fn look(&mut self) -> Status {
        let Stage::UnderWay(failure) = &mut self.stage else {
            return match self.stage {
                Stage::Over(status) => status,
                _ => Status::NOT_POSTED,
            };
        };
        let mut is_over = true;
        for part in self.parts.iter_mut().filter(|part| part.is_posted) {
            match part.transfer.poll() {
                Ok(Progress::NotYet(())) => is_over = false,
                Ok(Progress::Done(())) => part.is_posted = false,
                Err(error) => {
                    part.is_posted = false;
                    failure.get_or_insert(error);
                }
            }
        }
        self.cancel_if_failed();
        if !is_over {
            return Status::IN_PROGRESS;
        }
        let failure = match std::mem::replace(&mut self.stage, Stage::Prepared) {
            Stage::UnderWay(Some(error)) => Err(error),
            _ => self.send_notes(),
        };
        self.notes.clear();
        let status = failure.map_or_else(|error| failed("finish a transfer", &error), |()| Status::SUCCESS);
        self.stage = Stage::Over(status);
        status
    }

    fn send_notes(&self) -> Result<(), Error> {
        let Some(part) = self.parts.last() else { return Ok(()) };
        self.notes.iter().try_for_each(|note| part.peer.notify(note))
    }

    /// Cancels the other parts once one has failed.
    fn cancel_if_failed(&self) {
        if matches!(self.stage, Stage::UnderWay(Some(_))) {
            self.parts.iter().filter(|part| part.is_posted).for_each(|part| part.transfer.cancel());
        }
    }
}
