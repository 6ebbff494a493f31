//! The queue between a plugin that receives scattered bytes and the GPU that unpacks them (device type 1,
//! version 7).
//!
//! Receive number `k`, those of 0 bytes included, is described in row `k % QUEUE_DEPTH`. The plugin's `test`
//! writes the row, then its count, and only then says that the receive is done.

use super::c_void;

/// Rows of the queue.
pub const QUEUE_DEPTH: usize = 16;
/// The most fragments of one receive: twice the 4 KiB pages of 4 MiB.
pub const FRAGMENTS_MAX: usize = 2048;

/// A fragment (`loadMeta`).
#[repr(C, align(16))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadMeta {
    /// Where it starts in the bounce buffer, in bytes.
    pub src_off: u32,
    /// Its length in bytes.
    pub len: u32,
    /// Where it belongs in the destination, in bytes.
    pub dst_off: u64,
}

/// The queue (`netUnpackMeta`), in pinned memory that the GPU reaches.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NetUnpackMeta {
    pub mem: [[LoadMeta; FRAGMENTS_MAX]; QUEUE_DEPTH],
    /// How many fragments each row has.
    pub cnt: [u64; QUEUE_DEPTH],
}

/// The target of an unpack device's handle, in GPU memory (`unpackNetDeviceHandle`).
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct UnpackDeviceHandle {
    pub meta: *mut NetUnpackMeta,
    /// The receive pool of the GPU; at most 4 GiB of it can be named.
    pub bounce_buf: *mut c_void,
    pub head: u64,
}
