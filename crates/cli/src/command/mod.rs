//! The subcommands.

pub mod client;
pub mod doctor;
pub mod loopback;
pub mod plugin;
pub mod server;

use crate::{
    args::FamilyArgs,
    bootstrap::message::Hello,
    host::{bind::Family, identity::Identity},
};

/// How this process introduces itself.
fn hello() -> Hello {
    Hello { version: env!("CARGO_PKG_VERSION").into(), identity: Identity::of_this_host(), challenge: None }
}

const fn family(args: FamilyArgs) -> Family {
    match (args.ipv4, args.ipv6) {
        (true, _) => Family::V4,
        (_, true) => Family::V6,
        _ => Family::Any,
    }
}
