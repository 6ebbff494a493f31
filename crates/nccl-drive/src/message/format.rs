//! A message's text, made by C's own `vsnprintf`, the only reader of a `va_list`.

use std::ffi::{CStr, c_char, c_int, c_void};

use crate::foreign;

/// Returns the text of a format and its arguments; the format itself without a list of arguments. `reason` is
/// the plugin's `errno`, which a format can ask for (`%m`).
///
/// The format is foreign, and is copied before it is used. Its text is bounded by the room for it. Whether
/// the arguments have the format's types, only the plugin can know, as under NCCL.
///
/// # Safety
/// NULL, or a `va_list` of which nothing was read.
pub(super) unsafe fn text(format: *const c_char, arguments: *mut c_void, reason: Errno) -> String {
    let format = match foreign::text(format, FORMAT_BYTES) {
        Ok(format) => format.unwrap_or_default(),
        Err(what) => return format!("({what})"),
    };
    reason.put_back();
    // SAFETY: the caller's promise.
    let text = unsafe { print(&format, arguments) };
    foreign::one_line(text.unwrap_or_else(|| format.to_string_lossy().into_owned()).trim_end())
}

/// # Safety
/// NULL, or a `va_list` of which nothing was read.
unsafe fn print(format: &CStr, arguments: *mut c_void) -> Option<String> {
    if arguments.is_null() {
        return None;
    }
    let mut room = [0u8; TEXT_BYTES];
    // SAFETY: the room has that length, the format ends in a zero, and a `va_list` is passed by its address
    // on these architectures.
    let bytes = unsafe { vsnprintf(room.as_mut_ptr().cast(), room.len(), format.as_ptr(), arguments) };
    // Negative for a format that means nothing; more than there is room for if the text was cut.
    let bytes = usize::try_from(bytes).ok()?.min(room.len() - 1);
    Some(String::from_utf8_lossy(&room[..bytes]).into_owned())
}

/// This thread's `errno`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Errno(c_int);

impl Errno {
    pub(super) fn now() -> Self {
        // SAFETY: the thread's own number.
        Self(unsafe { __errno_location().read() })
    }

    pub(super) fn put_back(self) {
        // SAFETY: as above.
        unsafe { __errno_location().write(self.0) };
    }
}

unsafe extern "C" {
    // Of glibc and of musl.
    safe fn __errno_location() -> *mut c_int;
    fn vsnprintf(room: *mut c_char, bytes: usize, format: *const c_char, arguments: *mut c_void) -> c_int;
}

/// NCCL's own logger has as much room for a message.
const TEXT_BYTES: usize = 1024;
/// No format is longer.
const FORMAT_BYTES: usize = 4096;
