//! The unpack queue. Bytes for GPU memory land in 4 KiB pages of a bounce pool, in no order. The queue's row
//! names their destinations. Google's TCPX plugin works like this; there the network card writes the pages.
//!
//! The pool holds the longest receive of every row, so a page is always there and no thread waits for one.

use std::{
    mem::MaybeUninit,
    sync::{Mutex, PoisonError},
};

use gputcp_nccl_net::{
    ResultCode,
    layout::{
        constants::{NET_DEVICE_UNPACK, NET_DEVICE_UNPACK_VERSION},
        device::DeviceHandle,
        unpack::{FRAGMENTS_MAX, LoadMeta, NetUnpackMeta, QUEUE_DEPTH, UnpackDeviceHandle},
    },
};
use socket2::Socket;

use crate::{
    gpu::{Area, Driver, PAGE_BYTES},
    knobs::{Gpu, Knobs},
    listen::draw,
    wire::recv_all,
};

/// The queue of one connection.
pub(crate) struct Queue {
    /// A [`NetUnpackMeta`], where both the CPU and the GPU reach it.
    meta: Area,
    /// The pages, where the GPU reaches them.
    bounce: Area,
    /// An [`UnpackDeviceHandle`], where the GPU reaches it.
    handle: Area,
    pages: Mutex<Pages>,
}

/// The free pages, and those of each row.
struct Pages {
    free: Vec<u32>,
    taken: Vec<Vec<u32>>,
}

impl Queue {
    /// Makes the queue of a new connection, in the memory of the GPU that the knobs name.
    pub(crate) fn new(knobs: &Knobs) -> Result<Self, ResultCode> {
        let driver = match knobs.gpu {
            Gpu::Cuda(ordinal) => Some(Driver::open(ordinal)?),
            Gpu::Soft | Gpu::None => None,
        };
        let count = QUEUE_DEPTH * FRAGMENTS_MAX;
        let meta = Area::pinned(driver, size_of::<NetUnpackMeta>())?;
        let bounce = Area::device(driver, count * PAGE_BYTES)?;
        let handle = Area::device(driver, size_of::<UnpackDeviceHandle>())?;
        let value = UnpackDeviceHandle {
            meta: meta.start().cast(),
            bounce_buf: bounce.start().cast(),
            head: u64::MAX,
        };
        // SAFETY: a plain value of that length.
        let bytes = unsafe {
            std::slice::from_raw_parts((&raw const value).cast::<u8>(), size_of::<UnpackDeviceHandle>())
        };
        handle.put(0, bytes)?;
        let mut free: Vec<u32> = (0..count as u32).collect();
        shuffle(&mut free, draw());
        let taken = (0..QUEUE_DEPTH).map(|_| Vec::with_capacity(FRAGMENTS_MAX)).collect();
        Ok(Self { meta, bounce, handle, pages: Mutex::new(Pages { free, taken }) })
    }

    /// Returns the device handle that `accept` gives.
    pub(crate) fn device_handle(&self) -> DeviceHandle {
        DeviceHandle {
            net_device_type: NET_DEVICE_UNPACK,
            net_device_version: NET_DEVICE_UNPACK_VERSION,
            handle: self.handle.start().cast(),
            size: size_of::<UnpackDeviceHandle>(),
            needs_proxy_progress: 1,
        }
    }

    /// Returns the number of fragments for this many bytes.
    pub(crate) const fn fragments(&self, bytes: usize) -> usize {
        bytes.div_ceil(PAGE_BYTES)
    }

    /// Checks that a row has room for this many.
    pub(crate) const fn check(&self, fragments: usize) -> Result<(), ResultCode> {
        if fragments <= FRAGMENTS_MAX { Ok(()) } else { Err(ResultCode::InvalidUsage) }
    }

    /// Receives a segment into pages, and describes them in the row from its fragment `first` on.
    pub(crate) fn receive(
        &self,
        row: usize,
        first: usize,
        offset: usize,
        bytes: usize,
        socket: &Socket,
        page: &mut [MaybeUninit<u8>],
    ) -> Result<(), ResultCode> {
        for (index, start) in (0..bytes).step_by(PAGE_BYTES).enumerate() {
            let len = PAGE_BYTES.min(bytes - start);
            let received = &mut page[..len];
            recv_all(socket, received).map_err(|_| ResultCode::Remote)?;
            let at = self.take(row)?;
            // SAFETY: `recv_all` has filled them.
            let received = unsafe { std::slice::from_raw_parts(received.as_ptr().cast::<u8>(), len) };
            self.bounce.put(at as usize * PAGE_BYTES, received)?;
            let fragment = LoadMeta {
                src_off: at * PAGE_BYTES as u32,
                len: len as u32,
                dst_off: (offset + start) as u64,
            };
            // SAFETY: the row's slot is taken, and these fragments of it were given to this segment alone.
            unsafe { self.fragment(row, first + index).write_volatile(fragment) };
        }
        Ok(())
    }

    /// Shuffles a row that has landed, and writes its count: the GPU may look.
    pub(crate) fn publish(&self, row: usize, fragments: usize, knobs: &Knobs) {
        // SAFETY: every segment of the row has landed, and its slot is not yet given back: no thread writes
        // to it.
        let row_of = unsafe { std::slice::from_raw_parts_mut(self.fragment(row, 0), fragments) };
        shuffle(row_of, draw());
        let count = if knobs.violates("unpack-queue") { fragments as u64 / 2 } else { fragments as u64 };
        let meta = self.meta.start().cast::<NetUnpackMeta>();
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        // SAFETY: the area is one `NetUnpackMeta`, and the row's count is written here alone.
        unsafe { (&raw mut (*meta).cnt[row]).write_volatile(count) };
    }

    /// Takes the pages of a consumed row back.
    pub(crate) fn release(&self, row: usize) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let Pages { free, taken } = &mut *pages;
        free.append(&mut taken[row]);
    }

    fn take(&self, row: usize) -> Result<u32, ResultCode> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let page = pages.free.pop().ok_or(ResultCode::Internal)?;
        pages.taken[row].push(page);
        Ok(page)
    }

    fn fragment(&self, row: usize, index: usize) -> *mut LoadMeta {
        debug_assert!(row < QUEUE_DEPTH && index <= FRAGMENTS_MAX);
        let meta = self.meta.start().cast::<NetUnpackMeta>();
        // SAFETY: within the area, which is one `NetUnpackMeta`.
        unsafe { (&raw mut (*meta).mem[row]).cast::<LoadMeta>().add(index) }
    }
}

fn shuffle<T>(items: &mut [T], mut seed: u64) {
    for last in (1..items.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(last, (seed >> 33) as usize % (last + 1));
    }
}
