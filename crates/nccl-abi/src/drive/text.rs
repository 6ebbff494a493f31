//! Texts of foreign code: never read beyond a bound, and fit for a terminal.

use std::ffi::c_char;

/// At most the first `most` bytes of a text, without control characters; nothing for NULL.
///
/// # Safety
/// NULL, or the start of a text that ends in a zero; of one that does not, `most` bytes must be readable.
pub(super) unsafe fn shown(start: *const c_char, most: usize) -> String {
    if start.is_null() {
        return String::new();
    }
    let bytes: Vec<u8> = (0..most)
        // SAFETY: no byte before this one was the closing zero.
        .map(|at| unsafe { start.add(at).read() } as u8)
        .take_while(|&byte| byte != 0)
        .collect();
    let text = String::from_utf8_lossy(&bytes);
    text.trim_end().chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    #[test]
    fn a_text_is_read_to_its_end_or_to_the_bound() {
        // SAFETY: texts that end, NULL, and one that is as long as it is read.
        let read = |start: *const c_char, most| unsafe { shown(start, most) };
        assert_eq!(read(c"no \x1b[2Jnic\xff\n".as_ptr(), 100), "no ·[2Jnic\u{fffd}");
        assert_eq!(read(ptr::null(), 100), "");
        assert_eq!(read([b'x' as c_char; 7].as_ptr(), 7), "xxxxxxx");
    }
}
