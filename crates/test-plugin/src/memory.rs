//! The host's memory, as the plugin knows it: an address and which kind it is.

use gputcp_nccl_net::{
    ResultCode,
    layout::constants::{PTR_CUDA, PTR_HOST},
};

use crate::knobs::{Gpu, Knobs};

/// A registration: what an mhandle points to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registration {
    pub(crate) kind: Kind,
}

/// Which memory an address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Host,
    Gpu,
}

/// Memory of a request, lent by the host from `isend` or `irecv` until `test` says done, or the connection is closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lent {
    pub(crate) start: *mut u8,
    pub(crate) kind: Kind,
}

// SAFETY: memory belongs to the process, not to a thread; whoever uses the address says why it may.
unsafe impl Send for Lent {}

impl Kind {
    /// The kind of a `PTR_*` number that the plugin takes.
    pub(crate) fn of(number: i32, knobs: &Knobs) -> Result<Self, ResultCode> {
        match number {
            PTR_HOST => Ok(Self::Host),
            PTR_CUDA if knobs.gpu != Gpu::None && !knobs.dma_buf => Ok(Self::Gpu),
            _ => Err(ResultCode::InvalidArgument),
        }
    }
}
