//! Checks of scatter and gather lists against the CPU, in each mode, for GPU memory and host memory.
//!
//! Messages go from many ranges of one buffer to many of another, through slabs and a socket.

use gputcp_gpu::{Buffer, Lane, LaneSpec, UnpackMode, measure};
use gputcp_proto::layout::Layout;

use crate::{
    Check, Outcome, Scene, ensure,
    memory::{read, write},
    passage::Passage,
    random::Random,
    unpacks::MODES,
};

pub(crate) const CHECKS: &[Check] = &[
    ("scatter and gather lists: random ranges arrive, and nothing else is touched", random_ranges),
    ("scatter and gather lists of more ranges than one launch takes", many_ranges),
    ("scatter and gather lists where flags are written by a kernel", kernel_marks),
];

const SEGMENT: u64 = 64 << 10;
const SLOTS: usize = 4;
const SPEC: LaneSpec = LaneSpec { slots: SLOTS, slab_bytes: SEGMENT };
const AREA: u64 = 2 << 20;

/// Offset and length of each range.
type Ranges = Vec<(u64, u64)>;

fn random_ranges(scene: &Scene) -> Outcome {
    let mut lanes = [scene.device.lane(SPEC)?, scene.device.lane(SPEC)?];
    let mut random = Random(6);
    for round in 0..if scene.quick { 1 } else { 30 } {
        let (from, to) = (anywhere(&mut random), apart(&mut random));
        let segment_bytes = if round % 2 == 0 { SEGMENT } else { 1000 + random.below(SEGMENT - 1000) };
        in_each_mode(scene, &mut lanes, (from, to), segment_bytes)
            .map_err(|why| format!("round {round}: {why}"))?;
    }
    Ok(())
}

fn many_ranges(scene: &Scene) -> Outcome {
    let mut lanes = [scene.device.lane(SPEC)?, scene.device.lane(SPEC)?];
    // More than twice as many as a launch takes, in one segment.
    let from = (0..40_000).map(|i| (AREA - 1 - 3 * i, 1)).collect();
    let to = (0..40_000).map(|i| (i * 7_777 % 40_000 * 5, 1)).collect();
    let way = (from, to);
    for mode in if scene.quick { &MODES[..1] } else { &MODES } {
        one(scene, &mut lanes, &way, SEGMENT, (*mode, "GPU"))?;
    }
    Ok(())
}

fn kernel_marks(scene: &Scene) -> Outcome {
    let lane = || measure::lane_with_kernel_marks(&scene.device, SPEC);
    let mut random = Random(7);
    in_each_mode(scene, &mut [lane()?, lane()?], (anywhere(&mut random), apart(&mut random)), SEGMENT)
}

fn in_each_mode(scene: &Scene, lanes: &mut [Lane; 2], way: (Ranges, Ranges), segment_bytes: u64) -> Outcome {
    for kind in ["GPU", "pinned host", "pageable host"] {
        for mode in MODES {
            one(scene, lanes, &way, segment_bytes, (mode, kind))
                .map_err(|why| format!("{mode}, {kind} memory: {why}"))?;
        }
    }
    Ok(())
}

/// Carries a message, and compares the whole destination with what the CPU makes of it.
fn one(
    scene: &Scene,
    [sender, receiver]: &mut [Lane; 2],
    (from, to): &(Ranges, Ranges),
    segment_bytes: u64,
    (mode, kind): (UnpackMode, &str),
) -> Outcome {
    let allocate = || match kind {
        "GPU" => scene.device.allocate(AREA),
        "pinned host" => scene.device.pinned(AREA),
        _ => Buffer::host(AREA),
    };
    let (source, destination) = (allocate()?, allocate()?);
    let content = Random(8).bytes(AREA);
    let mut expected = vec![0xee; AREA as usize];
    for (buffer, bytes) in [(&source, &content), (&destination, &expected)] {
        if kind == "GPU" {
            write(scene, buffer, bytes)?;
        } else {
            buffer.write(0, AREA)?.copy_from(0, bytes);
        }
    }
    let places = |ranges: &Ranges| {
        ranges.iter().flat_map(|&(at, bytes)| at..at + bytes).map(|at| at as usize).collect::<Vec<_>>()
    };
    let (from_places, to_places) = (places(from), places(to));
    for (&from, &to) in from_places.iter().zip(&to_places) {
        expected[to] = content[from];
    }
    let from = Layout::of(from.iter().copied())?;
    let to = Layout::of(to.iter().copied())?;
    let passage = Passage {
        from: (&source, 0),
        to: (&destination, 0),
        layouts: Some((&from, &to)),
        bytes: from.bytes().min(to.bytes()),
        segment_bytes,
        slabs: SLOTS,
        mode,
    };
    passage.carry(sender, receiver)?;
    let found = read(scene, &destination)?;
    let wrong = found.iter().zip(&expected).position(|(found, expected)| found != expected);
    ensure(wrong.is_none(), || format!("byte {wrong:?} is wrong"))
}

/// Draws ranges that lie anywhere and may overlap, of about 1 MiB in all.
fn anywhere(random: &mut Random) -> Ranges {
    (0..300)
        .map(|_| {
            let bytes = length(random);
            (random.below(AREA - bytes + 1), bytes)
        })
        .collect()
}

/// Draws ranges that do not overlap, some of them neighbours, in any order.
fn apart(random: &mut Random) -> Ranges {
    let mut list = Vec::new();
    let mut at = random.below(20);
    loop {
        let bytes = length(random);
        if at + bytes > AREA {
            break;
        }
        list.push((at, bytes));
        at += bytes + if random.below(2) == 0 { 0 } else { random.below(50) };
    }
    // Some pairs stay neighbours in the message, too.
    for _ in 0..list.len() / 2 {
        let (one, other) = (random.below(list.len() as u64), random.below(list.len() as u64));
        list.swap(one as usize, other as usize);
    }
    list
}

fn length(random: &mut Random) -> u64 {
    match random.below(6) {
        0 => 0,
        1 => 1,
        2 => random.below(40),
        3 => 4096,
        4 => random.below(9000),
        _ => 16 << 10,
    }
}

#[cfg(test)]
mod tests {
    use gputcp_gpu::{Device, SoftOptions};

    use super::*;

    #[test]
    fn the_software_gpu_passes_too() {
        let scene = Scene { device: Device::soft(SoftOptions::default()), quick: true };
        random_ranges(&scene).unwrap();
        many_ranges(&scene).unwrap();
    }
}
