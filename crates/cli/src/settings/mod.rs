//! The way of a setting. The user types it as a flag or sets a variable ([`asked`], [`sockets`],
//! [`environment`]). [`resolve`] makes of it, and of both machines, the settings of a session ([`agreed`]).
//! [`library`] turns these into the library's options.
//!
//! An option of the built-in transport is declared in [`sockets`] and converted in [`library`], and stands
//! nowhere else.

pub mod agreed;
pub mod asked;
pub mod congestion;
pub mod depth;
pub mod environment;
pub mod kinds;
pub mod library;
pub mod memory;
pub mod one_sided;
pub mod plugin;
pub mod request;
pub mod resolve;
pub mod room;
pub mod size;
pub mod sockets;

pub use self::{
    agreed::Settings,
    kinds::{Flow, Memory, Transport, Unpack},
    one_sided::{OneSided, Operation},
    sockets::SocketSettings,
};
