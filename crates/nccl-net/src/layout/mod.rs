//! NCCL's net interface as C has it, versions 5 to 12: layouts and numbers, nothing else.
//!
//! The source is NCCL's public headers, by release. A table's version is the number in its symbol's name,
//! `ncclNetPlugin_v8`. The meaning of a function is described at its type in [`functions`]; each version's
//! file lists its own fields. [`tuner`] is the interface of another kind of plugin, which may be in the same
//! library.

// The names are NCCL's, and the meaning of a function is said at its type.
#![expect(missing_docs, reason = "fields bear NCCL's names; functions are described at their types")]

mod version;

pub mod constants;
pub mod device;
pub mod functions;
pub mod tuner;
pub mod unpack;

use std::ffi::CStr;
pub use std::ffi::{c_char, c_int, c_ulong, c_void};

use self::version::{properties, table};
use crate::call::Functions;

/// Calls a macro, whose path stands in braces, with all known versions: module and symbol, the newest first.
/// The tokens behind the path come before them.
#[macro_export]
macro_rules! each_version {
    ({$($callback:tt)*} $($first:tt)*) => {
        $($callback)*! {
            $($first)*
            v12 ncclNetPlugin_v12,
            v11 ncclNetPlugin_v11,
            v10 ncclNetPlugin_v10,
            v9 ncclNetPlugin_v9,
            v8 ncclNetPlugin_v8,
            v7 ncclNetPlugin_v7,
            v6 ncclNetPlugin_v6,
            v5 ncclNetPlugin_v5,
        }
    };
}

macro_rules! modules {
    ($($module:ident $symbol:ident,)*) => { $(pub mod $module;)* };
}
each_version!({ modules });

/// A table as its symbol, like `ncclNetPlugin_v11`, holds it.
///
/// # Safety
/// The layout is NCCL's for this version.
pub unsafe trait Table: Copy + Send + Sync + 'static {
    /// The interface's version.
    const VERSION: u32;
    /// The symbol, closed by a zero.
    const SYMBOL: &'static CStr;
}

/// A table of the net interface.
pub trait Net: Table {
    /// A table without name and functions.
    const EMPTY: Self;

    /// Returns the functions that the table has.
    fn functions(&self) -> Functions;
}
