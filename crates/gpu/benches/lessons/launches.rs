//! The cost of a launch by itself: the kernel over ever shorter fragments, 128 launches back to back, by both
//! clocks.
//!
//! If the device's time stays the same with fewer bytes, the launch takes it. If the host takes longer to
//! launch than that, the host is the limit. On a GPU with early launches, `plain` is the same without them.

use gputcp_gpu::{LaneSpec, UnpackMode, measure};
use gputcp_proto::bounce::Fragment;

use crate::{
    Result, Scene,
    clock::{BYTES, CHUNK, Times, Work},
};

const LAUNCHES: u64 = 128;

pub(crate) fn run(scene: &Scene) -> Result<()> {
    let device = &scene.device;
    let mut ways = vec![("kernel", UnpackMode::Kernel, device.lane(LaneSpec::NO_SLABS)?)];
    if measure::launches_early(device) {
        ways.push((
            "plain",
            UnpackMode::Kernel,
            measure::lane_with_plain_launches(device, LaneSpec::NO_SLABS)?,
        ));
    }
    ways.push(("copy", UnpackMode::Copy, device.lane(LaneSpec::NO_SLABS)?));
    let (from, to) = (device.allocate(BYTES)?, device.allocate(BYTES)?);
    println!(
        "128 launches back to back, GPU bounce, µs each: by the device's clock, to launch, to the host's knowledge of the end"
    );
    for (what, mode, mut lane) in ways {
        for bytes in [64, 4 << 10, 64 << 10, 128 << 10, 256 << 10, CHUNK] {
            let fragments: Vec<_> = (0..LAUNCHES)
                .map(|index| Fragment {
                    source_offset: index * CHUNK,
                    bytes,
                    destination_offset: index * CHUNK,
                })
                .collect();
            let lists: Vec<&[Fragment]> = fragments.chunks(1).collect();
            let work = Work { from: &from, to: &to, mode, lists: &lists };
            work.by_host(&mut lane)?;
            let on_device = Times::of((0..scene.rounds).map(|_| work.by_device(scene, &mut lane)))?;
            let mut launching = Vec::new();
            let ended = Times::of((0..scene.rounds).map(|_| {
                let (ended, launched) = work.by_host(&mut lane)?;
                launching.push(Ok(launched));
                Ok(ended)
            }))?;
            let each = |times: &Times| times.median().as_secs_f64() * 1e6 / LAUNCHES as f64;
            let [on_device, launching, ended] = [&on_device, &Times::of(launching)?, &ended].map(each);
            println!("{what:7}{bytes:>8} B {on_device:6.2} {launching:6.2} {ended:6.2}");
        }
    }
    Ok(())
}
