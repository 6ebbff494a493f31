//! What this machine is, has and has used.

pub mod bind;
pub mod gpu;
pub mod identity;
pub mod link;
pub mod plugin;
pub mod rtnetlink;
pub mod usage;
