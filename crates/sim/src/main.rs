//! Replays a seed and prints the life of each message, or runs many.

use std::process::ExitCode;

use gputcp_sim::{Report, Settings, onesided, replay, seeds::sweep};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--one-sided", "--seed", seed] => seed.parse().map_or_else(|_| usage(), one_onesided),
        ["--one-sided", "--seeds", count] => {
            count.parse().map_or_else(|_| usage(), |count| many_onesided(count, usize::MAX))
        }
        ["--one-sided", "--until-found", count] => {
            count.parse().map_or_else(|_| usage(), |count| many_onesided(count, 1))
        }
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

/// Replays a seed of one-sided transfers.
fn one_onesided(seed: u64) -> ExitCode {
    let (result, lines) = onesided::replay(seed);
    lines.iter().for_each(|line| println!("{line}"));
    match result {
        Ok(summary) => {
            println!("{summary:#?}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("seed {seed}: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the first seeds of one-sided transfers, until so many have failed.
fn many_onesided(count: u64, most: usize) -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let (mut runs, mut failures) = (0, 0);
    for seed in 0..count {
        runs += 1;
        if let Err(why) = onesided::outcome(seed) {
            println!("seed {seed}: {why}");
            failures += 1;
        }
        if failures >= most {
            break;
        }
    }
    println!("{runs} runs, {failures} failures");
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: gputcp-sim [--one-sided] --seed S | --seeds N | --until-found N\n  \
         --seed S         replays the run of a seed, and prints all that happens to each message\n  \
         --seeds N        runs the first N seeds, and prints what they find\n  \
         --until-found N  runs them until one finds something\n  \
         --one-sided      the worlds of one-sided transfers"
    );
    ExitCode::FAILURE
}
