//! Texts that a plugin points to. The pointer may lead anywhere: the system reads it, and says if there is no memory.

use std::{
    ffi::{CStr, c_char},
    fs::File,
    os::unix::fs::FileExt as _,
};

/// A text of at most a page; `None` for NULL.
///
/// # Errors
/// What is there instead, for a sentence.
pub(crate) fn text(start: *const c_char) -> Result<Option<String>, &'static str> {
    if start.is_null() {
        return Ok(None);
    }
    let mut bytes = [0; TEXT_BYTES];
    let Ok(memory) = File::open("/proc/self/mem") else {
        // SAFETY: the interface's demand, which cannot be checked here: the start of a text that ends in a zero.
        return Ok(Some(unsafe { CStr::from_ptr(start) }.to_string_lossy().into_owned()));
    };
    let read = memory.read_at(&mut bytes, start.addr() as u64).unwrap_or(0);
    if read == 0 {
        return Err("a pointer to no memory");
    }
    match CStr::from_bytes_until_nul(&bytes[..read]) {
        Ok(text) => Ok(Some(text.to_string_lossy().into_owned())),
        Err(_) => Err("a text without end"),
    }
}

/// No name or path is longer.
const TEXT_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_pointer_leads_to_is_told() {
        assert_eq!(text(c"eth0".as_ptr()), Ok(Some("eth0".into())));
        assert_eq!(text(std::ptr::null()), Ok(None));
        assert!(text(std::ptr::without_provenance(0x1234)).is_err());
        let endless = [1; 2 * TEXT_BYTES];
        assert_eq!(text(endless.as_ptr()), Err("a text without end"));
    }
}
