//! The promises of a lane however it is used, and the damage when a slab is reused early: tests that reach
//! past the types.

use std::{
    io::Write,
    os::{fd::AsFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use gputcp_proto::{
    bounce::Completion,
    frame::SegmentHeader,
    recv::{Landing, RecvSide},
    window::Window,
};
use proptest::prelude::*;

use super::*;
use crate::{
    ClaimError, Device, Pattern,
    host::{Stores, copy_bytes},
};

const SLAB: u64 = 4096;
const PATTERN: Pattern = Pattern { seed: 1, iteration: 2 };

impl Lane {
    /// Overwrites a slab as a caller does that releases it early, past every check and type.
    fn overwrite_slab_unchecked(&self, index: usize, data: &[u8]) {
        let start = self.memory.hold().at(index as u64 * self.stride, data.len() as u64);
        // SAFETY: the range is within the lane's memory, to which no reference exists. The worker may be
        // reading there: both copies are made of processor instructions, not of accesses that the compiler
        // reasons about.
        unsafe { copy_bytes(data.as_ptr(), start.as_ptr(), data.len(), Stores::Cached) };
    }
}

fn lane(lateness_ms: u64, slots: usize) -> Lane {
    // This seed's first wait is 97 % of the longest.
    let options = SoftOptions { lateness: Duration::from_millis(lateness_ms), seed: 12, lost_after: None };
    Device::soft(options).lane(LaneSpec { slots, slab_bytes: SLAB }).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Passes two segments of a message through one slab, and returns whether they arrived.
///
/// Released early, the slab takes the second segment while the first is still to be unpacked.
fn two_segments_through_one_slab(is_released_early: bool) -> bool {
    let mut lane = lane(100, 1);
    let destination = Device::soft(SoftOptions::default()).allocate(2 * SLAB).unwrap();
    let claim = destination.write(0, 2 * SLAB).unwrap();
    let (mut side, mut ring) = (RecvSide::<4>::new(4, SLAB, 0), Window::<1>::new());
    let _receive = side.post(2 * SLAB, false).unwrap();
    for offset in [0, SLAB] {
        let slot = ring.issue().expect("the slab is free");
        let mut data = vec![0; SLAB as usize];
        PATTERN.fill(offset, &mut data);
        lane.overwrite_slab_unchecked(slot.index(), &data);
        let filled = Filling::new(slot, landing(&mut side, offset)).advance(SLAB).unwrap();
        let unpacking = filled.unpack(&mut lane.unpack_into(&claim, UnpackMode::Kernel)).unwrap();
        if is_released_early {
            // This bypasses the types with a fresh window, and the second line by forgetting the pending
            // work.
            ring = Window::new();
            lane.slabs[0].pending = 0;
        } else {
            assert!(unpacking.completion().wait(soon()).unwrap());
            let (slot, _placed) = unpacking.poll().unwrap().unwrap();
            ring.release(slot);
        }
    }
    // The drop finishes the queued work, and releases the destination.
    drop((lane, claim));
    destination.verify(PATTERN, 0, 2 * SLAB).unwrap().is_ok()
}

fn landing(side: &mut RecvSide<4>, offset: u64) -> Landing {
    side.begin(&SegmentHeader { seq: 0, offset, total: 2 * SLAB, bytes: SLAB as u32 }).unwrap()
}

#[test]
fn a_slab_released_before_its_unpack_finished_corrupts_data() {
    assert!(!two_segments_through_one_slab(true), "the software GPU must be late enough to show the mistake");
}

#[test]
fn a_slab_released_by_its_finished_unpack_keeps_data() {
    assert!(two_segments_through_one_slab(false));
}

#[test]
#[should_panic(expected = "slab 0 has work pending")]
fn a_socket_is_not_let_into_a_slab_with_work_pending() {
    let mut lane = lane(100, 1);
    let destination = Buffer::host(SLAB).unwrap();
    let claim = destination.write(0, SLAB).unwrap();
    let mut side = RecvSide::<4>::new(4, SLAB, 0);
    let _receive = side.post(2 * SLAB, false).unwrap();
    let first = landing(&mut side, 0);
    let _done = lane.unpack_slab(0, first.bytes(), &claim, 0, UnpackMode::Kernel).unwrap();
    let (mut tx, rx) = UnixStream::pair().unwrap();
    tx.write_all(b"the next segment").unwrap();
    let early = Filling::new(Window::<2>::new().issue().unwrap(), landing(&mut side, SLAB));
    let _ = lane.recv(&early, rx.as_fd());
}

#[test]
#[should_panic(expected = "slab 1 of a lane with 1")]
fn a_slab_of_another_lane_is_refused() {
    let claim = Buffer::host(SLAB).unwrap().write(0, SLAB).unwrap();
    let _ = lane(0, 1).unpack_slab(1, 1, &claim, 0, UnpackMode::Kernel);
}

#[test]
fn a_launched_command_keeps_its_claims() {
    let mut lane = lane(50, 0);
    let (source, destination) = (Buffer::host(100).unwrap(), Buffer::host(100).unwrap());
    source.fill(PATTERN, 0, 100).unwrap();
    let (read, write) = (source.read(0, 100).unwrap(), destination.write(0, 100).unwrap());
    let fragment = Fragment { source_offset: 0, bytes: 100, destination_offset: 0 };
    let done = lane.unpack_fragments(&read, &[fragment], &write, UnpackMode::Kernel).unwrap();
    drop((read, write));
    assert!(matches!(source.write(5, 1), Err(ClaimError::Overlap { .. })), "still being read");
    assert!(matches!(destination.read(5, 1), Err(ClaimError::Overlap { .. })), "still being written");
    // The memory itself is freed only with the command.
    drop(source);
    assert!(done.wait(soon()).unwrap());
    assert_eq!(destination.verify(PATTERN, 0, 100), Ok(Ok(())));
}

#[test]
fn waiting_ends_at_the_deadline() {
    let mut lane = lane(2000, 0);
    let (read, write) =
        (Buffer::host(1).unwrap().read(0, 1).unwrap(), Buffer::host(1).unwrap().write(0, 1).unwrap());
    let mut done = lane.unpack_fragments(&read, &[], &write, UnpackMode::Kernel).unwrap();
    let start = Instant::now();
    assert_eq!(done.wait(start + Duration::from_millis(10)), Ok(false));
    assert!(start.elapsed() >= Duration::from_millis(10));
    assert_eq!(done.is_done(), Ok(false));
    assert_eq!(lane.completed(), 0);
    // The drop finishes the lane's work, without its delays.
    drop(lane);
    assert_eq!(done.is_done(), Ok(true));
    assert!(start.elapsed() < Duration::from_millis(500));
}

#[test]
fn a_dead_worker_is_an_error_to_all_who_wait() {
    let timeline = Arc::new(host::Timeline::new());
    let mut done = Done::new(done::Timeline::Soft(Arc::clone(&timeline)), 1);
    let waiter = std::thread::spawn({
        let done = done.clone();
        move || done.wait(soon())
    });
    std::thread::sleep(Duration::from_millis(20));
    timeline.end();
    assert_eq!(waiter.join().unwrap(), Err(Error::LaneLost));
    assert_eq!(done.is_done(), Err(Error::LaneLost));
    timeline.advance();
    assert_eq!(done.is_done(), Ok(true), "what was done stays done");
}

#[test]
fn a_full_queue_makes_a_launch_wait_and_loses_nothing() {
    let mut lane = lane(0, 0);
    let bytes = 4 * FRAGMENTS_MAX as u64;
    let (source, destination) = (Buffer::host(bytes).unwrap(), Buffer::host(bytes).unwrap());
    source.fill(PATTERN, 0, bytes).unwrap();
    let (read, write) = (source.read(0, bytes).unwrap(), destination.write(0, bytes).unwrap());
    let word = |i| Fragment { source_offset: 4 * i, bytes: 4, destination_offset: 4 * i };
    let words: Vec<_> = (0..FRAGMENTS_MAX as u64).map(word).collect();
    for mode in [UnpackMode::Kernel, UnpackMode::Copy, UnpackMode::Host] {
        let launches = if mode == UnpackMode::Kernel { 20 } else { 1 };
        let done = (0..launches)
            .map(|_| lane.unpack_fragments(&read, &words, &write, mode).unwrap())
            .last()
            .unwrap();
        assert!(done.wait(soon()).unwrap());
    }
    drop(write);
    assert_eq!(destination.verify(PATTERN, 0, bytes), Ok(Ok(())));
}

#[test]
fn each_gathered_list_may_begin_at_the_destination_s_start() {
    let mut lane = lane(0, 1);
    let (source, destination) = (Buffer::host(100).unwrap(), Buffer::host(100).unwrap());
    lane.overwrite_slab_unchecked(0, &[7; 100]);
    source.fill(PATTERN, 0, 100).unwrap();
    let read = source.read(0, 100).unwrap();
    let all = [Fragment { source_offset: 0, bytes: 100, destination_offset: 0 }];
    for _ in 0..3 {
        let write = destination.write(0, 100).unwrap();
        assert!(lane.unpack_fragments(&read, &all, &write, UnpackMode::Host).unwrap().wait(soon()).unwrap());
        drop(write);
        assert_eq!(destination.verify(PATTERN, 0, 100), Ok(Ok(())));
        destination.fill(Pattern { iteration: 99, ..PATTERN }, 0, 100).unwrap();
    }
}

#[test]
fn a_hostile_list_is_refused_whole() {
    let mut lane = lane(0, 0);
    let (bounce, destination) = (Buffer::host(100).unwrap(), Buffer::host(100).unwrap());
    bounce.fill(PATTERN, 0, 100).unwrap();
    let (read, write) = (bounce.read(0, 100).unwrap(), destination.write(0, 100).unwrap());
    let good = Fragment { source_offset: 0, bytes: 100, destination_offset: 0 };
    for (source_offset, bytes, destination_offset) in
        [(1, 100, 0), (0, 100, 1), (u64::MAX, 1, 0), (0, 1, u64::MAX), (0, u64::MAX, 0), (101, 0, 0)]
    {
        let bad = Fragment { source_offset, bytes, destination_offset };
        for mode in [UnpackMode::Kernel, UnpackMode::Copy, UnpackMode::Host] {
            let error = lane.unpack_fragments(&read, &[good, bad], &write, mode).unwrap_err();
            assert!(matches!(error, Error::Fragment { index: 1, .. }), "{error}");
        }
    }
    let none = lane.unpack_fragments(&read, &[good], &write, UnpackMode::None);
    assert_eq!(none.unwrap_err(), Error::NothingToUnpack);
    drop((lane, write));
    let mut found = [1; 100];
    destination.read(0, 100).unwrap().copy_to(0, &mut found);
    assert_eq!(found, [0; 100], "nothing was started");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Any list, in any mode, has the effect of copying its fragments one after another.
    ///
    /// Lists hold up to 300 KB: more than the pieces of the scratch hold at a time.
    #[test]
    fn unpack_does_what_copying_in_order_does(
        lists in prop::collection::vec(fragments(), 1..4),
        mode in prop_oneof![Just(UnpackMode::Kernel), Just(UnpackMode::Copy), Just(UnpackMode::Host)],
        // Destinations are smaller than the cache, or large enough to be streamed to.
        buffer_bytes in prop_oneof![Just(AREA), Just(20 << 20)],
    ) {
        let mut lane = lane(0, 0);
        let source = Buffer::host(AREA).unwrap();
        source.fill(PATTERN, 0, AREA).unwrap();
        let mut from = vec![0; AREA as usize];
        PATTERN.fill(0, &mut from);
        let mut expected = vec![0; AREA as usize];
        let destination = Buffer::host(buffer_bytes).unwrap();
        let (read, write) = (source.read(0, AREA).unwrap(), destination.write(0, AREA).unwrap());
        let mut done = None;
        for list in lists {
            for f in &list {
                let (from_at, to_at) = (f.source_offset as usize, f.destination_offset as usize);
                let n = f.bytes as usize;
                expected[to_at..to_at + n].copy_from_slice(&from[from_at..from_at + n]);
            }
            done = Some(lane.unpack_fragments(&read, &list, &write, mode).unwrap());
        }
        prop_assert!(done.unwrap().wait(soon()).unwrap());
        drop(write);
        let mut found = vec![0; AREA as usize];
        destination.read(0, AREA).unwrap().copy_to(0, &mut found);
        prop_assert!(found == expected);
    }
}

const AREA: u64 = 1 << 20;

/// Generates random places and lengths, or pieces that follow one another as in a landed chunk.
fn fragments() -> impl Strategy<Value = Vec<Fragment>> {
    let anywhere = (0..AREA, 0..AREA, prop_oneof![Just(0), 1..100u64, 1..40_000u64, 1..300_000u64]).prop_map(
        |(source_offset, destination_offset, bytes)| {
            let bytes = bytes.min(AREA - source_offset).min(AREA - destination_offset);
            Fragment { source_offset, bytes, destination_offset }
        },
    );
    let scattered = prop::collection::vec(anywhere, 0..60);
    let in_a_row = (prop::collection::vec(0..9000u64, 0..100), prop_oneof![Just(0), 0..1000u64]).prop_map(
        |(lengths, start)| {
            let mut at = start;
            let mut list: Vec<_> = lengths
                .into_iter()
                .map(|bytes| {
                    let here = at;
                    at += bytes;
                    Fragment { source_offset: AREA - at, bytes, destination_offset: here }
                })
                .collect();
            list.retain(|f| f.source_offset <= AREA && f.destination_offset + f.bytes <= AREA);
            list
        },
    );
    prop_oneof![scattered, in_a_row]
}
