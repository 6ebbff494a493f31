//! The measurement itself. Invariant I6: the receiver owns the clock; a byte counts once it is at its
//! destination; and sent = landed = unpacked = verified, or the run fails.
//!
//! [`memory`] settles which memory is moved. [`side`] makes all parts of one end before anything is timed,
//! its `connections` over either [`transport`] among them. [`run`] moves one message, or a `burst` of them,
//! by `fly`, on either end. [`one_sided`] moves blocks by reads or writes, and [`ping_pong`] one batch there
//! and back. [`raw`] does the same over bare sockets, for comparison. [`client`] directs the runs and keeps
//! the figures; [`server`] does as it is told.

mod burst;
pub mod client;
mod connections;
pub mod damage;
mod fly;
pub mod memory;
pub mod one_sided;
pub mod ping_pong;
pub mod progress;
pub mod raw;
pub mod run;
pub mod server;
pub mod side;
pub mod tally;
pub mod transport;
pub mod tuning;

use gputcp::{Error, Origin};

use crate::failure::{Failure, advice};

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let sentence = format!("{error}{}", hint(&error));
        match error.origin() {
            Origin::Peer => Self::Peer(sentence),
            Origin::User => Self::Interrupted,
            // Settings were checked long before: what the library refuses now is a mistake of ours.
            _ => Self::Run(sentence),
        }
    }
}

/// Returns the flag, or the limit of the system, that an error of the library has to do with.
fn hint(error: &Error) -> &'static str {
    match error {
        Error::Timeout { .. } => " (the bound is --timeout)",
        Error::Mismatched { .. } => " (the chunk length is --chunk)",
        Error::System { source, .. } => advice(source),
        _ => "",
    }
}

impl From<gputcp_gpu::Error> for Failure {
    fn from(error: gputcp_gpu::Error) -> Self {
        Self::Run(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_error_of_the_library_names_the_flag_that_bounds_it() {
        let late = Error::Timeout { what: "a test", peer: "10.0.0.1:1".into(), after: Duration::ZERO };
        assert!(!late.to_string().contains("--"), "{late}");
        assert!(Failure::from(late).to_string().ends_with("(the bound is --timeout)"));
        let cut = Failure::from(Error::Mismatched { expected: 2, got: 1 });
        assert!(cut.to_string().ends_with("(the chunk length is --chunk)"), "{cut}");
    }
}
