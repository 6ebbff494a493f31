//! The facts of this machine: identity, devices and use.

pub mod bind;
pub mod gpu;
pub mod identity;
pub mod link;
pub mod plugin;
pub mod rtnetlink;
pub mod trace;
pub mod usage;
