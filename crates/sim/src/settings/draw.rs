//! The draw of all settings from a seed.

use gputcp_proto::{
    connection::{self, SocketError},
    frame::Control,
};

use super::{Ending, Item, Plan, Settings, TIMEOUT};
use crate::faults::{Act, Fault, GOODBYE, Party, Role, Tamper, WireFault, WireName};

pub(super) fn settings(seed: u64) -> Settings {
    let rng = &mut fastrand::Rng::with_seed(seed ^ 0x5e77_1965);
    let streams = rng.usize(1..=5);
    let segment_bytes = if rng.bool() { 4096 } else { rng.u64(4096..=16384) };
    let max_receives = if one_in(rng, 4) { rng.u16(2..=8) } else { 1 };
    let inline_bytes = match rng.u8(0..4) {
        0 => 0,
        1 => rng.u64(4096..=24576),
        _ => rng.u64(1..=2048),
    };
    let slots = if rng.bool() { rng.usize(1..=32) } else { rng.usize(1..=4) };
    let groups = usize::from(max_receives);
    let connection = connection::Settings {
        depth: slots * groups,
        peer_depth: rng.usize(1..=32) * groups,
        streams,
        segment_bytes,
        piece_bytes: if rng.bool() { 4096 } else { rng.u64(4096..=segment_bytes) },
        inline_bytes,
        eager_places: if groups > 1 { 0 } else { [0, 1, 3, 8][rng.usize(0..4)] },
        eager_bytes: inline_bytes,
        max_receives,
        buffers: (!one_in(rng, 4)).then(|| rng.usize(1..=4)),
        timeout: TIMEOUT,
    };
    let has_device = connection.buffers.is_some();
    let count = if one_in(rng, 3) { rng.usize(1..=40) } else { rng.usize(1..=12) };
    let receives = receives(rng, count, groups, segment_bytes, has_device);
    let sends = sends(rng, &receives, has_device);
    let users = [plan(rng, sends.len()), plan(rng, receives.len())];
    let bytes = sends.iter().map(|send| send.bytes).sum();
    let speeds = [1, 3, 10, 100];
    let kind = rng.u8(0..8);
    let mut settings = Settings {
        seed,
        connection,
        sends,
        receives,
        users,
        ns_per_byte: (0..streams).map(|_| speeds[rng.usize(0..speeds.len())]).collect(),
        control_ns_per_byte: speeds[rng.usize(0..speeds.len())],
        latency_ns: 10u64.pow(rng.u32(2..7)),
        socket_buffer_bytes: 1 << rng.u32(6..=16),
        short_io: !one_in(rng, 4),
        lane_ns_max: 10u64.pow(rng.u32(2..7)),
        write_ns_max: if rng.bool() { 0 } else { 10u64.pow(rng.u32(3..7)) },
        is_pool: rng.bool(),
        faults: vec![],
        tamper: None,
        flaw: None,
    };
    // Three in eight runs must complete, whatever is late; the others face all that can happen.
    for _ in 0..rng.usize(0..=6) {
        let fault = if kind < 3 { delay(rng, streams, bytes) } else { fault(rng, streams, bytes) };
        settings.faults.push(fault);
    }
    if one_in(rng, 8) {
        // So slow that a window of short messages takes longer than the timeout.
        let Settings { connection, control_ns_per_byte, socket_buffer_bytes, .. } = &mut settings;
        connection.inline_bytes = connection.inline_bytes.min(4096);
        connection.eager_bytes = connection.inline_bytes;
        *control_ns_per_byte = 20_000;
        *socket_buffer_bytes = (*socket_buffer_bytes).min(2048);
    }
    if settings.connection.inline_bytes >= 4096 {
        // A ping waits behind a short message: a long one must not take the timeout.
        settings.socket_buffer_bytes = settings.socket_buffer_bytes.max(512);
    }
    if kind < 3 || rng.bool() {
        complete(&mut settings);
    }
    if kind >= 6 {
        settings.tamper = Some(tamper(rng, streams));
    }
    settings
}

/// Has both users do everything.
fn complete(settings: &mut Settings) {
    for (user, posts) in settings.users.iter_mut().zip([settings.sends.len(), settings.receives.len()]) {
        (user.posts, user.ending) = (posts, Ending::InOrder);
    }
}

/// Draws receives: groups that fill the window's places, of random tags.
fn receives(
    rng: &mut fastrand::Rng,
    count: usize,
    most: usize,
    segment: u64,
    has_device: bool,
) -> Vec<Vec<Item>> {
    let item = |rng: &mut fastrand::Rng| Item {
        bytes: message_bytes(rng, segment),
        on_device: has_device && rng.bool(),
        is_prompt: rng.u8(..4) == 0,
        tag: if most > 1 { rng.i32(-2..=2) } else { 0 },
    };
    (0..count).map(|_| (0..rng.usize(1..=most)).map(|_| item(rng)).collect()).collect()
}

/// Draws a message for each receive: in the order of the groups, and in any order within one.
fn sends(rng: &mut fastrand::Rng, receives: &[Vec<Item>], has_device: bool) -> Vec<Item> {
    let mut sends: Vec<Item> = vec![];
    for group in receives {
        let first = sends.len();
        sends.extend(group);
        rng.shuffle(&mut sends[first..]);
        // Of two messages of a tag, the first meets the first receive: its length has to fit that.
        let mut is_met = vec![false; group.len()];
        for send in &mut sends[first..] {
            let at = (0..group.len()).find(|&at| !is_met[at] && group[at].tag == send.tag);
            let at = at.unwrap_or_default();
            is_met[at] = true;
            send.bytes = if one_in(rng, 3) { rng.u64(0..=group[at].bytes) } else { group[at].bytes };
            send.on_device = has_device && rng.bool();
        }
    }
    if one_in(rng, 60) {
        let at = rng.usize(0..sends.len());
        sends[at].bytes += rng.u64(1..=5000);
    }
    sends
}

