//! The Debian package: the command in /usr/bin, the plugins where the dynamic linker looks for libraries.

use std::{
    env, fs, iter,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{Parts, triplet};
use crate::shell;

/// Packs. Returns `None` where there is no `dpkg-deb`.
pub(super) fn make(parts: &Parts) -> Result<Option<PathBuf>> {
    let known =
        Command::new("dpkg-deb").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if known.is_err() {
        return Ok(None);
    }
    let architecture = architecture(env::consts::ARCH)?;
    let name = format!("gputcp_{}_{architecture}", parts.version);
    let root = parts.out.join(&name);
    let documents = root.join("usr/share/doc/gputcp");
    install(&parts.command, &root.join("usr/bin"), 0o755)?;
    for plugin in &parts.plugins {
        install(plugin, &root.join("usr/lib").join(triplet()), 0o644)?;
    }
    install(&parts.third_party, &documents, 0o644)?;
    parts.page("README.md", &documents)?;
    parts.page("CHANGELOG.md", &documents)?;
    let mut gzip = Command::new("gzip");
    shell::run(gzip.current_dir(&documents).args(["-9n", "CHANGELOG.md"]))?;
    fs::rename(documents.join("CHANGELOG.md.gz"), documents.join("changelog.gz"))?;
    fs::write(documents.join("copyright"), COPYRIGHT)?;
    let needs = glibc(iter::once(&parts.command).chain(&parts.plugins))?;
    let control = root.join("DEBIAN");
    fs::create_dir_all(&control)?;
    fs::write(control.join("control"), description(&parts.version, architecture, &needs, bytes(&root)?))?;
    let file = parts.out.join(format!("{name}.deb"));
    let mut pack = Command::new("dpkg-deb");
    pack.env("SOURCE_DATE_EPOCH", parts.time.to_string()).args(["--build", "--root-owner-group", "-Zxz"]);
    shell::run(pack.arg(&root).arg(&file))?;
    Ok(Some(file))
}

fn install(file: &Path, folder: &Path, mode: u32) -> Result<()> {
    fs::create_dir_all(folder)?;
    let to = folder.join(file.file_name().context("a file to install has a name")?);
    fs::copy(file, &to).with_context(|| format!("installing {}", file.display()))?;
    fs::set_permissions(&to, fs::Permissions::from_mode(mode))?;
    Ok(())
}

fn description(version: &str, architecture: &str, glibc: &str, bytes: u64) -> String {
    format!(
        "Package: gputcp\n\
         Version: {version}\n\
         Architecture: {architecture}\n\
         Maintainer: The gputcp authors <gputcp@example.invalid>\n\
         Installed-Size: {}\n\
         Depends: libc6 (>= {glibc}), libgcc-s1, libstdc++6 (>= 5.2)\n\
         Section: net\n\
         Priority: optional\n\
         Description: GPU-to-GPU transfers over plain TCP, moved and measured\n \
         The command gputcp moves GPU or host memory between two machines over TCP,\n \
         verifies it, and compares the rate with bare sockets. libnccl-net-gputcp.so\n \
         is a NCCL net plugin over the same transport, libplugin_GPUTCP.so a backend\n \
         of NIXL.\n",
        bytes.div_ceil(1024)
    )
}

/// Returns the newest version of glibc that a symbol of these files asks for.
fn glibc<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Result<String> {
    let symbols = shell::output(Command::new("objdump").arg("-T").args(files))?;
    newest(&symbols).context("the binaries name no version of glibc")
}

fn newest(symbols: &str) -> Option<String> {
    let versions = symbols.split("GLIBC_").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (major, minor) = rest[..end].split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.split('.').next()?.parse::<u32>().ok()?))
    });
    versions.max().map(|(major, minor)| format!("{major}.{minor}"))
}

/// Returns the size of all files below a folder.
fn bytes(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let facts = entry.metadata()?;
        sum += if facts.is_dir() { bytes(&entry.path())? } else { facts.len() };
    }
    Ok(sum)
}

/// Returns Debian's name of an architecture.
fn architecture(rust: &str) -> Result<&'static str> {
    Ok(match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => bail!("Debian's name for {other} is not known here"),
    })
}

const COPYRIGHT: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: gputcp

Files: *
Copyright: the gputcp authors
License: Apache-2.0
 On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.
Comment: THIRD-PARTY.txt beside this file has the licences of the crates that are linked in.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_is_by_number() {
        let symbols =
            "w DF *UND* (GLIBC_2.9) a\nDF (GLIBC_2.34) b\nDF (GLIBC_2.2.5) c GLIBC_PRIVATE GLIBC_ABI_DT";
        assert_eq!(newest(symbols).as_deref(), Some("2.34"));
        assert_eq!(newest("none"), None);
    }

    #[test]
    fn a_description_is_a_control_file() {
        let text = description("0.1.0", "amd64", "2.34", 1025);
        assert!(
            text.contains("\nInstalled-Size: 2\nDepends: libc6 (>= 2.34), libgcc-s1, libstdc++6 (>= 5.2)\n"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.starts_with(' ') || line.contains(": ")), "{text}");
    }
}
