//! `cargo xtask python`: the wheel of the Python package, installed into a new environment and tested there.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{
    dist::licences,
    portable::{FILES, GLIBC, Linker, PACKAGES},
    shell,
};

pub(crate) fn check(root: &Path) -> Result<()> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |path| root.join(path));
    let (out, package) = (target.join("python"), root.join("python"));
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("could not empty {}", out.display()))?;
    }
    if let Err(why) = equip(&out, &package) {
        return shell::say(&format!("skipped: {why:#}\n"));
    }
    let linker = Linker::find(&target)?;
    add_programs(root, &target, &package.join("package/gputcp/_native"), &linker)?;
    let wheel = build(&out, &package, &linker)?;
    audit(&out, &wheel)?;
    step("install", Command::new(out.join("bin/pip")).args(PIP).arg("--no-deps").arg(&wheel))?;
    // Outside the sources, so that the installed package is the one that is found.
    let python = || {
        let mut python = Command::new(out.join("bin/python"));
        python.current_dir(&out).env("PYTHONDONTWRITEBYTECODE", "1");
        python
    };
    step("tests", python().args(["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]).arg(&package))?;
    let settings = package.join("pyproject.toml");
    let mypy = ["-m", "mypy", "--cache-dir", "mypy", "--config-file"];
    let sources = ["package/gputcp", "tests", "examples", "bench"].map(|folder| package.join(folder));
    step("types", python().args(mypy).arg(&settings).args(sources))?;
    let mut stubtest = python();
    stubtest.args(["-m", "mypy.stubtest", "gputcp", "--mypy-config-file"]).arg(settings);
    step("stubs", stubtest.arg("--allowlist").arg(package.join("tests/not_importable.txt")))?;
    shell::say(&format!("{}\n", wheel.display()))
}

/// Makes the environment, with the tools; fails where Python or a tool cannot be had.
fn equip(out: &Path, package: &Path) -> Result<()> {
    let version = "import sys; sys.exit(sys.version_info < (3, 10))";
    shell::run(Command::new("python3").args(["-c", version])).context("no Python 3.10 or later")?;
    step("environment", Command::new("python3").args(["-m", "venv"]).arg(out))?;
    let list = package.join("tests/requirements.txt");
    let pip = out.join("bin/pip");
    step("tools", Command::new(pip).args(PIP).args(["--only-binary=:all:", "-r"]).arg(list))
}

/// Puts the command and the NCCL plugin into the package's folder.
fn add_programs(root: &Path, target: &Path, folder: &Path, linker: &Linker) -> Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    timed("programs", || linker.build(root))?;
    fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    let packages = [&PACKAGES[..], &["-p", "gputcp-python"]].concat();
    fs::write(folder.join("THIRD-PARTY.txt"), licences::gather(&cargo, root, &packages)?)?;
    fs::copy(root.join("LICENSE"), folder.join("LICENSE")).context("copying LICENSE")?;
    let release = target.join("release");
    // The functions that NCCL and NIXL look up are dynamic symbols.
    for (from, to) in FILES {
        let mut strip = Command::new("strip");
        let strip = strip.args(["--strip-unneeded", "-o"]).args([folder.join(to), release.join(from)]);
        step("strip", strip)?;
    }
    Ok(())
}

/// Builds the wheel and returns its path.
fn build(out: &Path, package: &Path, linker: &Linker) -> Result<PathBuf> {
    let wheels = out.join("wheels");
    let mut maturin = Command::new(out.join("bin/maturin"));
    maturin.current_dir(package).args(["build", "--release", "--locked", "--quiet", "--out"]).arg(&wheels);
    maturin.arg("--interpreter").arg(out.join("bin/python"));
    maturin.args(["--compatibility", &tag()]);
    step("wheel", maturin.arg("--").args(linker.flags()))?;
    let made = fs::read_dir(&wheels)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    ensure!(made.len() == 1, "maturin made {} files, not one wheel", made.len());
    made.into_iter().next().context("maturin made no wheel")
}

/// Has auditwheel look at every library and program in the wheel. None may need a newer glibc than the
/// wheel's name says.
fn audit(out: &Path, wheel: &Path) -> Result<()> {
    let mut auditwheel = Command::new(out.join("bin/auditwheel"));
    let said = shell::output(auditwheel.args(["show", "--json"]).arg(wheel)).context("the step audit")?;
    let found: Audit = serde_json::from_str(&said).context("auditwheel said no JSON that is known")?;
    found.check()?;
    eprintln!("-- python: auditwheel finds {}", found.overall_tag);
    Ok(())
}

/// The findings of auditwheel.
#[derive(Deserialize)]
struct Audit {
    /// The oldest platform that the wheel runs on.
    overall_tag: String,
    /// The versions of symbols that it needs, by library.
    versioned_symbols: BTreeMap<String, Vec<String>>,
}

impl Audit {
    fn check(&self) -> Result<()> {
        let glibc = |tag: &str| {
            let (major, minor) = tag.strip_prefix("manylinux_")?.split_once('_')?;
            Some((major.parse::<u32>().ok()?, minor.split('_').next()?.parse::<u32>().ok()?))
        };
        let (found, allowed) = (glibc(&self.overall_tag), glibc(&tag()));
        ensure!(
            found.is_some() && found <= allowed,
            "the wheel runs on {} and later, not on {}: its files need {:?}",
            self.overall_tag,
            tag(),
            self.versioned_symbols
        );
        Ok(())
    }
}

/// Returns the wheel's platform: systems with this glibc or a later one.
fn tag() -> String {
    format!("manylinux_{}", GLIBC.replace('.', "_"))
}

fn step(name: &str, command: &mut Command) -> Result<()> {
    timed(name, || shell::run(command))
}

fn timed(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let began = Instant::now();
    work().with_context(|| format!("the step {name}"))?;
    eprintln!("-- python: {name} {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

const PIP: [&str; 3] = ["install", "--quiet", "--disable-pip-version-check"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheel_for_a_newer_glibc_is_refused() {
        let audit = |tag: &str| Audit { overall_tag: tag.into(), versioned_symbols: BTreeMap::new() }.check();
        for good in ["manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux_2_5_x86_64"] {
            audit(good).expect(good);
        }
        for bad in ["manylinux_2_34_x86_64", "linux_x86_64", "manylinux_3_1_x86_64", "musllinux_1_2_x86_64"] {
            assert!(audit(bad).is_err(), "{bad}");
        }
    }
}
