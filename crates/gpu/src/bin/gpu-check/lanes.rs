//! Checks of lanes: order, claims that outlive their owners, full rings, deadlines, and a GPU that is lost.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use gputcp_gpu::{
    Buffer, ClaimError, Device, Done, Error, FRAGMENTS_MAX, Lane, LaneSpec, Pattern, UnpackMode, measure,
};
use gputcp_proto::bounce::{Completion, Fragment};

use crate::{
    Check, Failure, Outcome, Scene, ensure,
    memory::{read, wait, write},
    unpacks::MODES,
};

pub(crate) const CHECKS: &[Check] = &[
    ("a lane works in order, and its points are reached in order", order),
    ("launched work keeps its claims, and its memory, until it is done", early_drop),
    ("claims come free though the work's end is not polled", unwatched),
    ("waiting ends at the deadline, and a dropped lane finishes its work", deadline),
    ("full rings make a launch wait and lose nothing", full_rings),
    ("lanes on several threads do not disturb each other", threads),
    ("what was placed by many lanes verifies, iteration after iteration", endurance),
    ("a slab with work pending is refused to sockets", busy_slab),
];

const PATTERN: Pattern = Pattern { seed: 21, iteration: 22 };

fn lane(device: &Device) -> Result<Lane, Error> {
    device.lane(LaneSpec::NO_SLABS)
}

const fn whole(bytes: u64) -> Fragment {
    Fragment { source_offset: 0, bytes, destination_offset: 0 }
}

/// Starts work that takes milliseconds: copies over the bus, one behind the other.
fn long_work(scene: &Scene, lane: &mut Lane) -> Result<(Done, u32), Failure> {
    let bytes = 128 << 20;
    let (from, to) = (scene.device.allocate(bytes)?, scene.device.pinned(bytes)?);
    let (from, to) = (from.read(0, bytes)?, to.write(0, bytes)?);
    let launches = 10;
    let mut last = None;
    for _ in 0..launches {
        last = Some(lane.unpack_fragments(&from, &[whole(bytes)], &to, UnpackMode::Copy)?);
    }
    Ok((last.ok_or("no launch")?, launches))
}

fn order(scene: &Scene) -> Outcome {
    let mut lane = lane(&scene.device)?;
    let bytes = 100_000;
    let bounces: Vec<Buffer> = (0..8)
        .map(|iteration| {
            let bounce = scene.device.allocate(bytes)?;
            bounce.fill(Pattern { iteration, ..PATTERN }, 0, bytes)?;
            Ok(bounce)
        })
        .collect::<Result<_, Failure>>()?;
    let destination = scene.device.allocate(bytes)?;
    for round in 0..if scene.quick { 3 } else { 50 } {
        let to = destination.write(0, bytes)?;
        let mut points = Vec::new();
        for (i, bounce) in bounces.iter().enumerate() {
            let from = bounce.read(0, bytes)?;
            let mode = MODES[(i + round) % MODES.len()];
            points.push(lane.unpack_fragments(&from, &[whole(bytes)], &to, mode)?);
        }
        let last = points.pop().ok_or("no launch")?;
        wait("work", &last)?;
        for mut point in points {
            ensure(point.is_done()?, || "a later point was reached before an earlier one")?;
        }
        drop(to);
        destination
            .verify(Pattern { iteration: 7, ..PATTERN }, 0, bytes)?
            .map_err(|wrong| format!("the last one did not win: {wrong:?}"))?;
    }
    Ok(())
}

fn early_drop(scene: &Scene) -> Outcome {
    let mut lane = lane(&scene.device)?;
    let bytes = 1 << 20;
    let (source, destination) = (scene.device.allocate(bytes)?, scene.device.allocate(bytes)?);
    source.fill(PATTERN, 0, bytes)?;
    long_work(scene, &mut lane)?;
    let (read, write) = (source.read(0, bytes)?, destination.write(0, bytes)?);
    let mut done = lane.unpack_fragments(&read, &[whole(bytes)], &write, UnpackMode::Kernel)?;
    drop((read, write));
    ensure(!done.is_done()?, || "the work before it was too short to tell")?;
    ensure(
        matches!(source.write(5, 1), Err(ClaimError::Overlap { .. })),
        || "the source is still being read",
    )?;
    ensure(
        matches!(destination.read(5, 1), Err(ClaimError::Overlap { .. })),
        || "the destination is still being written",
    )?;
    drop(source);
    wait("work", &done)?;
    destination.verify(PATTERN, 0, bytes)?.map_err(|wrong| format!("{wrong:?}").into())
}

