//! Reads the key that both ends share.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use gputcp_proto::key::Key;

/// A key from a file.
#[derive(Debug, Clone)]
pub struct KeyFile {
    /// The key: the file's bytes without white space at the end.
    pub key: Key,
    /// Whether others than the file's owner may read it: worth a warning.
    pub is_open_to_others: bool,
}

impl KeyFile {
    /// The variable that names the file.
    pub const PATH_VARIABLE: &str = "GPUTCP_KEY_FILE";
    /// The variable that holds the key itself, where no file is named.
    pub const KEY_VARIABLE: &str = "GPUTCP_KEY";

    /// Reads the file.
    ///
    /// # Errors
    /// Returns a sentence if the file cannot be read or its key is shorter than a key may be.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display().to_string();
        let failed = |what: String| format!("the key file {} {what}", shown.escape_debug());
        let meta = fs::metadata(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
        if !meta.is_file() || meta.len() > Key::MOST_BYTES as u64 {
            return Err(failed(format!(
                "is no file of at most {} bytes: write the key into one",
                Key::MOST_BYTES
            )));
        }
        let bytes = fs::read(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
        let is_open_to_others = meta.permissions().mode() & 0o077 != 0;
        Ok(Self { key: Key::of(&bytes).map_err(failed)?, is_open_to_others })
    }
}
