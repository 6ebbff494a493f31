//! The tuner as NCCL looks it up: a table for each version, with the functions as C calls them.
//!
//! NCCL takes the newest that it knows.

use std::{ffi::c_int, slice};

use gputcp_nccl_net::{
    ResultCode,
    export::P,
    layout::{
        functions::Logger,
        tuner::{TunerV3, TunerV4, TunerV5, TunerV6},
    },
};

use super::calls;
use crate::{
    answer::answer,
    log, started,
    tuner::{Costs, Tuner},
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

/// Starts a tuner for one communicator.
///
/// If the network has not started or is not used, it starts as well, and changes nothing.
unsafe extern "C" fn init(ranks: usize, nodes: usize, logger: Logger, context: *mut P) -> c_int {
    answer(|| {
        log::keep(logger);
        if context.is_null() {
            return Err(ResultCode::InvalidArgument);
        }
        let tuner = Tuner::new(ranks, nodes, started::chosen().map(|plugin| plugin.settings.tuner));
        log::tuning(&tuner.to_string());
        // SAFETY: room for a pointer.
        unsafe { context.write(Box::into_raw(Box::new(tuner)).cast()) };
        Ok(())
    })
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
    unsafe { init(ranks, nodes, logger, context) }
}

/// Changes NCCL's costs, or leaves them. It never returns an error of its own, which would fail the
/// collective.
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
    answer(|| {
        // It is in truth an array of arrays, see `gputcp_nccl_net::layout::tuner`.
        let costs: *mut f32 = costs.cast();
        let Some(count) = Costs::count(algorithms, protocols) else { return Ok(()) };
        if context.is_null() || costs.is_null() || !costs.is_aligned() {
            return Ok(());
        }
        // SAFETY: `init` gave this pointer and NCCL has not ended it. NCCL gives a table of this shape, which
        // is the tuner's until it returns.
        let (tuner, table) = unsafe { (&*context.cast::<Tuner>(), slice::from_raw_parts_mut(costs, count)) };
        tuner.tune(bytes, &mut Costs::new(table, protocols as usize));
        Ok(())
    })
}

/// Does the same; whether the user's buffers can be registered changes nothing.
unsafe extern "C" fn get_coll_info_v4(
    context: P,
    collective: c_int,
    bytes: usize,
    pipelined: c_int,
    costs: *mut *mut f32,
    algorithms: c_int,
    protocols: c_int,
    _: c_int,
    channels: *mut c_int,
) -> c_int {
    // SAFETY: NCCL's promises.
    unsafe { get_coll_info(context, collective, bytes, pipelined, costs, algorithms, protocols, channels) }
}

unsafe extern "C" fn finalize(context: P) -> c_int {
    answer(|| {
        if !context.is_null() {
            // SAFETY: `init` gave this pointer, and NCCL ends it once.
            drop(unsafe { Box::from_raw(context.cast::<Tuner>()) });
        }
        Ok(())
    })
}
