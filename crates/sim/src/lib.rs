//! A world from a seed: the two ends of a connection, simulated sockets between them, lanes that finish late.
//!
//! All randomness comes from the seed and time is virtual, so a seed is a run that can be repeated. The ends
//! are the very types that the library ships (`gputcp_proto::connection`). Every frame goes over the wire as
//! bytes.
//!
//! From top to bottom: [`settings`] is the meaning of a seed, and [`faults`] its mishaps. They happen in a
//! `world` with a `clock`, `wire`s and an `adversary` at one of them. A `driver` serves either end, with its
//! user, its `memory` and the `lane`s on it. A `referee` checks each step against rules of its own.
//! [`mod@run`] puts them together, and [`report`] checks the result.
//!
//! [`onesided`] is a world of its own, for one-sided transfers.
//!
//! `cargo run -p gputcp-sim -- --seed S` prints the life of each message of a seed.

#![forbid(unsafe_code)]

mod adversary;
mod clock;
mod driver;
pub mod faults;
mod lane;
mod memory;
pub mod onesided;
mod referee;
pub mod report;
pub mod run;
pub mod seeds;
pub mod settings;
mod wire;
mod world;

pub use report::{Outcome, Report};
pub use run::{replay, run, run_seed};
pub use settings::Settings;
