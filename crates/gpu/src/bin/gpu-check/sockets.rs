//! Checks of the whole way: GPU → slabs → socket → slabs → GPU, as the transport does it.

use std::{
    collections::VecDeque,
    io::Read,
    os::{fd::AsFd, unix::net::UnixStream},
};

use gputcp_gpu::{Buffer, Lane, LaneSpec, Pattern, UnpackMode, measure};
use gputcp_proto::{
    bounce::{Filled, Filling},
    frame::{Announce, SegmentHeader},
    recv::RecvSide,
    send::{Carrier, SendSide},
    stage::{Staged, Staging},
    window::Window,
};

use crate::{Check, Outcome, Scene, ensure, memory::soon, text, unpacks::MODES};

pub(crate) const CHECKS: &[Check] = &[
    ("a message goes from GPU to GPU through slabs and a socket", transfer),
    ("the same where flags are written by a kernel", transfer_with_kernel_marks),
];

const SEGMENT: u64 = 64 << 10;
const SLOTS: usize = 4;
const SPEC: LaneSpec = LaneSpec { slots: SLOTS, slab_bytes: SEGMENT };

fn transfer(scene: &Scene) -> Outcome {
    let lane = || scene.device.lane(SPEC).map_err(text);
    for round in 0..if scene.quick { 1 } else { 8 } {
        for mode in MODES {
            one_transfer(scene, lane()?, lane()?, mode, round)?;
        }
    }
    Ok(())
}

fn transfer_with_kernel_marks(scene: &Scene) -> Outcome {
    let lane = || measure::lane_with_kernel_marks(&scene.device, SPEC).map_err(text);
    one_transfer(scene, lane()?, lane()?, UnpackMode::Copy, 0)
}

fn one_transfer(
    scene: &Scene,
    mut sender: Lane,
    mut receiver: Lane,
    mode: UnpackMode,
    iteration: u64,
) -> Outcome {
    let bytes = 40 * SEGMENT + 12_345;
    let device = &scene.device;
    let (source, destination) =
        (device.allocate(bytes).map_err(text)?, device.allocate(bytes + 99).map_err(text)?);
    let pattern = Pattern { seed: 3, iteration };
    source.fill(pattern, 0, bytes).map_err(text)?;
    let (tx, rx) = UnixStream::pair().map_err(text)?;
    std::thread::scope(|scope| {
        let (source, destination) = (&source, &destination);
        let sending = scope.spawn(move || send_all(&mut sender, source, &tx));
        let received = recv_all(&mut receiver, destination, 99, bytes, mode, &rx);
        sending.join().map_err(|_| "the sender panicked".to_owned())?.and(received)
    })?;
    let verified = destination.verify(pattern, 99, bytes).map_err(text)?;
    ensure(verified.is_ok(), || format!("{mode}: {verified:?}"))
}

fn send_all(lane: &mut Lane, source: &Buffer, socket: &UnixStream) -> Outcome {
    let claim = source.read(0, source.bytes()).map_err(text)?;
    let mut side = SendSide::<4>::new(4, SEGMENT, 4);
    let slot = side.post(source.bytes(), false).ok_or("no slot")?;
    let announce = Announce { seq: 0, capacity: source.bytes(), inline_bytes: 0, done: 0 };
    side.announced(&announce).map_err(text)?;
    let mut ring = Window::<SLOTS>::new();
    let mut copies = VecDeque::new();
    loop {
        // Several segments ahead of the socket.
        while ring.has_room() {
            let Some(segment) = side.deal(Carrier::Any).map_err(text)? else { break };
            let slab = ring.issue().ok_or("no slab")?;
            copies.push_back(Staging::start(slab, segment, &mut lane.stage_from(&claim)).map_err(text)?);
        }
        let Some(staging) = copies.pop_front() else { break };
        ensure(staging.completion().wait(soon()).map_err(text)?, || "a copy did not finish".to_owned())?;
        let mut staged: Staged =
            staging.poll().map_err(text)?.map_err(|_| "a point was reached and is not done")?;
        let header = staged.segment().header().encode();
        let mut header = &header[..];
        let (slab, segment) = loop {
            let taken = lane.send(&staged, header, socket.as_fd()).map_err(text)?;
            let of_header = taken.min(header.len());
            header = &header[of_header..];
            match staged.written((taken - of_header) as u64) {
                Ok(done) => break done,
                Err(again) => staged = again,
            }
        };
        ring.release(slab);
        side.written(segment);
    }
    side.finish(slot).map(drop).map_err(|_| "bytes are left".to_owned())
}

fn recv_all(
    lane: &mut Lane,
    destination: &Buffer,
    at: u64,
    bytes: u64,
    mode: UnpackMode,
    mut socket: &UnixStream,
) -> Outcome {
    let claim = destination.write(at, bytes).map_err(text)?;
    let mut side = RecvSide::<4>::new(4, SEGMENT, 0);
    let (slot, _) = side.post(bytes, false).ok_or("no slot")?;
    let mut ring = Window::<SLOTS>::new();
    let mut pending = VecDeque::new();
    let mut arrived = 0;
    loop {
        while arrived < bytes {
            let Some(slab) = ring.issue() else { break };
            let mut header = [0; SegmentHeader::BYTES];
            socket.read_exact(&mut header).map_err(text)?;
            let landing = side.begin(&SegmentHeader::decode(&header).map_err(text)?).map_err(text)?;
            arrived += landing.bytes();
            let filled = fill(lane, Filling::new(slab, landing), socket)?;
            pending.push_back(filled.unpack(&mut lane.unpack_into(&claim, mode)).map_err(text)?);
        }
        let Some(unpacking) = pending.pop_front() else { break };
        ensure(unpacking.completion().wait(soon()).map_err(text)?, || "an unpack did not finish".to_owned())?;
        let (slab, placed) =
            unpacking.poll().map_err(text)?.map_err(|_| "a point was reached and is not done")?;
        ring.release(slab);
        side.place(placed);
    }
    side.finish(slot).map(drop).map_err(|_| "bytes are missing".to_owned())
}

fn fill(lane: &mut Lane, mut filling: Filling, socket: &UnixStream) -> Result<Filled, String> {
    loop {
        let got = lane.recv(&filling, socket.as_fd()).map_err(text)?;
        ensure(got > 0, || "the peer closed early".to_owned())?;
        match filling.advance(got as u64) {
            Ok(filled) => return Ok(filled),
            Err(again) => filling = again,
        }
    }
}
