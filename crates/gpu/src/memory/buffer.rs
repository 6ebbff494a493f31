//! Buffers: memory that transfers read from and write to. All access goes through claims.

use std::{any::Any, ptr::NonNull, sync::Arc};

use super::{
    claim::{ReadClaim, WriteClaim},
    hold::{Hold, Region},
    table::Access,
};
use crate::{ClaimError, Device, Error, MemoryKind, Mismatch, Pattern, cuda::Gpu};

/// Memory of one kind. Clones share the memory and its claims; it is freed when the last clone and claim are
/// gone.
#[derive(Debug, Clone)]
pub struct Buffer {
    pub(super) region: Arc<Region>,
    kind: MemoryKind,
}

impl Buffer {
    /// Allocates plain host memory, zeroed and present: its first use costs no page fault.
    ///
    /// # Errors
    /// If `bytes` is 0 or more than is available.
    pub fn host(bytes: u64) -> Result<Self, Error> {
        Ok(Self { region: Region::map(bytes)?, kind: MemoryKind::Host })
    }

    /// Allocates the software GPU's memory.
    pub(crate) fn soft(bytes: u64) -> Result<Self, Error> {
        Ok(Self { region: Region::map(bytes)?, kind: MemoryKind::Soft })
    }

    /// Allocates host memory, zeroed and pinned for GPUs.
    pub(crate) fn pinned(gpu: &Gpu, bytes: u64) -> Result<Self, Error> {
        Ok(Self { region: Region::pin(gpu, bytes)?, kind: MemoryKind::Host })
    }

    /// Allocates memory of a GPU, zeroed.
    pub(crate) fn on_gpu(gpu: &Arc<Gpu>, bytes: u64) -> Result<Self, Error> {
        let kind = MemoryKind::Cuda(gpu.device().ordinal);
        let buffer = Self { region: Region::on_gpu(gpu, bytes)?, kind };
        gpu.clear(buffer.write(0, bytes)?.hold())?;
        Ok(buffer)
    }

    /// Returns a buffer over memory that foreign code owns, for lanes of `device` to work on.
    ///
    /// Examples are an existing CUDA pointer of PyTorch, cudarc or candle, and the bounce region of a NCCL
    /// net plugin. `keeper` is dropped with the last clone and claim: it holds the owner of the memory, such
    /// as the tensor.
    ///
    /// [`Device::bytes_at`] tells first how far the driver knows the allocation at `start` to reach. Lanes
    /// work on streams of their own in the device's primary context, and wait for no other stream. So the
    /// kernels that write the memory must be done before it is sent, and a receive before a kernel reads it.
    ///
    /// # Errors
    /// If `bytes` is 0.
    ///
    /// # Safety
    /// From `start` on, `bytes` bytes must be memory of the device (for the software GPU host memory), and
    /// stay so while `keeper` lives. This holds for those bytes that are claimed and really touched. The
    /// owner may change them at any time, so only lanes may be given the claims.
    pub unsafe fn foreign(
        start: NonNull<u8>,
        bytes: u64,
        device: &Device,
        keeper: Arc<dyn Any + Send + Sync>,
    ) -> Result<Self, Error> {
        Ok(Self { region: Region::foreign(start, bytes, device.gpu(), keeper)?, kind: device.kind() })
    }

    /// Returns a buffer over host memory that foreign code owns, such as an array of another language.
    ///
    /// `keeper` holds the owner of the memory. It is dropped with the last clone and claim, on any thread and
    /// under locks: its drop must wait for nothing.
    ///
    /// # Errors
    /// If `bytes` is 0.
    ///
    /// # Safety
    /// From `start` on, `bytes` bytes must be mapped while `keeper` lives, for reading, and those of claims
    /// to write for writing. The owner may change them at any time, so only sockets and lanes may be given
    /// the claims.
    pub unsafe fn foreign_host(
        start: NonNull<u8>,
        bytes: u64,
        keeper: Arc<dyn Any + Send + Sync>,
    ) -> Result<Self, Error> {
        Ok(Self { region: Region::foreign(start, bytes, None, keeper)?, kind: MemoryKind::Host })
    }

    /// Returns a buffer over host memory that foreign code lends for transfers, as NCCL lends it to a net
    /// plugin.
    ///
    /// Claims on it exclude no others: the owner decides about access, and may have reasons to lend the same
    /// bytes twice.
    ///
    /// # Errors
    /// If `bytes` is 0.
    ///
    /// # Safety
    /// While a claim on some of the `bytes` bytes from `start` lives, those are mapped for its access:
    /// reading or writing. While bytes of a claim to read are being sent, they are not written. While bytes
    /// of a claim to write are being received, no reference to them exists.
    pub unsafe fn lent(start: NonNull<u8>, bytes: u64) -> Result<Self, Error> {
        Ok(Self { region: Region::lent(start, bytes)?, kind: MemoryKind::Host })
    }

