//! Checks that early launches, which start a kernel while the one before it still runs, change no result.
//!
//! Slow kernels, which read or write over the bus, are followed by fast ones, which would overtake them.
//!
//! Each check runs on lanes of every kind; on a GPU without early launches, all lanes are of the same kind.

use gputcp_gpu::{Buffer, Done, Lane, LaneSpec, Pattern, UnpackMode, WriteClaim, measure};
use gputcp_proto::bounce::{Completion, Fragment};

use crate::{
    Check, Failure, Outcome, Scene, ensure,
    memory::{soon, wait},
    random::Random,
};

pub(crate) const CHECKS: &[Check] = &[
    ("of launches back to back to one place the last one wins, to the byte", last_wins),
    ("a launch reads what the one before it wrote, link by link", chains),
    ("when a point is reached its bytes are there, while later launches run", points),
];

const PATTERN: Pattern = Pattern { seed: 61, iteration: 62 };
/// From less than a kernel's blocks at a time to more than that; some end within a unit, so that neighbours
/// share it.
const LENGTHS: [u64; 6] = [64 << 10, (96 << 10) + 1, 256 << 10, (512 << 10) - 24, 512 << 10, 1 << 20];

/// Returns a lane of each kind, with the kind's name.
fn lanes(scene: &Scene) -> Result<[(&'static str, Lane); 3], Failure> {
    let (device, spec) = (&scene.device, LaneSpec::NO_SLABS);
    Ok([
        ("as it comes", device.lane(spec)?),
        ("flags by kernels", measure::lane_with_kernel_marks(device, spec)?),
        ("plain launches", measure::lane_with_plain_launches(device, spec)?),
    ])
}

/// Runs `round` `rounds` times on a lane of each kind, with each length.
fn on_each(
    scene: &Scene,
    rounds: u64,
    mut round: impl FnMut(&mut Lane, u64, &mut Random) -> Outcome,
) -> Outcome {
    for (kind, mut lane) in lanes(scene)? {
        for bytes in LENGTHS {
            for seed in 0..if scene.quick { 2 } else { rounds } {
                round(&mut lane, bytes, &mut Random(seed))
                    .map_err(|why| format!("{kind}, {bytes} bytes, round {seed}: {why}"))?;
            }
        }
    }
    Ok(())
}

/// Returns `bytes` bytes in one piece, or in pieces of at most `piece`.
fn pieces(bytes: u64, piece: u64) -> Vec<Fragment> {
    let starts = (0..bytes).step_by(piece as usize);
    let one = |at| Fragment { source_offset: at, bytes: piece.min(bytes - at), destination_offset: at };
    starts.map(one).collect()
}

fn last_wins(scene: &Scene) -> Outcome {
    let early = if measure::launches_early(&scene.device) { "lets" } else { "does not let" };
    println!("        this GPU {early} kernels in early");
    let most = 1 << 20;
    let destination = scene.device.allocate(most)?;
    let sources = (0..8)
        .map(|iteration| {
            // Reading pinned memory takes ten times as long.
            let source = if iteration < 4 { scene.device.pinned(most) } else { scene.device.allocate(most) }?;
            source.fill(Pattern { iteration, ..PATTERN }, 0, most)?;
            Ok(source)
        })
        .collect::<Result<Vec<Buffer>, Failure>>()?;
    on_each(scene, 60, |lane, bytes, random| {
        let to = destination.write(0, bytes)?;
        // The order is random, but ends with a slow source and a fast one.
        let mut order: Vec<_> = (0..random.below(20)).map(|_| random.below(8)).collect();
        order.extend([random.below(4), 4 + random.below(4)]);
        let mut last = None;
        for &source in &order {
            let from = sources[source as usize].read(0, bytes)?;
            let list = pieces(bytes, [bytes, 4096, 10_000][random.below(3) as usize]);
            let mode = if random.below(10) == 0 { UnpackMode::Copy } else { UnpackMode::Kernel };
            let mut done = lane.unpack_fragments(&from, &list, &to, mode)?;
            // A poll before the end has the flag written between this kernel and the next.
            if random.below(4) == 0 {
                done.is_done()?;
            }
            last = Some(done);
        }
        wait("work", &last.ok_or("no launch")?)?;
        drop(to);
        let iteration = order[order.len() - 1];
        destination
            .verify(Pattern { iteration, ..PATTERN }, 0, bytes)?
            .map_err(|wrong| format!("the last of {order:?} did not win: {wrong:?}").into())
    })
}

fn chains(scene: &Scene) -> Outcome {
    let links = 48;
    let most = (links + 1) << 20;
    let chains = [("GPU", scene.device.allocate(most)?), ("pinned", scene.device.pinned(most)?)];
    let mut iteration = 0;
    on_each(scene, 8, |lane, bytes, _| {
        for (kind, chain) in &chains {
            iteration += 2;
            let (new, old) =
                (Pattern { iteration, ..PATTERN }, Pattern { iteration: iteration + 1, ..PATTERN });
            chain.fill(old, 0, (links + 1) * bytes)?;
            chain.fill(new, 0, bytes)?;
            let claim = chain.write(0, (links + 1) * bytes)?;
            let mut last = None;
            for link in 0..links {
                let (source_offset, destination_offset) = (link * bytes, (link + 1) * bytes);
                let part = Fragment { source_offset, bytes, destination_offset };
                last = Some(measure::unpack_within(lane, &claim, part)?);
            }
            wait("work", &last.ok_or("no launch")?)?;
            drop(claim);
            for link in 0..=links {
                chain
                    .verify(new, link * bytes, bytes)?
                    .map_err(|wrong| format!("{kind} memory, link {link}: {wrong:?}"))?;
            }
        }
        Ok(())
    })
}

fn points(scene: &Scene) -> Outcome {
    let launches = 24;
    let most = 1 << 20;
    let memories = [
        ("GPU to GPU", scene.device.allocate(most)?, scene.device.allocate(launches * most)?),
        // These kernels take ten times as long: a flag that is too early is seen long before the bytes are
        // there.
        ("pinned to GPU", scene.device.pinned(most)?, scene.device.allocate(launches * most)?),
        ("GPU to pinned", scene.device.allocate(most)?, scene.device.pinned(launches * most)?),
    ];
    let mut iteration = 0;
    on_each(scene, 25, |lane, bytes, random| {
        for (kind, source, destination) in &memories {
            iteration += 1;
            // The old content is another iteration's.
            let pattern = Pattern { iteration, ..PATTERN };
            source.fill(pattern, 0, bytes)?;
            let from = source.read(0, bytes)?;
            let mut under_way = Vec::new();
            for index in 0..launches {
                let to = destination.write(index * bytes, bytes)?;
                let all = pieces(bytes, bytes);
                let done = lane.unpack_fragments(&from, &all, &to, UnpackMode::Kernel)?;
                under_way.push((done, to));
            }
            // The points to poll: a few, as each poll takes as long as several launches.
            let step = 1 + random.below(launches) as usize;
            for (index, (mut done, to)) in under_way.into_iter().enumerate() {
                if index % step == 0 {
                    reach(&mut done, to)?;
                    let at = index as u64 * bytes;
                    destination
                        .verify(pattern, at, bytes)?
                        .map_err(|wrong| format!("{kind}, point {index}: {wrong:?}"))?;
                } else if index as u64 + 1 == launches {
                    wait("work", &done)?;
                }
            }
        }
        Ok(())
    })
}

/// Polls without a rest until the point is reached, and drops the claim on the destination of its work.
fn reach(done: &mut Done, claim: WriteClaim) -> Outcome {
    let end = soon();
    while !done.is_done()? {
        ensure(std::time::Instant::now() < end, || "work did not finish")?;
        std::hint::spin_loop();
    }
    drop(claim);
    Ok(())
}
