//! libplugin_GPUTCP.so: gputcp as a backend of NIXL, named GPUTCP.
//!
//! NIXL finds the library by its file's name and calls [`nixl_plugin_init`]. The C++ side (`shim/`) declares
//! NIXL's interface and hands each call to `calls`. An `Agent` is the backend of one NIXL agent. It has
//! endpoints of one-sided transfers: one for host memory, and one for each GPU in use.
//!
//! Invariants: no call waits for a peer, but the deregistration of memory that a transfer uses, in bounded
//! time. No panic leaves a call. Input of peers and of the program reaches no assertion.

#![allow(non_snake_case)]
#![deny(unsafe_code)]

mod after;
mod agent;
#[allow(unsafe_code)]
mod calls;
#[allow(unsafe_code)]
mod lists;
#[allow(unsafe_code)]
mod loaded;
mod log;
#[allow(unsafe_code)]
mod memory;
mod notes;
mod request;
mod settings;
mod status;
mod unit;
mod wall;

pub use self::calls::{nixl_plugin_fini, nixl_plugin_init};
