//! The logger that plugins are given: their messages go to stderr, as they are worded. The arguments of a format stay
//! unread, as Rust cannot read them.

use std::{
    ffi::{c_char, c_int, c_ulong},
    io::Write as _,
    mem,
};

use gputcp_nccl_abi::sys::{constants, functions::Logger};

/// What `init` is given.
pub(crate) fn logger() -> Logger {
    type Fixed = unsafe extern "C" fn(c_int, c_ulong, *const c_char, c_int, *const c_char);
    type Variadic = unsafe extern "C" fn(c_int, c_ulong, *const c_char, c_int, *const c_char, ...);
    // SAFETY: a pointer to a function as another. On Linux for x86-64 (System V) and AArch64 (AAPCS64), the only targets that
    // this compiles for, the named arguments of a variadic call travel where those of any other call do, and the caller
    // removes the rest: a callee that reads only the named ones is called as it expects.
    Some(unsafe { mem::transmute::<Fixed, Variadic>(log) })
}

unsafe extern "C" fn log(level: c_int, _: c_ulong, _: *const c_char, _: c_int, format: *const c_char) {
    // What is no warning would bury the one that tells why a check failed.
    if level != constants::LOG_WARN && level != constants::LOG_ABORT {
        return;
    }
    let text = crate::raw::text(format).ok().flatten().unwrap_or_default();
    // Not `eprintln`, which panics where nobody reads, and nothing may unwind into the plugin.
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!(
    "how a variadic call passes its named arguments is known for Linux on x86-64 and AArch64 only"
);
