//! Unpack alone, in GB/s of payload beside a plain copy of the same bytes, and what it costs to make per chunk what a lane
//! makes once. Medians with their spread; what was timed last is verified to the byte.

use std::time::{Duration, Instant};

use gputcp_gpu::{
    Buffer, Device, Done, Error, Lane, LaneSpec, Pattern, UnpackMode, measure, measure::PerChunk,
};
use gputcp_proto::bounce::Fragment;

use crate::{Scene, memory::soon, unpacks::MODES};

const BYTES: u64 = 64 << 20;
const CHUNK: u64 = 512 << 10;
const PAGE: u64 = 4 << 10;
const PATTERN: Pattern = Pattern { seed: 31, iteration: 32 };
const OTHER: Pattern = Pattern { seed: 31, iteration: 33 };
const NO_SLABS: LaneSpec = LaneSpec { slots: 0, slab_bytes: 0 };
const WHOLE: Fragment = Fragment { source_offset: 0, bytes: BYTES, destination_offset: 0 };

type Result<T> = std::result::Result<T, Error>;

pub(crate) fn run(scene: &Scene) -> Result<()> {
    let device = &scene.device;
    let destination = device.allocate(BYTES)?;
    let mut bench =
        Bench { lane: device.lane(NO_SLABS)?, destination, rounds: if scene.quick { 3 } else { 21 } };
    let pages = measure::scattered_pages(BYTES, PAGE);
    let chunks: Vec<_> = (0..BYTES / CHUNK).map(|i| i * CHUNK).map(chunk_at).collect();
    let one_by_one: Vec<&[Fragment]> = chunks.chunks(1).collect();
    let paged: Vec<&[Fragment]> = pages.chunks((CHUNK / PAGE) as usize).collect();

    println!(
        "unpack alone, 64 MiB, GB/s of payload, by the device's clock; by the host's, with the wait for the end"
    );
    for (kind, in_order, scattered) in [
        ("GPU", device.allocate(BYTES)?, device.allocate(BYTES)?),
        ("pinned", device.pinned(BYTES)?, device.pinned(BYTES)?),
    ] {
        in_order.fill(PATTERN, 0, BYTES)?;
        bench.scatter(&in_order, &scattered, &pages)?;
        bench.report(kind, "plain copy of the whole", UnpackMode::Copy, &in_order, &[&[WHOLE]])?;
        for mode in MODES {
            bench.report(kind, "one launch, one fragment", mode, &in_order, &[&[WHOLE]])?;
            bench.report(kind, "one launch of 4 KiB fragments", mode, &scattered, &[&pages])?;
            bench.report(kind, "128 launches of 512 KiB", mode, &in_order, &one_by_one)?;
            bench.report(kind, "128 launches of 128 x 4 KiB", mode, &scattered, &paged)?;
        }
    }
    latency(&mut bench, device)?;
    fill_and_verify(&bench)?;
    lessons(&mut bench, device)
}

const fn chunk_at(offset: u64) -> Fragment {
    Fragment { source_offset: offset, bytes: CHUNK, destination_offset: offset }
}

struct Bench {
    lane: Lane,
    destination: Buffer,
    rounds: usize,
}

impl Bench {
    fn report(
        &mut self,
        kind: &str,
        what: &str,
        mode: UnpackMode,
        bounce: &Buffer,
        lists: &[&[Fragment]],
    ) -> Result<()> {
        let slow = mode != UnpackMode::Kernel && lists.iter().map(|list| list.len()).sum::<usize>() > 1000;
        let rounds = if slow { self.rounds.min(5) } else { self.rounds };
        let (mut on_device, mut on_host, mut launching) = (Vec::new(), Vec::new(), Vec::new());
        // The first round warms up.
        for round in 0..=rounds {
            let device = self.on_device(bounce, mode, lists)?;
            self.destination.fill(OTHER, 0, BYTES)?;
            let (host, launch) = self.on_host(bounce, mode, lists)?;
            if round > 0 {
                on_device.push(device);
                on_host.push(host);
                launching.push(launch);
            }
        }
        if let Err(mismatch) = self.destination.verify(PATTERN, 0, BYTES)? {
            println!("{kind} {mode} {what}: {mismatch}");
        }
        let launch_us = median(&launching).as_secs_f64() * 1e6 / lists.len() as f64;
        println!(
            "{kind:7}{mode:7}{what:30}{}   host {}, {launch_us:.1} µs a launch",
            rate(on_device),
            rate(on_host)
        );
        Ok(())
    }

    /// The device has other work before, so that it need not wait for the first launch.
    fn on_device(&mut self, bounce: &Buffer, mode: UnpackMode, lists: &[&[Fragment]]) -> Result<Duration> {
        let (from, to) = (bounce.read(0, BYTES)?, self.destination.write(0, BYTES)?);
        for _ in 0..8 {
            self.lane.unpack_fragments(&from, &[WHOLE], &to, UnpackMode::Kernel)?;
        }
        let mut last: Option<Done> = None;
        let time = measure::device_time(&mut self.lane, |lane| {
            lists.iter().try_for_each(|list| {
                last = Some(lane.unpack_fragments(&from, list, &to, mode)?);
                Ok(())
            })
        })?;
        last.map_or(Ok(true), |last| last.wait(soon()))?;
        Ok(time)
    }

