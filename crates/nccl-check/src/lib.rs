//! Checks a NCCL net plugin against the demands of NCCL, one check for each demand. Each check runs in
//! processes of its own: a plugin that crashes or hangs costs one check and not the tool.
//!
//! In the order of a check's way:
//!
//! - [`checks::Check`]: the demand.
//! - [`pair::Checker`] starts the two sides and watches them.
//! - [`side::run`]: a side loads the plugin and does its part with the tools of the `bench`, and of `meeting`
//!   if the check has two sides. It tells an [`outcome::Outcome`].
//! - [`raw`]: the plugin's functions as they are, for all versions.
//! - `link`: the sides' way to talk to each other.
//! - `journal`: tells the parent which function was running when a side crashed or hung.
//! - `judge` makes one outcome of both ends.
//!
//! The checks drive the plugin at the raw level, and not through `gputcp_nccl_drive`'s safe side: a check
//! makes calls that the safe side rightly forbids.

mod bench;
mod block;
pub mod checks;
mod gpu;
mod grouped;
pub mod journal;
mod judge;
mod link;
mod logger;
mod meeting;
pub mod outcome;
mod outstanding;
pub mod pair;
mod posting;
pub mod probe;
pub mod raw;
pub mod side;
pub mod source;
mod stop;

pub use checks::Check;
pub use outcome::Outcome;
