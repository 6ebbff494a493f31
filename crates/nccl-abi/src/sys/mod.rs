//! NCCL's net interface as C has it, versions 5 to 12: layouts and numbers, nothing else. Both sides use them: whoever
//! drives a plugin and whoever is one. [`tuner`] is the interface of another kind of plugin, which may be in the same library.
//!
//! Facts: NCCL's public headers by release. A table's version is the number in its symbol's name, `ncclNetPlugin_v8`. What
//! the functions of all versions mean is said at their types in [`functions`]; each version's file says what is its own.

// The names are NCCL's, and the meaning of a function is said at its type.
#![expect(missing_docs, reason = "fields bear NCCL's names; functions are described at their types")]

pub mod constants;
pub mod device;
pub mod functions;
pub mod tuner;
pub mod unpack;
pub mod v10;
pub mod v11;
pub mod v12;
pub mod v5;
pub mod v6;
pub mod v7;
pub mod v8;
pub mod v9;

pub use std::ffi::{c_char, c_int, c_ulong, c_void};

/// A table as its symbol, like `ncclNetPlugin_v11`, holds it.
///
/// # Safety
/// The layout is NCCL's for this version.
pub unsafe trait Table: Copy + Send + Sync + 'static {
    /// The interface's version.
    const VERSION: u32;
    /// The symbol, closed by a zero.
    const SYMBOL: &'static std::ffi::CStr;
}

/// Says of a table what the compiler cannot see.
macro_rules! table {
    ($version:literal, $symbol:literal) => {
        // SAFETY: tests compare sizes and offsets with those a C compiler gives.
        unsafe impl super::Table for Net {
            const SYMBOL: &'static std::ffi::CStr = $symbol;
            const VERSION: u32 = $version;
        }

        // SAFETY: functions and a pointer to a text that nobody writes; safe code can only copy them.
        unsafe impl Send for Net {}
        // SAFETY: as above.
        unsafe impl Sync for Net {}
    };
}
use table;