    /// Until the host knows of the end, and until all was launched.
    fn on_host(
        &mut self,
        bounce: &Buffer,
        mode: UnpackMode,
        lists: &[&[Fragment]],
    ) -> Result<(Duration, Duration)> {
        let (from, to) = (bounce.read(0, BYTES)?, self.destination.write(0, BYTES)?);
        let start = Instant::now();
        let mut last: Option<Done> = None;
        for list in lists {
            last = Some(self.lane.unpack_fragments(&from, list, &to, mode)?);
        }
        let launched = start.elapsed();
        last.map_or(Ok(true), |last| last.wait(soon()))?;
        Ok((start.elapsed(), launched))
    }

    /// Puts each page of the message where the list finds it.
    fn scatter(&mut self, from: &Buffer, to: &Buffer, pages: &[Fragment]) -> Result<()> {
        let back: Vec<_> = pages
            .iter()
            .map(|page| Fragment {
                source_offset: page.destination_offset,
                bytes: page.bytes,
                destination_offset: page.source_offset,
            })
            .collect();
        let (from, to) = (from.read(0, BYTES)?, to.write(0, BYTES)?);
        self.lane.unpack_fragments(&from, &back, &to, UnpackMode::Kernel)?.wait(soon()).map(drop)
    }
}

/// From the launch to the host's knowledge of its end, one at a time.
fn latency(bench: &mut Bench, device: &Device) -> Result<()> {
    println!("launch and wait, one at a time, µs median (p99)");
    for (kind, bounce) in [("GPU", device.allocate(CHUNK)?), ("pinned", device.pinned(CHUNK)?)] {
        for mode in [UnpackMode::Kernel, UnpackMode::Copy] {
            let mut line = format!("{kind:7}{mode:7}");
            for bytes in [64, 4 << 10, 64 << 10, CHUNK] {
                let (from, to) = (bounce.read(0, CHUNK)?, bench.destination.write(0, CHUNK)?);
                let list = [Fragment { source_offset: 0, bytes, destination_offset: 0 }];
                let mut times = Vec::new();
                for _ in 0..bench.rounds * 50 {
                    let start = Instant::now();
                    bench.lane.unpack_fragments(&from, &list, &to, mode)?.wait(soon())?;
                    times.push(start.elapsed());
                }
                times.sort();
                let us = |time: Duration| time.as_secs_f64() * 1e6;
                line += &format!(
                    "{bytes:>8} B {:5.1} ({:5.1})",
                    us(times[times.len() / 2]),
                    us(times[times.len() * 99 / 100])
                );
            }
            println!("{line}");
        }
    }
    Ok(())
}

fn fill_and_verify(bench: &Bench) -> Result<()> {
    let time = |run: &dyn Fn() -> Result<()>| {
        (0..bench.rounds)
            .map(|_| {
                let start = Instant::now();
                run()?;
                Ok(start.elapsed())
            })
            .collect::<Result<Vec<_>>>()
    };
    println!("fill   {}", rate(time(&|| bench.destination.fill(PATTERN, 0, BYTES))?));
    println!("verify {}", rate(time(&|| bench.destination.verify(PATTERN, 0, BYTES).map(drop))?));
    Ok(())
}

/// (a) made per chunk and waited for, (b) made once and asynchronous.
fn lessons(bench: &mut Bench, device: &Device) -> Result<()> {
    println!("the lesson: 64 MiB in chunks of 512 KiB, by the host's clock");
    let chunks: Vec<_> = (0..BYTES / CHUNK).map(|i| i * CHUNK).map(chunk_at).collect();
    let lists: Vec<&[Fragment]> = chunks.chunks(1).collect();
    for (kind, bounce) in [("GPU", device.allocate(BYTES)?), ("pinned", device.pinned(BYTES)?)] {
        let once = (0..bench.rounds)
            .map(|_| Ok(bench.on_host(&bounce, UnpackMode::Kernel, &lists)?.0))
            .collect::<Result<Vec<_>>>()?;
        let once_median = median(&once);
        println!("{kind:7}(b) a lane made once, asynchronous        {}", rate(once));
        for (what, made) in [
            ("(a) a stream and an event", PerChunk::Stream),
            ("(a) and the kernel loaded", PerChunk::StreamAndKernel),
        ] {
            let (from, to) = (bounce.read(0, BYTES)?, bench.destination.write(0, BYTES)?);
            let rounds = if made == PerChunk::Stream { bench.rounds.min(7) } else { 2 };
            let times = (0..rounds)
                .map(|_| measure::unpack_per_chunk(device, &from, &to, CHUNK, made))
                .collect::<Result<Vec<_>>>()?;
            let ratio = median(&times).as_secs_f64() / once_median.as_secs_f64();
            println!(
                "{kind:7}{what} per chunk, waited for {}   (b) is {ratio:.0} times as fast",
                rate(times)
            );
        }
        let start = Instant::now();
        let (from, to) = (bounce.read(0, BYTES)?, bench.destination.write(0, BYTES)?);
        for list in &lists[..16] {
            device.lane(NO_SLABS)?.unpack_fragments(&from, list, &to, UnpackMode::Kernel)?.wait(soon())?;
        }
        let each = start.elapsed() / 16;
        let ratio = each.as_secs_f64() / (once_median.as_secs_f64() / lists.len() as f64);
        println!(
            "{kind:7}(a) a whole lane per chunk: {each:.1?} a chunk     (b) is {ratio:.0} times as fast"
        );
    }
    Ok(())
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}

fn rate(mut times: Vec<Duration>) -> String {
    times.sort();
    let rate = |time: Duration| BYTES as f64 / time.as_secs_f64() / 1e9;
    let (least, most) = (rate(times[times.len() - 1]), rate(times[0]));
    format!("{:8.1} ({least:.1} to {most:.1})", rate(times[times.len() / 2]))
}
