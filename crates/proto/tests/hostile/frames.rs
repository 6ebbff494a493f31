//! Bytes of every frame there is: decoding gives a violation, or a frame which is encoded to the same bytes.

use gputcp_fuzz::{Counts, Rng, mutate, near, run};
use gputcp_proto::{
    frame::{Announce, Control, Join, JoinVerdict, Mark, SegmentHeader, Token, Welcome},
    handle::Handle,
    key::Proof,
};

#[test]
fn any_bytes_are_a_frame_or_a_violation() {
    let counts = run("frames", |random, counts| {
        for _ in 0..64 {
            one(random, counts);
        }
    });
    assert!(counts.of("frames") > 0 && counts.of("frames refused") > 0);
}

fn one(random: &mut Rng, counts: &mut Counts) {
    match random.u8(0..5) {
        0 => {
            let control = control(random);
            check(random, counts, control.encode(), Control::decode, |frame| frame.encode());
        }
        1 => {
            let header = SegmentHeader {
                seq: near(random, 5),
                offset: near(random, 4096),
                total: near(random, 1 << 20),
                bytes: near(random, 4096) as u32,
            };
            check(random, counts, header.encode(), SegmentHeader::decode, |frame| frame.encode());
        }
        2 => {
            let join = join(random);
            check(random, counts, join.encode(), Join::decode, |frame| frame.encode());
            let start = *join.encode().first_chunk().expect("a join is longer");
            let mut start: [u8; 8] = start;
            mutate(random, &mut start);
            let _ = Join::check_start(&start);
        }
        3 => {
            let welcome = Welcome {
                verdict: JoinVerdict::Accepted,
                slots: random.u16(1..=32),
                inline_bytes: random.u32(0..=256 << 10),
                eager_places: random.u16(0..=8),
                max_receives: random.u16(1..=8),
                proof: Proof([random.u8(..); Proof::BYTES]),
            };
            check(random, counts, welcome.encode(), Welcome::decode, |frame| frame.encode());
        }
        _ => {
            let address = if random.bool() { "127.0.0.1:9" } else { "[fe80::1%3]:9" };
            let mut handle = Handle::at(address.parse().expect("an address"), Token([3; 16]));
            for other in handle.others.iter_mut().take(random.usize(0..=3)) {
                *other = Some(handle.address);
            }
            check(random, counts, handle.encode(), Handle::decode, Handle::encode);
        }
    }
}

/// Decodes the bytes as they are, changed, or replaced.
fn check<const N: usize, F: std::fmt::Debug, E: std::fmt::Debug>(
    random: &mut Rng,
    counts: &mut Counts,
    mut bytes: [u8; N],
    decode: impl Fn(&[u8; N]) -> Result<F, E>,
    encode: impl Fn(&F) -> [u8; N],
) {
    decode(&bytes).expect("what is encoded is decoded");
    match random.u8(0..10) {
        0 => random.fill(&mut bytes),
        1 => random.fill(&mut bytes[8..]),
        _ => mutate(random, &mut bytes),
    }
    counts.one("frames");
    match decode(&bytes) {
        Ok(frame) => assert_eq!(encode(&frame), bytes, "{frame:?}"),
        Err(_) => counts.one("frames refused"),
    }
}

fn control(random: &mut Rng) -> Control {
    let seq = random.u64(0..100);
    match random.u8(0..8) {
        6 => Control::Ping,
        7 => Control::Pong,
        0 => Control::Goodbye,
        1 => Control::Want { seq },
        2 => Control::Inline { seq, bytes: random.u32(0..=256 << 10) },
        3 => Control::Abort { bytes: random.u32(0..=512) },
        which => Control::Announce(Announce {
            seq,
            capacity: near(random, 4096),
            inline_bytes: random.u32(0..=256 << 10),
            done: random.u64(0..=seq),
            mark: (which == 4).then(|| Mark { tag: random.i32(..), following: random.u8(..) }),
        }),
    }
}

fn join(random: &mut Rng) -> Join {
    let streams = random.u16(1..=64);
    let segment_bytes = random.u32(4096..=64 << 20);
    Join {
        listen_token: Token([1; 16]),
        comm_token: Token([2; 16]),
        index: random.u16(0..=streams),
        streams,
        slots: random.u16(1..=32),
        segment_bytes,
        piece_bytes: random.u32(4096..=segment_bytes),
        inline_bytes: random.u32(0..=256 << 10),
        eager_places: random.u16(0..=8),
        max_receives: random.u16(1..=8),
        proof: Proof([random.u8(..); Proof::BYTES]),
    }
}
