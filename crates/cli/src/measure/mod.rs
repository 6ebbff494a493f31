//! The measurement itself. Invariant I6: the receiver owns the clock; a byte counts once it is at its destination; and
//! sent = landed = unpacked = verified, or the run fails.
//!
//! [`memory`] settles which memory is moved. [`side`] makes what one end needs, before anything is timed (its `connections` among it, over either [`transport`]). [`run`] is one message through it, on either end, and
//! [`ping_pong`] one batch there and back; [`raw`] does the same over bare sockets, for comparison. [`client`] says what
//! is run and keeps the figures; [`server`] does as it is told.

pub mod client;
mod connections;
pub mod damage;
mod defaults;
pub mod memory;
pub mod ping_pong;
pub mod progress;
pub mod raw;
pub mod run;
pub mod server;
pub mod side;
pub mod tally;
pub mod transport;
pub mod tuning;

use gputcp::{Error, Guilty};

use crate::failure::{Failure, advice};

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error.guilty() {
            Guilty::Peer => Self::Peer(error.to_string()),
            Guilty::User => Self::Interrupted,
            // Settings were checked long before: what the library refuses now is a mistake of ours.
            _ => {
                let advice = if let Error::System { source, .. } = &error { advice(source) } else { "" };
                Self::Run(format!("{error}{advice}"))
            }
        }
    }
}

impl From<gputcp_gpu::Error> for Failure {
    fn from(error: gputcp_gpu::Error) -> Self {
        Self::Run(error.to_string())
    }
}
