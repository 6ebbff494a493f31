//! `cargo xtask dist`: the command and the plugins as a tarball and as a Debian package, in `target/dist`.
//! Both run with glibc 2.28 and later.
//!
//! Invariant: the same commit, toolchain and machine give the same tarball. Names are sorted, owners are
//! root, and every file has the commit's time.

mod deb;
pub(crate) mod licences;
mod tarball;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    portable::{FILES, Linker, PACKAGES},
    shell,
};

/// The parts of a distribution, before they are packed.
struct Parts {
    root: PathBuf,
    /// The folder for everything that is made.
    out: PathBuf,
    version: String,
    /// The commit's time in seconds since 1970; 0 without git.
    time: u64,
    /// The stripped command.
    command: PathBuf,
    /// The stripped NCCL plugin and NIXL backend, under the names by which they are looked for.
    plugins: [PathBuf; 2],
    /// The licences of all crates within.
    third_party: PathBuf,
}

pub(crate) fn make(root: &Path) -> Result<()> {
    let parts = build(root)?;
    let mut made = vec![tarball::make(&parts)?];
    match deb::make(&parts)? {
        Some(package) => made.push(package),
        None => eprintln!("no Debian package: there is no dpkg-deb here"),
    }
    for file in made {
        let name = file.file_name().context("a made file has a name")?;
        let sum = shell::output(Command::new("sha256sum").current_dir(&parts.out).arg(name))?;
        fs::write(parts.out.join(format!("{}.sha256", name.display())), &sum)?;
        shell::say(&sum)?;
    }
    Ok(())
}

/// Builds, strips and gathers.
fn build(root: &Path) -> Result<Parts> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |path| root.join(path));
    Linker::find(&target)?.build(root)?;
    let out = target.join("dist");
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("clearing {}", out.display()))?;
    }
    let parts = out.join("parts");
    fs::create_dir_all(&parts)?;
    let release = target.join("release");
    // The plugins keep the names that are looked up, which are dynamic symbols.
    let [command, nccl, nixl] = FILES.map(|(from, to)| (release.join(from), parts.join(to)));
    for (from, to) in [&command, &nccl, &nixl] {
        strip(from, to)?;
    }
    let (command, plugins, third_party) = (command.1, [nccl.1, nixl.1], parts.join("THIRD-PARTY.txt"));
    fs::write(&third_party, licences::gather(&cargo, root, &PACKAGES)?)?;
    let time = Command::new("git").current_dir(root).args(["log", "-1", "--format=%ct"]).output().ok();
    let time =
        time.and_then(|output| String::from_utf8(output.stdout).ok()?.trim().parse().ok()).unwrap_or(0);
    let said = shell::output(Command::new(&command).arg("--version"))?;
    let version = said.split_whitespace().nth(1).context("the command names its version")?;
    ensure!(version == env!("CARGO_PKG_VERSION"), "the command built is {version}, not this version");
    Ok(Parts { root: root.to_owned(), out, version: version.to_owned(), time, command, plugins, third_party })
}

fn strip(from: &Path, to: &Path) -> Result<()> {
    shell::run(Command::new("strip").args(["--strip-unneeded", "-o"]).args([to, from]))
}

impl Parts {
    /// Copies a page or licence of the repository into `folder`.
    fn page(&self, name: &str, folder: &Path) -> Result<()> {
        fs::copy(self.root.join(name), folder.join(name)).with_context(|| format!("copying {name}"))?;
        Ok(())
    }
}

/// Returns the machine's name as Debian and GNU write it in folder names.
fn triplet() -> String {
    format!("{}-linux-gnu", env::consts::ARCH)
}
