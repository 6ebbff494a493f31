//! The cost of a message in many ranges of a buffer, next to a contiguous one, in the same run.
//!
//! The message is 2000 blocks of 16 KiB, in an order of their own among 4000. Figures are medians of nine,
//! with their spread.
//!
//! `cargo bench -p gputcp-gpu --bench ranges`. `cargo test --benches` runs one short round, so that it never
//! rots.

use std::{
    collections::VecDeque,
    hint::black_box,
    net::{TcpListener, TcpStream},
    os::fd::AsFd as _,
    thread,
    time::{Duration, Instant},
};

use gputcp_gpu::{
    Buffer, Device, Done, Lane, LaneSpec, Pattern, ReadClaim, SoftOptions, UnpackMode, WriteClaim,
};
use gputcp_proto::{
    bounce::{Filling, Fragment},
    frame::SegmentHeader,
    layout::Layout,
    recv::RecvSide,
    send::{Carrier, SendSide},
    stage::Staging,
    window::Window,
};

const BLOCK: u64 = 16 << 10;
const SEGMENT: u64 = 2 << 20;
const SLABS: usize = 3;
const PATTERN: Pattern = Pattern { seed: 3, iteration: 4 };

/// A name, and the ranges of the message; `None` if it is sent and received as one range is today.
type Way<'a> = (&'a str, Option<&'a Layout>);

fn main() {
    let short = !std::env::args().any(|arg| arg == "--bench");
    let (blocks, rounds) = if short { (100, 1) } else { (2000, 9) };
    let bytes = blocks * BLOCK;
    let places: Vec<_> = (0..blocks).map(|i| (i * 1999 % (2 * blocks) * BLOCK, BLOCK)).collect();
    list(&places, rounds);

    let scattered = Layout::of(places).unwrap();
    let contiguous = Layout::of([(0, bytes)]).unwrap();
    assert_eq!((scattered.bytes(), scattered.runs() as u64), (bytes, blocks));
    let ways: [Way<'_>; 3] =
        [("contiguous", None), ("one range", Some(&contiguous)), ("scattered", Some(&scattered))];
    let device = Device::soft(SoftOptions::default());
    let mut lane = device.lane(LaneSpec { slots: SLABS, slab_bytes: SEGMENT }).unwrap();
    for (kind, buffer, mode) in [
        ("software GPU", device.allocate(2 * bytes).unwrap(), UnpackMode::Kernel),
        ("host memory", Buffer::host(2 * bytes).unwrap(), UnpackMode::Host),
    ] {
        buffer.fill(PATTERN, 0, 2 * bytes).unwrap();
        let read = buffer.read(0, 2 * bytes).unwrap();
        compare(&format!("{kind} to slabs"), &ways, bytes, rounds, |layout| {
            stage(&mut lane, &read, layout, bytes, mode);
        });
        drop(read);
        let write = buffer.write(0, 2 * bytes).unwrap();
        compare(&format!("slabs to {kind}"), &ways, bytes, rounds, |layout| {
            unpack(&mut lane, &write, layout, bytes, mode);
        });
    }
    sockets(bytes, &scattered, rounds);
}

/// Measures the making of the list, and the search for each segment's part.
fn list(places: &[(u64, u64)], rounds: usize) {
    let mut layout = Layout::with_room(places.len());
    let seconds = time(rounds, || {
        layout.clear();
        for &(offset, bytes) in places {
            layout.push(black_box(offset), black_box(bytes)).unwrap();
        }
    });
    let ns = |seconds: f64| seconds * 1e9 / places.len() as f64;
    println!("{:40} {:8.2} ns", "a range of a list, made", ns(seconds));
    let seconds = time(rounds, || {
        for at in (0..layout.bytes()).step_by(SEGMENT as usize) {
            let part = layout.slice(at, SEGMENT.min(layout.bytes() - at)).unwrap();
            black_box(part.map(|fragment| fragment.destination_offset).fold(0, u64::wrapping_add));
        }
    });
    println!("{:40} {:8.2} ns", "a range of a list, found by its segment", ns(seconds));
}

fn stage(lane: &mut Lane, claim: &ReadClaim, layout: Option<&Layout>, bytes: u64, mode: UnpackMode) {
    let mut side = SendSide::<4>::new(4, SEGMENT, 4);
    let _send = side.post(bytes, false).unwrap();
    let (_receive, announce) = RecvSide::<4>::new(4, SEGMENT, 0).post(bytes, false).unwrap();
    side.announced(&announce).unwrap();
    let (mut ring, mut pending) = (Window::<SLABS>::new(), VecDeque::new());
    loop {
        while ring.has_room() {
            let Some(segment) = side.deal(Carrier::Any).unwrap() else { break };
            let slab = ring.issue().unwrap();
            pending.push_back(match layout {
                None => {
                    Staging::start(slab, segment, &mut lane.stage_from(claim, UnpackMode::Kernel)).unwrap()
                }
                Some(layout) => {
                    Staging::start(slab, segment, &mut lane.gather_from(claim, layout, mode)).unwrap()
                }
            });
        }
        let Some(staging) = pending.pop_front() else { break };
        finish(staging.completion());
        let staged = staging.poll().unwrap().unwrap();
        let bytes = staged.segment().bytes();
        let (slab, segment) = staged.written(bytes).unwrap();
        ring.release(slab);
        side.written(segment);
    }
}

fn unpack(lane: &mut Lane, claim: &WriteClaim, layout: Option<&Layout>, bytes: u64, mode: UnpackMode) {
    let mut side = RecvSide::<4>::new(4, SEGMENT, 0);
    let (_receive, announce) = side.post(bytes, false).unwrap();
    let (mut ring, mut pending) = (Window::<SLABS>::new(), VecDeque::new());
    let mut offset = 0;
    loop {
        while ring.has_room() && offset < bytes {
            let here = SEGMENT.min(bytes - offset);
            let header = SegmentHeader { seq: announce.seq, offset, total: bytes, bytes: here as u32 };
            let filling = Filling::new(ring.issue().unwrap(), side.begin(&header).unwrap());
            let filled = filling.advance(here).unwrap();
            offset += here;
            pending.push_back(match layout {
                None => filled.unpack(&mut lane.unpack_into(claim, UnpackMode::Kernel)).unwrap(),
                Some(layout) => filled.unpack(&mut lane.scatter_into(claim, layout, mode)).unwrap(),
            });
        }
        let Some(unpacking) = pending.pop_front() else { break };
        finish(unpacking.completion());
        let (slab, placed) = unpacking.poll().unwrap().unwrap();
        ring.release(slab);
        side.place(placed);
    }
}

/// Measures a TCP connection between host memory and host memory, in place at both ends.
fn sockets(bytes: u64, scattered: &Layout, rounds: usize) {
    let (source, destination) = (Buffer::host(2 * bytes).unwrap(), Buffer::host(2 * bytes).unwrap());
    source.fill(PATTERN, 0, 2 * bytes).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tx = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (rx, _) = listener.accept().unwrap();
    let (read, write) = (source.read(0, 2 * bytes).unwrap(), destination.write(0, 2 * bytes).unwrap());
    let ways: [Way<'_>; 2] = [("contiguous", None), ("scattered", Some(scattered))];
    compare("host memory by a socket", &ways, bytes, rounds, |layout| {
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut at = 0;
                while at < bytes {
                    let left = SEGMENT.min(bytes - at);
                    at += match layout {
                        None => read.send(tx.as_fd(), b"", at, left),
                        Some(layout) => read.send_ranges(tx.as_fd(), b"", layout, at, left),
                    }
                    .unwrap() as u64;
                }
            });
            let mut at = 0;
            while at < bytes {
                let left = SEGMENT.min(bytes - at);
                at += match layout {
                    None => write.recv(rx.as_fd(), at, left),
                    Some(layout) => write.recv_ranges(rx.as_fd(), layout, at, left),
                }
                .unwrap() as u64;
            }
        });
    });
    drop(write);
    // Both ends have one layout, so each block is where it was.
    for Fragment { destination_offset: at, bytes, .. } in scattered.slice(0, bytes).unwrap() {
        let mut found = [vec![0; bytes as usize], vec![1; bytes as usize]];
        read.copy_to(at, &mut found[0]);
        destination.read(at, bytes).unwrap().copy_to(0, &mut found[1]);
        assert!(found[0] == found[1], "the block at {at}");
    }
}

