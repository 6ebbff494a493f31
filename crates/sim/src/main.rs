//! Replays a seed and prints the life of each message, or runs many.

use std::process::ExitCode;

use gputcp_sim::{Report, Settings, replay, seeds::sweep};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--seed", seed] => seed.parse().map_or_else(|_| usage(), one),
        ["--seeds", count] => count.parse().map_or_else(|_| usage(), |count| many(count, usize::MAX)),
        ["--until-found", count] => count.parse().map_or_else(|_| usage(), |count| many(count, 1)),
        _ => usage(),
    }
}

/// Replays a seed.
fn one(seed: u64) -> ExitCode {
    let settings = Settings::from_seed(seed);
    println!("{settings:#?}");
    let (report, lines) = replay(&settings);
    lines.iter().for_each(|line| println!("{line}"));
    println!("{report:#?}");
    match report.check(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("seed {seed}: {what}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the first seeds, until so many have failed.
fn many(count: u64, most: usize) -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let name = |_: &Settings, report: &Report| {
        format!("{:?} / {:?}", report.sender.outcome, report.receiver.outcome)
    };
    let result = sweep(0..count, most, Settings::from_seed, name);
    let failures = &result.failures;
    failures.iter().take(40).for_each(|(seed, what)| println!("seed {seed}: {what}"));
    println!("{} runs, {} failures", result.runs, failures.len());
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: gputcp-sim --seed S | --seeds N | --until-found N\n  \
         --seed S         replays the run of a seed, and prints all that happens to each message\n  \
         --seeds N        runs the first N seeds, and prints what they find\n  \
         --until-found N  runs them until one finds something"
    );
    ExitCode::FAILURE
}
