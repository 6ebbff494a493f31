//! The tuner's functions, in the shape of its version 6.

use std::{ffi::c_int, slice};

use gputcp_nccl_net::export::P;
use gputcp_nccl_net::{ResultCode, layout::functions::Logger};

use crate::answer::answer;
use crate::{
    log, started,
    tuner::{Costs, Tuner},
};

/// Starts a tuner for one communicator.
///
/// If the network has not started or is not used, it starts as well, and changes nothing.
pub(in crate::exports) unsafe fn init(logger: Logger, ranks: usize, nodes: usize, out: *mut P) -> c_int {
    answer(|| {
        log::keep(logger);
        if out.is_null() {
            return Err(ResultCode::InvalidArgument);
        }
        let tuner = Tuner::new(ranks, nodes, started::chosen().map(|plugin| plugin.settings.tuner));
        log::tuning(&tuner.to_string());
        // SAFETY: room for a pointer.
        unsafe { out.write(Box::into_raw(Box::new(tuner)).cast()) };
        Ok(())
    })
}

/// Changes NCCL's costs, or leaves them. It never returns an error of its own, which would fail the
/// collective.
pub(in crate::exports) unsafe fn get_coll_info(
    context: P,
    bytes: usize,
    costs: *mut *mut f32,
    algorithms: c_int,
    protocols: c_int,
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

pub(in crate::exports) unsafe fn finalize(context: P) -> c_int {
    answer(|| {
        if !context.is_null() {
            // SAFETY: `init` gave this pointer, and NCCL ends it once.
            drop(unsafe { Box::from_raw(context.cast::<Tuner>()) });
        }
        Ok(())
    })
}
