//! The bodies of the functions, in the newest version's shape, for all versions' tables. They are unsafe
//! where they use NCCL's pointers: its promises are those of [`gputcp_nccl_net::export::Network`].

mod connection;
mod request;
mod start;

use std::ffi::{CStr, c_int};

use gputcp_nccl_net::layout::constants::PTR_HOST;

pub(super) use self::{
    connection::{accept, close, close_listen, connect, dereg_mr, listen, reg_mr},
    request::{iflush, irecv, isend, test},
    start::{describe, devices, finalize, init, make_v_device},
};

/// The plugin's name, as `NCCL_NET` selects it.
pub(super) const NAME: &CStr = c"gputcp";
/// The supported memory, host memory alone: NCCL then stages the data of GPUs in pinned memory of its own.
pub(super) const PTR_SUPPORT: c_int = PTR_HOST;
/// The most connections. The plugin has no limit: descriptors run out first.
pub(super) const MAX_COMMS: c_int = 65_536;
/// The longest message: its size fits the int in which `test` says it.
pub(super) const LONGEST_BYTES: usize = 1 << 30;
