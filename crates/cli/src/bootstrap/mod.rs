//! The bootstrap connection: how two processes find each other, agree, and keep step.
//!
//! [`connect`] and [`acceptor`] make it, and [`key`] proves the right to use it. [`link`] moves frames over
//! it with a deadline on every wait; [`message`] defines their contents, and [`crate::session`] their order.

pub mod acceptor;
pub mod connect;
pub mod key;
pub mod link;
mod listen;
pub mod message;

/// The port by which a server is found.
pub const DEFAULT_PORT: u16 = 12347;
