//! Messages of random sizes at random offsets, over connections of random settings, until the time is up.
//! Every byte is verified where it arrived, and the bytes around each message must stay as they were.
//!
//! It runs two seconds on the software GPU by default. `GPUTCP_SOAK_SECONDS` sets the time.
//! `GPUTCP_SOAK_MEMORY=cuda` takes GPU 0 and the last one. `GPUTCP_SOAK_SEED` repeats a run.

mod common;

use std::{
    env, process,
    time::{Duration, Instant},
};

use common::{TIMEOUT, close, move_at_and_verify, options, pair_of};
use gputcp::transfer::Plan;
use gputcp_gpu::{Buffer, Device, SoftOptions, UnpackMode};

#[test]
fn random_messages_over_random_connections_arrive_whole() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let time = Duration::from_secs(number("GPUTCP_SOAK_SECONDS").unwrap_or(2));
    let seed = number("GPUTCP_SOAK_SEED").unwrap_or_else(|| u64::from(process::id()));
    let cuda = env::var("GPUTCP_SOAK_MEMORY").is_ok_and(|memory| memory == "cuda");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut soak = Soak { from: device(cuda, false), to: device(cuda, true), bytes: 0, messages: 0 };
    let began = Instant::now();
    let mut said = began;
    let mut connections = 0;
    while began.elapsed() < time {
        eprint_on_failure(seed, connections, || soak.connection(&mut random));
        connections += 1;
        if said.elapsed() > Duration::from_secs(10) {
            said = Instant::now();
            eprintln!("{:4} s: {}", began.elapsed().as_secs(), soak.line(connections));
        }
    }
    println!("seed {seed}: {}", soak.line(connections));
    assert!(connections > 0);
}

/// The two devices, and the bytes and messages moved between them.
struct Soak {
    from: Device,
    to: Device,
    bytes: u64,
    messages: u64,
}

impl Soak {
    /// Makes a connection of random settings, and moves a few messages over it.
    fn connection(&mut self, random: &mut fastrand::Rng) {
        let unpack = random.choice([UnpackMode::Kernel, UnpackMode::Copy, UnpackMode::Host]).unwrap();
        let base = options(random.u16(1..=8)).tuned(|tuning| {
            tuning.slots = random.u16(1..=32);
            tuning.segment_bytes = 4096 << random.u32(0..=9);
            tuning.inline_bytes = random.u32(0..=64 << 10);
            tuning.slabs = random.u16(1..=8);
        });
        let odd = random.u32(0..4096) * u32::from(random.bool());
        let segment_bytes = base.tuning.segment_bytes + odd;
        let piece_bytes = random.u32(4096..=2 * segment_bytes);
        let base = base.tuned(|tuning| {
            tuning.segment_bytes = segment_bytes;
            tuning.piece_bytes = piece_bytes;
        });
        let send = base.clone().with_device(self.from.clone());
        let recv = base
            .with_device(self.to.clone())
            .with_unpack(unpack)
            .tuned(|tuning| tuning.slots = random.u16(1..=32));
        let on_host = random.u8(0..6);
        let room = 1 << random.u32(12..=25);
        let buffer = |device: &Device, host| {
            if host { Buffer::host(room).unwrap() } else { device.allocate(room).unwrap() }
        };
        let (from, to) = (buffer(&self.from, on_host == 0), buffer(&self.to, on_host == 1));
        let chunk_bytes = (1 << random.u32(8..=22)) + random.u64(0..9);
        let plan = |window| Plan { chunk_bytes, window, timeout: TIMEOUT };
        let plans = (plan(usize::from(send.tuning.slots)), plan(usize::from(recv.tuning.slots)));
        let (sender, receiver) = pair_of(send, &recv);
        let (mut sends, mut recvs) = (vec![sender], vec![receiver]);
        let messages: Vec<_> = (0..random.usize(1..20)).map(|_| message(random, room, chunk_bytes)).collect();
        let moved = move_at_and_verify(&mut sends, &mut recvs, (&from, &to), plans, &messages).unwrap();
        assert_eq!(moved.bytes, messages.iter().map(|message| message.2).sum::<u64>());
        close(sends, recvs);
        self.bytes += moved.bytes;
        self.messages += messages.len() as u64;
    }

    fn line(&self, connections: u64) -> String {
        let Self { bytes, messages, .. } = self;
        format!("{connections} connections, {messages} messages, {bytes} bytes, none of them wrong")
    }
}

/// Returns a message's start in the source and in the destination, and its length; at most 2000 chunks of it.
fn message(random: &mut fastrand::Rng, room: u64, chunk_bytes: u64) -> (u64, u64, u64) {
    let bytes = match random.u8(0..4) {
        0 => random.u64(0..=64.min(room)),
        1 => random.u64(0..=(64 << 10).min(room)),
        _ => random.u64(0..=room),
    };
    let bytes = bytes.min(2000 * chunk_bytes);
    (random.u64(0..=room - bytes), random.u64(0..=room - bytes), bytes)
}

fn device(cuda: bool, last: bool) -> Device {
    if !cuda {
        return Device::soft(SoftOptions { lateness: Duration::from_micros(50), ..SoftOptions::default() });
    }
    let index = if last { Device::count() - 1 } else { 0 };
    Device::cuda(&index.to_string()).unwrap()
}

/// Runs a connection. At a panic, prints how to repeat it.
fn eprint_on_failure(seed: u64, connection: u64, run: impl FnOnce()) {
    struct Say(u64, u64);
    impl Drop for Say {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("in connection {} of the run with GPUTCP_SOAK_SEED={}", self.1, self.0);
            }
        }
    }
    let _say = Say(seed, connection);
    run();
}
