//! The check that nothing is allocated in the hot path (invariant I4): launches of every kind, waits, polls.

use gputcp_gpu::{LaneSpec, UnpackMode, measure};
use gputcp_proto::bounce::Completion;

use crate::{Check, Outcome, Scene, counting::allocations, ensure, memory::wait, unpacks::MODES};

pub(crate) const CHECKS: &[Check] = &[("the hot path allocates nothing", hot_path)];

fn hot_path(scene: &Scene) -> Outcome {
    let bytes = 4 << 20;
    let mut lane = scene.device.lane(LaneSpec { slots: 4, slab_bytes: 1 << 20 })?;
    let device = &scene.device;
    let bounces = [device.pinned(bytes)?, device.allocate(bytes)?];
    let destination = device.allocate(bytes)?;
    let fragments = measure::scattered_pages(bytes, 4096);
    // The first round may set up what the standard library keeps per thread.
    let mut counts = [0; 4];
    for count in &mut counts {
        let before = allocations();
        for bounce in &bounces {
            for mode in MODES {
                let (from, to) = (bounce.read(0, bytes)?, destination.write(0, bytes)?);
                for list in [&fragments[..], &fragments[..1], &[]] {
                    let mut done = lane.unpack_fragments(&from, list, &to, mode)?;
                    while !done.is_done()? {
                        wait("work", &done)?;
                    }
                }
                // As in a receiver: a segment at a time, several under way.
                let mut last = None;
                for list in fragments.chunks(128) {
                    last = Some(lane.unpack_fragments(&from, list, &to, UnpackMode::Kernel)?);
                }
                last.iter().try_for_each(|last| wait("work", last))?;
            }
        }
        *count = allocations() - before;
    }
    ensure(counts[1..] == [0; 3], || format!("allocations in four rounds: {counts:?}"))
}
