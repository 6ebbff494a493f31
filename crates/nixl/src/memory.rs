//! Memory that NIXL names: registered here, or at a remote agent.

use std::{
    ptr::{self, NonNull},
    sync::Arc,
};

use gputcp::{
    Buffer, MemoryKind,
    onesided::{Address, Region, RemoteKey, Rights},
};

use crate::unit::Unit;

/// Registered memory of this agent.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) unit: Arc<Unit>,
    pub(crate) region: Region,
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

impl Local {
    /// Registers memory that the agent's program owns.
    ///
    /// # Errors
    /// A sentence, if it is not memory of the unit's device.
    ///
    /// # Safety
    /// The memory is the program's, and stays mapped until it is deregistered.
    pub(crate) unsafe fn register(unit: Arc<Unit>, start: u64, bytes: u64) -> Result<Self, String> {
        let address = NonNull::new(ptr::with_exposed_provenance_mut::<u8>(start as usize));
        let (Some(address), true) = (address, bytes > 0 && start.checked_add(bytes).is_some()) else {
            return Err(format!("{bytes} bytes at {start:#x} are no memory"));
        };
        let keeper = Arc::new(());
        let buffer = match &unit.device {
            // SAFETY: the caller's promise, which covers the life of the region.
            None => unsafe { Buffer::foreign_host(address, bytes, keeper) },
            Some(device) => {
                if let MemoryKind::Cuda(number) = device.kind() {
                    let known = device.bytes_at(address).map_err(|error| error.to_string())?;
                    if let Some(known) = known.filter(|known| *known < bytes) {
                        return Err(format!(
                            "{bytes} bytes at {start:#x} were given, and GPU {number} has {known} there"
                        ));
                    }
                }
                // SAFETY: as above; the driver knows it as the device's.
                unsafe { Buffer::foreign(address, bytes, device, keeper) }
            }
        };
        let buffer = buffer.map_err(|error| error.to_string())?;
        let region = unit.endpoint.register(&buffer, Rights::ReadWrite).map_err(|error| error.to_string())?;
        Ok(Self { unit, region, start, bytes })
    }

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
