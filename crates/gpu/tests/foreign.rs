//! Memory that foreign code owns: lanes work on it, and its keeper outlives them.

use std::{
    ptr::NonNull,
    sync::Arc,
    time::{Duration, Instant},
};

use gputcp_gpu::{Buffer, Device, Error, LaneSpec, Pattern, SoftOptions, UnpackMode};
use gputcp_proto::bounce::Fragment;

const BYTES: usize = 64 << 10;

#[test]
fn a_lane_unpacks_foreign_memory_and_keeps_its_owner() {
    let device =
        Device::soft(SoftOptions { lateness: Duration::from_millis(3), seed: 1, ..SoftOptions::default() });
    let pattern = Pattern { seed: 5, iteration: 6 };
    for mode in [UnpackMode::Kernel, UnpackMode::Copy, UnpackMode::Host] {
        let mut bytes = vec![0u8; BYTES];
        pattern.fill(0, &mut bytes);
        let owner = Arc::new(bytes);
        let start = NonNull::from(owner.as_slice()).cast::<u8>();
        // SAFETY: the vector is not changed and lives as long as its keeper; claims never exceed it.
        let foreign = unsafe { Buffer::foreign(start, 4 << 30, &device, owner.clone()) }.unwrap();
        assert_eq!((foreign.address(), foreign.bytes(), foreign.kind()), (start, 4 << 30, device.kind()));
        let destination = device.allocate(BYTES as u64).unwrap();
        let mut lane = device.lane(LaneSpec::NO_SLABS).unwrap();
        let half = BYTES as u64 / 2;
        let fragment = |at| Fragment { source_offset: at, bytes: half, destination_offset: at };
        let claim = foreign.read(0, BYTES as u64).unwrap();
        assert_eq!(claim.address(), start);
        let into = destination.write(0, BYTES as u64).unwrap();
        let done = lane.unpack_fragments(&claim, &[fragment(half), fragment(0)], &into, mode).unwrap();
        drop((claim, foreign, into));
        assert!(done.wait(Instant::now() + Duration::from_secs(10)).unwrap());
        drop(lane);
        assert_eq!(destination.verify(pattern, 0, BYTES as u64), Ok(Ok(())), "{mode}");
        assert_eq!(Arc::strong_count(&owner), 1, "the keeper is let go");
    }
}

#[test]
fn nothing_is_no_memory() {
    let device = Device::soft(SoftOptions::default());
    // SAFETY: no byte is named.
    let foreign = unsafe { Buffer::foreign(NonNull::dangling(), 0, &device, Arc::new(())) };
    assert_eq!(foreign.unwrap_err(), Error::Empty);
    assert_eq!(device.bytes_at(NonNull::dangling()), Ok(None));
    assert!(device.dma_buf(&Buffer::host(1).unwrap()).is_none());
}

#[test]
fn claims_on_lent_memory_keep_nobody_off() {
    let mut bytes = [0u8; 64];
    // SAFETY: the bytes outlive the buffer and its claims, which are not used to touch them.
    let lent = unsafe { Buffer::lent(NonNull::from(&mut bytes).cast(), 64) }.unwrap();
    assert_eq!((lent.kind(), lent.bytes()), (gputcp_gpu::MemoryKind::Host, 64));
    let all = lent.write(0, 64).unwrap();
    let (twice, read) = (lent.write(8, 8).unwrap(), lent.read(0, 64).unwrap());
    assert_eq!((twice.address(), read.bytes()), (all.address().map_addr(|at| at.saturating_add(8)), 64));
    assert!(lent.read(60, 5).is_err(), "beyond the buffer there is nothing to lend");
    // SAFETY: no byte is named.
    assert_eq!(unsafe { Buffer::lent(NonNull::dangling(), 0) }.unwrap_err(), Error::Empty);
}
