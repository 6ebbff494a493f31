//! What unpacking and staging cost on a real GPU, part by part:
//!
//! - `once`: what it costs to make per chunk what a lane makes once.
//! - `unpack`: unpacking alone, in each mode, beside a plain copy of the same bytes.
//! - `launches`: what a launch costs, whatever it moves.
//! - `staging`: what the bus gives through lanes, over the length of a slice and the depth of a ring.
//! - `waits`: from a launch to the host's knowledge of its end; and the test pattern's kernels.
//!
//! `cargo bench -p gputcp-gpu --bench lessons [-- PART ...] [--gpu NAME] [--soft]`. Without a GPU it says "skipped" and
//! succeeds; `--soft` rehearses it on the software GPU, whose figures mean nothing. Run by `cargo test --benches` it makes
//! short rounds, so that it never rots. Medians with their range; what was timed last is verified to the byte.

mod clock;
mod launches;
mod once;
mod staging;
mod unpack;
mod waits;

use std::process::ExitCode;

use gputcp_gpu::{Device, Error, SoftOptions};

/// What every part is given.
struct Scene {
    device: Device,
    /// How often a thing is timed.
    rounds: usize,
}

type Result<T> = std::result::Result<T, Error>;

/// A part's name, and what it runs.
type Part = (&'static str, fn(&Scene) -> Result<()>);

const PARTS: [Part; 5] = [
    ("once", once::run),
    ("unpack", unpack::run),
    ("launches", launches::run),
    ("staging", staging::run),
    ("waits", waits::run),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let gpu = args.iter().skip_while(|arg| *arg != "--gpu").nth(1).map_or("0", String::as_str);
    if !has("--soft")
        && !has("--gpu")
        && let Err(why @ Error::NoGpu { .. }) = Device::list()
    {
        println!("skipped: no device ({why})");
        return ExitCode::SUCCESS;
    }
    let opened = if has("--soft") { Ok(Device::soft(SoftOptions::default())) } else { Device::cuda(gpu) };
    let device = match opened {
        Ok(device) => device,
        Err(error) => return fail(&error),
    };
    println!("{}", device.describe());
    let scene = Scene { device, rounds: if has("--bench") { 21 } else { 1 } };
    let named = PARTS.iter().any(|(name, _)| has(name));
    for (_, part) in PARTS.iter().filter(|(name, _)| !named || has(name)) {
        if let Err(error) = part(&scene) {
            return fail(&error);
        }
    }
    ExitCode::SUCCESS
}

fn fail(error: &Error) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}
