//! Pipelines over a socket pair and the software GPU's memory, whose lanes finish late.

use std::thread;

use gputcp_gpu::{Buffer, Pattern, SoftOptions};
use socket2::{Domain, Type};

use super::*;
use crate::settings::{
    Memory, Unpack, asked::MeasureArgs, environment::Environment, request::MeasureRequest,
};

const SLICE: u64 = 8 << 10;
const PATTERN: Pattern = Pattern { seed: 5, iteration: 6 };

fn spec(unpack: UnpackMode, slots: usize, lateness: Duration) -> PipelineSpec {
    let device = Device::soft(SoftOptions { lateness, seed: 7, ..SoftOptions::default() });
    let ring = LaneSpec { slots, slab_bytes: SLICE };
    PipelineSpec { device, ring, step_bytes: SLICE / 4, unpack, stall_timeout: Duration::from_secs(20) }
}

fn settings(memory: Memory, args: MeasureArgs) -> Settings {
    Settings { memory, ..MeasureRequest::new(args, &Environment::default()).unwrap().settings }
}

/// Sends a claim through one pipeline and receives it through another, each with a thread.
fn through(spec: &PipelineSpec, source: &ReadClaim, destination: &WriteClaim) {
    let (near, far) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
    let mut pipelines = [Pipeline::new(spec).unwrap(), Pipeline::new(spec).unwrap()];
    let [sender, receiver] = &mut pipelines;
    thread::scope(|scope| {
        let sending = scope.spawn(move || sender.send(&near, source));
        receiver.receive(&far, destination).unwrap();
        sending.join().unwrap().unwrap();
    });
}

#[test]
fn bytes_arrive_whatever_their_length_place_mode_and_ring() {
    let buffer = |bytes| Device::soft(SoftOptions::default()).allocate(bytes).unwrap();
    for (bytes, at, unpack, slots) in [
        (1, 0, UnpackMode::Kernel, 1),
        (SLICE, 3, UnpackMode::Copy, 1),
        (SLICE + 1, 0, UnpackMode::Host, 2),
        (20 * SLICE - 1, 17, UnpackMode::Kernel, 4),
        (33 * SLICE, 4096, UnpackMode::Host, 16),
    ] {
        let (source, destination) = (buffer(bytes + at), buffer(bytes + at + 1));
        source.fill(PATTERN, at, bytes).unwrap();
        through(
            &spec(unpack, slots, Duration::from_micros(300)),
            &source.read(at, bytes).unwrap(),
            &destination.write(at, bytes).unwrap(),
        );
        assert_eq!(destination.verify(PATTERN, at, bytes), Ok(Ok(())), "{bytes} {unpack} {slots}");
        // Nothing around them was touched.
        let mut after = [9];
        destination.host_view().unwrap().read(at + bytes, 1).unwrap().copy_to(0, &mut after);
        assert_eq!(after, [0]);
    }
}

#[test]
fn a_message_without_an_end_is_the_sockets_failure() {
    let (near, far) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
    let spec = spec(UnpackMode::Kernel, 2, Duration::ZERO);
    let (mut sender, mut receiver) = (Pipeline::new(&spec).unwrap(), Pipeline::new(&spec).unwrap());
    let buffer = |bytes: u64| -> Buffer { spec.device.allocate(bytes).unwrap() };
    sender.send(&near, &buffer(3 * SLICE).read(0, 3 * SLICE).unwrap()).unwrap();
    drop(near);
    let all = buffer(4 * SLICE).write(0, 4 * SLICE).unwrap();
    let Err(Broken::Socket(error)) = receiver.receive(&far, &all) else { panic!("a slice is missing") };
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn slices_and_rings_are_the_engines() {
    let of = |memory: Memory, chunk_bytes: u64, segment_bytes: u32| {
        let settings = Settings { chunk_bytes, ..settings(memory, MeasureArgs::default()) };
        let device = Some(Device::soft(SoftOptions::default()));
        let options = Options::default().with_device(device).tuned(|tuning| {
            tuning.segment_bytes = segment_bytes;
            tuning.piece_bytes = 128 << 10;
            tuning.slabs = 3;
        });
        let spec = PipelineSpec::of(&settings, &options)?;
        assert_eq!(spec.ring.slots, 3);
        Some((spec.ring.slab_bytes, spec.step_bytes, spec.longest_bytes()))
    };
    assert_eq!(of(Memory::Cuda, 1 << 20, 300 << 10), Some((300 << 10, 150 << 10, (300 << 10) * 4096)));
    assert_eq!(of(Memory::Cuda, 64 << 10, 256 << 10), Some((64 << 10, 64 << 10, (64 << 10) * 4096)));
    assert_eq!(of(Memory::Cuda, 64 << 20, 4 << 10), Some((4 << 10, 4 << 10, (4 << 10) * 4096)));
    assert_eq!(of(Memory::Soft, 1 << 20, 256 << 10), None);
}

#[test]
fn slices_are_short_at_both_ends_and_long_between() {
    let pipeline = Pipeline::new(&spec(UnpackMode::Kernel, 4, Duration::ZERO)).unwrap();
    let lengths = |bytes| {
        let (mut slices, _) = pipeline.slices(bytes);
        std::iter::from_fn(|| next(&mut slices)).map(|slice| slice.bytes()).collect::<Vec<_>>()
    };
    assert_eq!(lengths(5), [5]);
    let all = lengths(10 * SLICE + 3);
    assert_eq!(all[..4], [SLICE / 4, SLICE / 4, SLICE / 2, SLICE]);
    assert_eq!(all.last(), Some(&3));
    assert_eq!(all.iter().sum::<u64>(), 10 * SLICE + 3);
}

#[test]
fn host_memory_and_round_trips_have_no_pipeline() {
    let of = |memory, args| {
        let options = Options::default().with_device(Device::soft(SoftOptions::default()));
        let without = options.clone().with_device(None);
        let settings = settings(memory, args);
        (PipelineSpec::of(&settings, &options).is_some(), PipelineSpec::of(&settings, &without).is_some())
    };
    assert_eq!(of(Memory::Cuda, MeasureArgs::default()), (true, false));
    assert_eq!(
        of(Memory::Cuda, MeasureArgs { unpack: Some(Unpack::None), ..Default::default() }),
        (true, false)
    );
    assert_eq!(of(Memory::Cuda, MeasureArgs { latency: true, ..Default::default() }), (false, false));
    assert_eq!(of(Memory::Cuda, MeasureArgs { no_ceiling: true, ..Default::default() }), (false, false));
    assert_eq!(of(Memory::Soft, MeasureArgs::default()), (false, false));
}

#[test]
fn a_pipelines_rings_count_as_memory() {
    let rings = |args: MeasureArgs| {
        let of = |ceiling| Settings { ceiling, ..settings(Memory::Cuda, args.clone()) }.ring_bytes();
        (of(true), of(false))
    };
    let (with, without) = rings(MeasureArgs { bidir: true, ..Default::default() });
    assert_eq!(with, 2 * without);
    let (with, without) = rings(MeasureArgs { latency: true, ..Default::default() });
    assert_eq!(with, without);
}
