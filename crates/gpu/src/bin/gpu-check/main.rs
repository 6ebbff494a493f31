//! The checks that need a GPU, as a program: probes, runs every check of what `gputcp-gpu` promises of real GPUs, and
//! prints "N passed, N failed". Without a GPU it says "skipped" and succeeds; nothing is pretended.
//!
//! `cargo run --release -p gputcp-gpu --bin gpu-check [-- --gpu NAME] [--quick] [--no-loss]`

mod allocations;
mod foreign;
mod lanes;
mod memory;
mod random;
mod sockets;
mod unpacks;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, ExitCode},
    time::Instant,
};

use gputcp_gpu::Device;

/// One check: a sentence that must hold, and what tries it.
type Check = (&'static str, fn(&Scene) -> Outcome);
/// Nothing, or what went wrong.
type Outcome = Result<(), String>;

/// What every check is given.
struct Scene {
    device: Device,
    /// Under a sanitizer everything takes a hundred times as long.
    quick: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let after = |name: &str| args.iter().skip_while(|arg| *arg != name).nth(1).map(String::as_str);
    let selector = after("--gpu").unwrap_or("0");

    let device = match Device::list().and_then(|_| Device::cuda(selector)) {
        Ok(device) => device,
        Err(error) if after("--gpu").is_some() => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
        Err(error) => {
            println!("skipped: no device ({error})");
            return ExitCode::SUCCESS;
        }
    };
    if has("--lose-gpu") {
        return report_loss(&device);
    }
    println!("{}", device.describe());
    let scene = Scene { device, quick: has("--quick") };
    let checks: Vec<Check> = [
        memory::CHECKS,
        foreign::CHECKS,
        unpacks::CHECKS,
        lanes::CHECKS,
        sockets::CHECKS,
        allocations::CHECKS,
    ]
    .concat();
    let (mut passed, mut failed) = (0, 0);
    let mut run = |name: &str, check: &mut dyn FnMut() -> Outcome| {
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|_| Err("it panicked".to_owned()));
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
        run("a lost GPU is an error to all who wait, and no hang", &mut || lose_elsewhere(selector));
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// In a process of its own: the GPU is lost to all of it.
fn lose_elsewhere(selector: &str) -> Outcome {
    let itself = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(itself)
        .args(["--gpu", selector, "--lose-gpu"])
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stdout).into_owned()) }
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

/// An error as an outcome.
fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// What must hold, or what to say.
fn ensure(holds: bool, why: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(why()) }
}
