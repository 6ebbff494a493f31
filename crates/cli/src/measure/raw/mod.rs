//! The ceiling: the same message over bare sockets. As many sockets as the engine has, the same options,
//! one blocking thread for each: the rate of plain TCP in this very configuration.
//!
//! The CPU's memory is sent and received in place, and so is the software GPU's: the cost of its lanes is
//! the engine's own. A real GPU's goes through a pipeline for each socket, because sockets cannot reach it:
//! the copies over the bus belong to the ceiling. Round trips are those of one socket over host memory,
//! whatever the messages are in.

mod area;
mod blocking;
mod connect;
mod pipeline;
mod recorders;
mod sockets;
mod worker;

pub use self::{
    area::Area,
    connect::{RawListener, connect},
    pipeline::PipelineSpec,
    sockets::{Canceller, RawSockets},
};
