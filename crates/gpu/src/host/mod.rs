//! The software GPU: a thread per lane that copies between pieces of host memory, in order and
//! asynchronously.

mod copy;
mod queue;
mod timeline;
mod worker;

pub(crate) use copy::{Stores, copy_bytes};
pub(crate) use timeline::Timeline;
pub(crate) use worker::Stream;
