//! `cargo xtask nixl`: the NIXL backend under NIXL's own wheels, between agents of this machine.

use std::{env, fs, path::Path, process::Command, time::Instant};

use anyhow::{Context, Result};

use crate::{portable::Linker, shell};

pub(crate) fn check(root: &Path) -> Result<()> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |path| root.join(path));
    let (out, tests) = (target.join("nixl"), root.join("crates/nixl/tests/python"));
    if let Err(why) = equip(&out, &tests) {
        return shell::say(&format!("skipped: {why:#}\n"));
    }
    // The file that is distributed, which runs with an old glibc.
    let began = Instant::now();
    Linker::find(&target)?.build_nixl(root)?;
    eprintln!("-- nixl: backend {:.1} s", began.elapsed().as_secs_f64());
    let plugins = out.join("plugins");
    fs::create_dir_all(&plugins).with_context(|| format!("could not make {}", plugins.display()))?;
    fs::copy(target.join("release").join(PLUGIN), plugins.join(PLUGIN)).context("copying the backend")?;
    for (version, files) in VERSIONS {
        let folders = [out.join(version), tests.join("older")];
        let folders = if version == OLDEST { &folders[..] } else { &folders[..1] };
        let mut python = Command::new(out.join("bin/python"));
        python.current_dir(&out).env("PYTHONPATH", env::join_paths(folders)?);
        python.env("PYTHONDONTWRITEBYTECODE", "1").env("NIXL_PLUGIN_DIR", &plugins);
        python
            .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
            .args(files.iter().map(|file| tests.join(file)));
        step(&format!("tests with NIXL {version}"), &mut python)?;
    }
    Ok(())
}

/// Makes the environment, and a folder with each version of NIXL. It fails where one cannot be had.
fn equip(out: &Path, tests: &Path) -> Result<()> {
    let version = "import sys; sys.exit(sys.version_info < (3, 10))";
    shell::run(Command::new("python3").args(["-c", version])).context("no Python 3.10 or later")?;
    step("environment", Command::new("python3").args(["-m", "venv"]).arg(out))?;
    let pip = || {
        let mut pip = Command::new(out.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]);
        pip
    };
    step("tools", pip().arg("-r").arg(tests.join("requirements.txt")))?;
    for (version, _) in VERSIONS {
        let folder = out.join(version);
        if !folder.is_dir() {
            // Alone: it names PyTorch, which these tests do not use.
            let wheel = format!("nixl-cu12=={version}");
            step(&wheel, pip().args(["--no-deps", "--target"]).arg(&folder).arg(&wheel))?;
        }
    }
    Ok(())
}

fn step(name: &str, command: &mut Command) -> Result<()> {
    let began = Instant::now();
    shell::run(command).with_context(|| format!("the step {name}"))?;
    eprintln!("-- nixl: {name} {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// The newest NIXL that was tried, with all tests, and the oldest that is served.
const VERSIONS: [(&str, &[&str]); 2] = [("1.5.1", &["."]), (OLDEST, &["test_one_process.py"])];
const OLDEST: &str = "1.0.0";
const PLUGIN: &str = "libplugin_GPUTCP.so";
