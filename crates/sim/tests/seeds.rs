//! Hundreds of worlds, each from its seed.
//!
//! `GPUTCP_SIM_SEEDS=N` runs N of them, `GPUTCP_SIM_SEED=S` only seed S. A failure prints the command.

use std::{collections::BTreeMap, panic::catch_unwind};

use gputcp_sim::{
    Settings,
    end::{End, Failure},
    faults::FaultKind,
    run, run_seed,
};

/// The number of seeds that run by default: a few seconds' worth.
const SEEDS: u64 = 600;

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

/// Returns how the run of a seed ended, in a few words, or the demand that failed.
fn outcome(seed: u64) -> Result<String, String> {
    let settings = Settings::from_seed(seed);
    let report = catch_unwind(|| run(&settings)).map_err(|_| "a type found a bug in its user".to_owned())?;
    report.check(&settings).map_err(|what| format!("{what}\n{settings:?}\n{report:?}"))?;
    Ok(match (settings.fault, report.receiver) {
        (Some(fault), Some(end)) if report.fault_hit => {
            let kind = match fault.kind {
                FaultKind::Flip(_) => "flip".to_owned(),
                kind => format!("{kind:?}").to_lowercase(),
            };
            let end = match end {
                End::Complete => "harmless",
                End::Failed(Failure::Violation(_)) => "violation",
                End::Failed(Failure::WrongData { .. }) => "wrong data",
                End::Failed(Failure::TimedOut) => "timed out",
                End::Failed(_) => "told by the wire or the peer",
            };
            format!("{kind}: {end}")
        }
        _ => "no fault".to_owned(),
    })
}

#[test]
fn every_seed_ends_as_it_must() {
    let seeds = match variable("GPUTCP_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("GPUTCP_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let count = seeds.end - seeds.start;
    let mut outcomes = BTreeMap::new();
    for seed in seeds {
        match outcome(seed) {
            Ok(outcome) => *outcomes.entry(outcome).or_insert(0u64) += 1,
            Err(what) => panic!(
                "seed {seed}: {what}\nagain: GPUTCP_SIM_SEED={seed} cargo test -p gputcp-sim --test seeds -- --nocapture"
            ),
        }
    }
    println!("{count} seeds: {outcomes:#?}");
    if count >= SEEDS {
        // Seeds in which nothing goes wrong, or nothing is noticed, would prove little.
        for kind in ["no fault", "flip: violation", "flip: wrong data", "stall: timed out"] {
            assert!(outcomes.contains_key(kind), "no seed ended with {kind:?}: {outcomes:#?}");
        }
        for kind in ["reset", "eof"] {
            assert!(outcomes.keys().any(|key| key.starts_with(kind)), "no seed with a {kind}: {outcomes:#?}");
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
        let messages = (0..120u64).map(|at| if (at * 7 + seed) % 9 == 0 { 5000 } else { at % 300 });
        let mut settings = Settings::plain(seed, 2, messages.collect());
        settings.source_on_device = false;
        settings.destination_on_device = false;
        settings.inline_bytes = 256;
        settings.eager_places = 1 + seed as usize % 8;
        settings.short_io = seed % 2 == 0;
        settings.latency_ns = 10u64.pow(2 + seed as u32 % 4);
        settings.think_ns_max = 10u64.pow(1 + seed as u32 % 5);
        let report = run(&settings);
        report.check(&settings).unwrap_or_else(|what| panic!("seed {seed}: {what}\n{report:?}"));
        assert_eq!(report.receiver, Some(End::Complete), "seed {seed}");
        early += report.arrived_early;
    }
    assert!(early > 300, "only {early} of 7200 messages came early");
}
