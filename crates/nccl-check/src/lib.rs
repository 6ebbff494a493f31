//! Checks a NCCL net plugin against what NCCL demands of it: one check for each demand, each in processes of its own, so
//! that a plugin which crashes or hangs costs one check and not the tool.
//!
//! In the order of a check's way: a [`checks::Check`] says what is demanded; a [`pair::Checker`] starts its
//! two sides and watches them; each side ([`side::run`]) loads the plugin ([`raw`]: its functions as they
//! are, for all versions), does its part with the tools of the `bench` (and of `meeting`, if it has two
//! sides), and tells an [`outcome::Outcome`]. The sides talk over a `link`. A `journal` tells the parent
//! which function was running when a side crashed or hung. `judge` makes one outcome of both ends.
//!
//! The plugin is driven at the raw level, and not through `gputcp_nccl_abi`'s safe side: a check has to do what that one
//! rightly forbids.

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
mod shown;
pub mod side;
pub mod source;
mod stop;

pub use checks::Check;
pub use outcome::Outcome;
