//! The check that nothing is allocated in the hot path (invariant I4): launches of every kind, waits, polls.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use gputcp_gpu::{LaneSpec, UnpackMode, measure};
use gputcp_proto::bounce::Completion;

use crate::{Check, Outcome, Scene, ensure, memory::soon, text, unpacks::MODES};

pub(crate) const CHECKS: &[Check] = &[("the hot path allocates nothing", hot_path)];

fn hot_path(scene: &Scene) -> Outcome {
    let bytes = 4 << 20;
    let mut lane = scene.device.lane(LaneSpec { slots: 4, slab_bytes: 1 << 20 }).map_err(text)?;
    let device = &scene.device;
    let bounces = [device.pinned(bytes).map_err(text)?, device.allocate(bytes).map_err(text)?];
    let destination = device.allocate(bytes).map_err(text)?;
    let fragments = measure::scattered_pages(bytes, 4096);
    // The first round may set up what the standard library keeps per thread.
    let mut counts = [0; 4];
    for count in &mut counts {
        let before = ALLOCATIONS.load(SeqCst);
        for bounce in &bounces {
            for mode in MODES {
                let (from, to) =
                    (bounce.read(0, bytes).map_err(text)?, destination.write(0, bytes).map_err(text)?);
                for list in [&fragments[..], &fragments[..1], &[]] {
                    let mut done = lane.unpack_fragments(&from, list, &to, mode).map_err(text)?;
                    while !done.is_done().map_err(text)? {
                        ensure(done.wait(soon()).map_err(text)?, || "work did not finish".to_owned())?;
                    }
                }
                // As in a receiver: a segment at a time, several under way.
                let mut last = None;
                for list in fragments.chunks(128) {
                    last = Some(lane.unpack_fragments(&from, list, &to, UnpackMode::Kernel).map_err(text)?);
                }
                let finished = last.map_or(Ok(true), |last| last.wait(soon())).map_err(text)?;
                ensure(finished, || "work did not finish".to_owned())?;
            }
        }
        *count = ALLOCATIONS.load(SeqCst) - before;
    }
    ensure(counts[1..] == [0; 3], || format!("allocations in four rounds: {counts:?}"))
}

/// Counts the allocations of all threads. The driver's own are not Rust's, so they are not counted.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator with its arguments unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, SeqCst);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;