fn plan(rng: &mut fastrand::Rng, posts: usize) -> Plan {
    let ending = match rng.u8(0..12) {
        0 => Ending::Open,
        1 => Ending::Drop,
        _ => Ending::InOrder,
    };
    let pause = |rng: &mut fastrand::Rng| (rng.usize(0..=posts), rng.u64(0..3 * TIMEOUT.as_nanos() as u64));
    Plan {
        posts: if one_in(rng, 3) { rng.usize(0..=posts) } else { posts },
        ending,
        any_order: rng.bool(),
        polls: rng.bool(),
        think_ns_max: 10u64.pow(rng.u32(1..7)),
        pause: one_in(rng, 4).then(|| pause(rng)),
    }
}

/// Draws a mishap that an honest end survives.
fn delay(rng: &mut fastrand::Rng, streams: usize, bytes: u64) -> Fault {
    let ns = rng.u64(0..TIMEOUT.as_nanos() as u64 / 32);
    match rng.u8(0..3) {
        0 => Fault::Sleep { party: end(rng), role: role(rng, streams), after: rng.u32(0..60), ns },
        _ => {
            let name = wire(rng, streams);
            Fault::Wire { name, at: place(rng, streams, bytes), kind: WireFault::Delay(ns) }
        }
    }
}

fn fault(rng: &mut fastrand::Rng, streams: usize, bytes: u64) -> Fault {
    let kind = match rng.u8(0..24) {
        0..12 => return delay(rng, streams, bytes),
        12..14 => {
            let ns = TIMEOUT.as_nanos() as u64 * rng.u64(2..6);
            return Fault::Sleep { party: end(rng), role: role(rng, streams), after: rng.u32(0..60), ns };
        }
        14 => return Fault::Lane { party: end(rng), after: rng.u32(0..30) },
        15 => return Fault::Cancel { party: end(rng), at: 10u64.pow(rng.u32(2..9)) + rng.u64(0..10_000) },
        16..18 => {
            let errors =
                [SocketError::Closed, SocketError::Closed, SocketError::TimedOut, SocketError::System(5)];
            WireFault::Cut(errors[rng.usize(0..errors.len())])
        }
        18..20 => WireFault::Eof,
        20..22 => WireFault::Stall,
        _ => WireFault::Flip(1 << rng.u8(0..8)),
    };
    Fault::Wire { name: wire(rng, streams), at: place(rng, streams, bytes), kind }
}

/// Draws the change of a frame.
fn tamper(rng: &mut fastrand::Rng, streams: usize) -> Tamper {
    let wire = match rng.u8(0..3) {
        0 => WireName::Up,
        1 => WireName::Down,
        _ => WireName::Data(rng.usize(0..streams)),
    };
    let act = match rng.u8(0..12) {
        0 => Act::Drop,
        1 => Act::Behead,
        2..4 => Act::Duplicate,
        4..6 => Act::Swap,
        6 => Act::Mutate(rng.usize(0..Control::BYTES), 1 << rng.u8(0..8)),
        7..9 => Act::Shift([4, 8, 16, 24][rng.usize(0..4)], [-1, 1, 2, 3, 8, 33, 127][rng.usize(0..7)]),
        9..11 => Act::Inject(rng.u8(..), rng.bool()),
        _ => Act::Flood,
    };
    let frame = match rng.u8(0..4) {
        0 => GOODBYE,
        1 => rng.u32(0..30),
        _ => rng.u32(0..4),
    };
    Tamper { wire, frame, act }
}

fn end(rng: &mut fastrand::Rng) -> Party {
    if rng.bool() { Party::Sender } else { Party::Receiver }
}

fn role(rng: &mut fastrand::Rng, streams: usize) -> Role {
    match rng.u8(0..6) {
        0 => Role::User,
        1 => Role::Control,
        2 => Role::Writer,
        _ => Role::Stream(rng.usize(0..streams)),
    }
}

pub(crate) fn wire(rng: &mut fastrand::Rng, streams: usize) -> WireName {
    match rng.u8(0..10) {
        0..2 => WireName::Up,
        2..5 => WireName::Down,
        _ => WireName::Data(rng.usize(0..streams)),
    }
}

/// Draws a place on a wire. Frames are hit as often as payload.
fn place(rng: &mut fastrand::Rng, streams: usize, bytes: u64) -> u64 {
    let reach = if rng.bool() { 300 } else { bytes / streams as u64 + 300 };
    rng.u64(0..reach)
}

/// Draws a length: empty, short, about a segment, exact segments, or long.
fn message_bytes(rng: &mut fastrand::Rng, segment: u64) -> u64 {
    match rng.u8(0..12) {
        0 => 0,
        1..6 => rng.u64(1..=2048),
        6..8 => rng.u64(segment - 1..=segment + 1),
        8..11 => rng.u64(1..=3) * segment,
        _ => rng.u64(1..=6 * segment),
    }
}

fn one_in(rng: &mut fastrand::Rng, count: u8) -> bool {
    rng.u8(0..count) == 0
}
