//! Texts that a plugin points to.

use std::ffi::c_char;

use gputcp_nccl_drive::foreign;

/// Reads a text of less than a page; `None` for NULL.
///
/// # Errors
/// The reason, as a noun for a sentence.
pub(crate) fn text(start: *const c_char) -> Result<Option<String>, &'static str> {
    Ok(foreign::text(start, TEXT_BYTES)?.map(|text| text.to_string_lossy().into_owned()))
}

/// No name or path is longer.
const TEXT_BYTES: usize = 4096;
