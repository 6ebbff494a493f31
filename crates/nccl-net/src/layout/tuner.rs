//! NCCL's tuner interface as C has it, versions 3 to 6. NCCL asks a tuner before each collective, and gives
//! it its own table of costs to change. If it finds no other tuner, it looks for one in the net plugin's
//! library (src/plugin/tuner.cc).
//!
//! The table is one piece of memory, algorithm by algorithm, with a cost for each protocol. Its C type is a
//! pointer to pointers, but NCCL casts an array of arrays to it (`ncclGetAlgoInfo` in src/enqueue.cc). So
//! there are no pointers in it.
//!
//! Facts: NCCL's src/include/plugin/tuner and nccl_tuner.h. An NCCL that knows version 7 takes 6 as well; it
//! differs in the constants alone.

use std::ffi::CStr;

use super::{Table, c_char, c_int, c_void, functions::Logger};

/// A table's place for the protocol LL (`NCCL_PROTO_LL`): 8 bytes of which 4 are data, for short messages.
pub const PROTO_LL: usize = 0;
/// The same for LL128 (`NCCL_PROTO_LL128`): 128 bytes of which 120 are data.
pub const PROTO_LL128: usize = 1;
/// The same for Simple (`NCCL_PROTO_SIMPLE`): large pieces, whole.
pub const PROTO_SIMPLE: usize = 2;
/// The cost that NCCL writes where an algorithm and a protocol cannot be used (`NCCL_ALGO_PROTO_IGNORE`).
pub const COST_IGNORED: f32 = -1.0;

/// Starts the tuner for one communicator.
pub type Init = unsafe extern "C" fn(ranks: usize, nodes: usize, Logger, context: *mut *mut c_void) -> c_int;
/// The same. The last two arguments lead to NCCL's own data: three numbers about NVLink, and the constants of
/// its costs. A tuner may change the constants.
pub type InitV5 = unsafe extern "C" fn(
    context: *mut *mut c_void,
    comm_id: u64,
    ranks: usize,
    nodes: usize,
    Logger,
    nvl_domains: *mut c_void,
    constants: *mut c_void,
) -> c_int;
/// Changes the costs in µs of a collective, and writes its number of channels. A tuner that writes no number
/// leaves the channels to NCCL. Any error fails the collective.
pub type GetCollInfo = unsafe extern "C" fn(
    context: *mut c_void,
    collective: c_int,
    bytes: usize,
    pipelined: c_int,
    costs: *mut *mut f32,
    algorithms: c_int,
    protocols: c_int,
    channels: *mut c_int,
) -> c_int;
/// The same, which also says whether the user's buffers can be registered.
pub type GetCollInfoV4 = unsafe extern "C" fn(
    context: *mut c_void,
    collective: c_int,
    bytes: usize,
    pipelined: c_int,
    costs: *mut *mut f32,
    algorithms: c_int,
    protocols: c_int,
    registered: c_int,
    channels: *mut c_int,
) -> c_int;
/// Ends what `init` started.
pub type Finalize = unsafe extern "C" fn(context: *mut c_void) -> c_int;
/// Changes the length in bytes of a chunk.
pub type GetChunkSize = unsafe extern "C" fn(
    context: *mut c_void,
    collective: c_int,
    bytes: usize,
    algorithm: c_int,
    protocol: c_int,
    channels: c_int,
    chunk_bytes: *mut usize,
) -> c_int;

/// Version 3, NCCL 2.22 on.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct TunerV3 {
    pub name: *const c_char,
    pub init: Option<Init>,
    pub get_coll_info: Option<GetCollInfo>,
    pub destroy: Option<Finalize>,
}

/// Version 4: registered buffers.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct TunerV4 {
    pub name: *const c_char,
    pub init: Option<Init>,
    pub get_coll_info: Option<GetCollInfoV4>,
    pub destroy: Option<Finalize>,
}

/// Version 5, which NCCL 2.28 has: NCCL's constants.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct TunerV5 {
    pub name: *const c_char,
    pub init: Option<InitV5>,
    pub get_coll_info: Option<GetCollInfoV4>,
    pub finalize: Option<Finalize>,
}

/// Version 6, NCCL 2.30 on: chunks.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct TunerV6 {
    pub name: *const c_char,
    pub init: Option<InitV5>,
    pub get_coll_info: Option<GetCollInfoV4>,
    pub finalize: Option<Finalize>,
    /// May be missing.
    pub get_chunk_size: Option<GetChunkSize>,
}

/// Says of a table what the compiler cannot see.
macro_rules! table {
    ($($tuner:ident $version:literal $symbol:literal)*) => {
        $(
            // SAFETY: tests compare sizes and offsets with those a C compiler gives.
            unsafe impl Table for $tuner {
                const SYMBOL: &'static CStr = $symbol;
                const VERSION: u32 = $version;
            }

            // SAFETY: functions and a pointer to a text that is never written; safe code can only copy them.
            unsafe impl Send for $tuner {}
            // SAFETY: as above.
            unsafe impl Sync for $tuner {}
        )*
    };
}

table! {
    TunerV3 3 c"ncclTunerPlugin_v3"
    TunerV4 4 c"ncclTunerPlugin_v4"
    TunerV5 5 c"ncclTunerPlugin_v5"
    TunerV6 6 c"ncclTunerPlugin_v6"
}
