//! The rates at which one core fills, verifies and copies, next to the rate of its memory.
//!
//! Figures are medians of nine, with their spread.
//!
//! `cargo bench -p gputcp-gpu`. `cargo test --benches` runs one short round, so that it never rots.

use std::{hint::black_box, time::Instant};

use gputcp_gpu::{Buffer, Device, LaneSpec, Pattern, SoftOptions, UnpackMode};
use gputcp_proto::bounce::{Completion, Fragment};

fn main() {
    let short = !std::env::args().any(|arg| arg == "--bench");
    let (bytes, rounds) = if short { (1 << 20, 1) } else { (64 << 20, 9) };
    let pattern = |round| Pattern { seed: 1, iteration: round };

    let device = Device::soft(SoftOptions::default());
    let buffer = device.allocate(bytes).unwrap();
    let (from, mut to) = (vec![1u8; bytes as usize], vec![2u8; bytes as usize]);
    report("memcpy of the standard library, cold", bytes, rounds, |_| {
        black_box(&mut to).copy_from_slice(black_box(&from))
    });
    drop((from, to));
    report("fill", bytes, rounds, |round| buffer.fill(pattern(round), 0, bytes).unwrap());
    buffer.fill(pattern(0), 0, bytes).unwrap();
    report("verify", bytes, rounds, |_| assert_eq!(buffer.verify(pattern(0), 0, bytes).unwrap(), Ok(())));

    // From one hot bounce slab to all over the destination, as a receiver's lane does.
    const SLAB: u64 = 512 << 10;
    let bounce = Buffer::host(SLAB).unwrap();
    bounce.fill(pattern(9), 0, SLAB).unwrap();
    let (read, write) = (bounce.read(0, SLAB).unwrap(), buffer.write(0, bytes).unwrap());
    let mut lane = device.lane(LaneSpec::NO_SLABS).unwrap();
    for mode in [UnpackMode::Kernel, UnpackMode::Copy, UnpackMode::Host] {
        for pieces in [1, 8, 128] {
            let fragments: Vec<_> = (0..pieces).map(|i| i * (SLAB / pieces)).collect();
            report(&format!("unpack 512 KiB of {pieces} fragments, {mode}"), bytes, rounds, |_| {
                for at in (0..bytes).step_by(SLAB as usize) {
                    let list: Vec<_> = fragments
                        .iter()
                        .map(|&f| Fragment {
                            source_offset: f,
                            bytes: SLAB / pieces,
                            destination_offset: at + f,
                        })
                        .collect();
                    lane.unpack_fragments(&read, &list, &write, mode).unwrap();
                }
                let mut last = lane.unpack_fragments(&read, &[], &write, UnpackMode::Kernel).unwrap();
                while !last.is_done().unwrap() {
                    assert!(last.wait(Instant::now() + std::time::Duration::from_secs(60)).unwrap());
                }
            });
        }
    }
    drop(write);
    for at in (0..bytes).step_by(SLAB as usize) {
        assert_eq!(buffer.verify(pattern(9), at, SLAB).unwrap(), Ok(()));
    }

    // One small unpack at a time, each waited for.
    let write = buffer.write(0, bytes).unwrap();
    let fragment = [Fragment { source_offset: 0, bytes: 64, destination_offset: 0 }];
    let mut times: Vec<f64> = (0..rounds * 1000)
        .map(|_| {
            let start = Instant::now();
            let done = lane.unpack_fragments(&read, &fragment, &write, UnpackMode::Kernel).unwrap();
            assert!(done.wait(start + std::time::Duration::from_secs(60)).unwrap());
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "{:44} {:8.1} µs median, {:.1} p99",
        "unpack 64 B and wait",
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );
}

fn report(what: &str, bytes: u64, rounds: u64, mut run: impl FnMut(u64)) {
    let mut rates: Vec<f64> = (0..rounds)
        .map(|round| {
            let start = Instant::now();
            run(round);
            bytes as f64 / start.elapsed().as_secs_f64() / 1e9
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    let (least, most) = (rates[0], rates[rates.len() - 1]);
    println!("{what:44} {:8.1} GB/s ({least:.1} to {most:.1})", rates[rates.len() / 2]);
}
