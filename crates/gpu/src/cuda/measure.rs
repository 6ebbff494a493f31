//! Functions that only gpu-check and the benches need.
//!
//! They measure times as the device sees them, use a lane in ways that are wrong for transfers, and lose a
//! GPU.
//!
//! They are not part of the interface, but as safe as the rest.

use std::{
    ptr,
    time::{Duration, Instant},
};

use gputcp_proto::bounce::Fragment;

use super::{
    queue::Queue,
    stream::{Launches, Stream as GpuStream, Ways},
    sys::{self, EventHandle},
    timeline::Marks,
};
use crate::{
    Device, Done, Error, Lane, LaneSpec, ReadClaim, WriteClaim,
    lane::{self, Stream},
};

/// Returns the time that the work which `start` launches on the lane takes on the device.
///
/// # Errors
/// If the lane is not a real GPU's, or the device fails.
pub fn device_time(
    lane: &mut Lane,
    start: impl FnOnce(&mut Lane) -> Result<(), Error>,
) -> Result<Duration, Error> {
    let events =
        [Event::new(queue(lane)?, sys::EVENT_DEFAULT)?, Event::new(queue(lane)?, sys::EVENT_DEFAULT)?];
    events[0].record(queue(lane)?)?;
    start(lane)?;
    events[1].record(queue(lane)?)?;
    let queue = queue(lane)?;
    queue.finish("finish a measurement")?;
    let mut ms = 0.0;
    // SAFETY: both events are alive and recorded; the driver writes one number.
    let code = unsafe { (queue.context.driver.event_elapsed)(&mut ms, events[0].handle, events[1].handle) };
    queue.context.driver.check(code, "tell a time")?;
    Ok(Duration::from_secs_f64(f64::from(ms) / 1e3))
}

/// The objects that [`unpack_per_chunk`] makes anew for each chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PerChunk {
    /// A stream and an event.
    Stream,
    /// A stream, an event and the loaded kernel.
    StreamAndKernel,
}

/// Unpacks as a caller should not, and returns the time it took.
///
/// It makes a stream and an event for each chunk, launches, waits, and destroys them again.
///
/// # Errors
/// If the device is no real GPU, or fails.
pub fn unpack_per_chunk(
    device: &Device,
    source: &ReadClaim,
    destination: &WriteClaim,
    chunk_bytes: u64,
    what: PerChunk,
) -> Result<Duration, Error> {
    let context = device.gpu().ok_or_else(not_real)?.context();
    let bytes = source.bytes().min(destination.bytes());
    let once = GpuStream::start(context, Ways::BEST)?;
    let start = Instant::now();
    for offset in (0..bytes).step_by(chunk_bytes as usize) {
        if what == PerChunk::StreamAndKernel {
            context.load_and_unload()?;
        }
        let queue = Queue::new(context)?;
        let event = Event::new(&queue, sys::EVENT_DISABLE_TIMING)?;
        let chunk = chunk_bytes.min(bytes - offset);
        let (from, to) = (source.hold().address() + offset, destination.hold().address() + offset);
        // SAFETY: both are within claims that live through the call, which waits for the kernel below; `once`
        // has no other work.
        let launched = unsafe { once.launch_on(&queue, from, to, chunk) };
        launched.and_then(|()| event.record(&queue)).and_then(|()| event.wait(&queue))?;
    }
    Ok(start.elapsed())
}

/// Makes a lane that writes its flags with a kernel, as without the driver's memory operations for streams.
///
/// # Errors
/// As [`Device::lane`]; if the device is no real GPU.
pub fn lane_with_kernel_marks(device: &Device, spec: LaneSpec) -> Result<Lane, Error> {
    Lane::on_gpu(spec, device.gpu().ok_or_else(not_real)?, Ways { marks: Marks::Kernel, ..Ways::BEST })
}

/// Makes a lane without early launches, as before Hopper.
///
/// # Errors
/// As [`Device::lane`]; if the device is no real GPU.
pub fn lane_with_plain_launches(device: &Device, spec: LaneSpec) -> Result<Lane, Error> {
    let ways = Ways { launches: Launches::Plain, ..Ways::BEST };
    Lane::on_gpu(spec, device.gpu().ok_or_else(not_real)?, ways)
}