fn finish(done: &Done) {
    assert!(done.wait(Instant::now() + Duration::from_secs(60)).unwrap());
}

/// Measures the ways in turn, round by round, so that other load of the machine meets all alike.
fn compare(what: &str, ways: &[Way<'_>], bytes: u64, rounds: usize, mut run: impl FnMut(Option<&Layout>)) {
    let mut seconds = vec![Vec::new(); ways.len()];
    for round in 0..=rounds {
        for ((_, layout), seconds) in ways.iter().zip(&mut seconds) {
            let start = Instant::now();
            run(*layout);
            // The first round warms up.
            if round > 0 {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
    }
    for ((name, _), seconds) in ways.iter().zip(seconds) {
        let [least, median, most] = spread(seconds).map(|seconds| bytes as f64 / seconds / 1e9);
        println!("{:40} {median:8.2} GB/s ({most:.2} to {least:.2})", format!("{what}, {name}"));
    }
}

/// Returns the median time of a run in seconds.
fn time(rounds: usize, mut run: impl FnMut()) -> f64 {
    let seconds = (0..rounds).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    spread(seconds.collect())[1]
}

/// Returns the shortest, the median and the longest time.
fn spread(mut seconds: Vec<f64>) -> [f64; 3] {
    seconds.sort_by(f64::total_cmp);
    [seconds[0], seconds[seconds.len() / 2], seconds[seconds.len() - 1]]
}
