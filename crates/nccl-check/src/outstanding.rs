//! Requests that are posted and have not ended, by connection. A side that waits for something else goes on
//! asking for them. NCCL's progress thread does so too, and some plugins move data only within `test`.

use std::collections::BTreeMap;

use crate::{
    raw::{P, Sizes},
    stop::Stop,
};

/// A request as `isend`, `irecv` or `iflush` gave it. Copies are the same request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    pub(crate) pointer: P,
    comm: P,
    /// The request's place in the order of posting; a pointer may come again.
    number: u64,
    /// The number of sizes that `test` writes for it.
    pub(crate) parts: usize,
}

/// The requests of a process's connections.
#[derive(Debug, Default)]
pub(crate) struct Outstanding {
    next: u64,
    by_comm: BTreeMap<usize, Vec<Posted>>,
}

/// A request whose end has not been told to the check.
#[derive(Debug)]
struct Posted {
    number: u64,
    /// The address of the request.
    pointer: usize,
    parts: usize,
    /// The request's end, if it was seen while the side waited for something else.
    ended: Option<Result<Sizes, Stop>>,
}

impl Outstanding {
    pub(crate) fn add(&mut self, comm: P, pointer: P, parts: usize) -> Ticket {
        let number = self.next;
        self.next += 1;
        let posted = Posted { number, pointer: pointer.expose_provenance(), parts, ended: None };
        self.by_comm.entry(comm.expose_provenance()).or_default().push(posted);
        Ticket { pointer, comm, number, parts }
    }

    /// Removes a request. Returns its end if it was seen.
    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<Result<Sizes, Stop>> {
        let posted = self.by_comm.get_mut(&ticket.comm.addr())?;
        let at = posted.iter().position(|posted| posted.number == ticket.number)?;
        posted.remove(at).ended
    }

    /// Returns whether a request's end was seen.
    pub(crate) fn has_ended(&self, ticket: Ticket) -> bool {
        let posted = self.by_comm.get(&ticket.comm.addr()).into_iter().flatten();
        posted.filter(|posted| posted.number == ticket.number).any(|posted| posted.ended.is_some())
    }

    /// Keeps a request's end for the check.
    pub(crate) fn end(&mut self, ticket: Ticket, ended: Result<Sizes, Stop>) {
        let posted = self.by_comm.get_mut(&ticket.comm.addr()).into_iter().flatten();
        for posted in posted.filter(|posted| posted.number == ticket.number) {
            posted.ended = Some(ended.clone());
        }
    }

    /// Returns the connections that have requests.
    pub(crate) fn comms(&self) -> Vec<P> {
        self.by_comm.keys().map(|&comm| std::ptr::with_exposed_provenance_mut(comm)).collect()
    }

    /// Returns the oldest request of a connection that has not ended; `None` once one has failed, as the
    /// connection is then at its end.
    pub(crate) fn oldest(&self, comm: P) -> Option<Ticket> {
        let posted = self.by_comm.get(&comm.addr())?;
        if posted.iter().any(|posted| matches!(posted.ended, Some(Err(_)))) {
            return None;
        }
        let &Posted { number, pointer, parts, .. } = posted.iter().find(|posted| posted.ended.is_none())?;
        let pointer = std::ptr::with_exposed_provenance_mut(pointer);
        Some(Ticket { pointer, comm, number, parts })
    }

    /// Returns the number of a connection's requests whose end was not seen.
    pub(crate) fn in_flight(&self, comm: P) -> usize {
        let posted = self.by_comm.get(&comm.addr()).into_iter().flatten();
        posted.filter(|posted| posted.ended.is_none()).count()
    }

    /// Forgets a connection that is closed.
    pub(crate) fn close(&mut self, comm: P) {
        self.by_comm.remove(&comm.addr());
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::without_provenance_mut as at;

    use super::*;

    #[test]
    fn the_oldest_is_asked_for_first_and_each_end_is_kept_once() {
        let mut all = Outstanding::default();
        let (one, other) = (at(1), at(2));
        // The same pointer comes twice: a slot is used again.
        let tickets = [8, 9, 8].map(|pointer| all.add(one, at(pointer), 1));
        all.add(other, at(8), 1);
        assert_eq!(all.oldest(one).map(|ticket| ticket.number), Some(tickets[0].number));
        all.end(tickets[0], Ok(Sizes::new()));
        assert_eq!(all.oldest(one).map(|ticket| ticket.number), Some(tickets[1].number));
        assert_eq!((all.in_flight(one), all.in_flight(other)), (2, 1));
        assert!(all.has_ended(tickets[0]) && !all.has_ended(tickets[2]));
        assert!(matches!(all.remove(tickets[0]), Some(Ok(_))));
        assert!(all.remove(tickets[0]).is_none() && all.remove(tickets[2]).is_none());
        assert_eq!(all.in_flight(one), 1);
    }

    #[test]
    fn a_connection_that_failed_is_left_alone() {
        let mut all = Outstanding::default();
        let [first, second] = [8, 9].map(|pointer| all.add(at(1), at(pointer), 1));
        all.end(first, Err(Stop::Failed("test answered 6".into())));
        assert!(all.oldest(at(1)).is_none());
        assert!(!all.has_ended(second) && all.remove(first).is_some_and(|ended| ended.is_err()));
        all.close(at(1));
        assert_eq!((all.in_flight(at(1)), all.comms().len()), (0, 0));
    }
}
