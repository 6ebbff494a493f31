//! Random cases, each from its seed, until the time is up; and values and bytes that are nearly right. For the tests that
//! play a hostile peer, in `proto`, `transport` and `cli`.
//!
//! `GPUTCP_FUZZ_SECONDS` says how long each test draws cases (1 by default); `GPUTCP_FUZZ_SEED` repeats one case. A case that
//! panics prints its seed.

#![forbid(unsafe_code)]

mod bytes;
mod run;

pub use fastrand::Rng;

pub use self::{
    bytes::{mutate, near},
    run::{Counts, panics, run, watch_panics},
};
