//! A world from a seed: two ends of a connection, simulated sockets between them, lanes that finish late.
//!
//! All randomness comes from the seed and time is virtual, so a seed is a run that can be repeated. The ends
//! drive the real types of `gputcp_proto`, and every frame goes over the wire as bytes.
//!
//! In the order of a message's way: [`settings`] (the meaning of a seed, with its [`faults`]), [`sender`],
//! [`wire`], [`receiver`]. Both ends work on a [`lane`] and in a [`world`] with a clock. [`mod@run`] puts
//! them together, and [`report`] checks the result.

#![forbid(unsafe_code)]

pub mod end;
pub mod faults;
pub mod lane;
pub mod receiver;
pub mod report;
pub mod run;
pub mod sender;
pub mod settings;
pub mod wire;
pub mod world;

pub use report::Report;
pub use run::{run, run_seed};
pub use settings::Settings;
