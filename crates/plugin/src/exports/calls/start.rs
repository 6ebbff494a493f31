//! The plugin's start and end, and the report on its devices.

use std::ffi::c_int;

use gputcp_nccl_net::export::P;
use gputcp_nccl_net::{Properties, ResultCode, VirtualDevice, layout::functions::Logger};

use crate::{
    answer::{answer, refused},
    connecting,
    devices::Device,
    log,
    started::{self, started},
};

/// A communicator, in versions that have one. Its address tells them apart.
struct Communicator {
    _one_of_a_kind: u8,
}

/// Starts the plugin. `ctx` is NULL in versions without communicators.
pub(in crate::exports) unsafe fn init(logger: Logger, ctx: *mut P) -> c_int {
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

pub(in crate::exports) unsafe fn finalize(ctx: P) -> c_int {
    answer(|| {
        if !ctx.is_null() {
            // SAFETY: `init` gave this pointer, and NCCL ends it once.
            drop(unsafe { Box::from_raw(ctx.cast::<Communicator>()) });
            if started::end() {
                connecting::give_up();
            }
        }
        Ok(())
    })
}

pub(in crate::exports) unsafe fn devices(count: *mut c_int) -> c_int {
    answer(|| {
        let devices = started()?.devices.count();
        // SAFETY: room for a number. A machine has few interfaces.
        unsafe { count.write(devices as c_int) };
        Ok(())
    })
}

/// Joins the devices of a list to one, and reports its number.
///
/// The length of the list is believed only if the version has room for it.
pub(in crate::exports) unsafe fn make_v_device(out: *mut c_int, list: &VirtualDevice) -> c_int {
    answer(|| {
        let VirtualDevice { ndevs, room, .. } = list;
        let asked = list.devices();
        let asked =
            asked.ok_or_else(|| refused(&format!("{ndevs} devices were to be joined, of at most {room}")))?;
        let number = started()?.join(asked)?;
        // SAFETY: room for a number.
        unsafe { out.write(number) };
        Ok(())
    })
}

/// Returns a device's properties, which `properties` makes of the device and the most receives of a request.
pub(in crate::exports) fn describe(
    dev: c_int,
    properties: impl FnOnce(&'static Device, c_int) -> Properties,
) -> Result<Properties, c_int> {
    let mut described = Err(ResultCode::Internal.number());
    let code = answer(|| {
        let plugin = started()?;
        described = Ok(properties(plugin.device(dev)?, plugin.settings.max_receives.into()));
        started::choose();
        Ok(())
    });
    if code == ResultCode::SUCCESS { described } else { Err(code) }
}
