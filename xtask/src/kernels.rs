//! `cargo xtask kernels`: compiles unpack.cu to unpack.ptx and unpack_sm90.ptx.
//!
//! Both are in the repository because users have no CUDA compiler.
//!
//! Invariant: the PTX loads on every driver from R535 on (PTX ISA 8.2: PTX manual, "Release Notes").
//! It runs on every GPU from its target on (Volta, Hopper), and names the source it was made from.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{digest::first_line, nvrtc::Nvrtc, shell::output};

pub(crate) fn build(nvrtc: Option<&Path>) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace has a root")?;
    let folder = root.join("crates/gpu/src/cuda/kernels");
    let source = fs::read_to_string(folder.join("unpack.cu"))?;
    let library = match nvrtc {
        Some(path) => path.to_owned(),
        None => find(&root.join("target/nvrtc"))?,
    };
    let nvrtc = Nvrtc::open(&library)?;
    for (file, architecture, target) in FILES {
        let ptx = nvrtc.compile(&source, "unpack.cu", &[architecture, "--std=c++17"])?;
        check(&ptx, target).context(file)?;
        let text = format!("{}\n{}\n", first_line(&source), ptx.trim_end());
        fs::write(folder.join(file), &text)?;
        eprintln!("{file}: {} bytes, by NVRTC {}", text.len(), nvrtc.version()?);
    }
    Ok(())
}

/// Whether a driver from R535 on takes it, on every GPU from its target on.
fn check(ptx: &str, target: &str) -> Result<()> {
    let directive = |name: &str| ptx.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let version = directive(".version ").context("the PTX names no version")?;
    let (major, minor) = version.split_once('.').context("a PTX version has two parts")?;
    let version: (u32, u32) = (major.parse()?, minor.parse()?);
    ensure!(
        version <= (8, 2),
        "PTX ISA {}.{} is too new for R535: use NVRTC 12.1 or 12.2",
        version.0,
        version.1
    );
    ensure!(directive(".target ") == Some(target), "the target is not {target}");
    Ok(())
}

/// The NVRTC that Python has, or the one of its package, fetched into `folder`.
fn find(folder: &Path) -> Result<PathBuf> {
    if let Some(installed) = python(&["-c", INSTALLED]).ok().filter(|path| !path.is_empty()) {
        return library_in(Path::new(&installed));
    }
    if library_in(folder).is_err() {
        fs::create_dir_all(folder)?;
        let into = folder.to_str().context("the path of the target folder is no text")?;
        python(&["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-d", into, PACKAGE])?;
        let wheel = file_in(folder, |name| name.ends_with(".whl"))?;
        python(&["-m", "zipfile", "-e", wheel.to_str().context("a wheel's path is text")?, into])?;
    }
    library_in(folder)
}

fn python(args: &[&str]) -> Result<String> {
    Ok(output(Command::new("python3").args(args))?.trim().to_owned())
}

fn library_in(folder: &Path) -> Result<PathBuf> {
    let inner = folder.join("nvidia/cuda_nvrtc");
    let package = if inner.is_dir() { inner } else { folder.to_owned() };
    file_in(&package.join("lib"), |name| name == "libnvrtc.so.12")
}

fn file_in(folder: &Path, is_it: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let read = || format!("looking into {}", folder.display());
    for entry in fs::read_dir(folder).with_context(read)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(&is_it) {
            return Ok(entry.path());
        }
    }
    bail!("{} does not hold what was looked for", folder.display())
}

/// Each file, what it is compiled for, and the target it must name. Not sm_90a, which runs on Hopper and
/// nothing later.
const FILES: [(&str, &str, &str); 2] = [
    ("unpack.ptx", "--gpu-architecture=compute_70", "sm_70"),
    ("unpack_sm90.ptx", "--gpu-architecture=compute_90", "sm_90"),
];
/// NVRTC 12.2 writes PTX ISA 8.2, 12.1 writes 8.1; a later one writes what R535 does not load.
const PACKAGE: &str = "nvidia-cuda-nvrtc-cu12==12.2.*";
/// Prints the folder of an installed package of a version that will do, or nothing.
const INSTALLED: &str = "
from importlib import metadata
import os
try:
    found = metadata.version('nvidia-cuda-nvrtc-cu12')
    if found.startswith(('12.1.', '12.2.')):
        import nvidia.cuda_nvrtc as package
        print(os.path.dirname(package.__file__))
except Exception:
    pass
";
