//! Segments go to the idle socket that holds the least: a slow stream carries less.
//!
//! This holds as long as the rest of the window takes longer than the bytes that the slow stream holds.

use gputcp_sim::{Report, Settings, run};

const MESSAGES: usize = 200;
const MESSAGE: u64 = 64 << 10;
const SEGMENT: usize = 4096;

/// Runs 200 messages of 64 KiB over four streams; the first is `slower` times slower than the others.
fn over_four_streams(seed: u64, slower: u64, socket_buffer_bytes: usize) -> Report {
    let mut settings = Settings::plain(seed, 4, &[MESSAGE; MESSAGES]);
    settings.ns_per_byte[0] = slower;
    settings.socket_buffer_bytes = socket_buffer_bytes;
    settings.sends.iter_mut().for_each(|send| send.on_device = false);
    let report = run(&settings);
    report.check(&settings).unwrap();
    report
}

#[test]
fn equal_streams_carry_equal_shares() {
    for seed in 0..5 {
        let segments = over_four_streams(seed, 1, 8 * SEGMENT).receiver.segments;
        assert_eq!(segments.iter().sum::<u64>(), MESSAGES as u64 * MESSAGE / SEGMENT as u64);
        let fair = segments.iter().sum::<u64>() / 4;
        assert!(segments.iter().all(|&share| share.abs_diff(fair) < fair / 10), "{segments:?}");
    }
}

#[test]
fn a_slow_stream_carries_its_share_of_the_window() {
    for seed in 0..5 {
        let even = over_four_streams(seed, 1, 8 * SEGMENT);
        let slow = over_four_streams(seed, 10, 8 * SEGMENT);
        let segments = &slow.receiver.segments;
        // Three streams and a tenth of one: by its speed, the slow one carries 1 in 31. It holds more of the
        // window than that, and holds it for longer: it carries 1 in 16.
        let all: u64 = segments.iter().sum();
        assert!((all / 31..all / 14).contains(&segments[0]), "{segments:?}");
        // Dealt in turn, a quarter would go over the slow stream, and all would take ten times as long. The
        // three others and a tenth take 40/31; with 1 in 16 on the slow one it is 7/4.
        let (even_ns, slow_ns) = (even.virtual_ns, slow.virtual_ns);
        assert!(slow_ns < even_ns * 2, "{slow_ns} ns with a slow stream, {even_ns} ns without");
    }
}

#[test]
fn a_slow_stream_that_hoards_does_gate_the_window() {
    // The limit of dealing to idle streams: 32 segments in a socket buffer keep a stream that is ten times
    // slower busy for 1.3 ms. The 16 slots hold 1 MiB, which the others carry in 0.35 ms, and then wait.
    // Hence small socket buffers, or TCP_NOTSENT_LOWAT, where streams differ.
    let small = over_four_streams(1, 10, 4 * SEGMENT).virtual_ns;
    let large = over_four_streams(1, 10, 32 * SEGMENT).virtual_ns;
    assert!(large > small * 3 / 2, "{large} ns with large buffers, {small} ns with small ones");
}