fn unwatched(scene: &Scene) -> Outcome {
    let mut lane = lane(&scene.device)?;
    let bytes = 100_000;
    let (source, destination) = (scene.device.allocate(bytes)?, scene.device.allocate(bytes)?);
    for mode in MODES {
        let (read, write) = (source.read(0, bytes)?, destination.write(0, bytes)?);
        drop(lane.unpack_fragments(&read, &[whole(bytes)], &write, mode)?);
        drop((read, write));
        let end = end_of(5);
        while destination.read(0, bytes).is_err() {
            ensure(Instant::now() < end, || format!("{mode}: the claim stays"))?;
        }
    }
    // The count of finished commands moves too, for a caller that only counts.
    let before = lane.completed();
    let (read, write) = (source.read(0, bytes)?, destination.write(0, bytes)?);
    drop(lane.unpack_fragments(&read, &[whole(bytes)], &write, UnpackMode::Kernel)?);
    let end = end_of(5);
    while lane.completed() == before {
        ensure(Instant::now() < end, || "the count does not move")?;
    }
    Ok(())
}

fn end_of(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

fn deadline(scene: &Scene) -> Outcome {
    let mut lane = lane(&scene.device)?;
    let (mut done, launches) = long_work(scene, &mut lane)?;
    let start = Instant::now();
    let reached = done.wait(start + Duration::from_millis(2))?;
    let took = start.elapsed();
    ensure(!reached && took >= Duration::from_millis(2), || format!("{reached} after {took:?}"))?;
    ensure(took < Duration::from_millis(50), || format!("it overslept: {took:?}"))?;
    ensure(lane.completed() < u64::from(launches), || "it says that all is done")?;
    drop(lane);
    ensure(done.is_done()?, || "the lane dropped its work")
}

fn full_rings(scene: &Scene) -> Outcome {
    let mut lane = lane(&scene.device)?;
    let bytes = 4 * FRAGMENTS_MAX as u64;
    let (source, destination) = (scene.device.allocate(bytes)?, scene.device.allocate(bytes)?);
    source.fill(PATTERN, 0, bytes)?;
    for count in [2, 1000, FRAGMENTS_MAX as u64] {
        let piece = bytes / count;
        let list: Vec<_> = (0..count)
            .map(|i| Fragment { source_offset: i * piece, bytes: piece, destination_offset: i * piece })
            .collect();
        let (read, write) = (source.read(0, bytes)?, destination.write(0, bytes)?);
        let mut last = None;
        for _ in 0..if scene.quick { 10 } else { 1000 } {
            last = Some(lane.unpack_fragments(&read, &list, &write, UnpackMode::Kernel)?);
        }
        wait("work", &last.ok_or("no launch")?)?;
        drop(write);
        destination
            .verify(PATTERN, 0, piece * count)?
            .map_err(|wrong| format!("{count} fragments: {wrong:?}"))?;
        destination.fill(Pattern { iteration: 0, ..PATTERN }, 0, bytes)?;
    }
    Ok(())
}

fn threads(scene: &Scene) -> Outcome {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|thread| scope.spawn(move || one_thread(scene, thread))).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a thread panicked".to_owned())?)
    })
}

fn one_thread(scene: &Scene, thread: u64) -> Outcome {
    let mut lane = lane(&scene.device)?;
    let bytes = 300_001;
    let (source, destination) = (scene.device.allocate(bytes)?, scene.device.allocate(bytes)?);
    for iteration in 0..if scene.quick { 3 } else { 100 } {
        let pattern = Pattern { seed: thread, iteration };
        source.fill(pattern, 0, bytes)?;
        let (read, write) = (source.read(0, bytes)?, destination.write(0, bytes)?);
        let mode = MODES[iteration as usize % MODES.len()];
        let done = lane.unpack_fragments(&read, &[whole(bytes)], &write, mode)?;
        // Any thread may wait for a point.
        std::thread::scope(|scope| {
            scope.spawn(|| wait("work", &done)).join().map_err(|_| "a waiter panicked".to_owned())?
        })?;
        drop(write);
        destination.verify(pattern, 0, bytes)?.map_err(|wrong| format!("thread {thread}: {wrong:?}"))?;
    }
    Ok(())
}

fn endurance(scene: &Scene) -> Outcome {
    let bytes = 16 << 20;
    let pages = measure::scattered_pages(bytes, 4096);
    let (bounce, destination) = (scene.device.pinned(bytes)?, scene.device.allocate(bytes)?);
    let mut scattered = vec![0; bytes as usize];
    let mut message = vec![0; bytes as usize];
    let mut lanes = (0..4).map(|_| lane(&scene.device)).collect::<Result<Vec<_>, _>>()?;
    for iteration in 0..if scene.quick { 1 } else { 20 } {
        let pattern = Pattern { iteration, ..PATTERN };
        pattern.fill(0, &mut message);
        for page in &pages {
            let (from, to) = (page.destination_offset as usize, page.source_offset as usize);
            scattered[to..to + 4096].copy_from_slice(&message[from..from + 4096]);
        }
        bounce.write(0, bytes)?.copy_from(0, &scattered);
        let (from, to) = (bounce.read(0, bytes)?, destination.write(0, bytes)?);
        let each = pages.len() / lanes.len();
        let mut points = Vec::new();
        for (lane, list) in lanes.iter_mut().zip(pages.chunks(each)) {
            points.push(lane.unpack_fragments(&from, list, &to, UnpackMode::Kernel)?);
        }
        points.iter().try_for_each(|point| wait("work", point))?;
        drop((from, to));
        destination
            .verify(pattern, 0, bytes)?
            .map_err(|wrong| format!("iteration {iteration}: {wrong:?}"))?;
    }
    Ok(())
}

