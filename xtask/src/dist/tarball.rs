//! The tarball: one folder with the command, the plugins, the pages and the sums of all files.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Result;

use super::{Parts, triplet};
use crate::shell;

pub(super) fn make(parts: &Parts) -> Result<PathBuf> {
    let name = format!("gputcp-{}-{}", parts.version, triplet());
    let folder = parts.out.join(&name);
    fs::create_dir_all(&folder)?;
    for file in [&parts.command, &parts.third_party].into_iter().chain(&parts.plugins) {
        fs::copy(file, folder.join(file.file_name().unwrap_or_default()))?;
    }
    for page in PAGES {
        parts.page(page, &folder)?;
    }
    let mut files: Vec<_> =
        fs::read_dir(&folder)?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    files.sort();
    let sums = shell::output(Command::new("sha256sum").current_dir(&folder).args(&files))?;
    fs::write(folder.join("SHA256SUMS"), sums)?;
    let file = format!("{name}.tar.gz");
    let mut tar = Command::new("tar");
    tar.current_dir(&parts.out)
        .args(["--sort=name", "--owner=root:0", "--group=root:0", "--mode=u=rwX,go=rX", "--format=gnu"])
        .arg(format!("--mtime=@{}", parts.time))
        // Without the time of packing and the name.
        .args(["--use-compress-program=gzip -9n", "-cf", &file, &name]);
    shell::run(&mut tar)?;
    Ok(parts.out.join(file))
}

const PAGES: [&str; 3] = ["LICENSE", "README.md", "CHANGELOG.md"];
