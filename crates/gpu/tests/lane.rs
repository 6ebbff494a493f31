//! A lane as its users see it: sockets fill slabs, slabs are unpacked, segments are staged.

use std::{
    io::Write,
    os::{fd::AsFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use gputcp_gpu::{Buffer, Device, Error, Lane, LaneSpec, MemoryKind, Pattern, SoftOptions, UnpackMode};
use gputcp_proto::{
    bounce::{Filled, Filling, Fragment},
    frame::{Announce, SegmentHeader},
    recv::RecvSide,
    send::{Carrier, SendSide},
    stage::{Staged, Staging},
    window::Window,
};

const SEGMENT: u64 = 64 << 10;
const SLOTS: usize = 4;

#[test]
fn a_message_goes_from_device_to_device() {
    for mode in [UnpackMode::Kernel, UnpackMode::Copy, UnpackMode::Host] {
        for lateness in [Duration::ZERO, Duration::from_millis(2)] {
            transfer(mode, lateness);
        }
    }
}

fn transfer(mode: UnpackMode, lateness: Duration) {
    let device = Device::soft(SoftOptions { lateness, seed: 7, lost_after: None });
    let spec = LaneSpec { slots: SLOTS, slab_bytes: SEGMENT };
    let (mut sender, mut receiver) = (device.lane(spec).unwrap(), device.lane(spec).unwrap());
    let bytes = 10 * SEGMENT + 12_345;
    let (source, destination) = (device.allocate(bytes).unwrap(), device.allocate(bytes + 99).unwrap());
    let pattern = Pattern { seed: 3, iteration: 4 };
    source.fill(pattern, 0, bytes).unwrap();

    let (tx, rx) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        let (source, destination) = (&source, &destination);
        scope.spawn(move || send_all(&mut sender, source, &tx));
        scope.spawn(move || recv_all(&mut receiver, destination, 99, bytes, mode, &rx));
    });
    assert_eq!(destination.verify(pattern, 99, bytes), Ok(Ok(())), "{mode}");
}

fn send_all(lane: &mut Lane, source: &Buffer, socket: &UnixStream) {
    let claim = source.read(0, source.bytes()).unwrap();
    let mut side = SendSide::<4>::new(4, SEGMENT, 4);
    let slot = side.post(source.bytes(), false).unwrap();
    side.announced(&Announce { seq: 0, capacity: source.bytes(), inline_bytes: 0, done: 0, mark: None })
        .unwrap();
    let mut ring = Window::<SLOTS>::new();
    while let Some(segment) = side.deal(Carrier::Any).unwrap() {
        let header = segment.header().encode();
        let mut staging =
            Staging::start(ring.issue().unwrap(), segment, &mut lane.stage_from(&claim, UnpackMode::Kernel))
                .unwrap();
        let mut staged: Staged = loop {
            assert!(staging.completion().wait(soon()).unwrap());
            match staging.poll().unwrap() {
                Ok(staged) => break staged,
                Err(again) => staging = again,
            }
        };
        let mut header = &header[..];
        let (slot, segment) = loop {
            let taken = lane.send(&staged, header, socket.as_fd()).unwrap();
            let of_header = taken.min(header.len());
            header = &header[of_header..];
            match staged.written((taken - of_header) as u64) {
                Ok(done) => break done,
                Err(again) => staged = again,
            }
        };
        ring.release(slot);
        side.written(segment);
    }
    assert_eq!(side.finish(slot).unwrap().bytes, source.bytes());
}

fn recv_all(
    lane: &mut Lane,
    destination: &Buffer,
    at: u64,
    bytes: u64,
    mode: UnpackMode,
    mut socket: &UnixStream,
) {
    let claim = destination.write(at, bytes).unwrap();
    let mut side = RecvSide::<4>::new(4, SEGMENT, 0);
    let (slot, _) = side.post(bytes, false).unwrap();
    let mut ring = Window::<SLOTS>::new();
    let mut pending = std::collections::VecDeque::new();
    let mut arrived = 0;
    loop {
        while arrived < bytes {
            let Some(place) = ring.issue() else { break };
            let mut header = [0; SegmentHeader::BYTES];
            std::io::Read::read_exact(&mut socket, &mut header).unwrap();
            let landing = side.begin(&SegmentHeader::decode(&header).unwrap()).unwrap();
            arrived += landing.bytes();
            let filled = fill(lane, Filling::new(place, landing), socket);
            pending.push_back(filled.unpack(&mut lane.unpack_into(&claim, mode)).unwrap());
        }
        let Some(unpacking) = pending.pop_front() else { break };
        assert!(unpacking.completion().wait(soon()).unwrap());
        let (place, placed) = unpacking.poll().unwrap().unwrap();
        ring.release(place);
        side.place(placed);
    }
    assert_eq!(side.finish(slot).unwrap().bytes, bytes);
}

