//! The plugins and the examples, built as users build them, for the tests of several crates.

use std::{path::Path, process::Command, sync::OnceLock};

/// Builds them once, as this test was built; returns the folder of the libraries.
///
/// It builds the whole workspace, as `cargo test --workspace` has built it. A part of it has other features
/// of its dependencies: all would be built once more, and replaced under the tests that load them.
pub(crate) fn built() -> &'static Path {
    static FOLDER: OnceLock<Box<Path>> = OnceLock::new();
    FOLDER.get_or_init(|| {
        // target/PROFILE/deps/test-…
        let test = std::env::current_exe().expect("the test's own file");
        let profile = test.ancestors().nth(2).expect("it lies in folders");
        let target = profile.parent().expect("it lies in a folder");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--workspace", "--lib", "--examples", "--target-dir"]).arg(target);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().expect("cargo runs").success());
        profile.into()
    })
}
