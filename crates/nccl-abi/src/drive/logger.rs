//! Where a plugin's messages go: to `tracing`, and the last warning to the error that it explains.

use std::{
    ffi::{c_char, c_int, c_ulong},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use super::text;
use crate::sys::{constants, functions::Logger};

/// What is given to `init`.
pub(super) fn logger() -> Logger {
    type Fixed = unsafe extern "C" fn(c_int, c_ulong, *const c_char, c_int, *const c_char);
    type Variadic = unsafe extern "C" fn(c_int, c_ulong, *const c_char, c_int, *const c_char, ...);
    // SAFETY: a pointer to a function as another. On x86-64 (System V) and AArch64 (AAPCS64 as Linux has it), the only
    // targets that this compiles for, the named arguments of a variadic call travel where those of any other call do, and
    // the caller removes the rest: a callee that reads only the named ones is called as it expects.
    Some(unsafe { mem::transmute::<Fixed, Variadic>(log) })
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!(
    "how a variadic call passes its named arguments is known for Linux on x86-64 and AArch64 only"
);

/// The last warning of any plugin, taken.
pub(super) fn last_warning() -> Option<Arc<str>> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner).take()
}

static LAST: Mutex<Option<Arc<str>>> = Mutex::new(None);

/// Takes a message; the arguments of its format stay unread, as Rust cannot read them.
unsafe extern "C" fn log(
    level: c_int,
    flags: c_ulong,
    file: *const c_char,
    line: c_int,
    format: *const c_char,
) {
    // SAFETY: the plugin's promise: texts that end in a zero, or NULL.
    let (file, format) = unsafe { (text::shown(file, TEXT_BYTES), text::shown(format, TEXT_BYTES)) };
    // Nothing may unwind into the plugin. What is lost is one message.
    let _ = catch_unwind(AssertUnwindSafe(|| say(level, flags, &file, line, &format)));
}

fn say(level: c_int, flags: c_ulong, file: &str, line: c_int, format: &str) {
    let file = file.rsplit('/').next().unwrap_or_default();
    match level {
        constants::LOG_NONE | constants::LOG_VERSION | constants::LOG_INFO => {
            tracing::info!(target: "plugin", "{file}:{line} {format}");
        }
        constants::LOG_WARN | constants::LOG_ABORT => {
            tracing::warn!(target: "plugin", "{file}:{line} {format}");
            // What says nothing explains nothing.
            if !format.is_empty() {
                *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(format.into());
            }
        }
        _ => tracing::trace!(target: "plugin", flags, "{file}:{line} {format}"),
    }
}

/// More is no message.
const TEXT_BYTES: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variadic_call_arrives_and_its_last_warning_is_kept() {
        let _alone = crate::drive::tests::alone();
        let logger = logger().unwrap();
        let (file, format) = (c"/a/b/net.cc".as_ptr(), c"no %s for %d\x1b after %f\n".as_ptr());
        // SAFETY: the texts end in zeros; the arguments are of the format's types.
        unsafe { logger(constants::LOG_WARN, 16, file, 7, format, c"slot".as_ptr(), 5 as c_int, 1.5f64) };
        assert_eq!(last_warning().as_deref(), Some("no %s for %d· after %f"));
        // SAFETY: nothing is named.
        unsafe { logger(99, 0, std::ptr::null(), -1, std::ptr::null()) };
        assert_eq!(last_warning(), None);
        // SAFETY: as above.
        unsafe { logger(constants::LOG_WARN, 0, std::ptr::null(), 0, c" ".as_ptr()) };
        assert_eq!(last_warning(), None);
    }
}