fn fill(lane: &mut Lane, mut filling: Filling, socket: &UnixStream) -> Filled {
    loop {
        let got = lane.recv(&filling, socket.as_fd()).unwrap();
        assert!(got > 0, "the peer closed early");
        match filling.advance(got as u64) {
            Ok(filled) => return filled,
            Err(again) => filling = again,
        }
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[test]
fn host_memory_is_sent_and_received_in_place() {
    let (source, destination) = (Buffer::host(1000).unwrap(), Buffer::host(1000).unwrap());
    source.read(0, 0).unwrap().copy_to(0, &mut []);
    source.write(0, 1000).unwrap().copy_from(100, b"payload");
    let (tx, rx) = UnixStream::pair().unwrap();
    let (read, write) = (source.read(100, 900).unwrap(), destination.write(0, 1000).unwrap());
    assert_eq!(read.send(tx.as_fd(), b"header ", 0, 7).unwrap(), 14);
    assert_eq!(read.send(tx.as_fd(), b"!", 0, 0).unwrap(), 1);
    assert_eq!(read.send(tx.as_fd(), b"", 3, 4).unwrap(), 4);
    assert_eq!(write.recv(rx.as_fd(), 1, 999).unwrap(), 19);
    drop((write, tx));
    let mut text = [0; 19];
    destination.read(1, 19).unwrap().copy_to(0, &mut text);
    assert_eq!(&text, b"header payload!load");
    assert_eq!(destination.write(0, 1).unwrap().recv(rx.as_fd(), 0, 1).unwrap(), 0, "closed");
}

#[test]
fn a_closed_peer_is_an_error_and_no_signal() {
    let (tx, rx) = UnixStream::pair().unwrap();
    drop(rx);
    let buffer = Buffer::host(10).unwrap();
    let error = buffer.read(0, 10).unwrap().send(tx.as_fd(), b"", 0, 10).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}

#[test]
fn sockets_do_not_reach_device_memory_but_its_host_view() {
    let device = Device::soft(SoftOptions::default());
    let buffer = device.allocate(4096).unwrap();
    assert_eq!((buffer.kind(), device.kind()), (MemoryKind::Soft, MemoryKind::Soft));
    let (mut tx, rx) = UnixStream::pair().unwrap();
    tx.write_all(&[7; 4096]).unwrap();
    let unsupported = buffer.write(0, 4096).unwrap().recv(rx.as_fd(), 0, 4096).unwrap_err();
    assert_eq!(unsupported.kind(), std::io::ErrorKind::Unsupported);
    let unsupported = buffer.read(0, 4096).unwrap().send(tx.as_fd(), b"", 0, 4096).unwrap_err();
    assert_eq!(unsupported.kind(), std::io::ErrorKind::Unsupported);

    let view = buffer.host_view().unwrap();
    assert_eq!(view.kind(), MemoryKind::Host);
    let claim = view.write(0, 4096).unwrap();
    assert!(buffer.read(5, 1).is_err(), "the view shares the claims");
    assert_eq!(claim.recv(rx.as_fd(), 0, 4096).unwrap(), 4096);
    drop(claim);
    let mut last = [0];
    view.read(4095, 1).unwrap().copy_to(0, &mut last);
    assert_eq!(last, [7]);
}

#[test]
fn a_lane_larger_than_memory_is_refused() {
    let device = Device::soft(SoftOptions::default());
    for (slots, slab_bytes) in
        [(usize::MAX, u64::MAX), (usize::MAX, 0), (1, u64::MAX), (1 << 40, 4096), (1, 1 << 50)]
    {
        let error = device.lane(LaneSpec { slots, slab_bytes }).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { .. } | Error::Map { .. }), "{error}");
    }
    assert!(device.lane(LaneSpec { slots: 0, slab_bytes: 0 }).is_ok());
}

/// The types cannot rule out that lanes are told to write the same bytes. Each byte is then one of the two
/// values.
#[test]
fn lanes_that_write_the_same_bytes_leave_one_of_their_values() {
    const BYTES: u64 = 100_000;
    let device = Device::soft(SoftOptions::default());
    let destination = device.allocate(BYTES).unwrap();
    let claim = destination.write(0, BYTES).unwrap();
    let all = [Fragment { source_offset: 0, bytes: BYTES, destination_offset: 0 }];
    std::thread::scope(|scope| {
        for value in [1, 2] {
            let (device, claim) = (&device, &claim);
            scope.spawn(move || {
                let bounce = Buffer::host(BYTES).unwrap();
                bounce.write(0, BYTES).unwrap().copy_from(0, &vec![value; BYTES as usize]);
                let mut lane = device.lane(LaneSpec { slots: 0, slab_bytes: 0 }).unwrap();
                for _ in 0..100 {
                    let read = bounce.read(0, BYTES).unwrap();
                    let done = lane.unpack_fragments(&read, &all, claim, UnpackMode::Kernel).unwrap();
                    assert!(done.wait(soon()).unwrap());
                }
            });
        }
    });
    drop(claim);
    let mut found = vec![0; BYTES as usize];
    destination.host_view().unwrap().read(0, BYTES).unwrap().copy_to(0, &mut found);
    assert!(found.iter().all(|&byte| byte == 1 || byte == 2));
}
