//! The functions of a whole table. A length that a version cannot express is an error before the call; it is
//! never cut.

use std::{ffi::c_int, ptr};

use super::forms::{
    Accept, Connect, GetProperties, Irecv, Isend, Listen, MakeVDevice, Receives, RegMr, TooLong,
};
use crate::{
    Properties, VirtualDevice,
    layout::{
        c_void,
        device::{Config, DeviceHandle, VProps, VPropsV12},
        functions::{Close, DeregMr, Devices, Iflush, IrecvConsumed, RegMrDmaBuf, Test},
    },
};

type P = *mut c_void;

/// The functions of a table after `init`. Those that NCCL calls without looking are there.
///
/// A function whose signature changed is a method, in the newest version's shape; the others are fields. The
/// types in [`crate::layout::functions`] describe the arguments.
#[derive(Debug, Clone, Copy)]
pub struct Calls {
    pub(super) version: u32,
    /// Writes the number of devices.
    pub devices: Devices,
    pub(super) get_properties: GetProperties,
    pub(super) listen: Listen,
    pub(super) connect: Connect,
    pub(super) accept: Accept,
    pub(super) reg_mr: RegMr,
    /// Takes a registration back.
    pub dereg_mr: DeregMr,
    pub(super) isend: Isend,
    pub(super) irecv: Irecv,
    /// Polls a request.
    pub test: Test,
    /// Ends a sending connection.
    pub close_send: Close,
    /// Ends a receiving connection.
    pub close_recv: Close,
    /// Ends a listener.
    pub close_listen: Close,
    /// Registers a dma-buf.
    pub reg_mr_dma_buf: Option<RegMrDmaBuf>,
    /// Makes received data visible to the GPU.
    pub iflush: Option<Iflush>,
    /// Gives a receive's slot back.
    pub irecv_consumed: Option<IrecvConsumed>,
    pub(super) make_v_device: Option<MakeVDevice>,
}

impl Calls {
    /// Returns the table's version.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Asks for a device's properties.
    ///
    /// # Errors
    /// The code that is not success.
    ///
    /// # Safety
    /// The plugin is started.
    pub unsafe fn get_properties(&self, dev: c_int) -> Result<Properties, c_int> {
        // SAFETY: the caller's promise.
        unsafe { (self.get_properties.ask)(self.get_properties.function, dev) }
    }

    /// Listens on a device.
    ///
    /// # Safety
    /// `ctx` is the plugin's; `handle` has 128 bytes; `comm` has room for a pointer.
    pub unsafe fn listen(&self, ctx: P, dev: c_int, handle: P, comm: *mut P) -> c_int {
        // SAFETY: the caller's promise.
        unsafe {
            match self.listen {
                Listen::V5(listen) => listen(dev, handle, comm),
                Listen::V11(listen) => listen(ctx, dev, handle, comm),
            }
        }
    }

    /// Connects to a handle.
    ///
    /// # Safety
    /// `ctx` and `config` are those of `init`. `handle` has 128 bytes, the same at each call for one
    /// connection. `comm` has room for a pointer. `device` points to a pointer to storage of 512 bytes, or to
    /// NULL.
    pub unsafe fn connect(
        &self,
        ctx: P,
        config: *mut Config,
        dev: c_int,
        handle: P,
        comm: *mut P,
        device: *mut *mut DeviceHandle,
    ) -> c_int {
        // SAFETY: the caller's promise.
        unsafe {
            match self.connect {
                Connect::V5(connect) => connect(dev, handle, comm),
                Connect::V7(connect) => connect(dev, handle, comm, device),
                Connect::V10(connect) => connect(dev, config, handle, comm, device),
                Connect::V11(connect) => connect(ctx, dev, handle, comm, device),
            }
        }
    }

    /// Accepts a connection.
    ///
    /// # Safety
    /// `listener` is the plugin's; `comm` has room for a pointer; `device` as for [`Self::connect`].
    pub unsafe fn accept(&self, listener: P, comm: *mut P, device: *mut *mut DeviceHandle) -> c_int {
        // SAFETY: the caller's promise.
        unsafe {
            match self.accept {
                Accept::V5(accept) => accept(listener, comm),
                Accept::V7(accept) => accept(listener, comm, device),
            }
        }
    }

    /// Registers memory.
    ///
    /// # Errors
    /// [`TooLong`] before any call.
    ///
    /// # Safety
    /// `comm` is the plugin's; the memory is of the type `kind`, and lives until it is deregistered.
    pub unsafe fn reg_mr(
        &self,
        comm: P,
        data: P,
        bytes: usize,
        kind: c_int,
        mhandle: *mut P,
    ) -> Result<c_int, TooLong> {
        Ok(match self.reg_mr {
            // SAFETY: the caller's promise.
            RegMr::V5(reg_mr) => unsafe { reg_mr(comm, data, int(bytes)?, kind, mhandle) },
            // SAFETY: the caller's promise.
            RegMr::V8(reg_mr) => unsafe { reg_mr(comm, data, bytes, kind, mhandle) },
        })
    }

