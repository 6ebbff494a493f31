//! Checks of the support for foreign code: the driver's knowledge of an address, memory of another owner,
//! dma-bufs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gputcp_gpu::{Buffer, Device, Error, LaneSpec, Pattern, UnpackMode};
use gputcp_proto::bounce::Fragment;

use crate::{Check, Outcome, Scene, ensure, text};

pub(crate) const CHECKS: &[Check] = &[
    ("the driver knows how far an address reaches, and which memory the CPU can read", addresses),
    ("a lane unpacks GPU memory of another owner", foreign),
    ("a dma-buf can be had of memory of any length, where the driver has them", dma_bufs),
];

const BYTES: u64 = 3 << 20;

fn addresses(scene: &Scene) -> Outcome {
    let device = &scene.device;
    let (buffer, pinned) = (device.allocate(BYTES).map_err(text)?, device.pinned(BYTES).map_err(text)?);
    let left = device.bytes_at(buffer.address()).map_err(text)?;
    ensure(left.is_some_and(|left| left >= BYTES), || format!("{left:?} bytes of {BYTES}"))?;
    device.check_on_host(pinned.address()).map_err(text)?;
    let refused = device.check_on_host(buffer.address());
    ensure(matches!(refused, Err(Error::NotOnHost { .. })), || format!("GPU memory: {refused:?}"))?;
    let nowhere = std::ptr::NonNull::dangling();
    let refused = (device.bytes_at(nowhere), device.check_on_host(nowhere));
    let names_cuda = |name: &str| name.starts_with("CUDA_ERROR_");
    let (Err(Error::NotOnGpu { name: gpu }), Err(Error::NotOnHost { name: host })) = &refused else {
        return Err(format!("nowhere: {refused:?}"));
    };
    ensure(names_cuda(gpu) && names_cuda(host), || format!("nowhere: {gpu}, {host}"))?;
    for other in 0..Device::count() {
        let other = Device::cuda(&other.to_string()).map_err(text)?;
        if other.kind() == device.kind() {
            continue;
        }
        let theirs = other.allocate(BYTES).map_err(text)?;
        let refused = device.bytes_at(theirs.address());
        ensure(matches!(refused, Err(Error::NotOnGpu { .. })), || {
            format!("memory of {}: {refused:?}", other.kind())
        })?;
    }
    Ok(())
}

fn foreign(scene: &Scene) -> Outcome {
    let device = &scene.device;
    let owner = device.allocate(BYTES).map_err(text)?;
    let pattern = Pattern { seed: 21, iteration: 22 };
    owner.fill(pattern, 0, BYTES).map_err(text)?;
    let start = owner.address();
    // SAFETY: this is memory of the device, which the keeper keeps.
    let foreign = unsafe { Buffer::foreign(start, BYTES, device, Arc::new(owner)) }.map_err(text)?;
    let mut lane = device.lane(LaneSpec { slots: 0, slab_bytes: 0 }).map_err(text)?;
    for mode in [UnpackMode::Kernel, UnpackMode::Copy, UnpackMode::Host] {
        let destination = device.allocate(BYTES).map_err(text)?;
        let into = destination.write(0, BYTES).map_err(text)?;
        let half = BYTES / 2;
        let halves = [half, 0].map(|at| Fragment { source_offset: at, bytes: half, destination_offset: at });
        let from = foreign.read(0, BYTES).map_err(text)?;
        let done = lane.unpack_fragments(&from, &halves, &into, mode).map_err(text)?;
        ensure(done.wait(Instant::now() + Duration::from_secs(20)).map_err(text)?, || "too slow".to_owned())?;
        drop((from, into));
        let verified = destination.verify(pattern, 0, BYTES).map_err(text)?;
        ensure(verified.is_ok(), || format!("{mode}: {verified:?}"))?;
    }
    Ok(())
}

fn dma_bufs(scene: &Scene) -> Outcome {
    for bytes in [1, 4097, BYTES] {
        let buffer = scene.device.allocate(bytes).map_err(text)?;
        match scene.device.dma_buf(&buffer) {
            Some((_, offset)) => println!("        a dma-buf of {bytes} bytes, from {offset}"),
            None => println!("        the driver has no dma-bufs"),
        }
    }
    let host = Buffer::host(1).map_err(text)?;
    ensure(scene.device.dma_buf(&host).is_none(), || "of host memory".to_owned())
}
