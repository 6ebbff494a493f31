//! Descriptor lists as NIXL gives them: pairs of ranges, read in place.
//!
//! Invariant: lists have up to 10⁶ descriptors, so each is looked at twice, and nothing is allocated for it
//! where all lie behind one endpoint here and one there.

use std::{ffi::c_void, sync::Arc};

use gputcp::onesided::{Address, Block};

use crate::{
    memory::{Local, Remote},
    unit::Unit,
};

/// A descriptor: `MetadataRange` of `shim/interface.h`.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Descriptor {
    start: u64,
    bytes: u64,
    device: u64,
    held: *const Held,
}

/// What a descriptor points to: `Held` of `shim/engine.cpp`.
#[repr(C)]
struct Held {
    table: *const c_void,
    is_private: bool,
    object: *const c_void,
}

/// Two lists, whose descriptors are pairs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lists<'a> {
    local: &'a [Descriptor],
    remote: &'a [Descriptor],
}

/// The pairs behind one endpoint here and one there.
pub(crate) struct Part<'a> {
    pub(crate) unit: &'a Arc<Unit>,
    pub(crate) address: &'a Arc<Address>,
    /// The numbers of the pairs; `None` for all.
    numbers: Option<Vec<u32>>,
}

impl<'a> Lists<'a> {
    /// # Errors
    /// A sentence, if the lists are no pairs, or empty.
    ///
    /// # Safety
    /// Each descriptor of `local` points to null or a `Held` with a [`Local`], and each of `remote` to null or
    /// one with a [`Remote`]. They live while the lists do.
    pub(crate) unsafe fn new(local: &'a [Descriptor], remote: &'a [Descriptor]) -> Result<Self, String> {
        let (here, there) = (local.len(), remote.len());
        if here != there || u32::try_from(here).is_err() {
            return Err(format!("the local list has {here} descriptors, and the remote one {there}"));
        }
        if here == 0 {
            return Err("the lists have no descriptors".into());
        }
        Ok(Self { local, remote })
    }

    /// Checks all pairs, and returns their parts.
    ///
    /// # Errors
    /// A sentence that names the first bad descriptor.
    pub(crate) fn parts(self) -> Result<Vec<Part<'a>>, String> {
        let mut parts: Vec<Part<'a>> = Vec::new();
        let mut current = 0;
        let mut memory: Option<(&Descriptor, &Descriptor, &'a Local, &'a Remote)> = None;
        for (number, (local, remote)) in self.local.iter().zip(self.remote).enumerate() {
            let known = memory
                .filter(|(l, r, ..)| std::ptr::eq(l.held, local.held) && std::ptr::eq(r.held, remote.held));
            let (here, there) = match known {
                Some((_, _, here, there)) => (here, there),
                None => {
                    let found =
                        self.memory(number).ok_or_else(|| format!("descriptor {number} is of no memory"))?;
                    let (here, there) = found;
                    memory = Some((local, remote, here, there));
                    current = part_of(&mut parts, here, there, number);
                    found
                }
            };
            if let Some(numbers) = parts.get_mut(current).and_then(|part| part.numbers.as_mut()) {
                numbers.push(number as u32);
            }
            if local.bytes != remote.bytes {
                let (here, there) = (local.bytes, remote.bytes);
                return Err(format!(
                    "descriptor {number} has {here} bytes here, and {there} at the remote agent"
                ));
            }
            for (range, start, bytes, side) in
                [(local, here.start, here.bytes, "local"), (remote, there.start, there.bytes, "remote")]
            {
                let offset = range.start.wrapping_sub(start);
                if range.start < start || offset.checked_add(range.bytes).is_none_or(|end| end > bytes) {
                    return Err(format!(
                        "descriptor {number} ({} bytes at {:#x}) is not within its {side} memory",
                        range.bytes, range.start
                    ));
                }
            }
        }
        Ok(parts)
    }

    /// Returns the blocks of a part.
    pub(crate) fn blocks<'s>(self, part: &'s Part<'a>) -> impl Iterator<Item = Block<'a>> + use<'a, 's> {
        let count = part.numbers.as_ref().map_or(self.local.len(), Vec::len);
        (0..count).filter_map(move |at| {
            let number = part.numbers.as_ref().map_or(at, |numbers| numbers[at] as usize);
            let (here, there) = self.memory(number)?;
            let (local, remote) = (&self.local[number], &self.remote[number]);
            Some(Block {
                local: &here.region,
                local_offset: local.start.wrapping_sub(here.start),
                remote: &there.key,
                remote_offset: remote.start.wrapping_sub(there.start),
                bytes: local.bytes,
            })
        })
    }

    fn memory(self, number: usize) -> Option<(&'a Local, &'a Remote)> {
        let (local, remote) = (self.local.get(number)?.held, self.remote.get(number)?.held);
        // SAFETY: the promise of `new`.
        unsafe {
            let (local, remote) = (local.as_ref()?, remote.as_ref()?);
            Some((local.object.cast::<Local>().as_ref()?, remote.object.cast::<Remote>().as_ref()?))
        }
    }
}

/// Returns the part of these two, which is made if it is new. With a second part, each lists its numbers.
fn part_of<'a>(parts: &mut Vec<Part<'a>>, local: &'a Local, remote: &'a Remote, number: usize) -> usize {
    let is_it =
        |part: &Part<'_>| Arc::ptr_eq(part.unit, &local.unit) && Arc::ptr_eq(part.address, &remote.address);
    if let Some(found) = parts.iter().rposition(is_it) {
        return found;
    }
    if let [first] = &mut parts[..] {
        first.numbers = Some((0..number as u32).collect());
    }
    let numbers = (!parts.is_empty()).then(Vec::new);
    parts.push(Part { unit: &local.unit, address: &remote.address, numbers });
    parts.len() - 1
}
