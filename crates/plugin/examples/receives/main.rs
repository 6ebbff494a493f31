//! Messages through the functions that NCCL calls, both ends in one process.
//!
//! It checks that each lands whole at the place of its tag. It measures the cost of receives one by one and
//! of eight in a request.
//!
//! ```text
//! cargo build --release -p gputcp-plugin --lib --examples
//! GPUTCP_MAX_RECEIVES=8 target/release/examples/receives check 11
//! GPUTCP_THREADS=4 target/release/examples/receives exchange 11 4
//! target/release/examples/receives
//! ```
//! The last prints a table of costs. It starts itself for each figure, as the plugin reads its settings once
//! in a process.

mod check;
mod cost;
mod ends;
mod exchange;

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<usize>().map_err(|_| format!("{text} is no number"));
    let done = match args[..] {
        [] => cost::table(),
        ["check", version] => number(version).and_then(|version| check::all(version as u32)),
        ["exchange", version, threads] => {
            number(version).and_then(|version| exchange::all(version as u32, number(threads)? as u64))
        }
        ["cost", bytes, ahead, rounds] => number(bytes).and_then(|bytes| {
            let cost = cost::measure(bytes, number(ahead)?, number(rounds)?)?;
            println!("{} {}", cost.wall_us, cost.cpu_us);
            Ok(())
        }),
        _ => Err("usage: receives [check VERSION | exchange VERSION THREADS]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
