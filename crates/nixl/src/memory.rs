//! Memory that NIXL names: registered here, or at a remote agent.

use std::{
    collections::HashMap,
    ptr::{self, NonNull},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use gputcp::{
    Buffer, Device,
    onesided::{Address, Region, RemoteKey, Rights},
};

use crate::unit::Unit;

/// Registered memory of this agent.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) unit: Arc<Unit>,
    /// Shared by registrations of the same range.
    pub(crate) region: Arc<Region>,
    pub(crate) start: u64,
    pub(crate) bytes: u64,
}

/// Memory of a remote agent, or of this one in the view of its transfers.
#[derive(Debug)]
pub(crate) struct Remote {
    /// The same for all memory behind one endpoint.
    pub(crate) address: Arc<Address>,
    pub(crate) key: RemoteKey,
    pub(crate) start: u64,
    pub(crate) bytes: u64,
}

/// The registered ranges of an agent.
///
/// A range that is registered again is the same region: NIXL refuses the metadata of an agent that has two
/// descriptions of one range.
#[derive(Debug, Default)]
pub(crate) struct Registered(Mutex<HashMap<Range, Weak<Region>>>);

/// The number of the GPU (`None` for the host), the start and the length.
type Range = (Option<u32>, u64, u64);

impl Registered {
    /// Registers memory that the agent's program owns.
    ///
    /// # Errors
    /// A sentence, if it is not memory of the unit's device.
    ///
    /// # Safety
    /// The memory is the program's, and stays mapped until it is deregistered.
    pub(crate) unsafe fn register(&self, unit: Arc<Unit>, start: u64, bytes: u64) -> Result<Local, String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let range = (unit.gpu, start, bytes);
        let region = match known.get(&range).and_then(Weak::upgrade) {
            Some(region) => region,
            // SAFETY: the caller's promise.
            None => Arc::new(unsafe { region_of(&unit, start, bytes) }?),
        };
        known.insert(range, Arc::downgrade(&region));
        Ok(Local { unit, region, start, bytes })
    }

    /// Ends a registration: the last one of a range waits for the transfers that touch it.
    ///
    /// # Errors
    /// If some are under way at the end of `timeout`.
    pub(crate) fn deregister(&self, local: Local, timeout: Duration) -> gputcp::Result<()> {
        let Local { unit, region, start, bytes } = local;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(region) = Arc::into_inner(region) else { return Ok(()) };
        known.remove(&(unit.gpu, start, bytes));
        drop(known);
        region.deregister(timeout)
    }
}

/// # Safety
/// As [`Registered::register`].
unsafe fn region_of(unit: &Unit, start: u64, bytes: u64) -> Result<Region, String> {
    let address = NonNull::new(ptr::with_exposed_provenance_mut::<u8>(start as usize));
    let (Some(address), true) = (address, bytes > 0 && start.checked_add(bytes).is_some()) else {
        return Err(format!("{bytes} bytes at {start:#x} are no memory"));
    };
    let keeper = Arc::new(());
    let buffer = match &unit.device {
        // SAFETY: the caller's promise, which covers the life of the region.
        None => unsafe { Buffer::foreign_host(address, bytes, keeper) },
        Some(device) => {
            check_on(device, address, bytes)?;
            // SAFETY: as above; the driver knows it as the device's.
            unsafe { Buffer::foreign(address, bytes, device, keeper) }
        }
    };
    let buffer = buffer.map_err(|error| error.to_string())?;
    unit.endpoint.register(&buffer, Rights::ReadWrite).map_err(|error| error.to_string())
}

/// Checks that the driver knows all of the memory as the device's.
///
/// PyTorch's expandable segments are one range of many allocations, each of which the driver knows alone.
fn check_on(device: &Device, start: NonNull<u8>, bytes: u64) -> Result<(), String> {
    let mut covered = 0;
    while covered < bytes {
        // An address in the range, as `covered` is less than its length.
        let at = NonNull::new(start.as_ptr().wrapping_add(covered as usize)).ok_or("it wraps around")?;
        match device.bytes_at(at) {
            // The software GPU, or an old driver.
            Ok(None) => return Ok(()),
            Ok(Some(known)) if known > 0 => covered += known.min(bytes - covered),
            Ok(Some(_)) => return Err(format!("the GPU has {covered} of {bytes} bytes at {start:p}")),
            Err(error) => {
                return Err(format!("the GPU has {covered} of {bytes} bytes at {start:p}: {error}"));
            }
        }
    }
    Ok(())
}