    /// Returns a buffer over the same memory, whose claims exclude no others.
    ///
    /// It serves transfers that peers begin: two of them may touch the same bytes, and either one's bytes are
    /// found then. This buffer is claimed whole, for writing, while the shared one or a claim on it lives. So
    /// give the claims to sockets and lanes alone.
    ///
    /// # Errors
    /// If a part of the buffer is claimed.
    pub fn share(&self) -> Result<Self, Error> {
        let claim = self.write(0, self.bytes())?;
        Ok(Self { region: Region::shared(claim, self.region.gpu()), kind: self.kind })
    }

    /// Returns the address of the first byte: the CPU's, or a GPU's for its memory.
    ///
    /// It tells foreign code where the memory is, which may touch it only under a claim.
    #[must_use]
    pub fn address(&self) -> NonNull<u8> {
        self.region.start()
    }

    /// Returns the length in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.region.bytes()
    }

    /// Returns the kind of the memory.
    #[must_use]
    pub const fn kind(&self) -> MemoryKind {
        self.kind
    }

    /// Returns a buffer of host kind over the same memory and the same claims, if the CPU can reach it.
    ///
    /// It serves to measure the sockets alone: a program copies with [`Self::copy_from_host`] instead. `None`
    /// for the memory of a real GPU.
    #[must_use]
    pub fn host_view(&self) -> Option<Self> {
        match self.kind {
            MemoryKind::Host | MemoryKind::Soft => {
                Some(Self { region: Arc::clone(&self.region), kind: MemoryKind::Host })
            }
            MemoryKind::Cuda(_) => None,
        }
    }

    /// Claims `bytes` bytes from `offset` for reading; others may read them too. The claim's own copies work
    /// in host memory only: [`Self::copy_to_host`] works in any.
    ///
    /// # Errors
    /// If they are not within the buffer, part of them is being written, or there are too many claims.
    pub fn read(&self, offset: u64, bytes: u64) -> Result<ReadClaim, ClaimError> {
        Hold::take(&self.region, self.kind, offset, bytes, Access::Read).map(ReadClaim::new)
    }

    /// Claims `bytes` bytes from `offset` for writing; no other claim may exist on them. The claim's own
    /// copies work in host memory only: [`Self::copy_from_host`] works in any.
    ///
    /// # Errors
    /// If they are not within the buffer, part of them is claimed, or there are too many claims.
    pub fn write(&self, offset: u64, bytes: u64) -> Result<WriteClaim, ClaimError> {
        Hold::take(&self.region, self.kind, offset, bytes, Access::Write).map(WriteClaim::new)
    }

    /// Copies the caller's bytes to `offset`, into memory of any kind.
    ///
    /// The calling thread copies, or waits for the GPU that owns the memory: pieces of 4 MiB through pinned
    /// memory. It is meant for the ends of a transfer, not for its hot path.
    ///
    /// # Errors
    /// If the part cannot be claimed for writing, or the GPU fails.
    pub fn copy_from_host(&self, offset: u64, source: &[u8]) -> Result<(), Error> {
        let claim = self.write(offset, source.len() as u64)?;
        match self.region.gpu() {
            _ if source.is_empty() => {}
            Some(gpu) => gpu.write(claim.hold(), source)?,
            None => claim.copy_in(0, source),
        }
        Ok(())
    }

    /// Copies from `offset` to the caller's bytes, from memory of any kind, as [`Self::copy_from_host`] does.
    ///
    /// # Errors
    /// If the part cannot be claimed for reading, or the GPU fails.
    pub fn copy_to_host(&self, offset: u64, destination: &mut [u8]) -> Result<(), Error> {
        let claim = self.read(offset, destination.len() as u64)?;
        match self.region.gpu() {
            _ if destination.is_empty() => {}
            Some(gpu) => gpu.read(claim.hold(), destination)?,
            None => claim.copy_out(0, destination),
        }
        Ok(())
    }

    /// Writes a message of `bytes` bytes of the pattern at `offset`.
    ///
    /// The calling thread does it, or waits for the GPU that owns the memory.
    ///
    /// # Errors
    /// If the part cannot be claimed for writing, or the GPU fails.
    pub fn fill(&self, pattern: Pattern, offset: u64, bytes: u64) -> Result<(), Error> {
        self.fill_while(pattern, offset, bytes, || true).map(|_| ())
    }

    /// Fills like [`Self::fill`] while `go_on` returns true; it is asked between pieces of 64 MiB. A GPU
    /// fills all at once.
    ///
    /// Returns true if all bytes were filled.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn fill_while(
        &self,
        pattern: Pattern,
        offset: u64,
        bytes: u64,
        go_on: impl Fn() -> bool,
    ) -> Result<bool, Error> {
        let mut claim = self.write(offset, bytes)?;
        if let Some(gpu) = self.region.gpu() {
            return gpu.fill(claim.hold(), pattern).map(|()| true);
        }
        // SAFETY: the claim was just taken, and no other code knows it.
        for (at, piece) in starts().zip(unsafe { claim.as_mut_slice() }.chunks_mut(PIECE_BYTES)) {
            if !go_on() {
                return Ok(false);
            }
            pattern.fill(at, piece);
        }
        Ok(true)
    }

    /// Compares a message of `bytes` bytes at `offset` with the pattern.
    ///
    /// The calling thread does it, or waits for the GPU that owns the memory.
    ///
    /// # Errors
    /// If the part cannot be claimed for reading, or the GPU fails; within, the [`Mismatch`] if the bytes
    /// differ from the pattern.
    pub fn verify(&self, pattern: Pattern, offset: u64, bytes: u64) -> Result<Result<(), Mismatch>, Error> {
        Ok(self.verify_while(pattern, offset, bytes, || true)?.unwrap_or(Ok(())))
    }

    /// Verifies like [`Self::verify`] while `go_on` returns true; it is asked between pieces of 64 MiB. A GPU
    /// verifies all at once.
    ///
    /// Returns `None` if the verification did not reach the end.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_while(
        &self,
        pattern: Pattern,
        offset: u64,
        bytes: u64,
        go_on: impl Fn() -> bool,
    ) -> Result<Option<Result<(), Mismatch>>, Error> {
        let claim = self.read(offset, bytes)?;
        if let Some(gpu) = self.region.gpu() {
            return gpu.verify(claim.hold(), pattern).map(Some);
        }
        let mut all = Ok(());
        for (at, piece) in starts().zip(claim.as_slice().chunks(PIECE_BYTES)) {
            if !go_on() {
                return Ok(None);
            }
            all = match (all, pattern.verify(at, piece)) {
                (all, Ok(())) => all,
                (Ok(()), Err(first)) => Err(first),
                (Err(first), Err(next)) => {
                    Err(Mismatch { wrong_bytes: first.wrong_bytes + next.wrong_bytes, ..first })
                }
            };
        }
        Ok(Some(all))
    }
}

