//! The tuner as NCCL looks it up: a table for each version, with the functions as C calls them.
//!
//! NCCL takes the newest that it knows.

use std::ffi::c_int;

use gputcp_nccl_net::layout::{
    functions::Logger,
    tuner::{TunerV3, TunerV4, TunerV5, TunerV6},
};

use gputcp_nccl_net::export::P;

use super::calls::{
    self,
    tuner::{finalize as end, get_coll_info as tune, init as start},
};

/// NCCL 2.22 on.
#[unsafe(no_mangle)]
pub static ncclTunerPlugin_v3: TunerV3 = TunerV3 {
    name: calls::NAME.as_ptr(),
    init: Some(init),
    get_coll_info: Some(get_coll_info),
    destroy: Some(finalize),
};

/// NCCL up to 2.27.
#[unsafe(no_mangle)]
pub static ncclTunerPlugin_v4: TunerV4 = TunerV4 {
    name: calls::NAME.as_ptr(),
    init: Some(init),
    get_coll_info: Some(get_coll_info_v4),
    destroy: Some(finalize),
};

/// NCCL 2.28 and 2.29.
#[unsafe(no_mangle)]
pub static ncclTunerPlugin_v5: TunerV5 = TunerV5 {
    name: calls::NAME.as_ptr(),
    init: Some(init_v5),
    get_coll_info: Some(get_coll_info_v4),
    finalize: Some(finalize),
};

/// NCCL 2.30 and later.
#[unsafe(no_mangle)]
pub static ncclTunerPlugin_v6: TunerV6 = TunerV6 {
    name: calls::NAME.as_ptr(),
    init: Some(init_v5),
    get_coll_info: Some(get_coll_info_v4),
    finalize: Some(finalize),
    // Chunks are left to NCCL.
    get_chunk_size: None,
};

unsafe extern "C" fn init(ranks: usize, nodes: usize, logger: Logger, context: *mut P) -> c_int {
    // SAFETY: NCCL's promises.
    unsafe { start(logger, ranks, nodes, context) }
}

/// Starts a tuner, and leaves NCCL's constants as they are.
unsafe extern "C" fn init_v5(
    context: *mut P,
    _: u64,
    ranks: usize,
    nodes: usize,
    logger: Logger,
    _: P,
    _: P,
) -> c_int {
    // SAFETY: NCCL's promises.
    unsafe { start(logger, ranks, nodes, context) }
}

unsafe extern "C" fn get_coll_info(
    context: P,
    _: c_int,
    bytes: usize,
    _: c_int,
    costs: *mut *mut f32,
    algorithms: c_int,
    protocols: c_int,
    _: *mut c_int,
) -> c_int {
    // SAFETY: NCCL's promises.
    unsafe { tune(context, bytes, costs, algorithms, protocols) }
}

unsafe extern "C" fn get_coll_info_v4(
    context: P,
    _: c_int,
    bytes: usize,
    _: c_int,
    costs: *mut *mut f32,
    algorithms: c_int,
    protocols: c_int,
    _: c_int,
    _: *mut c_int,
) -> c_int {
    // SAFETY: NCCL's promises.
    unsafe { tune(context, bytes, costs, algorithms, protocols) }
}

unsafe extern "C" fn finalize(context: P) -> c_int {
    // SAFETY: NCCL's promises.
    unsafe { end(context) }
}
