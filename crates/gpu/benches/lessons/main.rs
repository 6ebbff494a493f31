//! The cost of unpacking and staging on a real GPU, part by part:
//!
//! - `once`: the cost of making per chunk the objects that a lane makes once.
//! - `unpack`: unpacking alone, in each mode, beside a plain copy of the same bytes.
//! - `launches`: the cost of a launch, whatever it moves.
//! - `staging`: the rate of the bus through lanes, over the length of a slice and the depth of a ring.
//! - `waits`: from a launch to the host's knowledge of its end; and the test pattern's kernels.
//!
//! `cargo bench -p gputcp-gpu --bench lessons [-- PART ...] [--gpu NAME] [--soft]`.
//!
//! Without a GPU the program says "skipped" and succeeds. `--soft` rehearses it on the software GPU, whose
//! figures mean nothing. `cargo test --benches` runs short rounds, so that it never rots. Figures are medians
//! with their range; the data timed last is verified to the byte.

mod clock;
mod launches;
mod once;
mod staging;
mod unpack;
mod waits;

use std::process::ExitCode;

use gputcp_gpu::{Device, Error, SoftOptions};

/// The device and the number of rounds, for every part.
struct Scene {
    device: Device,
    /// The number of timings of each kind.
    rounds: usize,
}

type Result<T> = std::result::Result<T, Error>;

/// A part's name and its function.
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
