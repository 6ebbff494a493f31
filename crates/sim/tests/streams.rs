//! Segments go to any idle socket: a slow stream carries less and delays no other.
//!
//! This holds as long as the rest of the window takes longer than the bytes that the slow stream holds.

use gputcp_sim::{Report, Settings, run};

const MESSAGES: usize = 200;
const MESSAGE: u64 = 64 << 10;
const SEGMENT: usize = 4096;

/// Runs 200 messages of 64 KiB over four streams; the first is `slower` times slower than the others.
fn over_four_streams(seed: u64, slower: u64, socket_buffer_bytes: usize) -> Report {
    let mut settings = Settings::plain(seed, 4, vec![MESSAGE; MESSAGES]);
    settings.ns_per_byte[0] = slower;
    settings.socket_buffer_bytes = socket_buffer_bytes;
    settings.source_on_device = false;
    let report = run(&settings);
    report.check(&settings).unwrap();
    let segments: u64 = report.segments_received.iter().sum();
    assert_eq!(segments, MESSAGES as u64 * MESSAGE / SEGMENT as u64);
    report
}

#[test]
fn equal_streams_carry_equal_shares() {
    for seed in 0..5 {
        let segments = over_four_streams(seed, 1, 8 * SEGMENT).segments_received;
        let fair = segments.iter().sum::<u64>() / 4;
        assert!(segments.iter().all(|&share| share.abs_diff(fair) < fair / 10), "{segments:?}");
    }
}

#[test]
fn a_slow_stream_carries_its_share_and_gates_nobody() {
    for seed in 0..5 {
        let even = over_four_streams(seed, 1, 8 * SEGMENT);
        let slow = over_four_streams(seed, 10, 8 * SEGMENT);
        // Three streams and a tenth of one: the share of the slow one is 1 in 31.
        let all: u64 = slow.segments_received.iter().sum();
        let share = slow.segments_received[0];
        assert!((all / 40..all / 25).contains(&share), "{:?}", slow.segments_received);
        // Dealt in turn, a quarter would go over the slow stream, and all would take ten times as long. The
        // three others and a tenth take 40/31.
        let (even_ns, slow_ns) = (even.virtual_ns, slow.virtual_ns);
        assert!(slow_ns < even_ns * 3 / 2, "{slow_ns} ns with a slow stream, {even_ns} ns without");
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
