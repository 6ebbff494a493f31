//! Names the commit that an optimised command is built from, for `gputcp --version`.
//!
//! Without git, or outside of this repository's own work tree (a tarball, a vendored copy), there is no name.
//! Debug builds have none either, so that a commit does not build them anew.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("PROFILE").is_none_or(|profile| profile == "debug") {
        return;
    }
    let Some(root) = work_tree() else { return };
    // The log of HEAD grows with every commit and checkout; HEAD alone keeps the name of its branch.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&root, &["rev-parse", "--git-path", file]).map(|path| root.join(path)) {
            watch(&path);
        }
    }
    let sources = sources(&root);
    sources.iter().for_each(|path| watch(path));
    let Some(commit) = git(&root, &["rev-parse", "--short=12", "HEAD"]) else { return };
    let mut diff = Command::new("git");
    diff.arg("-C").arg(&root).args(["diff", "--quiet", "HEAD", "--"]).args(&sources);
    let is_modified = diff.status().is_ok_and(|status| status.code() == Some(1));
    println!("cargo::rustc-env=BUILD_COMMIT={commit}{}", if is_modified { ", modified" } else { "" });
}

/// Returns the root of the work tree that this package is a part of, if git knows one there.
fn work_tree() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().ok()?;
    let known = PathBuf::from(git(&root, &["rev-parse", "--show-toplevel"])?).canonicalize().ok()?;
    (known == root).then_some(root)
}

/// Returns the sources that the command is built from. A change of any rebuilds the command anyway.
fn sources(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![root.join("Cargo.lock")];
    for entry in fs::read_dir(root.join("crates")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let (source, manifest) = (entry.path().join("src"), entry.path().join("Cargo.toml"));
        if source.is_dir() && !NOT_IN_THE_COMMAND.iter().any(|other| name == *other) {
            found.extend([source, manifest]);
        }
    }
    found
}

fn watch(path: &Path) {
    // A path that does not exist would have cargo run this at every build.
    if path.exists() {
        println!("cargo::rerun-if-changed={}", path.display());
    }
}

/// Returns what git prints, or `None` if it is missing, refuses or prints nothing.
fn git(root: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// Crates that the command does not contain.
const NOT_IN_THE_COMMAND: [&str; 3] = ["plugin", "sim", "test-plugin"];