fn busy_slab(scene: &Scene) -> Outcome {
    use gputcp_proto::{bounce::Filling, frame::SegmentHeader, recv::RecvSide, window::Window};
    let mut lane = scene.device.lane(LaneSpec { slots: 1, slab_bytes: 4096 })?;
    let destination = scene.device.allocate(4096)?;
    let claim = destination.write(0, 4096)?;
    let mut side = RecvSide::<4>::new(4, 2048, 0);
    let (_slot, _) = side.post(4096, false).ok_or("no slot")?;
    let mut landing = |offset| side.begin(&SegmentHeader { seq: 0, offset, total: 4096, bytes: 2048 });
    let (near, far) = std::os::unix::net::UnixStream::pair()?;
    std::io::Write::write_all(&mut &far, &[1; 4096])?;
    let socket = std::os::fd::AsFd::as_fd(&near);
    long_work(scene, &mut lane)?;
    let mut filling = Filling::new(Window::<1>::new().issue().ok_or("no slab")?, landing(0)?);
    let filled = loop {
        let got = lane.recv(&filling, socket)?;
        match filling.advance(got as u64) {
            Ok(filled) => break filled,
            Err(rest) => filling = rest,
        }
    };
    let unpacking = filled.unpack(&mut lane.unpack_into(&claim, UnpackMode::Kernel))?;
    let early = Filling::new(Window::<1>::new().issue().ok_or("no slab")?, landing(2048)?);
    let refused = quietly(|| lane.recv(&early, socket).is_ok());
    ensure(refused.is_none(), || "a socket was let into it")?;
    wait("work", unpacking.completion())?;
    drop(claim);
    ensure(read(scene, &destination)?[..2048].iter().all(|&byte| byte == 1), || "its bytes were lost")
}

/// Returns the result of `run`; `None` if it panics, of which nothing is printed.
fn quietly<T>(run: impl FnOnce() -> T) -> Option<T> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = catch_unwind(AssertUnwindSafe(run)).ok();
    std::panic::set_hook(hook);
    outcome
}

/// Loses the GPU: everything afterwards must be an error that names it, soon.
pub(crate) fn loss(device: &Device) -> Outcome {
    let scene = Scene { device: device.clone(), quick: true };
    let bytes = 4096;
    let (mut lost, mut other) = (lane(device)?, lane(device)?);
    let (from, to) = (device.allocate(bytes)?, device.allocate(bytes)?);
    write(&scene, &from, &vec![1; bytes as usize])?;
    let (read, claim) = (from.read(0, bytes)?, to.write(0, bytes)?);
    let start = Instant::now();
    // It depends on the driver whether the launch itself already reports the loss.
    let _ = measure::lose_gpu(&mut lost);
    let names_cuda =
        |error: &Error| matches!(error, Error::Cuda { name, .. } if name.starts_with("CUDA_ERROR_"));
    // The driver refuses the launch, or never finishes it: either is an error by the time of the wait.
    let waited = lost
        .unpack_fragments(&read, &[whole(bytes)], &claim, UnpackMode::Kernel)
        .and_then(|done| done.wait(Instant::now() + Duration::from_secs(5)));
    let error = waited.err().ok_or("the wait succeeded, or ended at its deadline")?;
    ensure(names_cuda(&error), || error.to_string())?;
    // A caller that only polls learns of the loss, too.
    let polled =
        other.unpack_fragments(&read, &[whole(bytes)], &claim, UnpackMode::Copy).and_then(|mut done| {
            let end = Instant::now() + Duration::from_secs(5);
            while !done.is_done()? && Instant::now() < end {
                std::hint::spin_loop();
            }
            Ok(())
        });
    let error = polled.err().ok_or("polling never told")?;
    ensure(names_cuda(&error), || error.to_string())?;
    for error in [
        to.verify(PATTERN, 0, 0).err(),
        device.allocate(1).err(),
        device.lane(LaneSpec { slots: 1, slab_bytes: 1 }).err(),
    ] {
        // The claim on the destination is still held.
        let Some(error) = error else { return Err("a lost GPU works".into()) };
        ensure(names_cuda(&error) || matches!(error, Error::Claim(_)), || error.to_string())?;
    }
    drop((lost, other, read, claim, from, to));
    ensure(start.elapsed() < Duration::from_secs(10), || format!("it took {:?}", start.elapsed()))
}