    /// Posts a send.
    ///
    /// # Errors
    /// [`TooLong`] before any call.
    ///
    /// # Safety
    /// `comm` is the plugin's; the memory is registered as `mhandle`, lives, and is not written, until the
    /// request is done or the connection closed.
    pub unsafe fn isend(
        &self,
        comm: P,
        data: P,
        bytes: usize,
        tag: c_int,
        mhandle: P,
        request: *mut P,
    ) -> Result<c_int, TooLong> {
        Ok(match self.isend {
            // SAFETY: the caller's promise.
            Isend::V5(isend) => unsafe { isend(comm, data, int(bytes)?, tag, mhandle, request) },
            // SAFETY: the caller's promise.
            Isend::V9(isend) => unsafe { isend(comm, data, bytes, tag, mhandle, request) },
            // SAFETY: the caller's promise; no profiler was given, so there is no handle of one.
            Isend::V10(isend) => unsafe { isend(comm, data, bytes, tag, mhandle, ptr::null_mut(), request) },
        })
    }

    /// Posts receives as one request.
    ///
    /// # Errors
    /// [`TooLong`] before any call.
    ///
    /// # Safety
    /// `comm` is the plugin's. Each part's memory is registered as its `mhandle`, and lives until the request
    /// is done or the connection closed. Until then it belongs to the plugin alone.
    pub unsafe fn irecv(&self, comm: P, parts: Receives<'_>, request: *mut P) -> Result<c_int, TooLong> {
        let Receives { data, sizes, tags, mhandles } = parts;
        let n = data.len();
        assert!(
            sizes.len() == n && tags.len() == n && mhandles.len() == n,
            "the arrays of a receive are of one length"
        );
        let (mut few_ints, mut few_handles) = ([0; FEW], [ptr::null_mut(); FEW]);
        let (mut ints, mut handles) = (Vec::new(), Vec::new());
        let count = int(n)?;
        let (data, tags, mhandles) = (data.as_mut_ptr(), tags.as_mut_ptr(), mhandles.as_mut_ptr());
        // SAFETY: arrays as long as `n` says, which plugins read during the call. The rest is the caller's
        // promise. No profiler was given, so there are no handles of one.
        Ok(match self.irecv {
            Irecv::V5(irecv) => {
                let ints = room(n, &mut few_ints, &mut ints);
                for (place, &bytes) in ints.iter_mut().zip(&*sizes) {
                    *place = int(bytes)?;
                }
                let ints = ints.as_mut_ptr();
                // SAFETY: as above.
                unsafe { irecv(comm, count, data, ints, tags, mhandles, request) }
            }
            // SAFETY: as above.
            Irecv::V9(irecv) => unsafe {
                irecv(comm, count, data, sizes.as_mut_ptr(), tags, mhandles, request)
            },
            Irecv::V10(irecv) => {
                let handles = room(n, &mut few_handles, &mut handles).as_mut_ptr();
                // SAFETY: as above.
                unsafe { irecv(comm, count, data, sizes.as_mut_ptr(), tags, mhandles, handles, request) }
            }
        })
    }

    /// Joins devices to one, whose number it writes; `None` where there is no such function.
    ///
    /// # Safety
    /// The plugin is started; `index` has room for a number.
    pub unsafe fn make_v_device(&self, index: *mut c_int, devices: VirtualDevice) -> Option<c_int> {
        // SAFETY: the caller's promise; the list lives during the call.
        self.make_v_device.map(|make| unsafe {
            match make {
                MakeVDevice::V9(make) => make(index, &mut VProps::from(devices)),
                MakeVDevice::V12(make) => make(index, &mut VPropsV12::from(devices)),
            }
        })
    }
}

/// Returns `n` places: the few where they suffice, so that usual calls allocate nothing.
fn room<'a, T: Copy>(n: usize, few: &'a mut [T; FEW], more: &'a mut Vec<T>) -> &'a mut [T] {
    if n <= FEW {
        return &mut few[..n];
    }
    more.resize(n, few[0]);
    more
}

fn int(bytes: usize) -> Result<c_int, TooLong> {
    c_int::try_from(bytes).map_err(|_| TooLong)
}

/// NCCL's own most of receives in one request (`NCCL_PROXY_MAX_SUBS` and the limit of its IB plugin).
const FEW: usize = 8;
