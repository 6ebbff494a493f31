//! The library, built as users build it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Builds the library as this test was built; returns its path.
///
/// It builds the whole workspace, as `cargo test --workspace` has built it. A part of it has other features
/// of its dependencies, so all would be built once more.
pub(crate) fn built() -> PathBuf {
    // target/PROFILE/deps/tuner-…
    let test = std::env::current_exe().expect("the test's own file");
    let profile = test.ancestors().nth(2).expect("it lies in folders");
    let target = profile.parent().expect("it lies in a folder");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--workspace", "--lib", "--examples", "--target-dir"]).arg(target);
    if profile.ends_with("release") {
        build.arg("--release");
    }
    build.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(build.status().expect("cargo runs").success());
    profile.join("libnccl_net_gputcp.so")
}