impl Local {
    /// Returns the bytes by which remote agents name it: its endpoint's address, and its key.
    pub(crate) fn public_data(&self) -> [u8; PUBLIC_BYTES] {
        let mut out = [0; PUBLIC_BYTES];
        out[..Address::BYTES].copy_from_slice(&self.unit.address.to_bytes());
        out[Address::BYTES..].copy_from_slice(&self.region.key().encode());
        out
    }
}

impl Remote {
    /// Reads what [`Local::public_data`] has written, for a range that a remote agent has registered.
    ///
    /// # Errors
    /// A sentence, if the bytes are something else, or speak of other memory.
    pub(crate) fn parse(blob: &[u8], start: u64, bytes: u64) -> Result<(Address, RemoteKey), String> {
        let (address, key) = blob
            .split_first_chunk::<{ Address::BYTES }>()
            .and_then(|(address, key)| Some((address, <&[u8; RemoteKey::BYTES]>::try_from(key).ok()?)))
            .ok_or_else(|| format!("it has {} bytes instead of {PUBLIC_BYTES}", blob.len()))?;
        let address = Address::from_bytes(address).map_err(|error| error.to_string())?;
        let key = RemoteKey::decode(key).map_err(|violation| format!("its key {violation}"))?;
        if key.bytes() != bytes || start.checked_add(bytes).is_none() {
            let known = key.bytes();
            return Err(format!("it is of {known} bytes, and names {bytes} at {start:#x}"));
        }
        Ok((address, key))
    }
}

/// The length of the public data of memory.
pub(crate) const PUBLIC_BYTES: usize = Address::BYTES + RemoteKey::BYTES;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{Agent, Kind};

    fn agent() -> Agent {
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Agent::start(b"a", &[set("interface", "=lo"), set("streams", "1")]).unwrap()
    }

    fn register(agent: &Agent, memory: &[u8]) -> Local {
        let start = memory.as_ptr().expose_provenance() as u64;
        // SAFETY: the memory stays until it is deregistered, and nothing transfers it.
        unsafe { agent.register(Kind::Host, 0, start, memory.len() as u64) }.unwrap()
    }

    #[test]
    fn a_range_is_one_region_until_its_last_registration_ends() {
        let (agent, memory) = (agent(), vec![0; 4096]);
        let (first, second) = (register(&agent, &memory), register(&agent, &memory));
        let part = register(&agent, &memory[1..]);
        assert_eq!(first.public_data(), second.public_data());
        assert_ne!(first.public_data(), part.public_data());
        let before = first.public_data();
        agent.deregister(first).unwrap();
        assert_eq!(register(&agent, &memory).public_data(), before);
        agent.deregister(second).unwrap();
        let anew = register(&agent, &memory);
        assert_ne!(anew.public_data(), before);
        for local in [part, anew] {
            agent.deregister(local).unwrap();
        }
    }

    #[test]
    fn hostile_metadata_is_refused() {
        let (agent, memory) = (agent(), vec![0; 4096]);
        let local = register(&agent, &memory);
        let (blob, start, bytes) = (local.public_data(), local.start, local.bytes);
        Remote::parse(&blob, start, bytes).unwrap();
        for cut in 0..blob.len() {
            assert!(Remote::parse(&blob[..cut], start, bytes).is_err(), "{cut}");
        }
        assert!(Remote::parse(&[&blob[..], &[0]].concat(), start, bytes).is_err());
        for other in [0, 4095, 4097, u64::MAX] {
            assert!(Remote::parse(&blob, start, other).is_err(), "{other}");
        }
        assert!(Remote::parse(&blob, u64::MAX - 100, bytes).is_err());
        for at in 0..blob.len() {
            for bit in 0..8 {
                let mut wrong = blob;
                wrong[at] ^= 1 << bit;
                // Some bits are those of secrets and of ports: their owner refuses them.
                let _ = Remote::parse(&wrong, start, bytes);
            }
        }
        agent.deregister(local).unwrap();
    }
}
