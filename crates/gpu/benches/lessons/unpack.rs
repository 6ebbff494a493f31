//! Unpack alone: 64 MiB from a bounce region to a destination, in one launch and in many, in each mode.

use gputcp_gpu::{Buffer, Lane, LaneSpec, Pattern, UnpackMode, measure};
use gputcp_proto::bounce::Fragment;

use crate::{
    Result, Scene,
    clock::{BYTES, CHUNK, Times, WHOLE, Work, chunks, finish},
};

const PAGE: u64 = 4 << 10;
const PATTERN: Pattern = Pattern { seed: 31, iteration: 32 };
const OTHER: Pattern = Pattern { seed: 31, iteration: 33 };

pub(crate) fn run(scene: &Scene) -> Result<()> {
    let device = &scene.device;
    let (mut lane, destination) = (device.lane(LaneSpec::NO_SLABS)?, device.allocate(BYTES)?);
    let (pages, chunks) = (measure::scattered_pages(BYTES, PAGE), chunks());
    let one_by_one: Vec<&[Fragment]> = chunks.chunks(1).collect();
    let paged: Vec<&[Fragment]> = pages.chunks((CHUNK / PAGE) as usize).collect();

    println!("unpack alone, 64 MiB, GB/s by the device's clock; by the host's, with the wait for the end");
    for (kind, in_order, scattered) in [
        ("GPU", device.allocate(BYTES)?, device.allocate(BYTES)?),
        ("pinned", device.pinned(BYTES)?, device.pinned(BYTES)?),
    ] {
        in_order.fill(PATTERN, 0, BYTES)?;
        scatter(&mut lane, &in_order, &scattered, &pages)?;
        let mut report = |what: &str, from: &Buffer, mode: UnpackMode, lists: &[&[Fragment]]| -> Result<()> {
            let work = Work { from, to: &destination, mode, lists };
            let line = figures(scene, &mut lane, &work)?;
            println!("{kind:7}{mode:7}{what:30}{line}");
            Ok(())
        };
        report("plain copy of the whole", &in_order, UnpackMode::Copy, &[&[WHOLE]])?;
        for mode in [UnpackMode::Kernel, UnpackMode::Copy, UnpackMode::Host] {
            report("one launch, one fragment", &in_order, mode, &[&[WHOLE]])?;
            report("one launch of 4 KiB fragments", &scattered, mode, &[&pages])?;
            report("128 launches of 512 KiB", &in_order, mode, &one_by_one)?;
            report("128 launches of 128 x 4 KiB", &scattered, mode, &paged)?;
        }
    }
    Ok(())
}

/// Returns the rates of some work, by both clocks. The first round warms up.
fn figures(scene: &Scene, lane: &mut Lane, work: &Work<'_>) -> Result<String> {
    let slow =
        work.mode != UnpackMode::Kernel && work.lists.iter().map(|list| list.len()).sum::<usize>() > 1000;
    let rounds = if slow { scene.rounds.min(5) } else { scene.rounds };
    work.by_host(lane)?;
    let device = Times::of((0..rounds).map(|_| work.by_device(scene, lane)))?;
    let mut launches = Vec::new();
    let host = Times::of((0..rounds).map(|_| {
        work.to.fill(OTHER, 0, BYTES)?;
        let (time, launching) = work.by_host(lane)?;
        launches.push(Ok(launching));
        Ok(time)
    }))?;
    let launch_us = Times::of(launches)?.median().as_secs_f64() * 1e6 / work.lists.len() as f64;
    let wrong = match work.to.verify(PATTERN, 0, BYTES)? {
        Ok(()) => String::new(),
        Err(mismatch) => format!("   WRONG: {mismatch}"),
    };
    let (device, host) = (device.rates(BYTES), host.rates(BYTES));
    Ok(format!("{device}   host {host}, {launch_us:.1} µs a launch{wrong}"))
}

/// Puts each page of the message at the place where the list finds it.
fn scatter(lane: &mut Lane, from: &Buffer, to: &Buffer, pages: &[Fragment]) -> Result<()> {
    let back: Vec<_> = pages
        .iter()
        .map(|page| Fragment {
            source_offset: page.destination_offset,
            bytes: page.bytes,
            destination_offset: page.source_offset,
        })
        .collect();
    let (from, to) = (from.read(0, BYTES)?, to.write(0, BYTES)?);
    finish(Some(lane.unpack_fragments(&from, &back, &to, UnpackMode::Kernel)?))
}
