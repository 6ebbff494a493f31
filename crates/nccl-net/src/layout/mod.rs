//! The parts of NCCL's net interface as C has them, which [`crate::versions`] combines into tables.
//!
//! The source is NCCL's public headers, by release. The meaning of a function is described at its type in
//! [`functions`]. [`tuner`] is the interface of another kind of plugin, which may be in the same library.

// The names are NCCL's, and the meaning of a function is said at its type.
#![expect(missing_docs, reason = "fields bear NCCL's names; functions are described at their types")]

pub mod constants;
pub mod device;
pub mod functions;
pub mod tuner;
pub mod unpack;

use std::ffi::CStr;
pub use std::ffi::{c_char, c_int, c_ulong, c_void};

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
