//! The time from a launch to the host's knowledge of its end, one at a time; and the rates of the test
//! pattern.

use std::time::Instant;

use gputcp_gpu::{LaneSpec, Pattern, UnpackMode};
use gputcp_proto::bounce::Fragment;

use crate::{
    Result, Scene,
    clock::{BYTES, CHUNK, Times, finish},
};

const PATTERN: Pattern = Pattern { seed: 51, iteration: 52 };

pub(crate) fn run(scene: &Scene) -> Result<()> {
    let device = &scene.device;
    let (mut lane, destination) = (device.lane(LaneSpec::NO_SLABS)?, device.allocate(BYTES)?);
    println!("launch and wait, one at a time, µs median (p99)");
    for (kind, bounce) in [("GPU", device.allocate(CHUNK)?), ("pinned", device.pinned(CHUNK)?)] {
        for mode in [UnpackMode::Kernel, UnpackMode::Copy] {
            let (from, to) = (bounce.read(0, CHUNK)?, destination.write(0, CHUNK)?);
            let mut line = format!("{kind:7}{mode:7}");
            for bytes in [64, 4 << 10, 64 << 10, CHUNK] {
                let list = [Fragment { source_offset: 0, bytes, destination_offset: 0 }];
                let times = Times::of((0..scene.rounds * 50).map(|_| {
                    let start = Instant::now();
                    finish(Some(lane.unpack_fragments(&from, &list, &to, mode)?))?;
                    Ok(start.elapsed())
                }))?;
                let [median, p99] = [0.5, 0.99].map(|part| times.part(part).as_secs_f64() * 1e6);
                line += &format!("{bytes:>8} B {median:5.1} ({p99:5.1})");
            }
            println!("{line}");
        }
    }
    let time = |run: &dyn Fn() -> Result<()>| {
        Times::of((0..scene.rounds).map(|_| {
            let start = Instant::now();
            run()?;
            Ok(start.elapsed())
        }))
    };
    println!("the test pattern, 64 MiB, GB/s by the host's clock");
    println!("fill   {}", time(&|| destination.fill(PATTERN, 0, BYTES))?.rates(BYTES));
    println!("verify {}", time(&|| destination.verify(PATTERN, 0, BYTES).map(drop))?.rates(BYTES));
    Ok(())
}
