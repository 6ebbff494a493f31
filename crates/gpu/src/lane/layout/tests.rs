//! A gathered and scattered message is what a copy byte by byte makes of it; a segment is one launch.

use std::time::{Duration, Instant};

use gputcp_proto::bounce::Completion as _;
use proptest::prelude::*;

use super::*;
use crate::{Buffer, Device, LaneSpec, Pattern, SoftOptions};

const PATTERN: Pattern = Pattern { seed: 1, iteration: 2 };
const SLAB: u64 = 64 << 10;
const MODES: [UnpackMode; 3] = [UnpackMode::Kernel, UnpackMode::Copy, UnpackMode::Host];

fn device(lateness_ms: u64) -> Device {
    Device::soft(SoftOptions { lateness: Duration::from_millis(lateness_ms), seed: 12, lost_after: None })
}

fn lane(device: &Device) -> Lane {
    device.lane(LaneSpec { slots: 1, slab_bytes: SLAB }).unwrap()
}

fn finish(done: &Done) {
    assert!(done.wait(Instant::now() + Duration::from_secs(20)).unwrap());
}

/// A message's way from ranges of one buffer to ranges of another.
struct Way {
    source: Buffer,
    from: Layout,
    destination: Buffer,
    to: Layout,
}

impl Way {
    fn new(
        allocate: impl Fn(u64) -> Buffer,
        from: Vec<(u64, u64)>,
        to: Vec<(u64, u64)>,
        destination_bytes: u64,
    ) -> Self {
        let (from, to) = (Layout::of(from).unwrap(), Layout::of(to).unwrap());
        let source = allocate(from.end().max(1));
        source.fill(PATTERN, 0, source.bytes()).unwrap();
        Self { source, from, destination: allocate(destination_bytes), to }
    }

    /// Carries as many bytes as both layouts have, a segment at a time through the lane's slab.
    fn carry(&self, lane: &mut Lane, segment_bytes: u64, mode: UnpackMode) {
        let message_bytes = self.from.bytes().min(self.to.bytes());
        let read = self.source.read(0, self.source.bytes()).unwrap();
        let write = self.destination.write(0, self.destination.bytes()).unwrap();
        for at in (0..message_bytes).step_by(segment_bytes as usize) {
            let bytes = segment_bytes.min(message_bytes - at);
            let parts = self.from.slice(at, bytes).unwrap();
            finish(&lane.gather_slab(0, bytes, parts, &read, mode).unwrap());
            let parts = self.to.slice(at, bytes).unwrap();
            finish(&lane.scatter_slab(0, bytes, parts, &write, mode).unwrap());
        }
    }

    /// Returns whether the destination is what a copy byte by byte makes of it.
    fn has_arrived(&self) -> bool {
        let mut source = vec![0; self.source.bytes() as usize];
        PATTERN.fill(0, &mut source);
        let places = |layout: &Layout| -> Vec<usize> {
            let parts = layout.slice(0, layout.bytes()).unwrap().map(Fragment::reversed);
            parts
                .flat_map(|part| part.source_offset..part.source_offset + part.bytes)
                .map(|at| at as usize)
                .collect()
        };
        let mut expected = vec![0; self.destination.bytes() as usize];
        for (from, to) in places(&self.from).into_iter().zip(places(&self.to)) {
            expected[to] = source[from];
        }
        let mut found = vec![0; expected.len()];
        self.destination.host_view().unwrap().read(0, found.len() as u64).unwrap().copy_to(0, &mut found);
        found == expected
    }
}

fn kinds() -> [Box<dyn Fn(u64) -> Buffer>; 2] {
    [Box::new(|bytes| Buffer::host(bytes).unwrap()), Box::new(|bytes| device(0).allocate(bytes).unwrap())]
}

fn length() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), 0..50u64, 4000..4200u64, Just(16 << 10), 0..40_000u64]
}

