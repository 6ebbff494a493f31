//! The plugin's start and end, and the report on its devices.

use std::ffi::c_int;

use gputcp_nccl_abi::sys::functions::Logger;

use super::P;
use crate::{
    answer::{answer, refused},
    devices::Device,
    log,
    started::{self, started},
};

/// A communicator, in versions that have one. Its address tells them apart.
struct Communicator {
    _one_of_a_kind: u8,
}

/// Starts the plugin. `ctx` is NULL in versions without communicators.
pub(in crate::exports) fn init(logger: Logger, ctx: *mut P) -> c_int {
    answer(|| {
        log::keep(logger);
        if !ctx.is_null() {
            // NCCL also ends a communicator that did not start, with the pointer that it finds here.
            // SAFETY: room for a pointer.
            unsafe { ctx.write(std::ptr::null_mut()) };
        }
        started::start()?;
        if !ctx.is_null() {
            // SAFETY: as above.
            unsafe { ctx.write(Box::into_raw(Box::new(Communicator { _one_of_a_kind: 0 })).cast()) };
        }
        Ok(())
    })
}

pub(in crate::exports) fn finalize(ctx: P) -> c_int {
    answer(|| {
        if !ctx.is_null() {
            // SAFETY: `init` gave this pointer, and NCCL ends it once.
            drop(unsafe { Box::from_raw(ctx.cast::<Communicator>()) });
            started::end();
        }
        Ok(())
    })
}

pub(in crate::exports) fn devices(count: *mut c_int) -> c_int {
    answer(|| {
        let devices = started()?.devices.count();
        // SAFETY: room for a number. A machine has few interfaces.
        unsafe { count.write(devices as c_int) };
        Ok(())
    })
}

/// Joins the devices of a list to one, and reports its number.
///
/// The list is a version's own: `read` copies its content, and the length is believed only if there is room
/// for it.
pub(in crate::exports) fn make_v_device<const N: usize>(
    out: *mut c_int,
    (ndevs, devs): (c_int, [c_int; N]),
) -> c_int {
    answer(|| {
        let asked = usize::try_from(ndevs).ok().and_then(|ndevs| devs.get(..ndevs));
        let asked =
            asked.ok_or_else(|| refused(&format!("{ndevs} devices were to be joined, of at most {N}")))?;
        let number = started()?.join(asked)?;
        // SAFETY: room for a number.
        unsafe { out.write(number) };
        Ok(())
    })
}

/// Gives the device, and the most receives of a request, to the writer of its properties in a version's
/// layout.
pub(in crate::exports) fn describe(dev: c_int, write: impl FnOnce(&'static Device, c_int)) -> c_int {
    answer(|| {
        let plugin = started()?;
        write(plugin.device(dev)?, plugin.settings.max_receives.into());
        started::choose();
        Ok(())
    })
}
