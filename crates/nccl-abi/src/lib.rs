//! The C interface between NCCL and its net plugins, from both sides.
//!
//! - [`sys`]: the layouts and numbers of versions 5 to 12, as C has them, and those of tuners.
//! - [`ResultCode`]: what the functions answer.
//! - [`drive`]: what NCCL does with a plugin.
//! - [`message`]: the logger that a plugin is given.
//! - [`foreign`]: memory that a plugin points to.
//! - [`guard`]: what whoever *is* a plugin wraps its functions in.

pub mod drive;
pub mod foreign;
pub mod guard;
pub mod message;
mod result;
pub mod sys;

pub use result::ResultCode;
