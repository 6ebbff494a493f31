//! The meaning of a seed: the connection, its messages, all speeds, and the fault.

use crate::faults::Fault;

/// The settings of a run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The seed of every choice made while running.
    pub seed: u64,
    /// 16 or 32: the size of both windows.
    pub slots: usize,
    /// The most sends in flight.
    pub send_depth: usize,
    /// The most receives in flight.
    pub recv_depth: usize,
    /// The segment length.
    pub segment_bytes: u32,
    /// The unit of segments: their lengths are multiples of it.
    pub piece_bytes: u32,
    /// The longest message in a control frame, as the receiver wishes.
    pub inline_bytes: u32,
    /// The number of messages that may come before their receives.
    pub eager_places: usize,
    /// The messages' lengths.
    pub messages: Vec<u64>,
    /// Whether the source is memory that a socket cannot read: staged on a lane.
    pub source_on_device: bool,
    /// Whether the destination is memory that a socket cannot write: received in bounce buffers, unpacked on
    /// a lane.
    pub destination_on_device: bool,
    /// The time that a byte of each data socket takes, in nanoseconds.
    pub ns_per_byte: Vec<u64>,
    /// The time that a byte of the control socket takes, in nanoseconds.
    pub control_ns_per_byte: u64,
    /// The latency that every byte has besides, in nanoseconds.
    pub latency_ns: u64,
    /// The number of bytes that a wire holds before its writer must wait.
    pub socket_buffer_bytes: usize,
    /// Whether sockets take and give less than they could.
    pub short_io: bool,
    /// The longest delay of one piece of work on a lane, in nanoseconds.
    pub lane_ns_max: u64,
    /// The longest time between two posts of a user, in nanoseconds.
    pub think_ns_max: u64,
    /// The stall timeout, in nanoseconds: an end gives up after so long without progress.
    pub timeout_ns: u64,
    /// The fault of the wires.
    pub fault: Option<Fault>,
    /// The defect of the driver or the device, which shows that the checks find it.
    pub flaw: Flaw,
}

/// A defect that the checks must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// None.
    None,
    /// Lanes report work as done when it is launched.
    LyingLanes,
    /// A segment's source is given back before the lane has read it.
    SourceReusedEarly,
    /// The receiver's user looks at a receive first, and later at whether its bytes can still come.
    EndAfterReceive,
}

impl Settings {
    /// Returns the settings that the seed stands for.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let rng = &mut fastrand::Rng::with_seed(seed ^ 0x5e77_1965);
        let slots = if rng.bool() { 16 } else { 32 };
        let streams = rng.usize(1..=5);
        let segment_bytes = if rng.bool() { 4096 } else { rng.u32(4096..=16384) };
        let inline_bytes = if rng.bool() { 0 } else { rng.u32(1..=2048) };
        let messages: Vec<_> =
            (0..rng.usize(1..=60)).map(|_| message_bytes(rng, u64::from(segment_bytes))).collect();
        let bytes = messages.iter().sum();
        let speeds = [1, 3, 10, 100];
        let fault = (rng.u8(0..10) < 4).then(|| Fault::random(rng, streams, bytes));
        Self {
            seed,
            slots,
            send_depth: depth(rng, slots),
            recv_depth: depth(rng, slots),
            segment_bytes,
            piece_bytes: 4096 + seed as u32 % (segment_bytes - 4095),
            inline_bytes,
            eager_places: [0, 1, 3, 8][(seed / 3) as usize % 4],
            messages,
            source_on_device: rng.bool(),
            destination_on_device: rng.u8(0..4) > 0,
            ns_per_byte: (0..streams).map(|_| speeds[rng.usize(0..speeds.len())]).collect(),
            control_ns_per_byte: speeds[rng.usize(0..speeds.len())],
            latency_ns: 10u64.pow(rng.u32(2..7)),
            socket_buffer_bytes: 1 << rng.u32(6..=16),
            short_io: rng.u8(0..4) > 0,
            lane_ns_max: 10u64.pow(rng.u32(2..7)),
            think_ns_max: 10u64.pow(rng.u32(1..7)),
            timeout_ns: SECOND,
            fault,
            flaw: Flaw::None,
        }
    }

    /// Returns a quiet connection with nothing random but the order of threads, for tests that change one
    /// thing.
    #[must_use]
    pub fn plain(seed: u64, streams: usize, messages: Vec<u64>) -> Self {
        Self {
            seed,
            slots: 16,
            send_depth: 16,
            recv_depth: 16,
            segment_bytes: 4096,
            piece_bytes: 4096,
            inline_bytes: 0,
            eager_places: 0,
            messages,
            source_on_device: true,
            destination_on_device: true,
            ns_per_byte: vec![1; streams],
            control_ns_per_byte: 1,
            latency_ns: 10_000,
            socket_buffer_bytes: 65536,
            short_io: false,
            lane_ns_max: 5_000,
            think_ns_max: 10,
            timeout_ns: SECOND,
            fault: None,
            flaw: Flaw::None,
        }
    }

    /// Returns the number of data sockets.
    #[must_use]
    pub const fn streams(&self) -> usize {
        self.ns_per_byte.len()
    }

    /// Returns byte `offset` of message `seq`.
    ///
    /// It differs in every message and at every place, so that no byte can stand for another unnoticed for
    /// long.
    #[must_use]
    pub const fn data(&self, seq: u64, offset: u64) -> u8 {
        let mixed = (self.seed ^ (seq << 32) ^ offset).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 56) as u8
    }
}

/// Longer than anything in a sane run takes: the slowest message needs some 30 ms.
const SECOND: u64 = 1_000_000_000;

fn depth(rng: &mut fastrand::Rng, slots: usize) -> usize {
    if rng.bool() { slots } else { rng.usize(1..=slots) }
}

/// Draws a length: empty, short, about a segment, exact segments, or long.
fn message_bytes(rng: &mut fastrand::Rng, segment: u64) -> u64 {
    match rng.u8(0..10) {
        0 => 0,
        1..4 => rng.u64(1..=2048),
        4..6 => rng.u64(segment - 1..=segment + 1),
        6..8 => rng.u64(1..=4) * segment,
        _ => rng.u64(1..=8 * segment),
    }
}
