//! Lanes, and the memory that sockets reach. Messages go through lanes and sockets in `gpu-check`, whose
//! tests use the software GPU.

use std::{
    io::Write,
    os::{fd::AsFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use gputcp_gpu::{Buffer, Device, Error, LaneSpec, MemoryKind, SoftOptions, UnpackMode};
use gputcp_proto::bounce::Fragment;

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
    assert!(device.lane(LaneSpec::NO_SLABS).is_ok());
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
                let mut lane = device.lane(LaneSpec::NO_SLABS).unwrap();
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
