//! The host's memory, as the plugin knows it: an address and its kind.

use gputcp_nccl_net::{
    ResultCode,
    layout::constants::{PTR_CUDA, PTR_HOST},
};

use crate::knobs::{Gpu, Knobs};

/// A registration, the target of an mhandle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registration {
    pub(crate) kind: Kind,
}

/// The kind of memory that an address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Host,
    Gpu,
}

/// Memory of a request. The host lends it from `isend` or `irecv` until `test` says done, or the connection
/// is closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lent {
    pub(crate) start: *mut u8,
    pub(crate) kind: Kind,
}

// SAFETY: memory belongs to the process, not to a thread; each use of the address has a SAFETY comment of its
// own.
unsafe impl Send for Lent {}

impl Kind {
    /// Returns the kind of a `PTR_*` number that the plugin takes.
    pub(crate) fn of(number: i32, knobs: &Knobs) -> Result<Self, ResultCode> {
        match number {
            PTR_HOST => Ok(Self::Host),
            PTR_CUDA if knobs.gpu != Gpu::None && !knobs.dma_buf => Ok(Self::Gpu),
            _ => Err(ResultCode::InvalidArgument),
        }
    }
}
