//! Staging: the rate of the bus through eight lanes with a thread each, as a transfer has them.
//!
//! The length of a slice and the number of slabs in a lane's pinned ring vary. A slab is used again when its
//! slice is done, and only the bus limits the rate. The result is the bound for a transfer over sockets.

use std::{
    collections::VecDeque,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use gputcp_gpu::{Buffer, Error, Lane, LaneSpec, Pattern, UnpackMode};
use gputcp_proto::bounce::Fragment;

use crate::{
    Result, Scene,
    clock::{Times, finish},
};

const LANES: u64 = 8;
/// The bytes that one lane moves.
const EACH: u64 = 64 << 20;
const SLICES: [u64; 6] = [64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20];
const DEPTHS: [u64; 3] = [2, 4, 8];
const PATTERN: Pattern = Pattern { seed: 41, iteration: 42 };
const OTHER: Pattern = Pattern { seed: 41, iteration: 43 };

/// A lane, the GPU memory it moves from or to, and its ring.
struct Station {
    lane: Lane,
    gpu: Buffer,
    ring: Buffer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From the GPU to the ring, as a sender stages.
    Out,
    /// From the ring to the GPU, as a receiver unpacks.
    In,
}

pub(crate) fn run(scene: &Scene) -> Result<()> {
    let rounds = scene.rounds.min(5);
    let lanes = 0..LANES;
    let stations = lanes.map(|_| Station::new(scene, SLICES[5] * DEPTHS[2])).collect::<Result<Vec<_>>>();
    let mut stations = stations?;
    println!("staging through {LANES} lanes with a thread each, GB/s in all, median of {rounds}");
    println!("{:>16}{:>22}{:>22}", "", "GPU -> pinned", "pinned -> GPU");
    println!("{:>8}{:>8}{:>11}{:>11}{:>11}{:>11}", "slice", "slabs", "copy", "kernel", "copy", "kernel");
    for slice in SLICES {
        for depth in DEPTHS {
            let mut line = format!("{:>6} K{depth:>8}", slice >> 10);
            for way in [Way::Out, Way::In] {
                for mode in [UnpackMode::Copy, UnpackMode::Kernel] {
                    let mut move_all = || together(&mut stations, way, mode, slice, depth);
                    move_all()?;
                    let times = Times::of((0..rounds).map(|_| move_all()))?;
                    line += &format!("{:>11.1}", times.rate(LANES * EACH));
                }
            }
            println!("{line}");
        }
    }
    Ok(())
}

/// Runs all lanes at once, and returns the time until the last slice of the last one is done.
fn together(
    stations: &mut [Station],
    way: Way,
    mode: UnpackMode,
    slice: u64,
    depth: u64,
) -> Result<Duration> {
    let barrier = Barrier::new(stations.len());
    let start = |station: &mut Station| -> Result<Duration> {
        let (from, to, last) = station.ends(way, slice, depth);
        from.fill(PATTERN, last.source_offset, slice)?;
        to.fill(OTHER, last.destination_offset, slice)?;
        barrier.wait();
        let began = Instant::now();
        station.pass(way, mode, slice, depth)?;
        let time = began.elapsed();
        if let Err(mismatch) = to.verify(PATTERN, last.destination_offset, slice)? {
            println!("WRONG: {mismatch}");
        }
        Ok(time)
    };
    thread::scope(|scope| {
        let start = &start;
        let threads: Vec<_> =
            stations.iter_mut().map(|station| scope.spawn(move || start(station))).collect();
        let times = threads.into_iter().map(|thread| thread.join().unwrap_or(Err(Error::LaneLost)));
        Ok(times.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or_default())
    })
}

impl Station {
    fn new(scene: &Scene, ring_bytes: u64) -> Result<Self> {
        let device = &scene.device;
        let (gpu, ring) = (device.allocate(EACH)?, device.pinned(ring_bytes)?);
        Ok(Self { lane: device.lane(LaneSpec::NO_SLABS)?, gpu, ring })
    }

    /// Returns the source, the destination and the last slice.
    fn ends(&self, way: Way, slice: u64, depth: u64) -> (Buffer, Buffer, Fragment) {
        let (gpu, ring) = (self.gpu.clone(), self.ring.clone());
        let last = way.slice(EACH / slice - 1, slice, depth);
        if way == Way::Out { (gpu, ring, last) } else { (ring, gpu, last) }
    }

    /// Moves all slices, `depth` of them under way.
    fn pass(&mut self, way: Way, mode: UnpackMode, slice: u64, depth: u64) -> Result<()> {
        let (from, to, _) = self.ends(way, slice, depth);
        let (from, to) = (from.read(0, from.bytes())?, to.write(0, to.bytes())?);
        let mut under_way = VecDeque::with_capacity(depth as usize);
        for index in 0..EACH / slice {
            if under_way.len() as u64 == depth {
                finish(under_way.pop_front())?;
            }
            let list = [way.slice(index, slice, depth)];
            under_way.push_back(self.lane.unpack_fragments(&from, &list, &to, mode)?);
        }
        under_way.into_iter().try_for_each(|done| finish(Some(done)))
    }
}

impl Way {
    /// Returns a slice's place in the GPU's memory and in the ring.
    const fn slice(self, index: u64, slice: u64, depth: u64) -> Fragment {
        let (gpu, slab) = (index * slice, index % depth * slice);
        match self {
            Self::Out => Fragment { source_offset: gpu, bytes: slice, destination_offset: slab },
            Self::In => Fragment { source_offset: slab, bytes: slice, destination_offset: gpu },
        }
    }
}
