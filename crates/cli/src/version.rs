//! The program's version, and the commit it was built from where the build could tell (`build.rs`).

/// The version of the release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit, with ", modified" behind it if the sources differed from it.
/// `None` for a debug build and for one without git.
pub const COMMIT: Option<&str> = option_env!("BUILD_COMMIT");

/// Returns both, as `--version` prints them.
#[must_use]
pub fn long() -> String {
    joined(VERSION, COMMIT)
}

fn joined(version: &str, commit: Option<&str>) -> String {
    commit.map_or_else(|| version.to_owned(), |commit| format!("{version} ({commit})"))
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn a_build_without_git_says_just_the_version() {
        assert_eq!(joined("0.1.0", None), "0.1.0");
        assert_eq!(joined("0.1.0", Some("0f4eb3a0f4eb")), "0.1.0 (0f4eb3a0f4eb)");
        assert_eq!(joined("0.1.0", Some("0f4eb3a0f4eb, modified")), "0.1.0 (0f4eb3a0f4eb, modified)");
    }
}
