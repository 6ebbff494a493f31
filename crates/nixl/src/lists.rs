//! Descriptor lists as NIXL gives them: pairs of ranges, read in place.
//!
//! Invariant: a list of 10⁶ descriptors is read twice. Nothing is allocated for a descriptor where all lie
//! behind one endpoint here and one there.

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

/// The object that a descriptor points to: `Held` of `shim/engine.cpp`.
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
    /// Each descriptor of `local` points to null or a `Held` with a [`Local`], each of `remote` to null or
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use gputcp::onesided::Operation;

    use super::*;
    use crate::agent::{Agent, Kind};

    /// Memory of two agents, and what NIXL's descriptors point to.
    struct Scene {
        agent: Agent,
        _other: Agent,
        _memory: Vec<Vec<u8>>,
        locals: Vec<(Held, u64)>,
        remotes: Vec<(Held, u64)>,
        _objects: Vec<(Box<Local>, Box<Remote>)>,
    }

    impl Scene {
        fn new(regions: usize, bytes: usize, kind: Kind) -> Self {
            let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            let parameters = [set("interface", "=lo"), set("vram", "soft"), set("streams", "1")];
            let start = |name: &str| Agent::start(name.as_bytes(), &parameters).unwrap();
            let mut scene = Self {
                agent: start("a"),
                _other: start("b"),
                _memory: Vec::new(),
                locals: Vec::new(),
                remotes: Vec::new(),
                _objects: Vec::new(),
            };
            for at in 0..regions {
                let memory = [vec![0u8; bytes], vec![0u8; bytes]];
                let [here, there] =
                    memory.each_ref().map(|memory| memory.as_ptr().expose_provenance() as u64);
                // SAFETY: the memory stays as long as the scene, and moves by no copy of the vector.
                let local = unsafe { scene.agent.register(kind, at as u64, here, bytes as u64) }.unwrap();
                // SAFETY: as above.
                let target = unsafe { scene._other.register(kind, at as u64, there, bytes as u64) }.unwrap();
                let remote =
                    scene.agent.load_remote(there, bytes as u64, &target.public_data(), b"b").unwrap();
                // The target's registration ends with its agent.
                std::mem::forget(target);
                let (local, remote) = (Box::new(local), Box::new(remote));
                let held = |object: *const c_void| Held { table: std::ptr::null(), is_private: true, object };
                scene.locals.push((held((&raw const *local).cast()), here));
                scene.remotes.push((held((&raw const *remote).cast()), there));
                scene._objects.push((local, remote));
                scene._memory.extend(memory);
            }
            scene
        }

        fn list(of: &[(Held, u64)], ranges: &[(usize, u64, u64)]) -> Vec<Descriptor> {
            let one = |&(region, offset, bytes): &(usize, u64, u64)| {
                let (held, start): &(Held, u64) = &of[region];
                Descriptor { start: start.wrapping_add(offset), bytes, device: 0, held }
            };
            ranges.iter().map(one).collect()
        }

        /// Prepares a read of these ranges, the same here and there.
        fn prepare(&self, here: &[(usize, u64, u64)], there: &[(usize, u64, u64)]) -> Result<usize, String> {
            let (local, remote) = (Self::list(&self.locals, here), Self::list(&self.remotes, there));
            // SAFETY: the descriptors point to this scene's objects.
            let lists = unsafe { Lists::new(&local, &remote) }?;
            Ok(lists.parts()?.len())
        }
    }

    #[test]
    fn pairs_that_do_not_fit_are_refused_with_their_number() {
        let scene = Scene::new(2, 1000, Kind::Host);
        let good = (0, 0, 100);
        for (here, there, why) in [
            (&[good, (1, 901, 100)][..], &[good, good][..], "descriptor 1 (100 bytes at"),
            (&[good, (0, 0, 0)], &[good, (1, 1001, 0)], "is not within its remote memory"),
            (&[good, (0, u64::MAX, 100)], &[good, good], "is not within its local memory"),
            (&[(0, 10, u64::MAX)], &[(0, 10, u64::MAX)], "is not within its local memory"),
            (&[good, (0, 0, 99)], &[good, good], "descriptor 1 has 99 bytes here, and 100"),
            (&[good], &[good, good], "the local list has 1 descriptors, and the remote one 2"),
            (&[], &[], "have no descriptors"),
        ] {
            let found = scene.prepare(here, there).unwrap_err();
            assert!(found.contains(why), "{found}");
        }
        assert_eq!(scene.prepare(&[good, (1, 900, 100)], &[(1, 900, 100), (0, 1000 - 100, 100)]), Ok(1));
        let nothing = [Descriptor { start: 0, bytes: 0, device: 0, held: std::ptr::null() }];
        // SAFETY: null is allowed.
        let lists = unsafe { Lists::new(&nothing, &nothing) }.unwrap();
        assert!(lists.parts().is_err_and(|why| why.contains("descriptor 0 is of no memory")));
    }

    #[test]
    fn a_list_is_split_by_the_endpoints_of_both_ends() {
        let scene = Scene::new(3, 1000, Kind::Gpu);
        let ranges: Vec<_> = (0..60).map(|at| (at % 3, at as u64, 1)).collect();
        let turned: Vec<_> = (0..60).map(|at| (at / 20, at as u64, 1)).collect();
        let (local, remote) = (Scene::list(&scene.locals, &ranges), Scene::list(&scene.remotes, &turned));
        // SAFETY: the descriptors point to this scene's objects.
        let lists = unsafe { Lists::new(&local, &remote) }.unwrap();
        let parts = lists.parts().unwrap();
        assert_eq!(parts.len(), 9);
        let blocks: usize = parts.iter().map(|part| lists.blocks(part).count()).sum();
        assert_eq!(blocks, 60);
    }

    #[test]
    fn a_list_of_100_000_is_prepared_soon() {
        const COUNT: usize = 100_000;
        let scene = Scene::new(32, COUNT, Kind::Host);
        // As a cache has them: all blocks of a layer, then those of the next; those of the peer in any order.
        let here: Vec<_> =
            (0..COUNT).map(|at| (at * 32 / COUNT, (at % (COUNT / 32) * 32) as u64, 16)).collect();
        let there: Vec<_> = here.iter().map(|&(region, offset, _)| (region, 99_968 - offset, 16)).collect();
        let (local, remote) = (Scene::list(&scene.locals, &here), Scene::list(&scene.remotes, &there));
        let mut least = f64::MAX;
        for _ in 0..5 {
            let began = Instant::now();
            // SAFETY: the descriptors point to this scene's objects.
            let lists = unsafe { Lists::new(&local, &remote) }.unwrap();
            let request = scene.agent.prepare(Operation::Read, lists, b"b");
            least = least.min(began.elapsed().as_nanos() as f64 / COUNT as f64);
            drop(request.unwrap());
        }
        println!("{least:.1} ns a descriptor");
        // Far from 20 ns, for unoptimised builds and loaded machines.
        assert!(least < 1000.0, "{least} ns a descriptor");
    }
}
