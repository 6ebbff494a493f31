//! The plugin as C sees it.
//!
//! NCCL looks up the tables of [`network`], whose functions are `calls`. [`tuners`] is both for the tuner. No
//! panic leaves the plugin: each call runs behind `guard`.
//!
//! NCCL promises the memory behind each pointer, as the interface has it. Out-pointers have room for the
//! result. A comm or a request is one of ours that was not closed, and no thread uses a comm that is being
//! closed.

mod calls;
pub mod network;
pub mod tuners;
