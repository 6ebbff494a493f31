//! The licences of the crates that are linked into the command and the plugin: they ask to be passed on.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::shell;

/// The part of `cargo metadata` that is read here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
    /// `None` for a crate of this repository.
    source: Option<String>,
}

/// Returns one text with the name, version and licence texts of each crate of `packages` that is not ours.
pub(crate) fn gather(cargo: &OsStr, root: &Path, packages: &[&str]) -> Result<String> {
    let mut tree = Command::new(cargo);
    tree.args(["tree", "--locked", "--edges=normal", "--prefix=none", "--no-dedupe", "--format={p}"]);
    let linked: BTreeSet<(String, String)> =
        shell::output(tree.current_dir(root).args(packages))?.lines().filter_map(crate_of).collect();
    let mut metadata = Command::new(cargo);
    // Without a platform, cargo would fetch the crates of all of them.
    metadata.args(["metadata", "--locked", "--format-version=1", "--filter-platform"]);
    metadata.arg(format!("{}-unknown-linux-gnu", std::env::consts::ARCH)).current_dir(root);
    let metadata: Metadata = serde_json::from_str(&shell::output(&mut metadata)?)
        .context("reading what cargo metadata printed")?;
    let mut text = HEAD.to_owned();
    // The same text is printed once, however many crates carry it.
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in metadata.packages {
        if package.source.is_none() || !linked.contains(&(package.name.clone(), package.version.clone())) {
            continue;
        }
        let licence = package.license.as_deref().unwrap_or("see its text");
        let name = format!("{} {}", package.name, package.version);
        let _ = writeln!(text, "  {name}: {licence}");
        let folder = package.manifest_path.parent().context("a manifest lies in a folder")?;
        for file in licence_files(folder)? {
            let content = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            texts.entry(content.trim().to_owned()).or_default().push(name.clone());
        }
    }
    ensure!(!texts.is_empty(), "no crate's licence was found");
    for (content, names) in texts {
        let _ = write!(text, "\n{}\n{}:\n\n{content}\n", "-".repeat(78), names.join(", "));
    }
    Ok(text)
}

/// Returns name and version from a line of `cargo tree`, as `clap v4.6.9`. A `(proc-macro)` runs at build
/// time and is not linked in.
fn crate_of(line: &str) -> Option<(String, String)> {
    let mut words = line.split_whitespace();
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    (!line.contains("(proc-macro)")).then(|| (name.to_owned(), version.to_owned()))
}

/// Returns the licence files at the top of a crate, in order.
fn licence_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("looking into {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        let is_licence = NAMES.iter().any(|start| name.starts_with(start));
        if is_licence && entry.file_type()?.is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "UNLICENSE"];
const HEAD: &str = "gputcp contains these crates, by their licences:\n\n";

#[cfg(test)]
mod tests {
    use super::crate_of;

    #[test]
    fn lines_of_cargo_tree() {
        let pair = |name: &str, version: &str| Some((name.to_owned(), version.to_owned()));
        assert_eq!(crate_of("libc v0.2.191"), pair("libc", "0.2.191"));
        assert_eq!(crate_of("gputcp v0.1.0 (/some/where)"), pair("gputcp", "0.1.0"));
        assert_eq!(crate_of("clap_derive v4.6.9 (proc-macro)"), None);
        assert_eq!(crate_of(""), None);
    }
}
