//! Messages in many ranges of a buffer, through lanes and sockets.

mod blocks;
mod ends;

use std::time::Duration;

use blocks::{MESSAGE_BYTES, PATTERN, blocks, content, expected};
use ends::Ends;

use gputcp_gpu::{Buffer, Device, Error, Joined, SoftOptions, UnpackMode};
use gputcp_proto::layout::Layout;

const SEGMENT: u64 = 32 << 10;

#[test]
fn blocks_go_from_device_to_device() {
    let bytes = MESSAGE_BYTES;
    let (from, to) = (blocks(7), blocks(11));
    for mode in [UnpackMode::Kernel, UnpackMode::Copy, UnpackMode::Host] {
        for lateness in [Duration::ZERO, Duration::from_micros(100)] {
            let device = Device::soft(SoftOptions { lateness, seed: 7, lost_after: None });
            let mut ends = Ends::new(&device, SEGMENT);
            for on_device in [true, false] {
                let allocate = || if on_device { device.allocate(bytes) } else { Buffer::host(bytes) };
                let (source, destination) = (allocate().unwrap(), allocate().unwrap());
                source.fill(PATTERN, 0, bytes).unwrap();
                let (read, write) = (source.read(0, bytes).unwrap(), destination.write(0, bytes).unwrap());
                ends.carry((&read, &from), (&write, &to), bytes, mode).unwrap();
                drop(write);
                assert!(content(&destination) == expected(7, 11), "{mode}");
            }
        }
    }
}

#[test]
fn a_layout_that_is_not_the_claim_s_or_too_short_starts_nothing() {
    let device = Device::soft(SoftOptions::default());
    let (source, destination) = (device.allocate(100).unwrap(), device.allocate(100).unwrap());
    let good = Layout::of([(50, 50), (0, 50)]).unwrap();
    for (bad, error) in [
        (Layout::of([(0, 50), (51, 50)]), Error::LayoutBeyondClaim { end: 101, claim_bytes: 100 }),
        (Layout::of([(0, 50), (60, 39)]), Error::OutsideLayout { offset: 0, bytes: 100, layout_bytes: 89 }),
    ] {
        let bad = bad.unwrap();
        for mode in [UnpackMode::Kernel, UnpackMode::Copy, UnpackMode::Host] {
            let (read, write) = (source.read(0, 100).unwrap(), destination.write(0, 100).unwrap());
            let gather = Ends::new(&device, SEGMENT).carry((&read, &bad), (&write, &good), 100, mode);
            let scatter = Ends::new(&device, SEGMENT).carry((&read, &good), (&write, &bad), 100, mode);
            assert_eq!((gather, scatter), (Err(error.clone()), Err(error.clone())));
        }
    }
    assert!(content(&destination).iter().all(|&byte| byte == 0));
    let write = destination.write(0, 100).unwrap();
    let none = Ends::new(&device, SEGMENT).carry(
        (&source.read(0, 100).unwrap(), &good),
        (&write, &good),
        100,
        UnpackMode::None,
    );
    assert_eq!(none, Err(Error::NothingToUnpack));
}

#[test]
fn a_message_of_several_buffers_is_carried_and_touches_nothing_between_them() {
    let device = Device::soft(SoftOptions::default());
    for on_device in [true, false] {
        let allocate = |bytes| if on_device { device.allocate(bytes) } else { Buffer::host(bytes) };
        // Four regions of one buffer, which are joined: the bytes between them are its, too.
        let (source, destination) = (allocate(4000).unwrap(), allocate(4000).unwrap());
        source.fill(PATTERN, 0, 4000).unwrap();
        let others: Vec<_> = (0..3).map(|_| allocate(500).unwrap()).collect();
        let joined = |buffer: &Buffer| {
            let parts = std::iter::once(buffer).chain(&others);
            Joined::of(parts.map(|part| part.share().unwrap()).collect()).unwrap()
        };
        for mode in [UnpackMode::Kernel, UnpackMode::Copy, UnpackMode::Host] {
            let from = joined(&source);
            let place = |joined: &Joined, buffer, at| joined.offset_of(buffer) + at;
            let gather = Layout::of((0..40).map(|at| (place(&from, &source, at * 100), 50))).unwrap();
            let read = from.read().unwrap();
            {
                let to = Joined::of(vec![destination.share().unwrap()]).unwrap();
                let write = to.write().unwrap();
                let scatter = Layout::of((0..40).map(|at| (at * 100 + 50, 50))).unwrap();
                Ends::new(&device, 512).carry((&read, &gather), (&write, &scatter), 2000, mode).unwrap();
                let beyond = Layout::of([(0, 1999), (4000, 1)]).unwrap();
                let refused = Ends::new(&device, 512).carry((&read, &gather), (&write, &beyond), 2000, mode);
                assert!(matches!(refused, Err(Error::LayoutBeyondClaim { .. })));
            }
            drop(read);
            drop(from);
            let (sent, found) = (content(&source), content(&destination));
            for at in 0..40 {
                assert_eq!(found[at * 100 + 50..at * 100 + 100], sent[at * 100..at * 100 + 50], "{mode}");
                assert!(found[at * 100..at * 100 + 50].iter().all(|&byte| byte == 0));
            }
            destination.copy_from_host(0, &[0; 4000]).unwrap();
        }
    }
}
