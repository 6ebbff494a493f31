//! Thousands of worlds of one-sided transfers, each from its seed.
//!
//! `GPUTCP_SIM_SEEDS=N` runs N of them. A failure names its seed.

use gputcp_sim::onesided::{Summary, run};

/// A few seconds' worth.
const SEEDS: u64 = 20_000;

#[test]
fn every_transfer_ends_as_it_must() {
    let seeds = std::env::var("GPUTCP_SIM_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("a number"));
    let mut all = Summary::default();
    let (mut tampered, mut violations) = (0, 0);
    for seed in 0..seeds {
        let summary = run(seed).unwrap_or_else(|why| {
            panic!("seed {seed}: {why}\nagain: cargo run -p gputcp-sim -- --one-sided --seed {seed}")
        });
        all.done += summary.done;
        all.refused += summary.refused;
        all.cancelled += summary.cancelled;
        tampered += u64::from(summary.is_tampered);
        violations += u64::from(summary.has_violation);
    }
    let Summary { done, refused, cancelled, .. } = all;
    println!(
        "{done} done, {refused} refused, {cancelled} cancelled; {tampered} tampered, {violations} noticed"
    );
    // Worlds in which nothing goes wrong would prove little.
    assert!(done > 2 * seeds && refused > seeds / 10 && cancelled > seeds / 40, "{all:?}");
    assert!(tampered > seeds / 20 && violations > tampered / 2, "{tampered}, {violations}");
}

#[test]
fn a_seed_is_a_run() {
    for seed in 0..50 {
        assert_eq!(run(seed), run(seed), "seed {seed} goes the same way twice");
    }
}
