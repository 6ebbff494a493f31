//! The functions in the newest version's shape, for all versions' tables. They are unsafe
//! where they use the host's pointers: its promises are those of [`gputcp_nccl_net::export::Network`]. The
//! functions check values that a promise cannot cover.

mod connection;
mod request;
mod start;

pub(super) use self::{
    connection::{
        accept, close_listen, close_recv, close_send, connect, dereg_mr, listen, reg_mr, reg_mr_dma_buf,
    },
    request::{iflush, irecv, irecv_consumed, isend, test},
    start::{devices, finalize, init, make_v_device, properties},
};

use std::{ffi::c_int, sync::atomic::Ordering::Relaxed};

use gputcp_nccl_net::{ResultCode, export::P};

use crate::{
    comm::Comm,
    knobs::{Gpu, Knobs},
};

/// # Safety
/// `connect` or `accept` gave this pointer, and the host has not closed it.
unsafe fn comm_of<'comm>(comm: P) -> &'comm Comm {
    // SAFETY: the caller's promise.
    unsafe { &*comm.cast::<Comm>() }
}

fn check_device(dev: c_int, knobs: &Knobs) -> Result<(), ResultCode> {
    if (0..start::all(knobs)).contains(&dev) { Ok(()) } else { Err(ResultCode::InvalidArgument) }
}

fn not_yet(knobs: &Knobs) -> Result<(), ResultCode> {
    if knobs.violates("never-in-progress-code") { Err(ResultCode::InProgress) } else { Ok(()) }
}

/// Returns whether receives to GPU memory go through an unpack queue.
fn has_queue(knobs: &Knobs) -> bool {
    start::KEEP.load(Relaxed) && knobs.gpu != Gpu::None
}
