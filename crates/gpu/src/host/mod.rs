//! The software GPU: a thread per lane that copies between pieces of host memory, in order, when it gets to it.

mod copy;
mod queue;
mod worker;

pub(crate) use copy::{Stores, copy_bytes};
pub(crate) use worker::Stream;