/// Draws ranges that do not overlap, out of order, and the length of a buffer that has them.
fn apart() -> impl Strategy<Value = (Vec<(u64, u64)>, u64)> {
    prop::collection::vec((prop_oneof![Just(0), 0..70u64], length()), 0..60)
        .prop_map(|list| {
            let mut end = 0;
            let mut place = |(gap, bytes): (u64, u64)| {
                let offset = end + gap;
                end = offset + bytes;
                (offset, bytes)
            };
            list.into_iter().map(&mut place).collect::<Vec<_>>()
        })
        .prop_flat_map(|list| {
            let end = list.last().map_or(1, |&(offset, bytes)| offset + bytes + 1);
            prop_oneof![Just(list.clone()).boxed(), Just(list).prop_shuffle().boxed()]
                .prop_map(move |list| (list, end))
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn random_ranges_arrive(
        from in prop::collection::vec((0..300_000u64, length()), 0..60),
        (to, destination_bytes) in apart(),
        segment_bytes in prop_oneof![1000..5000u64, 40_000..SLAB, Just(SLAB)],
        mode in prop_oneof![Just(UnpackMode::Kernel), Just(UnpackMode::Copy), Just(UnpackMode::Host)],
        is_device: bool,
    ) {
        let way = Way::new(&kinds()[usize::from(is_device)], from, to, destination_bytes);
        way.carry(&mut lane(&device(0)), segment_bytes, mode);
        prop_assert!(way.has_arrived());
    }
}

#[test]
fn every_alignment_arrives_and_segments_end_inside_ranges() {
    for allocate in kinds() {
        for mode in MODES {
            for bytes in [1, 2, 7, 16, 33] {
                // Each pair of alignments once; the destination backwards.
                let from = (0..256).map(|i| (64 * i + i % 16, bytes)).collect();
                let to = (0..256).map(|i| (64 * (255 - i) + i / 16, bytes)).collect();
                let way = Way::new(&allocate, from, to, 64 * 256);
                way.carry(&mut lane(&device(0)), 129, mode);
                assert!(way.has_arrived(), "{mode}, {bytes} bytes");
            }
        }
    }
}

#[test]
fn a_segment_of_more_ranges_than_a_launch_takes_several_and_is_done_after_the_last() {
    let bytes = 2 * FRAGMENTS_MAX as u64 + 100;
    for (mode, launches) in [(UnpackMode::Kernel, 3), (UnpackMode::Copy, bytes)] {
        let from = (0..bytes).map(|i| (3 * (bytes - i), 1)).collect();
        let to = (0..bytes).map(|i| (2 * i, 1)).collect();
        let way = Way::new(|bytes| device(0).allocate(bytes).unwrap(), from, to, 2 * bytes);
        let mut lane = lane(&device(0));
        way.carry(&mut lane, SLAB, mode);
        assert_eq!(lane.completed(), 2 * launches, "{mode}");
        assert!(way.has_arrived());
    }
}

#[test]
fn a_segment_of_many_ranges_is_one_launch_and_one_of_no_bytes_is_none() {
    let ranges = || (0..100).map(|i| (200 * i, 100)).collect::<Vec<_>>();
    let way = Way::new(|bytes| device(0).allocate(bytes).unwrap(), ranges(), ranges(), 20_000);
    let mut lane = lane(&device(0));
    way.carry(&mut lane, SLAB, UnpackMode::Kernel);
    assert_eq!(lane.completed(), 2);
    let (read, write) = (way.source.read(0, 1).unwrap(), way.destination.write(0, 1).unwrap());
    for mode in MODES {
        let nothing = way.from.slice(77, 0).unwrap();
        finish(&lane.gather_slab(0, 0, nothing.clone(), &read, mode).unwrap());
        finish(&lane.scatter_slab(0, 0, nothing, &write, mode).unwrap());
    }
    assert_eq!(lane.completed(), 2);
}

#[test]
fn a_slab_is_pending_and_its_claims_are_held_until_the_last_launch_is_done() {
    let device = device(20);
    let mut lane = lane(&device);
    let layout = Layout::of((0..200).map(|i| (2 * i, 1))).unwrap();
    let buffer = device.allocate(400).unwrap();
    for mode in MODES {
        let read = buffer.read(0, 400).unwrap();
        let done = lane.gather_slab(0, 3, layout.slice(0, 3).unwrap(), &read, mode).unwrap();
        drop(read);
        assert!(buffer.write(5, 1).is_err(), "still being read");
        assert!(lane.slabs[0].pending > lane.stream.completed());
        finish(&done);
        let write = buffer.write(0, 400).unwrap();
        let done = lane.scatter_slab(0, 3, layout.slice(0, 3).unwrap(), &write, mode).unwrap();
        drop(write);
        assert!(buffer.read(5, 1).is_err(), "still being written");
        assert!(lane.slabs[0].pending > lane.stream.completed());
        finish(&done);
        assert!(buffer.write(0, 400).is_ok());
    }
}

#[test]
fn host_memory_in_mode_host_is_copied_by_the_caller_at_once() {
    let ranges = || (0..100).map(|i| (200 * i, 100)).collect::<Vec<_>>();
    let way = Way::new(|bytes| Buffer::host(bytes).unwrap(), ranges(), ranges(), 20_000);
    let mut lane = lane(&device(1000));
    let (read, write) =
        (way.source.read(0, way.source.bytes()).unwrap(), way.destination.write(0, 20_000).unwrap());
    let all = || way.from.slice(0, 10_000).unwrap();
    assert_eq!(lane.gather_slab(0, 10_000, all(), &read, UnpackMode::Host).unwrap().is_done(), Ok(true));
    assert_eq!(lane.scatter_slab(0, 10_000, all(), &write, UnpackMode::Host).unwrap().is_done(), Ok(true));
    assert_eq!(lane.stream.launched(), 0);
    drop(write);
    assert!(way.has_arrived());
}

#[test]
fn a_lost_lane_is_an_error_and_keeps_the_room_for_lists() {
    let options = SoftOptions { lost_after: Some(0), ..SoftOptions::default() };
    let device = Device::soft(options);
    let mut lane = lane(&device);
    let layout = Layout::of([(0, 1), (2, 1)]).unwrap();
    let buffer = device.allocate(4).unwrap();
    let write = buffer.write(0, 4).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    // The worker may still take the first.
    let lost = loop {
        lane.slabs[0].pending = 0;
        match lane.scatter_slab(0, 2, layout.slice(0, 2).unwrap(), &write, UnpackMode::Kernel) {
            Ok(_) => assert!(Instant::now() < until),
            Err(error) => break error,
        }
    };
    assert_eq!(lost, Error::LaneLost);
    assert!(lane.list.capacity() >= FRAGMENTS_MAX);
}
