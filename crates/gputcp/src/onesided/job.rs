//! A prepared transfer, and the memory that transfers touch: the endpoint's parts pass them to one another.

use std::sync::{Arc, OnceLock, Weak};

use gputcp_gpu::{Buffer, ClaimError, Joined, ReadClaim, WriteClaim};
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
    /// The local ranges of each chunk that was begun, as its [`Side`] counts them.
    pub(super) layouts: Box<[OnceLock<Arc<Layout>>]>,
}

/// A chunk's bytes at this end: ranges of one region, or of several.
#[derive(Debug)]
pub(super) struct Side {
    memory: Cover,
    layout: Arc<Layout>,
    /// Its regions are in use.
    _regions: Vec<Arc<Memory>>,
}

#[derive(Debug)]
enum Cover {
    One(Buffer),
    Several(Joined),
}

impl Side {
    /// Returns the side of a chunk in these regions.
    ///
    /// The layout counts bytes from the region's start; of several, from the lowest start.
    ///
    /// # Errors
    /// If there is no region, or they are of different memories.
    pub(super) fn new(regions: Vec<Arc<Memory>>, layout: Arc<Layout>) -> Result<Self> {
        let memory = match &regions[..] {
            [one] => Cover::One(one.buffer.clone()),
            several => {
                let parts = several.iter().map(|region| region.buffer.clone()).collect();
                Cover::Several(Joined::of(parts).map_err(|error| Error::usage(error.to_string()))?)
            }
        };
        Ok(Self { memory, layout, _regions: regions })
    }

    pub(super) const fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    pub(super) fn bytes(&self) -> u64 {
        self.layout.bytes()
    }

    /// Claims its memory for sending.
    pub(super) fn read(&self) -> Result<ReadClaim, ClaimError> {
        match &self.memory {
            Cover::One(buffer) => buffer.read(0, buffer.bytes()),
            Cover::Several(joined) => joined.read(),
        }
    }

    /// Claims its memory for receiving.
    pub(super) fn write(&self) -> Result<WriteClaim, ClaimError> {
        match &self.memory {
            Cover::One(buffer) => buffer.write(0, buffer.bytes()),
            Cover::Several(joined) => joined.write(),
        }
    }
}

/// Returns where the bytes of regions are counted from in a [`Side`] of them: the offset of each.
pub(super) fn starts<'a>(regions: impl Iterator<Item = &'a Buffer> + Clone) -> impl Iterator<Item = u64> {
    let address = |buffer: &Buffer| buffer.address().addr().get() as u64;
    let base = regions.clone().map(address).min().unwrap_or(0);
    regions.map(move |buffer| address(buffer) - base)
}

/// Returns the layout of these ranges, of which there are at most `count`.
pub(super) fn layout_of(ranges: impl Iterator<Item = (u64, u64)>, count: usize) -> Result<Layout> {
    let mut layout = Layout::with_room(count);
    for (offset, bytes) in ranges {
        layout.push(offset, bytes).map_err(|error| Error::usage(error.to_string()))?;
    }
    Ok(layout)
}
