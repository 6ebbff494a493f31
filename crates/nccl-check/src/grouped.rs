//! Receives of several parts in one request, told apart by tags.

use std::{ffi::c_int, ptr};

use crate::{
    bench::BenchPlugin,
    block::Block,
    outstanding::Ticket,
    raw::{Group, P, Sizes},
    stop::Stop,
};

impl BenchPlugin {
    /// Returns the number of parts that a receive may have; no check makes more than eight.
    pub(crate) fn parts(&self) -> Result<usize, Stop> {
        Ok(self.properties()?.max_recvs.clamp(1, PARTS_MAX) as usize)
    }

    /// Posts a receive with a part in each block; `None` is "not yet".
    pub(crate) fn irecv_grouped(&self, comm: P, blocks: &[Block]) -> Result<Option<Ticket>, Stop> {
        let mut group = Group {
            data: blocks.iter().map(Block::pointer).collect(),
            sizes: blocks.iter().map(|block| block.bytes).collect(),
            tags: (0..blocks.len()).map(tag).collect(),
            mhandles: blocks.iter().map(|block| block.mhandle).collect(),
        };
        let (code, request) = self.call("irecv", |raw| raw.irecv(comm, &mut group, ptr::null_mut()));
        let posted = self.success("irecv", code)? && !request.is_null();
        Ok(posted.then(|| self.outstanding().add(comm, request, blocks.len())))
    }

    /// Waits for such a receive, and returns its parts' sizes.
    pub(crate) fn wait_grouped(&self, ticket: Ticket) -> Result<Sizes, Stop> {
        self.until("test never said that a request is done", || self.ask(ticket))
    }

    /// Gives its slot back, where the plugin keeps it.
    pub(crate) fn consume_grouped(&self, comm: P, ticket: Ticket) -> Result<(), Stop> {
        let (parts, request) = (ticket.parts as c_int, ticket.pointer);
        match self.call("irecvConsumed", |raw| raw.irecv_consumed(comm, parts, request)) {
            Some(code) => self.success("irecvConsumed", code).map(drop),
            None => Ok(()),
        }
    }
}

/// Returns the tag of a part.
pub(crate) const fn tag(part: usize) -> c_int {
    FIRST_TAG + part as c_int
}

const PARTS_MAX: c_int = 8;
const FIRST_TAG: c_int = 40;
