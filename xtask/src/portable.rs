//! Programs and libraries for glibc 2.28 and later, built on a machine whose own glibc is newer.
//!
//! rustc compiles as always. Only the crate that becomes a file is linked by `zig cc`, which has the symbols
//! of each glibc. libgcc_s and libstdc++ stay this machine's, by dynamic linking. So a process has one
//! unwinder, and strings and maps of C++ can cross a library's border.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::shell;

/// The linker, as a script that rustc starts.
pub(crate) struct Linker {
    script: PathBuf,
}

impl Linker {
    /// Finds zig in the target folder, or has pip install it there.
    pub(crate) fn find(target: &Path) -> Result<Self> {
        let folder = target.join("zig");
        let python = folder.join("bin/python");
        if !python.exists() || shell::output(Command::new(&python).args(["-c", CHECK, ZIG])).is_err() {
            install(&folder).context("zig links for old versions of glibc, and could not be installed")?;
        }
        let zig =
            shell::output(Command::new(&python).args(["-c", "import ziglang; print(ziglang.__path__[0])"]))?;
        let script = folder.join("linker");
        let text = script_of(&Path::new(zig.trim_end()).join("zig"), &folder.join("cache"))?;
        if fs::read_to_string(&script).ok().as_ref() != Some(&text) {
            fs::write(&script, text).with_context(|| format!("could not write {}", script.display()))?;
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { script })
    }

    /// Builds the command, the NCCL plugin and the NIXL backend into the release folder.
    pub(crate) fn build(&self, root: &Path) -> Result<()> {
        PARTS.iter().try_for_each(|part| self.build_part(root, part))
    }

    /// Builds the NIXL backend alone.
    pub(crate) fn build_nixl(&self, root: &Path) -> Result<()> {
        self.build_part(root, PARTS[2])
    }

    fn build_part(&self, root: &Path, part: &[&str]) -> Result<()> {
        let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.current_dir(root).args(["rustc", "--release", "--locked"]).args(part);
        shell::run(build.arg("--").args(self.flags()))
    }

    /// Returns the flags that have rustc use the linker.
    pub(crate) fn flags(&self) -> [String; 2] {
        ["-C".into(), format!("linker={}", self.script.display())]
    }
}

fn install(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("could not empty {}", folder.display()))?;
    }
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    let pip = ["install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--no-deps"];
    shell::run(Command::new(folder.join("bin/pip")).args(pip).arg(format!("ziglang=={ZIG}")))
}

/// Returns the script: rustc asks for libraries as it would ask cc.
fn script_of(zig: &Path, cache: &Path) -> Result<String> {
    let mut libraries = String::new();
    for (flag, name) in [("-lgcc_s", "libgcc_s.so.1"), ("-lstdc++", "libstdc++.so.6")] {
        let path = shell::output(Command::new("cc").arg(format!("-print-file-name={name}")))?;
        // Without a compiler of C++ there is no libstdc++ to link, and nothing that asks for it.
        if path.starts_with('/') {
            libraries += &format!("    {flag}) each={} ;;\n", quoted(Path::new(path.trim_end())));
        }
    }
    let (zig, cache) = (quoted(zig), quoted(cache));
    let target = format!("{}-linux-gnu.{GLIBC}", env::consts::ARCH);
    Ok(format!(
        "#!/bin/sh\n\
         export ZIG_GLOBAL_CACHE_DIR={cache} ZIG_LOCAL_CACHE_DIR={cache}\n\
         for each do\n\
         \x20   shift\n\
         \x20   case $each in\n{libraries}\x20   esac\n\
         \x20   set -- \"$@\" \"$each\"\n\
         done\n\
         # The two libraries want the newer glibc that they were built for, on this machine.\n\
         exec {zig} cc -target {target} -Wl,--allow-shlib-undefined \"$@\"\n"
    ))
}

/// Quotes a path for a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// The crates that become files of a distribution.
const PARTS: [&[&str]; 3] = [
    &["-p", "gputcp-cli", "--bin", "gputcp"],
    &["-p", "gputcp-plugin", "--lib"],
    &["-p", "gputcp-nixl", "--lib"],
];
/// Their files in the release folder, and the names by which they are installed.
pub(crate) const FILES: [(&str, &str); 3] = [
    ("gputcp", "gputcp"),
    // NCCL looks for the plugin's file by this name.
    ("libnccl_net_gputcp.so", "libnccl-net-gputcp.so"),
    ("libplugin_GPUTCP.so", "libplugin_GPUTCP.so"),
];
/// Their packages, as cargo's arguments.
pub(crate) const PACKAGES: [&str; 6] = ["-p", "gputcp-cli", "-p", "gputcp-plugin", "-p", "gputcp-nixl"];
/// The oldest glibc that the builds run with.
pub(crate) const GLIBC: &str = "2.28";
/// The version of the package ziglang of PyPI: one, so that the same commit gives the same files.
const ZIG: &str = "0.17.1";
const CHECK: &str = "import importlib.metadata as m, sys; sys.exit(m.version('ziglang') != sys.argv[1])";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_quote_stays_one_word() {
        let said = format!("printf %s {}", quoted(Path::new("/a b/it's")));
        let said = shell::output(Command::new("sh").args(["-c", &said])).expect("a shell");
        assert_eq!(said, "/a b/it's");
    }
}
