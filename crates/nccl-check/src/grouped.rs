//! Receives of several parts in one request, told apart by tags.

use std::{ffi::c_int, ptr};

use crate::{
    bench::Plugin,
    block::Block,
    raw::{Group, P, Sizes},
    stop::Stop,
};

impl Plugin {
    /// How many parts a receive may have; no check makes more than eight.
    pub(crate) fn parts(&self) -> Result<usize, Stop> {
        Ok(self.properties()?.max_recvs.clamp(1, PARTS_MAX) as usize)
    }

    /// Posts a receive with a part in each block; `None` is "not yet".
    pub(crate) fn irecv_grouped(&self, comm: P, blocks: &[Block]) -> Result<Option<P>, Stop> {
        let mut group = Group {
            data: blocks.iter().map(Block::pointer).collect(),
            sizes: blocks.iter().map(|block| block.bytes).collect(),
            tags: (0..blocks.len()).map(tag).collect(),
            mhandles: blocks.iter().map(|block| block.mhandle).collect(),
        };
        let (code, request) = self.call("irecv", |raw| raw.irecv(comm, &mut group, ptr::null_mut()));
        Ok((self.success("irecv", code)? && !request.is_null()).then_some(request))
    }

    /// Waits for such a receive; gives its parts' sizes.
    pub(crate) fn wait_grouped(&self, request: P) -> Result<Sizes, Stop> {
        let mut sizes = Sizes::new();
        self.until("test never said that a request is done", || {
            let mut done = 0;
            let code = self.call("test", |raw| raw.test(request, &raw mut done, sizes.pointer()));
            Ok((self.success("test", code)? && done != 0).then_some(()))
        })?;
        Ok(sizes)
    }

    /// Gives its slot back, where the plugin keeps it.
    pub(crate) fn consume_grouped(&self, comm: P, request: P, parts: usize) -> Result<(), Stop> {
        match self.call("irecvConsumed", |raw| raw.irecv_consumed(comm, parts as c_int, request)) {
            Some(code) => self.success("irecvConsumed", code).map(drop),
            None => Ok(()),
        }
    }
}

/// The tag of a part.
pub(crate) const fn tag(part: usize) -> c_int {
    FIRST_TAG + part as c_int
}

const PARTS_MAX: c_int = 8;
const FIRST_TAG: c_int = 40;
