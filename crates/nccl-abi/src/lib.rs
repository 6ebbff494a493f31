//! The C interface between NCCL and its net plugins, from both sides.
//!
//! - [`sys`]: the layouts and numbers of versions 5 to 12, as C has them, and those of tuners.
//! - [`ResultCode`]: what the functions answer.
//! - [`drive`]: what NCCL does with a plugin.
//! - [`guard`]: what whoever *is* a plugin wraps its functions in.

pub mod drive;
pub mod guard;
mod result;
pub mod sys;

pub use result::ResultCode;
