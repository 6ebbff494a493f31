//! The repository's own chores, run as `cargo xtask NAME`. Nothing to install: each fetches or finds what it needs.

#[path = "../../crates/gpu/src/cuda/kernels/digest.rs"]
mod digest;
mod kernels;
mod nvrtc;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["kernels"] => kernels::build(None),
        ["kernels", "--nvrtc", path] => kernels::build(Some(path.as_ref())),
        _ => bail!("{USAGE}"),
    }
}

const USAGE: &str = "\
usage: cargo xtask kernels [--nvrtc PATH]
  kernels   compiles crates/gpu/src/cuda/kernels/unpack.cu to the .ptx files beside it, with NVRTC 12.1 or 12.2:
            the libnvrtc.so.12 at PATH, or else the one that pip has installed or can download";
