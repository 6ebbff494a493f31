//! Requests as a check uses them: posted, asked for, waited for, and served while the side waits for
//! something else.

use std::{collections::VecDeque, ffi::c_int, ptr, thread, time::Duration};

use crate::{
    bench::BenchPlugin,
    block::Block,
    outstanding::Ticket,
    raw::{Group, P, Sizes},
    stop::Stop,
};

/// A request in flight, and its memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PostedRequest {
    pub(crate) ticket: Ticket,
    pub(crate) block: Block,
}

impl BenchPlugin {
    /// Posts a send; `None` is "not yet".
    pub(crate) fn isend(&self, comm: P, block: Block) -> Result<Option<PostedRequest>, Stop> {
        self.isend_tagged(comm, block, TAG)
    }

    pub(crate) fn isend_tagged(
        &self,
        comm: P,
        block: Block,
        tag: c_int,
    ) -> Result<Option<PostedRequest>, Stop> {
        let (code, pointer) =
            self.call("isend", |raw| raw.isend(comm, block.pointer(), block.bytes, tag, block.mhandle));
        let posted = self.success("isend", code)? && !pointer.is_null();
        Ok(posted.then(|| self.posted(comm, pointer, block)))
    }

    /// Posts a receive; `None` is "not yet".
    pub(crate) fn irecv(&self, comm: P, block: Block) -> Result<Option<PostedRequest>, Stop> {
        let (code, pointer) = self.call("irecv", |raw| raw.irecv(comm, &mut alone(block), ptr::null_mut()));
        let posted = self.success("irecv", code)? && !pointer.is_null();
        Ok(posted.then(|| self.posted(comm, pointer, block)))
    }

    /// Notes a request that the plugin gave.
    pub(crate) fn posted(&self, comm: P, pointer: P, block: Block) -> PostedRequest {
        PostedRequest { ticket: self.outstanding().add(comm, pointer, 1), block }
    }

    /// Posts a send, asking again as often as the plugin says "not yet".
    pub(crate) fn send(&self, comm: P, block: Block) -> Result<PostedRequest, Stop> {
        self.send_tagged(comm, block, TAG)
    }

    pub(crate) fn send_tagged(&self, comm: P, block: Block, tag: c_int) -> Result<PostedRequest, Stop> {
        self.until("isend never gave a request", || {
            let posted = self.isend_tagged(comm, block, tag)?;
            Ok(posted.or_else(|| self.attend_to(comm)))
        })
    }

    /// Posts a receive, asking again as often as the plugin says "not yet".
    pub(crate) fn recv(&self, comm: P, block: Block) -> Result<PostedRequest, Stop> {
        self.until("irecv never gave a request", || {
            let posted = self.irecv(comm, block)?;
            Ok(posted.or_else(|| self.attend_to(comm)))
        })
    }

    /// Asks for a request. Returns its sizes once it is done.
    pub(crate) fn ask(&self, ticket: Ticket) -> Result<Option<Sizes>, Stop> {
        if self.outstanding().has_ended(ticket)
            && let Some(ended) = self.outstanding().remove(ticket)
        {
            return ended.map(Some);
        }
        let asked = self.ask_the_plugin(ticket);
        if !matches!(asked, Ok(None)) {
            self.outstanding().remove(ticket);
        }
        asked
    }

    fn ask_the_plugin(&self, ticket: Ticket) -> Result<Option<Sizes>, Stop> {
        let mut done = 0;
        let mut sizes = Sizes::new();
        let code = self.call("test", |raw| raw.test(ticket.pointer, &raw mut done, sizes.pointer()));
        let answered = self.success("test", code)?;
        if let Err(why) = sizes.check_guard(ticket.parts) {
            self.note_beyond(why);
        }
        Ok((answered && done != 0).then_some(sizes))
    }

    /// Asks for a request. Returns its size once it is done.
    pub(crate) fn test(&self, request: PostedRequest) -> Result<Option<usize>, Stop> {
        // The check of sizes tells a negative size.
        let size = |sizes: Sizes| usize::try_from(sizes.of(0)).unwrap_or(usize::MAX);
        Ok(self.ask(request.ticket)?.map(size))
    }

