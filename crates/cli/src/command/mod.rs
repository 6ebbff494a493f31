//! The subcommands.

pub mod client;
pub mod doctor;
pub mod loopback;
pub mod plugin;
pub mod server;

use crate::{bootstrap::message::Hello, host::identity::Identity};

/// Returns this process's introduction.
fn hello() -> Hello {
    Hello { version: env!("CARGO_PKG_VERSION").into(), identity: Identity::of_this_host(), challenge: None }
}
