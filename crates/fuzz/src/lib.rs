//! Random cases, each from a seed of its own, and values and bytes that are nearly right.
//!
//! The tests that play a hostile peer use it, in `proto`, `transport` and `cli`.
//!
//! `GPUTCP_FUZZ_SECONDS` sets how long each test draws cases, 1 by default. `GPUTCP_FUZZ_SEED` repeats one
//! case; a case that panics prints its seed.

#![forbid(unsafe_code)]

mod bytes;
mod run;

pub use fastrand::Rng;

pub use self::{
    bytes::{mutate, near},
    run::{Counts, panics, run, watch_panics},
};
