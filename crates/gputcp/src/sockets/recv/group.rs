//! Several receives in one request, told apart by tags: NCCL's grouped receives. The sender matches messages
//! and receives (`gputcp_proto::group`). Here they are receives like any other, which are announced together
//! and are done when all are.

use std::time::Duration;

use gputcp_gpu::{Buffer, MemoryKind, WriteClaim};
use gputcp_proto::{
    frame::{Announce, Mark, RECEIVES_MAX},
    recv::{Received, RecvSide},
    window::Slot,
};

use super::{RecvComm, RecvRequest, RecvState};
use crate::{
    Error, Progress, Result,
    sockets::{
        agreed::SLOTS,
        bound::Bound,
        check_on_device,
        locks::{lock, write_lock},
        shared::{Ready, Shared},
    },
};

/// One receive of a group.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The memory that the message goes to.
    pub destination: &'a Buffer,
    /// The first byte of the range.
    pub offset: u64,
    /// The longest message that it takes, in bytes.
    pub bytes: u64,
    /// The tag of the message that it takes.
    pub tag: i32,
}

/// A group of receives in flight. Holds a slot for each of them: only finishing it gives them
/// back.
#[must_use = "wait for it, or its slots stay taken"]
#[derive(Debug)]
pub struct GroupRequest {
    slots: [Option<Slot>; MOST],
    longest: u64,
}

/// The messages that the receives of a finished group got.
#[derive(Debug, Clone, Copy)]
pub struct ReceivedGroup {
    received: [Received; MOST],
    count: usize,
}

impl RecvComm {
    /// Returns how many receives one group may have: as many as both ends can tell apart.
    #[must_use]
    pub const fn max_receives(&self) -> u16 {
        self.max_receives
    }

    /// Posts several receives as one request. Messages fill them by their tags, in any order; of several with
    /// one tag the first takes the first message. The groups of a connection are filled in the order in which
    /// they were posted. Returns `None` when there are no slots for all of them: finish a request first.
    ///
    /// The destinations are reserved until the request is finished.
    ///
    /// # Errors
    /// If there are none or more than [`RecvComm::max_receives`], and as [`RecvComm::irecv`]; then no receive
    /// is posted.
    pub fn irecv_group(&mut self, group: &[Part<'_>]) -> Result<Option<GroupRequest>> {
        self.shared.check()?;
        let most = self.max_receives;
        if !(1..=usize::from(most)).contains(&group.len()) {
            return Err(Error::usage(format!(
                "a group of {} receives was posted, where the two ends of the connection agreed on 1 to {most}: give both the \
                 same most receives",
                group.len()
            )));
        }
        let longest = group.iter().map(|part| part.bytes).max().unwrap_or(0);
        if let [Part { destination, offset, bytes, tag }] = *group {
            let posted = self.irecv_tagged(destination, offset, bytes, tag)?;
            let alone = |request: RecvRequest| {
                let mut slots = [const { None }; MOST];
                slots[0] = Some(request.slot);
                GroupRequest { slots, longest }
            };
            return Ok(posted.map(alone));
        }
        for part in group {
            if part.destination.kind() != MemoryKind::Host {
                check_on_device(self.longest_on_device, part.bytes)?;
            }
        }
        let mut claims: [Option<WriteClaim>; MOST] = [const { None }; MOST];
        let mut announces = [Announce { seq: 0, capacity: 0, inline_bytes: 0, done: 0, mark: None }; MOST];
        let mut slots = [const { None }; MOST];
        let mut state = lock(&self.shared.state);
        if !state.side.has_room_for(group.len()) {
            return Ok(None);
        }
        if state.side.in_flight() == 0 {
            self.shared.resume();
        }
        for (claim, part) in claims.iter_mut().zip(group) {
            let claimed = part.destination.write(part.offset, part.bytes);
            *claim = Some(claimed.map_err(|error| Error::usage(error.to_string()))?);
        }
        for (at, (part, claim)) in group.iter().zip(claims).enumerate() {
            let Some((slot, announce)) = state.side.post(part.bytes, true) else {
                unreachable!("there is room for all of them")
            };
            *write_lock(&state.parts.destinations[slot.index()]) = claim;
            let mark = Mark { tag: part.tag, following: (group.len() - at - 1) as u8 };
            announces[at] = Announce { mark: Some(mark), ..announce };
            slots[at] = Some(slot);
        }
        let parts = state.parts.clone();
        drop(state);
        self.shared.tell(&parts, |announcer| announcer.posted_group(&announces[..group.len()]))?;
        Ok(Some(GroupRequest { slots, longest }))
    }

    /// Returns the finished group, or the request while bytes are missing. As [`RecvComm::test`], it never
    /// waits for the peer.
    ///
    /// # Errors
    /// If the connection has failed.
    pub fn test_group(&mut self, request: GroupRequest) -> Result<Progress<ReceivedGroup, GroupRequest>> {
        let request = match self.shared.finish_group(request)? {
            Progress::Done(received) => return Ok(Progress::Done(received)),
            Progress::NotYet(request) => request,
        };
        self.read_what_has_come(request.longest);
        let finished = self.shared.finish_group(request)?;
        if !finished.is_done() {
            self.shared.check()?;
        }
        Ok(finished)
    }

    /// Waits until all messages of the group are at their destinations, for as long as bytes move.
    ///
    /// # Errors
    /// As [`RecvComm::wait`].
    pub fn wait_group(&mut self, request: GroupRequest, timeout: Duration) -> Result<ReceivedGroup> {
        let spin = self.may_come_short(request.longest);
        let shared = &self.shared;
        let mut request = Some(request);
        // The last message to come ends the group.
        shared.wait_for("receiving a group", Bound::silence(timeout), None, spin, || {
            let Some(held) = request.take() else { return Ok(Ready::No) };
            match shared.finish_group(held)? {
                Progress::Done(received) => Ok(Ready::Yes(received)),
                Progress::NotYet(held) => {
                    request = Some(held);
                    Ok(shared.newest_unpack().map_or(Ready::No, Ready::AfterLane))
                }
            }
        })
    }
}

impl GroupRequest {
    fn is_complete(&self, side: &RecvSide<SLOTS>) -> bool {
        self.slots.iter().flatten().all(|slot| side.is_complete(slot))
    }
}

impl ReceivedGroup {
    /// Returns the message of each receive, in the order in which they were posted.
    #[must_use]
    pub fn parts(&self) -> &[Received] {
        &self.received[..self.count]
    }
}

impl Shared<RecvState> {
    /// Looks at the lanes, then at all receives of a group: either all are finished, or none. The same lock
    /// covers the check whether the missing bytes can still come.
    ///
    /// # Errors
    /// As for a single receive.
    fn finish_group(&self, request: GroupRequest) -> Result<Progress<ReceivedGroup, GroupRequest>> {
        let mut state = self.reaped(|side| request.is_complete(side))?;
        if !request.is_complete(&state.side) {
            let is_over = state.side.is_over();
            drop(state);
            return if is_over { Err(self.peer_closed()) } else { Ok(Progress::NotYet(request)) };
        }
        let mut group = ReceivedGroup { received: [Received { bytes: 0 }; MOST], count: 0 };
        for slot in request.slots.into_iter().flatten() {
            let Ok(received) = state.finish(slot) else { unreachable!("it is complete") };
            group.received[group.count] = received;
            group.count += 1;
        }
        Ok(Progress::Done(group))
    }
}

const MOST: usize = RECEIVES_MAX as usize;
