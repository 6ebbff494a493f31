//! Lists of blocks, from tuples or from the indices of a paged cache.

use std::sync::Arc;

use gputcp::onesided::{self, Operation, RemoteKey};
use pyo3::{
    intern,
    prelude::*,
    types::{PyBytes, PyTuple},
};

use crate::{
    errors::usage,
    foreign::{Export, Integers},
    memory::tensor_of,
    region::Region,
};

/// A list of blocks, with each region and each key once in a row.
#[derive(Default)]
pub(crate) struct Blocks {
    regions: Vec<Arc<onesided::Region>>,
    keys: Vec<RemoteKey>,
    blocks: Vec<Block>,
}

/// A block, whose region and key are those of the lists that were the last ones then.
struct Block {
    region: usize,
    key: usize,
    local_offset: u64,
    remote_offset: u64,
    bytes: u64,
}

impl Blocks {
    /// Reads tuples of (region, local offset, key, remote offset, bytes).
    pub(crate) fn of_tuples(list: &Bound<'_, PyAny>, operation: Operation) -> PyResult<Self> {
        let mut all = Self::default();
        // Blocks in a row mostly name the same region and key: these are read once.
        let mut last: Option<(Bound<'_, PyAny>, Bound<'_, PyAny>)> = None;
        for (at, item) in list.try_iter()?.enumerate() {
            let item = item?;
            let wrong = || {
                usage(format!(
                    "block {at} is no (region, local_offset, key, remote_offset, nbytes) of a Region, three \
                     integers of 0 or more, and the bytes of a key"
                ))
            };
            let tuple = item.cast::<PyTuple>().map_err(|_| wrong())?;
            if tuple.len() != 5 {
                return Err(wrong());
            }
            let (region, key) = (tuple.get_item(0)?, tuple.get_item(2)?);
            let number = |place: usize| tuple.get_item(place)?.extract::<u64>().map_err(|_| wrong());
            let (local_offset, remote_offset, bytes) = (number(1)?, number(3)?, number(4)?);
            if last.as_ref().is_none_or(|(last, _)| !last.is(&region)) {
                let region = region.cast::<Region>().map_err(|_| wrong())?;
                all.regions.push(region.get().local(operation)?);
            }
            if last.as_ref().is_none_or(|(_, last)| !last.is(&key)) {
                all.keys.push(key_of(key.cast::<PyBytes>().map_err(|_| wrong())?.as_bytes())?);
            }
            last = Some((region, key));
            let (region, key) = (all.regions.len() - 1, all.keys.len() - 1);
            all.blocks.push(Block { region, key, local_offset, remote_offset, bytes });
        }
        Ok(all)
    }

    /// Pairs the blocks of two paged caches, block `local[i]` here with block `remote[i]` at the peer.
    pub(crate) fn of_indices(
        region: &Region,
        key: &[u8],
        local: &Bound<'_, PyAny>,
        remote: &Bound<'_, PyAny>,
        block_bytes: &Bound<'_, PyAny>,
        operation: Operation,
    ) -> PyResult<Self> {
        let block_bytes: u64 = block_bytes.extract().map_err(|_| {
            usage(format!("blocks of {block_bytes} bytes were asked for: give an integer of 0 or more"))
        })?;
        let (local, remote) = (indices(local, "local")?, indices(remote, "remote")?);
        if local.len() != remote.len() {
            let (here, there) = (local.len(), remote.len());
            return Err(usage(format!(
                "{here} local and {there} remote indices were given: give as many of both"
            )));
        }
        let offset = |index: u64| {
            index.checked_mul(block_bytes).ok_or_else(|| {
                usage(format!("index {index} of blocks of {block_bytes} bytes is past every region"))
            })
        };
        let blocks = local.into_iter().zip(remote).map(|(here, there)| {
            let (local_offset, remote_offset) = (offset(here)?, offset(there)?);
            Ok(Block { region: 0, key: 0, local_offset, remote_offset, bytes: block_bytes })
        });
        let blocks = blocks.collect::<PyResult<_>>()?;
        Ok(Self { regions: vec![region.local(operation)?], keys: vec![key_of(key)?], blocks })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = onesided::Block<'_>> {
        self.blocks.iter().map(|block| onesided::Block {
            local: &self.regions[block.region],
            local_offset: block.local_offset,
            remote: &self.keys[block.key],
            remote_offset: block.remote_offset,
            bytes: block.bytes,
        })
    }
}

fn key_of(bytes: &[u8]) -> PyResult<RemoteKey> {
    let length = bytes.len();
    let bytes = bytes.try_into().map_err(|_| {
        usage(format!("a region's key has {} bytes, and {length} were given", RemoteKey::BYTES))
    })?;
    RemoteKey::decode(bytes).map_err(|violation| usage(format!("a region's key is none: it {violation}")))
}

/// Reads indices: an array of integers at once, any other iterable one by one.
fn indices(object: &Bound<'_, PyAny>, side: &str) -> PyResult<Vec<u64>> {
    let dimensions = object.getattr_opt(intern!(object.py(), "ndim"))?.map(|count| count.extract::<u64>());
    if let Some(Ok(dimensions @ 2..)) = dimensions {
        return Err(usage(format!(
            "the {side} indices are an array of {dimensions} dimensions: give one, such as its reshape(-1)"
        )));
    }
    let negative = |index: &dyn std::fmt::Display| {
        usage(format!("the {side} index {index} is none: give integers of 0 or more"))
    };
    let read = |integers: Integers<'_>| integers.read().map_err(|index| negative(&index));
    if let Ok(export) = Export::of(object) {
        let found = export.integers().map(read);
        export.release(object.py());
        if let Some(found) = found {
            return found;
        }
    } else if object.hasattr("__dlpack__")?
        && let Ok((capsule, tensor)) = tensor_of(object)
        && let Some(integers) = tensor.integers(&capsule)
    {
        return read(integers);
    }
    let items = object.try_iter().map_err(|_| {
        usage(format!("the {side} indices are neither an array of integers in one dimension nor a sequence"))
    })?;
    items
        .map(|item| {
            let item = item?;
            item.extract::<u64>().map_err(|_| match item.repr() {
                Ok(text) => negative(&text),
                Err(error) => error,
            })
        })
        .collect()
}
