//! The queue of a device of the unpack type, which lists the fragments of each receive. It is the plugin's
//! word, and all of it is checked.
//!
//! Receives are counted, not named: number `k` is in row `k % 16`, independent of the plugin's own requests.

use std::{
    mem::offset_of,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use gputcp_gpu::{Buffer, Device, Lane, ReadClaim, UnpackMode};
use gputcp_proto::bounce::Fragment;

use crate::{
    error::{Error, Result},
    plugin::Plugin,
};
use gputcp_nccl_net::layout::{
    constants::{NET_DEVICE_HOST, NET_DEVICE_UNPACK, NET_DEVICE_UNPACK_VERSION},
    device::DeviceHandle,
    unpack::{FRAGMENTS_MAX, LoadMeta, NetUnpackMeta, QUEUE_DEPTH, UnpackDeviceHandle},
};

/// A connection's queue and its bounce region. Valid while the connection is open.
pub(crate) struct UnpackQueue {
    meta: NonNull<NetUnpackMeta>,
    bounce: ReadClaim,
}

impl UnpackQueue {
    /// Returns the queue that a connection's device handle leads to; `None` if the host drives the device.
    /// Each piece of work in the bounce region shares `keeper`.
    pub(crate) fn find(
        plugin: &Plugin,
        device: DeviceHandle,
        gpu: &Device,
        lane: &mut Lane,
        keeper: &Arc<()>,
    ) -> Result<Option<Self>> {
        let absurd = |what: String| Err(plugin.absurd("accept", &what));
        match (device.net_device_type, device.net_device_version) {
            (NET_DEVICE_HOST, _) => return Ok(None),
            (NET_DEVICE_UNPACK, NET_DEVICE_UNPACK_VERSION) => {}
            (kind, version) => {
                return absurd(format!(
                    "a device handle of type {kind}, version {version}, where type {NET_DEVICE_UNPACK}, version \
                     {NET_DEVICE_UNPACK_VERSION} is known"
                ));
            }
        }
        let wanted = size_of::<UnpackDeviceHandle>();
        let Some(handle) = NonNull::new(device.handle.cast::<u8>()).filter(|_| device.size >= wanted) else {
            return absurd(format!("a device handle of {} bytes at {:?}", device.size, device.handle));
        };
        let [meta, bounce, _] = read_words(handle, gpu, lane, keeper)?;
        let pointer = |word: u64| NonNull::new(std::ptr::with_exposed_provenance_mut::<u8>(word as usize));
        let (Some(meta), Some(bounce)) = (pointer(meta), pointer(bounce)) else {
            return absurd("a device handle without a queue or a bounce region".into());
        };
        let meta = meta.cast::<NetUnpackMeta>();
        if !meta.is_aligned() {
            return absurd(format!("a queue at {meta:?}, which is not on 16 bytes"));
        }
        gpu.check_on_host(meta.cast())?;
        let last = size_of::<NetUnpackMeta>() - 1;
        gpu.check_on_host(meta.cast::<u8>().map_addr(|start| start.saturating_add(last)))?;
        let bytes = gpu.bytes_at(bounce)?.unwrap_or(BOUNCE_BYTES).min(BOUNCE_BYTES);
        // SAFETY: the plugin's region for receives, of this GPU. It lives while the connection is open, which
        // is as long as the keeper is shared. The GPU's driver knows its length; the software GPU does not.
        // Only lanes are given the claim.
        let bounce = unsafe { Buffer::foreign(bounce, bytes, gpu, keeper.clone()) }?;
        let bounce = bounce.read(0, bytes).map_err(gputcp_gpu::Error::from)?;
        Ok(Some(Self { meta, bounce }))
    }

    /// Returns the claim on the whole bounce region.
    pub(crate) const fn bounce(&self) -> &ReadClaim {
        &self.bounce
    }

    /// Puts the fragments of receive `number`, which is done, into `fragments`. Returns their bytes in all.
    ///
    /// # Errors
    /// The impossible value, as a noun for a sentence.
    pub(crate) fn read(
        &self,
        number: u64,
        capacity: u64,
        fragments: &mut Vec<Fragment>,
    ) -> Result<u64, String> {
        // SAFETY: the queue is the plugin's, of this layout and in host memory, while the connection is open.
        // The plugin writes a row and its count before the receive is done, and not again before it is
        // consumed.
        unsafe { read_row(self.meta, (number % QUEUE_DEPTH as u64) as usize, fragments) }?;
        check(fragments, capacity, self.bounce.bytes())
    }
}

/// Copies a row, whose count is checked first.
///
/// # Safety
/// `meta` must be readable, of its layout; the row must not be written meanwhile.
unsafe fn read_row(
    meta: NonNull<NetUnpackMeta>,
    row: usize,
    fragments: &mut Vec<Fragment>,
) -> Result<(), String> {
    fragments.clear();
    let start = meta.as_ptr().cast::<u8>();
    let count_at = offset_of!(NetUnpackMeta, cnt) + row * size_of::<u64>();
    // SAFETY: within the queue, which is aligned to 16; rows are below its depth.
    let count = unsafe { AtomicU64::from_ptr(start.add(count_at).cast()) }.load(Ordering::Acquire);
    if count > FRAGMENTS_MAX as u64 {
        return Err(format!(
            "{count} fragments in row {row} of its queue, which has room for {FRAGMENTS_MAX}"
        ));
    }
    // SAFETY: as above.
    let first = unsafe { start.cast::<LoadMeta>().add(row * FRAGMENTS_MAX) };
    for at in 0..count as usize {
        // SAFETY: below the row's length.
        let LoadMeta { src_off, len, dst_off } = unsafe { first.add(at).read_volatile() };
        fragments.push(Fragment {
            source_offset: src_off.into(),
            bytes: len.into(),
            destination_offset: dst_off,
        });
    }
    Ok(())
}

/// Checks that the fragments lie within both sides and are no more than was posted. Returns their bytes in
/// all.
fn check(fragments: &[Fragment], capacity: u64, bounce: u64) -> Result<u64, String> {
    let mut all = 0;
    for (index, fragment) in fragments.iter().enumerate() {
        let Fragment { source_offset, bytes, destination_offset } = *fragment;
        let within = |offset: u64, limit: u64| offset.checked_add(bytes).is_some_and(|end| end <= limit);
        if !within(source_offset, bounce) || !within(destination_offset, capacity) {
            return Err(format!(
                "fragment {index} of {bytes} bytes from {source_offset} to {destination_offset}, beyond a bounce region of \
                 {bounce} bytes or a receive of {capacity}"
            ));
        }
        all += bytes;
    }
    if all > capacity {
        Err(format!("fragments of {all} bytes for a receive of {capacity}"))
    } else {
        Ok(all)
    }
}

/// Copies the three words of an [`UnpackDeviceHandle`] from the GPU's memory.
fn read_words(handle: NonNull<u8>, gpu: &Device, lane: &mut Lane, keeper: &Arc<()>) -> Result<[u64; 3]> {
    let bytes = size_of::<UnpackDeviceHandle>() as u64;
    // SAFETY: the plugin's memory, of at least this length, while the connection is open. That is as long as
    // the keeper is shared, also by a copy that ends too late.
    let foreign = unsafe { Buffer::foreign(handle, bytes, gpu, keeper.clone()) }?;
    let landing = gpu.pinned(bytes)?;
    let claim = |result: Result<_, gputcp_gpu::ClaimError>| result.map_err(gputcp_gpu::Error::from);
    let all = Fragment { source_offset: 0, bytes, destination_offset: 0 };
    let into = landing.write(0, bytes).map_err(gputcp_gpu::Error::from)?;
    let done = lane.unpack_fragments(&claim(foreign.read(0, bytes))?, &[all], &into, UnpackMode::Copy)?;
    if !done.wait(Instant::now() + COPY)? {
        return Err(Error::Gpu(gputcp_gpu::Error::LaneLost));
    }
    drop(into);
    let mut words = [0; 3];
    for (word, at) in words.iter_mut().zip((0..).step_by(8)) {
        let mut eight = [0; 8];
        claim(landing.read(0, bytes))?.copy_to(at, &mut eight);
        *word = u64::from_ne_bytes(eight);
    }
    Ok(words)
}

/// The range that an offset of 32 bits can name.
const BOUNCE_BYTES: u64 = 4 << 30;
/// The bound on a copy of 24 bytes.
const COPY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Box<NetUnpackMeta> {
        let empty = LoadMeta::default();
        Box::new(NetUnpackMeta { mem: [[empty; FRAGMENTS_MAX]; QUEUE_DEPTH], cnt: [0; QUEUE_DEPTH] })
    }

    /// Reads a row, and checks it against a bounce region of 1 MiB.
    fn read(meta: &mut NetUnpackMeta, row: usize, capacity: u64) -> Result<(u64, Vec<Fragment>), String> {
        let mut fragments = Vec::with_capacity(FRAGMENTS_MAX);
        // SAFETY: the queue is this test's own.
        unsafe { read_row(NonNull::from(meta), row, &mut fragments) }?;
        check(&fragments, capacity, 1 << 20).map(|bytes| (bytes, fragments))
    }

    #[test]
    fn a_row_is_read_to_its_count() {
        let mut meta = queue();
        meta.mem[3][0] = LoadMeta { src_off: 8192, len: 4096, dst_off: 100 };
        meta.mem[3][1] = LoadMeta { src_off: 0, len: 100, dst_off: 0 };
        meta.mem[3][2] = LoadMeta { src_off: u32::MAX, len: u32::MAX, dst_off: u64::MAX };
        meta.cnt[3] = 2;
        let (bytes, fragments) = read(&mut meta, 3, 4196).unwrap();
        let first = Fragment { source_offset: 8192, bytes: 4096, destination_offset: 100 };
        assert_eq!((bytes, fragments.len(), fragments[0]), (4196, 2, first));
        assert_eq!(read(&mut meta, 4, 0).unwrap(), (0, Vec::new()));
        meta.cnt[15] = FRAGMENTS_MAX as u64;
        assert_eq!(read(&mut meta, 15, 0).unwrap().1.len(), FRAGMENTS_MAX);
    }

    #[test]
    fn what_cannot_be_is_refused_before_it_is_used() {
        for (case, count, one, capacity) in [
            ("2049 fragments in row 0", 2049, LoadMeta::default(), 10),
            ("18446744073709551615 fragments", u64::MAX, LoadMeta::default(), 10),
            ("beyond a bounce region", 1, LoadMeta { src_off: 1 << 20, len: 1, dst_off: 0 }, 10),
            ("beyond a bounce region", 1, LoadMeta { src_off: u32::MAX, len: u32::MAX, dst_off: 0 }, 1 << 40),
            ("a receive of 10", 1, LoadMeta { src_off: 0, len: 1, dst_off: 10 }, 10),
            ("a receive of 10", 1, LoadMeta { src_off: 0, len: 1, dst_off: u64::MAX }, 10),
            ("a receive of 10", 1, LoadMeta { src_off: 0, len: 11, dst_off: 0 }, 10),
            ("fragments of 12 bytes for a receive of 10", 2, LoadMeta { src_off: 0, len: 6, dst_off: 4 }, 10),
        ] {
            let mut meta = queue();
            meta.mem[0][0] = one;
            meta.mem[0][1] = one;
            meta.cnt[0] = count;
            let refused = read(&mut meta, 0, capacity).unwrap_err();
            assert!(refused.contains(case), "{refused}");
        }
    }
}
