//! Memory and the asynchronous work on it: real GPUs, and the software GPU that stands in for one.
//!
//! In the order of a chunk's way:
//!
//! - [`Device`] and [`MemoryKind`]: the place of memory, and the only maker of lanes.
//! - [`Buffer`], [`ReadClaim`], [`WriteClaim`]: memory and the rights to it. A claim keeps its memory alive
//!   and excludes conflicting claims. So no safe code can free memory, or lend it twice, under a running
//!   copy.
//! - [`Pattern`]: test data that is new in each iteration, and its verification.
//! - [`Lane`]: one in-order stream of asynchronous work with its ring of pinned slabs; [`UnpackInto`] and
//!   [`StageFrom`] are the two directions. [`ScatterInto`] and [`GatherFrom`] are those of a message in many
//!   ranges of a buffer.
//! - [`Done`]: a point on a lane's timeline, to poll or to wait for.
//!
//! A device's own part is in a folder of its own: `host` holds the software GPU's, `cuda` that of NVIDIA's
//! GPUs. The CUDA driver is opened at run time, so one binary runs with and without it.
//!
//! # A lane per chunk does not compile
//!
//! Lanes own a thread, pinned memory and a timeline. [`Device::lane`] makes them, at connect; the other
//! constructor is private.
//! ```compile_fail,E0624
//! # use gputcp_gpu::{Device, Lane, LaneSpec, SoftOptions};
//! # let spec = LaneSpec { slots: 1, slab_bytes: 4096 };
//! let per_chunk = Lane::start(spec, SoftOptions::default(), 0);
//! ```
//! … nor can one be copied for a chunk.
//! ```compile_fail,E0599
//! # use gputcp_gpu::Lane;
//! # fn f(lane: &Lane) {
//! let per_chunk: Lane = lane.clone();
//! # }
//! ```
//! … and the remaining way does compile.
//! ```
//! use gputcp_gpu::{Device, LaneSpec, SoftOptions};
//! let device = Device::soft(SoftOptions::default());
//! let lane = device.lane(LaneSpec { slots: 1, slab_bytes: 4096 })?;
//! assert_eq!(lane.completed(), 0);
//! # Ok::<(), gputcp_gpu::Error>(())
//! ```

mod cuda;
mod device;
mod error;
mod host;
mod lane;
mod memory;
mod pattern;

pub use cuda::CudaDevice;
pub use device::{Device, LaneSpec, MemoryKind, SoftOptions};
pub use error::{ClaimError, Error};
pub use lane::{Done, FRAGMENTS_MAX, GatherFrom, Lane, ScatterInto, StageFrom, UnpackInto, UnpackMode};
pub use memory::{Buffer, CLAIMS_MAX, Joined, ReadClaim, WriteClaim};
pub use pattern::{Mismatch, Pattern};

#[doc(hidden)]
pub use cuda::measure;
