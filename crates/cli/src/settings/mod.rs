//! The way of a setting. It is typed, as a flag or as a variable ([`asked`], [`sockets`], [`environment`]); [`resolve`]
//! makes of it, and of both machines, what is done ([`agreed`]); [`library`] tells the library so.
//!
//! An option of the built-in transport is declared in [`sockets`] and told in [`library`], and nowhere else.

pub mod agreed;
pub mod asked;
pub mod congestion;
pub mod environment;
pub mod kinds;
pub mod library;
pub mod memory;
pub mod plugin;
pub mod request;
pub mod resolve;
pub mod room;
pub mod size;
pub mod sockets;

pub use self::{
    agreed::Settings,
    kinds::{Flow, Memory, Transport, Unpack},
    sockets::SocketSettings,
};
