//! Real GPUs, through the CUDA driver that is found at run time.
//!
//! In layers: `sys` is the driver as C has it; `result` opens it and turns its codes into errors. `context`,
//! `memory` and `queue` own its objects. The device ([`Gpu`]), its lanes' [`Stream`] and [`Timeline`], and
//! the pattern's kernels build on them. Invariant I4: all objects of the driver are made with the device or
//! with a lane.

mod bytes;
mod context;
mod foreign;
mod fragments;
mod gpu;
mod kernels;
mod list;
pub mod measure;
mod memory;
mod pattern;
mod queue;
mod result;
mod stream;
mod sys;
mod timeline;

pub use list::CudaDevice;
pub(crate) use {
    gpu::Gpu,
    list::list,
    memory::{DeviceMemory, Pinned},
    stream::{Stream, Ways},
    timeline::{Timeline, reap_all},
};
