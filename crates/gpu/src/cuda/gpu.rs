//! An open GPU: its context, and the bench that fills and verifies memory. One per device and process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{
    bytes::staging_bytes,
    context::Context,
    list::{CudaDevice, find},
    memory::{DeviceMemory, Pinned},
    pattern::Bench,
    stream::{Stream, Ways},
};
use crate::{Error, Mismatch, Pattern, memory::Hold};

/// A GPU that was opened.
#[derive(Debug)]
pub(crate) struct Gpu {
    device: CudaDevice,
    bench: Mutex<Bench>,
    context: Arc<Context>,
}

impl Gpu {
    /// Opens the GPU that `selector` names, or returns it if it is open already.
    pub(crate) fn open(selector: &str) -> Result<Arc<Self>, Error> {
        static OPEN: Mutex<Vec<Weak<Gpu>>> = Mutex::new(Vec::new());
        let (handle, device) = find(selector)?;
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|gpu| gpu.strong_count() > 0);
        if let Some(gpu) =
            open.iter().filter_map(Weak::upgrade).find(|gpu| gpu.device.ordinal == device.ordinal)
        {
            return Ok(gpu);
        }
        let context = Arc::new(Context::retain(handle, device.ordinal)?);
        let gpu = Arc::new(Self { device, bench: Mutex::new(Bench::new(&context)?), context });
        open.push(Arc::downgrade(&gpu));
        Ok(gpu)
    }

    pub(crate) const fn device(&self) -> &CudaDevice {
        &self.device
    }

    pub(super) const fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Allocates memory on the device, which is not cleared.
    pub(crate) fn allocate(&self, bytes: u64) -> Result<DeviceMemory, Error> {
        DeviceMemory::allocate(&self.context, bytes)
    }

    /// Allocates pinned memory on the host, cleared.
    pub(crate) fn pin(&self, bytes: u64) -> Result<Pinned, Error> {
        Pinned::allocate(&self.context, bytes)
    }

    pub(crate) fn stream(&self, ways: Ways) -> Result<Stream, Error> {
        Stream::start(&self.context, ways)
    }

    /// Writes zeros to device memory of this device.
    pub(crate) fn clear(&self, hold: &Hold) -> Result<(), Error> {
        self.bench().clear(hold)
    }

    /// Writes the pattern's first bytes to device memory of this device.
    pub(crate) fn fill(&self, hold: &Hold, pattern: Pattern) -> Result<(), Error> {
        self.bench().fill(hold, pattern)
    }

    /// Compares device memory of this device with the pattern's first bytes.
    pub(crate) fn verify(&self, hold: &Hold, pattern: Pattern) -> Result<Result<(), Mismatch>, Error> {
        self.bench().verify(hold, pattern)
    }

    /// Copies the caller's bytes to the start of device memory of this device.
    pub(crate) fn write(&self, hold: &Hold, source: &[u8]) -> Result<(), Error> {
        let staging = self.pin(staging_bytes(source.len()))?;
        self.bench().write(hold, source, &staging)
    }

    /// Copies from the start of device memory of this device to the caller's bytes.
    pub(crate) fn read(&self, hold: &Hold, destination: &mut [u8]) -> Result<(), Error> {
        let staging = self.pin(staging_bytes(destination.len()))?;
        self.bench().read(hold, destination, &staging)
    }

    /// Locks the bench. A panic inside leaves its stream whole.
    fn bench(&self) -> MutexGuard<'_, Bench> {
        self.bench.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
