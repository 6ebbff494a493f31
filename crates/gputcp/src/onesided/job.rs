//! A prepared transfer, and the memory that transfers touch: the endpoint's parts pass them to one another.

use std::sync::{Arc, Weak};

use gputcp_gpu::Buffer;
use gputcp_proto::{
    layout::Layout,
    onesided::{
        chunks::Plan,
        key::{Key, Operation},
    },
};

use crate::{Error, Result};

/// The number of a peer of this endpoint.
pub(super) type PeerId = u64;

/// The memory of a region.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) key: Key,
    /// The whole of it, for any number of transfers at a time.
    pub(super) buffer: Buffer,
}

/// A prepared transfer.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) peer: PeerId,
    pub(super) operation: Operation,
    pub(super) locals: Vec<Weak<Memory>>,
    pub(super) remotes: Vec<Key>,
    pub(super) plan: Plan,
    /// The local ranges of each chunk.
    pub(super) layouts: Vec<Arc<Layout>>,
}

/// Returns the layout of these ranges, of which there are at most `count`.
pub(super) fn layout_of(ranges: impl Iterator<Item = (u64, u64)>, count: usize) -> Result<Layout> {
    let mut layout = Layout::with_room(count);
    for (offset, bytes) in ranges {
        layout.push(offset, bytes).map_err(|error| Error::usage(error.to_string()))?;
    }
    Ok(layout)
}