/// Returns whether device and driver launch kernels early, so that [`lane_with_plain_launches`] makes a
/// difference.
///
/// A tool that refuses early launches takes the difference away.
#[must_use]
pub fn launches_early(device: &Device) -> bool {
    device.gpu().is_some_and(|gpu| gpu.context().launch_ex.is_some())
}

/// Unpacks one part of a claim to another part of it, so that a launch reads the bytes of the one before.
///
/// Two claims do not allow that. A claim to write excludes all others, so no other code reads or writes
/// there.
///
/// # Errors
/// As [`Lane::unpack_fragments`]; if the lane is not a real GPU's.
///
/// # Panics
/// If the two parts overlap: one kernel's reads and writes have no order.
pub fn unpack_within(lane: &mut Lane, claim: &WriteClaim, part: Fragment) -> Result<Done, Error> {
    let apart = part.source_offset.abs_diff(part.destination_offset) >= part.bytes;
    assert!(apart, "{part:?} overlaps itself");
    lane::check_fragments(&[part], claim.hold(), claim.hold())?;
    let Stream::Cuda(stream) = lane.stream_mut() else { return Err(not_real()) };
    stream.unpack(claim.hold(), claim.hold(), &[part])?;
    Ok(lane.stream_mut().now())
}

/// Returns a claim's address on the device.
#[must_use]
pub fn address(claim: &ReadClaim) -> u64 {
    claim.hold().address()
}

/// Loses the GPU for the whole process, with a kernel that ends in a trap.
///
/// # Errors
/// If the lane is not a real GPU's.
pub fn lose_gpu(lane: &mut Lane) -> Result<(), Error> {
    let Stream::Cuda(stream) = lane.stream_mut() else { return Err(not_real()) };
    stream.run(None, None, |queue| {
        // SAFETY: the kernel has no parameters and touches no memory.
        unsafe { queue.launch(queue.context.kernels.fail, 1, 1, &mut [], "start a kernel that fails") }
    })
}

/// Returns one fragment per page of `page_bytes`.
///
/// Pages lie in the bounce region in order of arrival (a permutation), and belong one after another. Their
/// number must be a power of two.
#[must_use]
pub fn scattered_pages(bytes: u64, page_bytes: u64) -> Vec<Fragment> {
    let pages = bytes / page_bytes;
    // The factor is odd: a permutation of any power-of-two count. It is near the golden ratio of 2³²:
    // neighbours land far apart.
    let place = |page: u64| page.wrapping_mul(0x9e37_79b1) % pages;
    (0..pages)
        .map(|page| Fragment {
            source_offset: place(page) * page_bytes,
            bytes: page_bytes,
            destination_offset: page * page_bytes,
        })
        .collect()
}

fn queue(lane: &mut Lane) -> Result<&Queue, Error> {
    match lane.stream_mut() {
        Stream::Cuda(stream) => Ok(stream.queue()),
        Stream::Soft(_) => Err(not_real()),
    }
}

fn not_real() -> Error {
    Error::NoGpu { reason: "this measures a real GPU, and the device is the software GPU".to_owned() }
}

struct Event {
    driver: &'static sys::Driver,
    handle: EventHandle,
}

impl Event {
    fn new(queue: &Queue, flags: u32) -> Result<Self, Error> {
        queue.context.make_current()?;
        let driver = queue.context.driver;
        let mut handle: EventHandle = ptr::null_mut();
        // SAFETY: the driver writes one handle.
        driver.check(unsafe { (driver.event_create)(&mut handle, flags) }, "make an event")?;
        Ok(Self { driver, handle })
    }

    fn record(&self, queue: &Queue) -> Result<(), Error> {
        // SAFETY: event and stream are alive and of one context.
        self.driver
            .check(unsafe { (self.driver.event_record)(self.handle, queue.handle()) }, "record an event")
    }

    fn wait(&self, queue: &Queue) -> Result<(), Error> {
        queue.context.make_current()?;
        // SAFETY: the event is alive.
        self.driver.check(unsafe { (self.driver.event_synchronize)(self.handle) }, "finish a chunk")
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made once, destroyed once.
        let _ = unsafe { (self.driver.event_destroy)(self.handle) };
    }
}