/// Returns the starts of the pieces.
fn starts() -> impl Iterator<Item = u64> {
    (0..).step_by(PIECE_BYTES)
}

/// Some ten milliseconds of work.
const PIECE_BYTES: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SoftOptions;

    #[test]
    fn foreign_host_memory_is_kept_until_its_last_use_ends() {
        let owner = Arc::new(std::sync::Mutex::new([7u8; 64]));
        let start = NonNull::from(&mut *owner.lock().unwrap()).cast();
        // SAFETY: the array lives as long as its keeper, and no other code touches it meanwhile.
        let buffer = unsafe { Buffer::foreign_host(start, 64, owner.clone()) }.unwrap();
        assert_eq!(buffer.kind(), MemoryKind::Host);
        let shared = buffer.share().unwrap();
        drop(buffer);
        shared.copy_from_host(8, &[9; 8]).unwrap();
        assert_eq!(Arc::strong_count(&owner), 2);
        drop(shared);
        assert_eq!(Arc::strong_count(&owner), 1);
        assert_eq!(owner.lock().unwrap()[6..18], [7, 7, 9, 9, 9, 9, 9, 9, 9, 9, 7, 7]);
    }

    #[test]
    fn the_callers_bytes_go_into_memory_of_any_kind_and_back() {
        let soft = Device::soft(SoftOptions::default());
        for buffer in [Buffer::host(100).unwrap(), soft.allocate(100).unwrap()] {
            buffer.copy_from_host(10, b"own bytes").unwrap();
            let mut found = [0; 11];
            buffer.copy_to_host(9, &mut found).unwrap();
            assert_eq!(&found, b"\0own bytes\0");
            buffer.copy_from_host(100, &[]).unwrap();
            assert!(matches!(buffer.copy_from_host(95, &[0; 6]), Err(Error::Claim(_))));
            let claim = buffer.read(10, 1).unwrap();
            let refused = buffer.copy_from_host(0, &[0; 11]).unwrap_err().to_string();
            assert!(refused.contains("another claim"), "{refused}");
            drop(claim);
        }
    }
}
