//! The checks that need a GPU, as a program.
//!
//! It probes for GPUs, runs a check of each promise that `gputcp-gpu` makes for real GPUs, and prints "N
//! passed, N failed". Without a GPU it says "skipped" and succeeds; nothing is pretended.
//!
//! `cargo run --release -p gputcp-gpu --bin gpu-check [-- --gpu NAME] [--quick] [--no-loss]`
//!
//! `--soak SECONDS` instead moves random messages from that GPU to the last one for so long, each verified to
//! the byte. `--seed N` begins with a message of that seed, and `--soft` uses the software GPU.

mod allocations;
mod counting;
mod early;
mod foreign;
mod lanes;
mod layouts;
mod memory;
mod passage;
mod random;
mod soak;
mod sockets;
mod unpacks;

use std::{
    error,
    io::Read as _,
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant, UNIX_EPOCH},
};

use gputcp_gpu::{Device, Error, SoftOptions};

use crate::soak::Soak;

/// A check: a sentence that must hold, and the function that tries it.
type Check = (&'static str, fn(&Scene) -> Outcome);
/// Nothing, or the reason of a failure.
type Outcome = Result<(), Failure>;
/// A sentence, or an error of the crate or of the system.
type Failure = Box<dyn error::Error + Send + Sync>;

/// The device, and the length of the checks.
struct Scene {
    device: Device,
    /// Whether checks are short: under a sanitizer everything takes a hundred times as long.
    quick: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let after = |name: &str| args.iter().skip_while(|arg| *arg != name).nth(1).map(String::as_str);
    let selector = after("--gpu").unwrap_or("0");
    let number = |name: &str| after(name).map(str::parse::<u64>).transpose();
    let (Ok(time), Ok(seed), Ok(damage)) = (number("--soak"), number("--seed"), number("--damage")) else {
        eprintln!("--soak, --seed and --damage take a whole number");
        return ExitCode::from(2);
    };
    if has("--soft") && time.is_none() || has("--soak") && time.is_none() {
        eprintln!("--soft goes with --soak SECONDS, and that with a number: the checks are of real GPUs");
        return ExitCode::from(2);
    }

    // Without any GPU there is nothing to check; a GPU that cannot be opened is a failure.
    if !has("--soft")
        && after("--gpu").is_none()
        && let Err(why @ Error::NoGpu { .. }) = Device::list()
    {
        println!("skipped: no device ({why})");
        return ExitCode::SUCCESS;
    }
    let device = match if has("--soft") { Ok(soft()) } else { Device::cuda(selector) } {
        Ok(device) => device,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(if after("--gpu").is_some() { 2 } else { 1 });
        }
    };
    if has("--lose-gpu") {
        return report_loss(&device);
    }
    println!("{}", device.describe());
    if let Some(seconds) = time {
        let seed = seed.unwrap_or_else(|| UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs() << 20));
        return soak(device, Duration::from_secs(seconds), seed, damage);
    }
    let scene = Scene { device, quick: has("--quick") };
    let checks: Vec<Check> = [
        memory::CHECKS,
        foreign::CHECKS,
        unpacks::CHECKS,
        lanes::CHECKS,
        early::CHECKS,
        sockets::CHECKS,
        layouts::CHECKS,
        allocations::CHECKS,
    ]
    .concat();
    let (mut passed, mut failed) = (0, 0);
    let mut run = |name: &str, check: &mut dyn FnMut() -> Outcome| {
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|_| Err("it panicked".into()));
        let ms = start.elapsed().as_millis();
        match outcome {
            Ok(()) => {
                passed += 1;
                println!("ok      {name} ({ms} ms)");
            }
            Err(why) => {
                failed += 1;
                println!("FAILED  {name} ({ms} ms): {why}");
            }
        }
    };
    for (name, check) in checks {
        run(name, &mut || check(&scene));
    }
    if !has("--no-loss") {
        run("a lost GPU is an error to every waiting thread, and no hang", &mut || lose_elsewhere(selector));
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns a software GPU that is late enough to expose a caller that does not wait.
fn soft() -> Device {
    Device::soft(SoftOptions { lateness: Duration::from_micros(20), seed: 1, ..SoftOptions::default() })
}

/// Runs messages from this device to the last one.
fn soak(device: Device, time: Duration, seed: u64, damage: Option<u64>) -> ExitCode {
    let last = match device.cuda_device() {
        Some(_) => Device::cuda(&(Device::count().max(1) - 1).to_string()),
        None => Ok(soft()),
    };
    let outcome = last.map_err(Failure::from).and_then(|last| {
        println!("to {}, seed {seed}", last.describe());
        Soak { devices: [device, last], time, seed, damage }.run()
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Loses the GPU in a process of its own, as all of that process loses it.
fn lose_elsewhere(selector: &str) -> Outcome {
    let itself = std::env::current_exe()?;
    let mut child =
        Command::new(itself).args(["--gpu", selector, "--lose-gpu"]).stdout(Stdio::piped()).spawn()?;
    let end = Instant::now() + LOSS;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() < end => thread::sleep(Duration::from_millis(20)),
            None => {
                child.kill()?;
                return Err(format!("it was stuck for {LOSS:?}").into());
            }
        }
    };
    // The output is less than a pipe holds, so the child never waits for its reader.
    let mut said = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut said)?;
    }
    if status.success() { Ok(()) } else { Err(said.into()) }
}

fn report_loss(device: &Device) -> ExitCode {
    match lanes::loss(device) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// The time limit of the check of a lost GPU, start and end of its process included.
const LOSS: Duration = Duration::from_secs(60);

/// Returns a failure with its reason, unless the condition holds.
fn ensure<Why: Into<Failure>>(holds: bool, why: impl FnOnce() -> Why) -> Outcome {
    if holds { Ok(()) } else { Err(why().into()) }
}
