//! Nothing is allocated in the hot path: claims, launches of every kind, waits, socket calls (invariant I4).
//!
//! The allocations of the whole process are counted, so this program has no test harness: its threads
//! allocate as well.

#[path = "../src/bin/gpu-check/counting.rs"]
mod counting;
mod ends;

use std::{
    os::{fd::AsFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use counting::allocations;
use ends::Ends;
use gputcp_gpu::{Buffer, Device, FRAGMENTS_MAX, LaneSpec, SoftOptions, UnpackMode};
use gputcp_proto::{
    bounce::{Completion, Fragment},
    layout,
};

const NAME: &str = "the_hot_path_allocates_nothing";

fn main() {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let is_asked = |name: &str| args.iter().any(|arg| arg == name);
    let mut filters = args.iter().filter(|arg| !arg.starts_with('-')).peekable();
    if is_asked("--ignored") || filters.peek().is_some() && !filters.any(|filter| NAME.contains(filter)) {
        return;
    }
    if is_asked("--list") {
        return println!("{NAME}: test");
    }
    the_hot_path_allocates_nothing();
    println!("test {NAME} ... ok");
}

fn the_hot_path_allocates_nothing() {
    let device = Device::soft(SoftOptions::default());
    let mut lane = device.lane(LaneSpec { slots: 4, slab_bytes: 1 << 20 }).unwrap();
    let bytes = 1 << 20;
    let (bounce, destination) = (Buffer::host(bytes).unwrap(), device.allocate(bytes).unwrap());
    let host = Buffer::host(bytes).unwrap();
    let (tx, rx) = UnixStream::pair().unwrap();
    let piece = bytes / FRAGMENTS_MAX as u64;
    let fragments: Vec<_> = (0..FRAGMENTS_MAX as u64)
        .map(|i| Fragment {
            source_offset: i * piece,
            bytes: piece,
            destination_offset: bytes - (i + 1) * piece,
        })
        .collect();
    // Blocks of 100 bytes, of which segments begin and end inside.
    let blocks = 3000;
    let mut ends = Ends::new(&device, 64 << 10);
    let mut scattered = layout::Layout::with_room(blocks as usize);

    // The first round may set up what the standard library keeps per thread.
    let mut counts = [0; 4];
    for count in &mut counts {
        let before = allocations();
        for mode in [UnpackMode::Kernel, UnpackMode::Copy, UnpackMode::Host] {
            let (read, write) = (bounce.read(0, bytes).unwrap(), destination.write(0, bytes).unwrap());
            let mut done = lane.unpack_fragments(&read, &fragments, &write, mode).unwrap();
            assert!(destination.read(5, 1).is_err());
            while !done.is_done().unwrap() {
                assert!(done.wait(Instant::now() + Duration::from_secs(20)).unwrap());
            }
        }
        assert_eq!(bounce.read(0, 100).unwrap().send(tx.as_fd(), b"header", 0, 100).unwrap(), 106);
        assert_eq!(host.write(0, 106).unwrap().recv(rx.as_fd(), 0, 106).unwrap(), 106);
        scattered.clear();
        for block in 0..blocks {
            scattered.push(300 * (block * 7 % blocks), 100).unwrap();
        }
        for mode in [UnpackMode::Kernel, UnpackMode::Copy, UnpackMode::Host] {
            for source in [&bounce, &destination] {
                let (read, write) = (source.read(0, bytes).unwrap(), host.write(0, bytes).unwrap());
                ends.carry((&read, &scattered), (&write, &scattered), 100 * blocks, mode).unwrap();
            }
        }
        let (read, write) = (bounce.read(0, bytes).unwrap(), host.write(0, bytes).unwrap());
        assert_eq!(read.send_ranges(tx.as_fd(), b"header", &scattered, 50, 1000).unwrap(), 1006);
        assert_eq!(write.recv_ranges(rx.as_fd(), &scattered, 50, 1006).unwrap(), 1006);
        drop(write);
        *count = allocations() - before;
    }
    assert_eq!(counts[1..], [0; 3], "the first round allocated {}", counts[0]);
}
