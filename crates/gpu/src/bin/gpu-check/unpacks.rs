//! Checks of unpack against the CPU: every alignment, count and order of fragments, in each mode, from each
//! kind of bounce memory.

use gputcp_gpu::{Buffer, Error, FRAGMENTS_MAX, Lane, LaneSpec, SoftOptions, UnpackMode, measure};
use gputcp_proto::bounce::Fragment;

use crate::{
    Check, Failure, Outcome, Scene, ensure,
    memory::{read, soon, write},
    random::Random,
};

pub(crate) const CHECKS: &[Check] = &[
    ("every alignment of source and destination, every short length", alignments),
    ("random lists do what copying in order does, overlaps included", random_lists),
    ("any number of fragments up to the most, and not one more", counts),
    ("empty lists and empty fragments are finished and touch nothing", nothing),
    ("a list with a fragment out of bounds is refused whole", hostile_lists),
    ("memory that a lane cannot reach is refused in a sentence", unreachable),
    ("the same where flags are written by a kernel", kernel_marks),
];

pub(crate) const MODES: [UnpackMode; 3] = [UnpackMode::Kernel, UnpackMode::Copy, UnpackMode::Host];
const AREA: u64 = 1 << 20;

/// A lane, and a bounce region of each kind with the same content and a name.
struct Stage {
    lane: Lane,
    bounces: [(&'static str, Buffer); 3],
    content: Vec<u8>,
    destination: Buffer,
}

impl Stage {
    fn new(scene: &Scene, lane: Lane) -> Result<Self, Failure> {
        let content = Random(3).bytes(AREA);
        let device = &scene.device;
        let bounces = [
            ("GPU", device.allocate(AREA)?),
            ("pinned host", device.pinned(AREA)?),
            ("pageable host", Buffer::host(AREA)?),
        ];
        write(scene, &bounces[0].1, &content)?;
        for (_, bounce) in &bounces[1..] {
            bounce.write(0, AREA)?.copy_from(0, &content);
        }
        Ok(Self { lane, bounces, content, destination: device.allocate(AREA)? })
    }

    /// Unpacks lists one after another and compares with the CPU, in each mode and from each bounce.
    fn agree(&mut self, scene: &Scene, lists: &[Vec<Fragment>]) -> Outcome {
        let mut expected = vec![0xee; AREA as usize];
        for f in lists.iter().flatten() {
            let (from, to, n) = (f.source_offset as usize, f.destination_offset as usize, f.bytes as usize);
            expected[to..to + n].copy_from_slice(&self.content[from..from + n]);
        }
        for (kind, bounce) in &self.bounces {
            for mode in MODES {
                write(scene, &self.destination, &vec![0xee; AREA as usize])?;
                let (from, to) = (bounce.read(0, AREA)?, self.destination.write(0, AREA)?);
                let mut done = None;
                for list in lists {
                    done = Some(self.lane.unpack_fragments(&from, list, &to, mode)?);
                }
                if let Some(done) = done {
                    ensure(done.wait(soon())?, || format!("{mode} from {kind} is not done"))?;
                }
                drop(to);
                let found = read(scene, &self.destination)?;
                let wrong = found.iter().zip(&expected).position(|(found, expected)| found != expected);
                ensure(wrong.is_none(), || format!("{mode} from {kind} memory: byte {wrong:?} is wrong"))?;
            }
        }
        Ok(())
    }
}

fn plain_lane(scene: &Scene) -> Result<Lane, Error> {
    scene.device.lane(LaneSpec::NO_SLABS)
}

fn alignments(scene: &Scene) -> Outcome {
    let mut stage = Stage::new(scene, plain_lane(scene)?)?;
    let lengths: &[u64] = if scene.quick {
        &[1, 15, 40, 4097]
    } else {
        &[1, 2, 3, 5, 8, 15, 16, 17, 31, 32, 40, 64, 513, 4095, 4096, 4097, 9001]
    };
    for &bytes in lengths {
        let mut list = Vec::new();
        let mut at = 0;
        for source in 0..16 {
            for destination in 0..16 {
                let start = at + destination;
                if start + bytes <= AREA {
                    list.push(Fragment {
                        source_offset: (at + source).min(AREA - bytes),
                        bytes,
                        destination_offset: start,
                    });
                }
                at = (start + bytes).next_multiple_of(16) + 16;
                if at + bytes + 32 > AREA {
                    stage.agree(scene, &[std::mem::take(&mut list)])?;
                    at = 0;
                }
            }
        }
        stage.agree(scene, &[list])?;
    }
    Ok(())
}

fn random_lists(scene: &Scene) -> Outcome {
    random_lists_on(scene, plain_lane(scene)?, if scene.quick { 4 } else { 150 }, 4)
}

fn kernel_marks(scene: &Scene) -> Outcome {
    let lane = measure::lane_with_kernel_marks(&scene.device, LaneSpec::NO_SLABS)?;
    random_lists_on(scene, lane, if scene.quick { 2 } else { 10 }, 5)
}

fn random_lists_on(scene: &Scene, lane: Lane, rounds: u64, seed: u64) -> Outcome {
    let mut stage = Stage::new(scene, lane)?;
    let mut random = Random(seed);
    for round in 0..rounds {
        let lists: Vec<_> = (0..1 + random.below(3)).map(|_| random_list(&mut random)).collect();
        stage.agree(scene, &lists).map_err(|why| format!("seed {seed}, round {round}: {why}"))?;
    }
    Ok(())
}

/// Draws a list: anywhere, or one after another as in a landed chunk, forwards or backwards.
fn random_list(random: &mut Random) -> Vec<Fragment> {
    let length = |random: &mut Random| match random.below(6) {
        0 => 0,
        1 => random.below(20),
        2 => 4096,
        3 => 16 * random.below(600),
        4 => random.below(9000),
        _ => random.below(100_000),
    };
    let shape = random.below(3);
    let mut list = Vec::new();
    let mut at = random.below(3000);
    for _ in 0..1 + random.below(80) {
        let bytes = length(random);
        if shape == 0 {
            let place = |random: &mut Random| random.below(AREA - bytes + 1);
            list.push(Fragment { source_offset: place(random), bytes, destination_offset: place(random) });
        } else if at + bytes <= AREA {
            list.push(Fragment {
                source_offset: random.below(AREA - bytes + 1),
                bytes,
                destination_offset: at,
            });
            at += bytes + if random.below(2) == 0 { 0 } else { random.below(50) };
        }
    }
    if shape == 2 {
        list.reverse();
    }
    list
}

fn counts(scene: &Scene) -> Outcome {
    let mut stage = Stage::new(scene, plain_lane(scene)?)?;
    for count in [1, 2, 7, 8, 9, 31, 255, 2048, FRAGMENTS_MAX as u64] {
        let bytes = (AREA / count).min(5000);
        let fragment = |i| Fragment {
            source_offset: (count - 1 - i) * bytes,
            bytes,
            destination_offset: AREA - (count - i) * bytes,
        };
        stage.agree(scene, &[(0..count).map(fragment).collect()])?;
    }
    let none = Fragment { source_offset: 0, bytes: 0, destination_offset: 0 };
    let (from, to) = (stage.bounces[0].1.read(0, 1)?, stage.destination.write(0, 1)?);
    let refused = stage.lane.unpack_fragments(&from, &vec![none; FRAGMENTS_MAX + 1], &to, UnpackMode::Kernel);
    ensure(matches!(refused, Err(Error::TooManyFragments { .. })), || "one too many")
}

fn nothing(scene: &Scene) -> Outcome {
    let mut stage = Stage::new(scene, plain_lane(scene)?)?;
    let empty = |at| Fragment { source_offset: at, bytes: 0, destination_offset: AREA - at };
    stage.agree(scene, &[vec![], vec![empty(0)], (0..3000).map(empty).collect()])?;
    let some = Fragment { source_offset: 3, bytes: 5, destination_offset: 7 };
    stage.agree(scene, &[vec![empty(0), some, empty(1)], vec![]])
}

fn hostile_lists(scene: &Scene) -> Outcome {
    let mut stage = Stage::new(scene, plain_lane(scene)?)?;
    let good = Fragment { source_offset: 0, bytes: 100, destination_offset: 0 };
    let before = stage.lane.completed();
    for (_, bounce) in &stage.bounces {
        let (from, to) = (bounce.read(0, 100)?, stage.destination.write(0, 100)?);
        for (source_offset, bytes, destination_offset) in
            [(1, 100, 0), (0, 100, 1), (u64::MAX, 1, 0), (0, 1, u64::MAX), (0, u64::MAX, 0), (101, 0, 0)]
        {
            let bad = Fragment { source_offset, bytes, destination_offset };
            for mode in MODES {
                let refused = stage.lane.unpack_fragments(&from, &[good, bad], &to, mode);
                ensure(matches!(refused, Err(Error::Fragment { index: 1, .. })), || {
                    format!("{bad:?} in mode {mode}")
                })?;
            }
        }
    }
    ensure(stage.lane.completed() == before, || "something was started")?;
    stage.agree(scene, &[vec![good]])
}

fn unreachable(scene: &Scene) -> Outcome {
    let soft = gputcp_gpu::Device::soft(SoftOptions::default());
    let spec = LaneSpec { slots: 1, slab_bytes: 4096 };
    let (mut on_gpu, mut on_cpu) = (scene.device.lane(spec)?, soft.lane(spec)?);
    let (gpu, other) = (scene.device.allocate(100)?, soft.allocate(100)?);
    let all = [Fragment { source_offset: 0, bytes: 100, destination_offset: 0 }];
    for mode in MODES {
        let (from, to) = (gpu.read(0, 100)?, other.write(0, 100)?);
        for lane in [&mut on_gpu, &mut on_cpu] {
            let refused = lane.unpack_fragments(&from, &all, &to, mode);
            ensure(matches!(refused, Err(Error::Unreachable { .. })), || format!("{mode}: {refused:?}"))?;
        }
    }
    // The lane still works.
    let another = scene.device.allocate(100)?;
    let (from, to) = (other.read(0, 100)?, another.write(0, 100)?);
    let done = on_gpu.unpack_fragments(&from, &all, &to, UnpackMode::Kernel)?;
    ensure(done.wait(soon())?, || "the lane is stuck")
}
