//! Starting and ending the plugin, and what it says of its devices.

use std::ffi::c_int;

use gputcp_nccl_abi::sys::functions::Logger;

use super::P;
use crate::{
    answer::{answer, refused},
    devices::Device,
    log,
    started::{self, started},
};

/// A communicator, in versions that have such. Its address tells them apart.
struct Communicator {
    _one_of_a_kind: u8,
}

/// `ctx` is NULL in versions without communicators.
pub(in crate::exports) fn init(logger: Logger, ctx: *mut P) -> c_int {
    answer(|| {
        log::keep(logger);
        if !ctx.is_null() {
            // NCCL ends what did not start as well, with what it finds here.
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

/// Joins the devices of a list to one, and says its number. The list is a version's own: `read` copies what it holds, of a
/// length that is believed only where there is room for it.
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

/// Gives the device, and how many receives a request may have, to whoever writes its properties in a version's layout.
pub(in crate::exports) fn describe(dev: c_int, write: impl FnOnce(&'static Device, c_int)) -> c_int {
    answer(|| {
        let plugin = started()?;
        write(plugin.device(dev)?, plugin.settings.max_receives.into());
        started::choose();
        Ok(())
    })
}
