//! Thousands of worlds, each from its seed.
//!
//! `GPUTCP_SIM_SEEDS=N` runs N of them. A failure prints the command that replays it.

use gputcp_proto::connection::Failure;
use gputcp_sim::{Outcome, Report, Settings, run, run_seed, seeds::sweep};

/// The number of seeds that run by default: half a minute's worth on two cores, at most.
const SEEDS: u64 = 20_000;

/// Returns how a run ended, in a few words.
fn name(settings: &Settings, report: &Report) -> String {
    let cause = match (report.tampered, report.flipped, report.stalled, report.wire_hit) {
        (true, ..) => "tampered",
        (_, true, ..) => "flip",
        (_, _, true, _) => "stall",
        (_, _, _, true) => "cut",
        _ if report.slept => "sleep",
        _ if settings.users_agree() => "quiet",
        _ => "users",
    };
    let end = match (&report.receiver.outcome, &report.receiver.failure) {
        (Some(Outcome::Complete), _) => "complete",
        (Some(Outcome::WrongData { .. }), _) => "wrong data",
        (Some(Outcome::PeerClosed), _) => "peer closed",
        (_, Some(Failure::Violation(_))) => "violation",
        (_, Some(Failure::TooLong(_))) => "too long",
        (_, Some(Failure::Silent | Failure::Stalled | Failure::TimedOut)) => "timed out",
        (_, Some(Failure::Local)) => "given up",
        _ => "told by a socket or the peer",
    };
    format!("{cause}: {end}")
}

#[test]
fn every_seed_ends_as_it_must() {
    let seeds =
        std::env::var("GPUTCP_SIM_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("a number of seeds"));
    let result = sweep(0..seeds, 1, Settings::from_seed, name);
    if let Some((seed, what)) = result.failures.first_key_value() {
        panic!("seed {seed}: {what}\nagain: cargo run -p gputcp-sim -- --seed {seed}");
    }
    println!("{seeds} seeds: {:#?}", result.outcomes);
    if seeds >= SEEDS {
        // Seeds in which nothing goes wrong, or nothing is noticed, would prove little.
        for kind in [
            "quiet: complete",
            "users: complete",
            "users: peer closed",
            "users: given up",
            "users: too long",
            "flip: violation",
            "flip: wrong data",
            "stall: timed out",
            "cut: told by a socket or the peer",
            "tampered: violation",
            "tampered: complete",
        ] {
            assert!(
                result.outcomes.contains_key(kind),
                "no seed ended with {kind:?}: {:#?}",
                result.outcomes
            );
        }
    }
}

#[test]
fn a_seed_is_a_run() {
    let mut traces = vec![];
    for seed in 0..20 {
        let first = run_seed(seed);
        assert_eq!(first, run_seed(seed), "seed {seed} goes the same way twice");
        traces.push(first.trace);
    }
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len(), 20, "another seed goes another way");
}

#[test]
fn short_messages_come_before_their_receives_and_long_ones_among_them_are_asked_for() {
    let mut early = 0;
    for seed in 0..60 {
        let messages: Vec<_> =
            (0..120u64).map(|at| if (at * 7 + seed) % 9 == 0 { 5000 } else { at % 300 }).collect();
        let mut settings = Settings::plain(seed, 2, &messages);
        settings.sends.iter_mut().for_each(|send| send.on_device = false);
        settings.receives.iter_mut().flatten().for_each(|receive| receive.on_device = false);
        settings.connection.inline_bytes = 256;
        settings.connection.eager_bytes = 256;
        settings.connection.eager_places = 1 + seed as usize % 8;
        settings.short_io = seed % 2 == 0;
        settings.latency_ns = 10u64.pow(2 + seed as u32 % 4);
        settings.users.iter_mut().for_each(|user| user.think_ns_max = 10u64.pow(1 + seed as u32 % 5));
        settings.users[1].think_ns_max *= 3;
        let report = run(&settings);
        report.check(&settings).unwrap_or_else(|what| panic!("seed {seed}: {what}\n{report:?}"));
        assert_eq!(report.receiver.outcome, Some(Outcome::Complete), "seed {seed}");
        early += report.arrived_early;
    }
    println!("{early} messages came early");
    assert!(early > 300, "only {early} of 7200 messages came early");
}
