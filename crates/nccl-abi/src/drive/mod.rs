//! The driving side: what NCCL does with a net plugin, behind an API that is safe as far as the plugin keeps to the
//! interface. A plugin is code in this process; what it does beyond the interface, nobody can check.
//!
//! In the order of its life: a [`Library`] is found and opened (`name`). The plugin of its newest known
//! `table` is `started`; its functions are read through one view over all versions (`calls`), and `logger`
//! takes its messages. A [`Plugin`] has devices, described by [`Properties`]. Connections are made
//! ([`Listener`], [`Connector`]) and used ([`SendComm`], [`RecvComm`]). The fragments that a device of the
//! unpack type received are found by its `queue`. `watch` knows which threads are inside the plugin, and
//! `death` reports a plugin that ends the process.
//!
//! Invariants: a plugin is told only of memory that a claim or a registration of its connection keeps alive; the claim of
//! a request in flight is the connection's own, until the request is done or the connection is closed, whatever its
//! owner drops; a length that the plugin's version cannot say is refused, never cut; a plugin is never unloaded.

mod calls;
mod comm;
mod connect;
mod death;
mod error;
mod library;
mod listen;
mod logger;
mod name;
mod plugin;
mod properties;
mod queue;
mod recv;
mod send;
mod started;
mod table;
#[cfg(test)]
mod tests;
mod watch;

pub use self::{
    comm::Pointer,
    connect::Connector,
    death::{leave, tell_of_deaths},
    error::{Error, Result},
    library::Library,
    listen::Listener,
    plugin::{DEVICES_MAX, Plugin},
    properties::{DeviceKind, Properties},
    recv::{Consumable, Flushing, Landed, RecvComm, Scattered, Unpacking},
    send::{SendComm, SentOff},
    watch::stuck_call,
};
