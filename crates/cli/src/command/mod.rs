//! The subcommands.

pub mod client;
pub mod loopback;
pub mod plugin;
pub mod server;

use crate::{
    args::{FamilyArgs, environment::Environment},
    bootstrap::message::Hello,
    host::{bind::Family, identity::Identity},
    output::Talk,
};

/// How this process introduces itself.
fn hello() -> Hello {
    Hello { version: env!("CARGO_PKG_VERSION").into(), identity: Identity::of_this_host() }
}

const fn family(args: FamilyArgs) -> Family {
    match (args.ipv4, args.ipv6) {
        (true, _) => Family::V4,
        (_, true) => Family::V6,
        _ => Family::Any,
    }
}

fn warn_of_ignored(environment: &Environment, talk: Talk) {
    for name in environment.ignored() {
        talk.warn(&format!(
            "the variable {name} is set, but this build drives no plugins yet: it is ignored"
        ));
    }
}
