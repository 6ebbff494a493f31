//! Drives NCCL net plugins, as NCCL does. The API is safe as far as the plugin keeps to the interface. A
//! plugin is code in this process, and its effects beyond the interface cannot be checked.
//!
//! In the order of a plugin's life:
//!
//! - [`Library`] finds and opens the file (`name`).
//! - `started` calls `init` of its newest known table; `logger` takes its messages ([`message`]).
//! - [`Plugin`] has devices, described by [`Properties`].
//! - `listen` and `connect` make connections; `send` and `recv` are their ends.
//! - `queue` finds the fragments that a device of the unpack type received.
//! - [`transport`] is a plugin behind the traits of [`gputcp::contract`]: windows, unpack and waits.
//!
//! `watch` knows which threads are inside the plugin, and `death` reports a plugin that ends the process.
//! [`foreign`] reads memory that a plugin points to.
//!
//! # Invariants
//!
//! - A plugin knows only memory that a claim or a registration of its connection keeps alive.
//! - The connection owns the claim of a request in flight until the request is done or the connection is
//!   closed. A caller that drops the request changes nothing about that.
//! - A length that the plugin's version cannot express is refused, never cut.
//! - A plugin is never unloaded.

mod comm;
mod connect;
mod death;
mod error;
pub mod foreign;
mod library;
mod listen;
mod logger;
pub mod message;
mod name;
mod plugin;
mod properties;
mod queue;
mod recv;
mod send;
mod started;
#[cfg(test)]
mod tests;
pub mod transport;
mod watch;

pub use self::{
    death::{leave, tell_of_deaths},
    error::{Error, Result},
    library::Library,
    plugin::{DEVICES_MAX, Plugin},
    properties::{DeviceKind, Properties},
    watch::stuck_call,
};
