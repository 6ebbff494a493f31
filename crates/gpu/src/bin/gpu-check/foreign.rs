//! Checks of the support for foreign code: the driver's knowledge of an address, memory of another owner,
//! dma-bufs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gputcp_gpu::{Buffer, Device, Error, LaneSpec, Pattern, UnpackMode};
use gputcp_proto::bounce::Fragment;

use crate::{Check, Outcome, Scene, ensure};

pub(crate) const CHECKS: &[Check] = &[
    ("the driver knows how far an address reaches, and which memory the CPU can read", addresses),
    ("a lane unpacks GPU memory of another owner", foreign),
    ("a dma-buf can be had of memory of any length, where the driver has them", dma_bufs),
];

const BYTES: u64 = 3 << 20;

fn addresses(scene: &Scene) -> Outcome {
    let device = &scene.device;
    let (buffer, pinned) = (device.allocate(BYTES)?, device.pinned(BYTES)?);
    let left = device.bytes_at(buffer.address())?;
    ensure(left.is_some_and(|left| left >= BYTES), || format!("{left:?} bytes of {BYTES}"))?;
    device.check_on_host(pinned.address())?;
    let refused = device.check_on_host(buffer.address());
    ensure(matches!(refused, Err(Error::NotOnHost { .. })), || format!("GPU memory: {refused:?}"))?;
    let nowhere = std::ptr::NonNull::dangling();
    let refused = (device.bytes_at(nowhere), device.check_on_host(nowhere));
    let names_cuda = |name: &str| name.starts_with("CUDA_ERROR_");
    let (Err(Error::NotOnGpu { name: gpu }), Err(Error::NotOnHost { name: host })) = &refused else {
        return Err(format!("nowhere: {refused:?}").into());
    };
    ensure(names_cuda(gpu) && names_cuda(host), || format!("nowhere: {gpu}, {host}"))?;
    for other in 0..Device::count() {
        let other = Device::cuda(&other.to_string())?;
        if other.kind() == device.kind() {
            continue;
        }
        let theirs = other.allocate(BYTES)?;
        let refused = device.bytes_at(theirs.address());
        ensure(matches!(refused, Err(Error::NotOnGpu { .. })), || {
            format!("memory of {}: {refused:?}", other.kind())
        })?;
    }
    Ok(())
}

fn foreign(scene: &Scene) -> Outcome {
    let device = &scene.device;
    let owner = device.allocate(BYTES)?;
    let pattern = Pattern { seed: 21, iteration: 22 };
    owner.fill(pattern, 0, BYTES)?;
    let start = owner.address();
    // SAFETY: this is memory of the device, which the keeper keeps.
    let foreign = unsafe { Buffer::foreign(start, BYTES, device, Arc::new(owner)) }?;
    let mut lane = device.lane(LaneSpec::NO_SLABS)?;
    for mode in [UnpackMode::Kernel, UnpackMode::Copy, UnpackMode::Host] {
        let destination = device.allocate(BYTES)?;
        let into = destination.write(0, BYTES)?;
        let half = BYTES / 2;
        let halves = [half, 0].map(|at| Fragment { source_offset: at, bytes: half, destination_offset: at });
        let from = foreign.read(0, BYTES)?;
        let done = lane.unpack_fragments(&from, &halves, &into, mode)?;
        ensure(done.wait(Instant::now() + Duration::from_secs(20))?, || "too slow")?;
        drop((from, into));
        destination.verify(pattern, 0, BYTES)?.map_err(|wrong| format!("{mode}: {wrong:?}"))?;
    }
    Ok(())
}

fn dma_bufs(scene: &Scene) -> Outcome {
    for bytes in [1, 4097, BYTES] {
        let buffer = scene.device.allocate(bytes)?;
        match scene.device.dma_buf(&buffer) {
            Some((_, offset)) => println!("        a dma-buf of {bytes} bytes, from {offset}"),
            None => println!("        the driver has no dma-bufs"),
        }
    }
    let host = Buffer::host(1)?;
    ensure(scene.device.dma_buf(&host).is_none(), || "of host memory")
}
