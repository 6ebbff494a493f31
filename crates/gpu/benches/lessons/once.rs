//! The lesson: 64 MiB in chunks of 512 KiB, unpacked in three ways. Quotients are of times.
//!
//! - (a) makes its objects anew for each chunk, and then waits for the chunk.
//! - (b) uses a lane made once, asynchronously.
//! - (c) is the baseline: one copy of the whole.

use std::time::{Duration, Instant};

use gputcp_gpu::{Buffer, LaneSpec, UnpackMode, measure, measure::PerChunk};
use gputcp_proto::bounce::Fragment;

use crate::{
    Result, Scene,
    clock::{BYTES, CHUNK, Times, WHOLE, Work, chunks, finish},
};

pub(crate) fn run(scene: &Scene) -> Result<()> {
    println!("made per chunk or once: 64 MiB in chunks of 512 KiB, GB/s by the host's clock");
    let device = &scene.device;
    let destination = device.allocate(BYTES)?;
    for (kind, bounce) in [("GPU", device.allocate(BYTES)?), ("pinned", device.pinned(BYTES)?)] {
        one(scene, kind, &bounce, &destination)?;
    }
    Ok(())
}

fn one(scene: &Scene, kind: &str, from: &Buffer, to: &Buffer) -> Result<()> {
    let Scene { device, rounds } = scene;
    let mut lane = device.lane(LaneSpec::NO_SLABS)?;
    let chunks = chunks();
    let lists: Vec<&[Fragment]> = chunks.chunks(1).collect();
    let mut time = |mode: UnpackMode, lists: &[&[Fragment]]| {
        let work = Work { from, to, mode, lists };
        work.by_host(&mut lane)?;
        Times::of((0..*rounds).map(|_| Ok(work.by_host(&mut lane)?.0)))
    };
    let (once, ceiling) = (time(UnpackMode::Kernel, &lists)?, time(UnpackMode::Copy, &[&[WHOLE]])?);
    let line = |what: &str, times: &Times| {
        let ratio = times.median().as_secs_f64() / once.median().as_secs_f64();
        let name = &what[1..2];
        println!("{kind:7}{what:52}{}   {name} ÷ b = {ratio:.2}", times.rates(BYTES));
    };
    for (what, made) in [
        ("(a) a stream and an event per chunk, waited for", PerChunk::Stream),
        ("(a) and the kernel loaded per chunk", PerChunk::StreamAndKernel),
    ] {
        if device.cuda_device().is_none() {
            println!("{kind:7}{what:52}only on a real GPU");
            continue;
        }
        let (read, write) = (from.read(0, BYTES)?, to.write(0, BYTES)?);
        let few = if made == PerChunk::Stream { *rounds } else { (*rounds).min(SLOW) };
        let per_chunk = || measure::unpack_per_chunk(device, &read, &write, CHUNK, made);
        line(what, &Times::of((0..few).map(|_| per_chunk()))?);
    }
    let few = (*rounds).min(SLOW);
    let lanes = Times::of((0..few).map(|_| lanes_per_chunk(scene, from, to, &lists)))?;
    line("(a) a whole lane per chunk, waited for", &lanes);
    line("(b) a lane made once, asynchronous", &once);
    line("(c) the ceiling: one plain copy of the whole", &ceiling);
    Ok(())
}

fn lanes_per_chunk(scene: &Scene, from: &Buffer, to: &Buffer, chunks: &[&[Fragment]]) -> Result<Duration> {
    let (read, write) = (from.read(0, BYTES)?, to.write(0, BYTES)?);
    let start = Instant::now();
    for list in chunks {
        let mut lane = scene.device.lane(LaneSpec::NO_SLABS)?;
        finish(Some(lane.unpack_fragments(&read, list, &write, UnpackMode::Kernel)?))?;
    }
    Ok(start.elapsed())
}

/// The most rounds of slow work.
const SLOW: usize = 5;
