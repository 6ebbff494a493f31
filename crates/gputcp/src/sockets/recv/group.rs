//! Several receives in one request, told apart by tags: NCCL's grouped receives. The sender matches messages
//! and receives (`gputcp_proto::group`). Here they are receives like any other, which are announced together
//! and are done when all are.

use std::time::Duration;

use gputcp_gpu::{Buffer, Done, MemoryKind, WriteClaim};
use gputcp_proto::{
    connection::{End, Receiver, receiver::Receive},
    frame::RECEIVES_MAX,
    recv::Received,
    window::Slot,
};

use super::{Held, RecvComm, RecvMemory, RecvRequest};
use crate::{
    Error, Progress, Result,
    sockets::{
        bound::Bound,
        check_on_device,
        locks::write_lock,
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
        let mut slots = [const { None }; MOST];
        let began = self.shared.trace_time();
        let is_posted = self.shared.act(|end| self.post_group(end, group, &mut slots, began))?;
        Ok(is_posted.then_some(GroupRequest { slots, longest }))
    }

    /// Claims all destinations and posts all receives, or none.
    fn post_group(
        &self,
        end: &mut Receiver<Done>,
        group: &[Part<'_>],
        slots: &mut [Option<Slot>; MOST],
        began: u64,
    ) -> Result<bool> {
        let mut claims: [Option<WriteClaim>; MOST] = [const { None }; MOST];
        let mut receives = [Receive { capacity: 0, is_bounced: false, tag: 0 }; MOST];
        for ((claim, receive), part) in claims.iter_mut().zip(&mut receives).zip(group) {
            let claimed = part.destination.write(part.offset, part.bytes);
            *claim = Some(claimed.map_err(|error| Error::usage(error.to_string()))?);
            let is_bounced = part.destination.kind() != MemoryKind::Host;
            *receive = Receive { capacity: part.bytes, is_bounced, tag: part.tag };
        }
        if end.in_flight() == 0 {
            self.shared.resume();
        }
        if !end.post_group(&receives[..group.len()], slots) {
            return Ok(false);
        }
        if let Some(trace) = &self.shared.trace {
            for (slot, part) in slots.iter().flatten().zip(group) {
                trace.posted(began, slot.index(), slot.seq().wire(), part.bytes);
            }
        }
        for (slot, claim) in slots.iter().flatten().zip(claims) {
            let held = claim.map(|claim| Held { claim, layout: None });
            *write_lock(&self.shared.memory.destinations[slot.index()]) = held;
        }
        Ok(true)
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
                    Ok(shared.end().newest_unpack().map_or(Ready::No, Ready::AfterLane))
                }
            }
        })
    }
}

impl ReceivedGroup {
    /// Returns the message of each receive, in the order in which they were posted.
    #[must_use]
    pub fn parts(&self) -> &[Received] {
        &self.received[..self.count]
    }
}

impl Shared<RecvMemory> {
    /// Looks at the lanes, then at all receives of a group: either all are finished, or none. The same lock
    /// covers the check whether the missing bytes can still come.
    ///
    /// # Errors
    /// As for a single receive.
    fn finish_group(&self, mut request: GroupRequest) -> Result<Progress<ReceivedGroup, GroupRequest>> {
        let indices = request.slots.each_ref().map(|slot| slot.as_ref().map(Slot::index));
        let seqs = request.slots.each_ref().map(|slot| slot.as_ref().map(|slot| slot.seq().wire()));
        let count = indices.iter().flatten().count();
        let mut received = [Received { bytes: 0 }; MOST];
        let (is_done, is_over) = self.act_on_lane(|end| {
            let is_done = end.finish_group(&mut request.slots, &mut received)?;
            if is_done {
                // Cleared before the slots can be issued again, which takes this lock.
                indices.iter().flatten().for_each(|&at| *write_lock(&self.memory.destinations[at]) = None);
            }
            Ok((is_done, end.is_over()))
        })?;
        if let Some(trace) = &self.trace {
            match is_done {
                true => {
                    seqs.iter().flatten().zip(received).for_each(|(&seq, got)| trace.seen(seq, got.bytes))
                }
                false => trace.polled(),
            }
        }
        match is_done {
            true => Ok(Progress::Done(ReceivedGroup { received, count })),
            false if is_over => Err(self.peer_closed()),
            false => Ok(Progress::NotYet(request)),
        }
    }
}

const MOST: usize = RECEIVES_MAX as usize;