    /// Waits for a request, and returns its size.
    pub(crate) fn wait(&self, request: PostedRequest) -> Result<usize, Stop> {
        self.until("test never said that a request is done", || self.test(request))
    }

    /// Waits for requests, the first one first.
    pub(crate) fn wait_for_all(&self, requests: &[PostedRequest]) -> Result<(), Stop> {
        requests.iter().try_for_each(|&request| self.wait(request).map(drop))
    }

    /// Posts a message after another, with so few in flight that every plugin takes them.
    pub(crate) fn few_at_a_time(
        &self,
        messages: u64,
        mut post: impl FnMut(u64) -> Result<PostedRequest, Stop>,
    ) -> Result<(), Stop> {
        let mut posted = VecDeque::new();
        for message in 0..messages {
            if posted.len() == FEW
                && let Some(oldest) = posted.pop_front()
            {
                self.wait(oldest)?;
            }
            posted.push_back(post(message)?);
        }
        self.wait_for_all(posted.make_contiguous())
    }

    /// Gives a finished receive's slot back to a plugin that keeps it.
    pub(crate) fn consume(&self, comm: P, request: PostedRequest) -> Result<(), Stop> {
        match self.call("irecvConsumed", |raw| raw.irecv_consumed(comm, 1, request.ticket.pointer)) {
            Some(code) => self.success("irecvConsumed", code).map(drop),
            None => Ok(()),
        }
    }

    /// Waits for a receive, checks that it holds a message, and gives its slot back.
    pub(crate) fn take(
        &self,
        comm: P,
        request: PostedRequest,
        bytes: usize,
        message: u64,
    ) -> Result<(), Stop> {
        self.wait(request)?;
        request.block.holds(bytes, message)?;
        self.consume(comm, request)
    }

    /// Leaves a request to the check, which calls `test` itself.
    pub(crate) fn leave_to_the_check(&self, request: PostedRequest) -> P {
        self.outstanding().remove(request.ticket);
        request.ticket.pointer
    }

    /// Asks for the oldest request of each connection. Returns whether there is one.
    pub(crate) fn attend(&self) -> bool {
        let comms = self.outstanding().comms();
        let mut attended = false;
        for comm in comms {
            attended |= self.attend_to_one(comm);
        }
        attended
    }

    /// Asks for the oldest request of a connection, as NCCL does between two attempts to post. Returns `None`
    /// in the place of the request that was not given.
    fn attend_to<T>(&self, comm: P) -> Option<T> {
        self.attend_to_one(comm);
        None
    }

    /// Asks for the oldest request of a connection, and keeps its end for the check. Returns whether there
    /// is one.
    pub(crate) fn attend_to_one(&self, comm: P) -> bool {
        let Some(oldest) = self.outstanding().oldest(comm) else { return false };
        match self.ask_the_plugin(oldest) {
            Ok(None) => {}
            Ok(Some(sizes)) => self.outstanding().end(oldest, Ok(sizes)),
            Err(stop) => self.outstanding().end(oldest, Err(stop)),
        }
        true
    }

    /// Asks again until "not yet" means "full".
    pub(crate) fn persist<T>(
        &self,
        mut one: impl FnMut() -> Result<Option<T>, Stop>,
    ) -> Result<Option<T>, Stop> {
        let began = std::time::Instant::now();
        let mut refusals = 0;
        while refusals < REFUSALS || began.elapsed() < REFUSED {
            if let Some(given) = one()? {
                return Ok(Some(given));
            }
            refusals += 1;
            thread::sleep(PAUSE);
        }
        Ok(None)
    }
}

/// Returns a group of one part.
pub(crate) fn alone(block: Block) -> Group {
    Group {
        data: vec![block.pointer()],
        sizes: vec![block.bytes],
        tags: vec![TAG],
        mhandles: vec![block.mhandle],
    }
}

/// The most sends in flight that every plugin takes.
pub(crate) const FEW: usize = 8;
/// The tag of all messages that tags need not tell apart.
const TAG: c_int = 7;
/// The count of "not yet" that, over the time [`REFUSED`], means "full".
const REFUSALS: usize = 50;
const REFUSED: Duration = Duration::from_millis(30);
const PAUSE: Duration = Duration::from_micros(200);
