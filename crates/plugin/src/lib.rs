//! libnccl-net-gputcp.so: NCCL moves its data through gputcp.
//!
//! NCCL finds a table of C functions for each version of the interface in [`exports`], which holds all unsafe code that
//! touches NCCL's pointers. Behind it, in the order of a connection's life: `started` (settings and devices, once per process),
//! `connecting` (connections in the making), `comm` (a connection and its requests), `memory` (what NCCL lends). `nccl` sets
//! what NCCL should do otherwise over this network, `tuner` is what NCCL asks before each collective, `log` is its own logger,
//! `answer` turns errors into NCCL's codes.
//!
//! One pool of threads carries all connections, so requests go on whether or not NCCL calls `test`. What NCCL demands is checked by
//! `gputcp plugin check`; docs/nccl-plugin.md tells users how to switch the plugin on.

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
