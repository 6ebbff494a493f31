//! The repository's own chores, run as `cargo xtask NAME`. Each fetches or finds what it needs.

mod bench;
#[path = "../../crates/gpu/src/cuda/kernels/digest.rs"]
mod digest;
mod dist;
mod kernels;
mod nixl;
mod nvrtc;
mod portable;
mod prose;
mod python;
mod shell;
mod sim_mutants;
mod under_load;

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result, bail};

fn main() -> ExitCode {
    // Not by returning the error: with RUST_BACKTRACE set, a page of addresses would hide the sentence.
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace has a root")?;
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["kernels"] => kernels::build(None),
        ["kernels", "--nvrtc", path] => kernels::build(Some(path.as_ref())),
        ["bench-report"] => bench::write(&root.join(BENCHMARKS)),
        ["bench-report", "--check"] => bench::check(&root.join(BENCHMARKS)),
        ["bench-report", "--in", folder] => bench::write(folder.as_ref()),
        ["dist"] => dist::make(root),
        ["python"] => python::check(root),
        ["nixl"] => nixl::check(root),
        ["check-prose"] => prose::check(root, ""),
        ["check-prose", path] if !path.starts_with('-') => prose::check(root, path),
        ["sim-mutants"] => sim_mutants::run(root, ""),
        ["sim-mutants", part] => sim_mutants::run(root, part),
        ["--help" | "-h"] | [_, "--help" | "-h"] => shell::say(USAGE),
        ["test-under-load", "--runs", runs, ref more @ ..] => {
            under_load::run(runs.parse().context("--runs takes a number")?, more)
        }
        ["test-under-load", ref more @ ..] => under_load::run(RUNS, more),
        _ => bail!("{USAGE}"),
    }
}

/// The runs of the tests under load, if nothing else is said.
const RUNS: usize = 20;

const BENCHMARKS: &str = "docs/benchmarks";
const USAGE: &str = "\
usage: cargo xtask kernels [--nvrtc PATH]
       cargo xtask check-prose [PATH]
       cargo xtask bench-report [--check | --in FOLDER]
       cargo xtask dist
       cargo xtask python
       cargo xtask nixl
       cargo xtask test-under-load [--runs N] [ARGS of cargo test]
       cargo xtask sim-mutants [NAME]
  kernels       compiles crates/gpu/src/cuda/kernels/unpack.cu to the .ptx files beside it, with NVRTC 12.1 or 12.2:
                the libnvrtc.so.12 at PATH, or else the one that pip has installed or can download
  check-prose   finds, in comments and pages (under PATH), words for persons without a name (who, nobody, …),
                sentences that begin with What, lines over 110 columns and sentences over 25 words, and fails if
                there is one
  bench-report  makes docs/benchmarks/README.md and its plots of docs/benchmarks/results, which
                scripts/bench_results.py writes; --check fails if they are stale; --in takes another folder
  dist          builds the command, libnccl-net-gputcp.so and libplugin_GPUTCP.so for glibc 2.28 and later, and packs
                them with their licences into target/dist: a tarball, a Debian package where there is dpkg-deb, and
                their SHA-256 sums; the linker is zig, which pip installs into target/zig
  python        builds the wheel of the Python package for manylinux_2_28, has auditwheel check it, installs it
                into a new environment, target/python, and runs its tests, mypy and stubtest there; says
                \"skipped\" where Python or pip's packages are missing
  nixl          builds the NIXL backend, and tests it under the wheels of NIXL 1.5.1 and 1.0.0, which pip downloads
                into target/nixl; says \"skipped\" where Python or a wheel is missing
  test-under-load
                runs `cargo test --workspace` 20 times beside a busy thread for each core; prints what failed
  sim-mutants   applies each patch in crates/sim/mutants (whose name contains NAME) to a copy of proto, has the
                simulator's seeds find it, and prints a table; fails if one is not found
";
