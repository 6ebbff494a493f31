//! libnccl-net-gputcp.so: NCCL moves its data through gputcp.
//!
//! NCCL finds a table of C functions for each version of the interface in [`exports`], which holds all unsafe
//! code that touches NCCL's pointers. Behind it, in the order of a connection's life:
//!
//! - `started`: settings and devices, once per process.
//! - `connecting`: connections in the making.
//! - `comm`: a connection and its requests.
//! - `memory`: the memory that NCCL lends.
//!
//! Beside them:
//!
//! - `nccl`: settings of NCCL's own that it should have over this network.
//! - `tuner`: the answers to NCCL's question before each collective.
//! - `log`: NCCL's own logger.
//! - `answer`: NCCL's codes for errors.
//!
//! One pool of threads carries all connections, so requests go on whether or not NCCL calls `test`.
//! `gputcp plugin check` checks NCCL's demands; docs/nccl-plugin.md tells users how to switch the plugin on.

mod answer;
mod comm;
mod connecting;
mod devices;
pub mod exports;
mod log;
mod memory;
mod nccl;
mod settings;
mod started;
mod tuner;
