//! Memory that foreign code points to. The pointer may lead anywhere: the kernel reads it, and reports
//! unmapped memory.

use std::{
    ffi::{CStr, CString, c_char},
    fs::File,
    io,
    mem::MaybeUninit,
    os::unix::fs::FileExt as _,
    ptr,
};

/// Returns the text at `start`, of fewer than `most` bytes; `None` for NULL.
///
/// # Errors
/// The reason, as a noun for a sentence.
pub fn text(start: *const c_char, most: usize) -> Result<Option<CString>, &'static str> {
    if start.is_null() {
        return Ok(None);
    }
    let mut bytes = vec![0; most];
    let read =
        copy(start.addr(), &mut bytes).ok_or("a pointer that this system does not let be looked at")?;
    if read == 0 {
        return Err("a pointer to no memory");
    }
    CStr::from_bytes_until_nul(&bytes[..read])
        .map(|text| Some(text.to_owned()))
        .map_err(|_| "a text without end")
}

/// Returns the value at `place`; `None` if it does not lie in memory that can be read.
pub fn value<T>(place: *const T) -> Option<MaybeUninit<T>> {
    let mut bytes = vec![0; size_of::<T>()];
    copy(place.addr(), &mut bytes).filter(|&read| read == bytes.len())?;
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: both have room for the bytes of one value.
    unsafe { value.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    Some(value)
}

/// Returns the text at `start`, or the reason why there is none, to be shown to people.
pub(crate) fn shown(start: *const c_char, most: usize) -> String {
    match text(start, most) {
        Ok(text) => one_line(text.unwrap_or_default().to_string_lossy().trim_end()),
        Err(what) => format!("({what})"),
    }
}

/// Returns the text in one line, fit for a terminal: with a dot for each character that does not show.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if shows(c) { c } else { '·' }).collect()
}

/// Returns whether a character shows as itself. Others are control characters, marks that turn the text
/// around them, and replaced bytes that were no text.
fn shows(c: char) -> bool {
    let plain = c.escape_debug().len() == 1 || matches!(c, '\'' | '"' | '\\');
    plain && c != char::REPLACEMENT_CHARACTER
}

/// Copies memory of this process from an address on, and returns how many bytes were readable. `None` if the
/// system lets no process read its own memory this way.
fn copy(start: usize, into: &mut [u8]) -> Option<usize> {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: ptr::with_exposed_provenance_mut(start), iov_len: into.len() };
    // SAFETY: the bytes are this function's to write; the kernel alone dereferences the other address.
    let read =
        unsafe { libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0) };
    match usize::try_from(read) {
        Ok(read) => Some(read),
        Err(_) if io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT) => Some(0),
        // A filter of system calls may forbid it.
        Err(_) => Some(File::open("/proc/self/mem").ok()?.read_at(into, start as u64).unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_pointer_leads_to_is_told() {
        assert_eq!(text(c"eth0".as_ptr(), 100), Ok(Some(c"eth0".into())));
        assert_eq!(text(ptr::null(), 100), Ok(None));
        assert_eq!(text(ptr::without_provenance(0x1234), 100), Err("a pointer to no memory"));
        assert_eq!(text(ptr::without_provenance(usize::MAX), 100), Err("a pointer to no memory"));
        let endless = [1; 200];
        assert_eq!(text(endless.as_ptr(), 200), Err("a text without end"));
        // A text at the end of the last page of a region.
        // SAFETY: reads a constant of the system.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        // SAFETY: new memory of two pages, of which the second is given back.
        let start = unsafe {
            let start = libc::mmap(
                ptr::null_mut(),
                2 * page,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert_ne!(start, libc::MAP_FAILED);
            assert_eq!(libc::munmap(start.byte_add(page), page), 0);
            start.byte_add(page - 5).cast::<c_char>()
        };
        // SAFETY: within the first page.
        unsafe { start.copy_from_nonoverlapping(c"eth0".as_ptr(), 5) };
        assert_eq!(text(start, 100), Ok(Some(c"eth0".into())));
        // SAFETY: as above.
        unsafe { start.add(4).write(1) };
        assert_eq!(text(start, 100), Err("a text without end"));
        assert!(value::<u64>(start.cast()).is_none());
    }

    #[test]
    fn a_value_is_read_where_there_is_one() {
        // SAFETY: what was read is a number.
        let number = |place: *const u64| value(place).map(|value| unsafe { value.assume_init() });
        let seven = 7;
        assert_eq!(number(&raw const seven), Some(7));
        assert_eq!((number(ptr::null()), number(ptr::without_provenance(64))), (None, None));
    }

    #[test]
    fn what_is_shown_is_fit_for_a_terminal() {
        assert_eq!(shown(c"no \x1b[2Jnic\xff\n".as_ptr(), 100), "no ·[2Jnic·");
        assert_eq!(shown(ptr::null(), 100), "");
        for (text, seen) in [
            ("it's \"4\" µs → \\", "it's \"4\" µs → \\"),
            ("a\x1b[31m\nb\0", "a·[31m·b·"),
            ("\u{202e}x\u{200b}\u{feff}\u{fffd}\u{e000}", "·x····"),
        ] {
            assert_eq!(one_line(text), seen);
        }
        assert_eq!(shown(ptr::without_provenance(64), 100), "(a pointer to no memory)");
    }
}
