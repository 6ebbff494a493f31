//! The functions of a whole table. A length that a version cannot express is an error before the call; it is
//! never cut.

use std::ffi::c_int;

use super::forms::{
    Accept, Connect, GetProperties, Irecv, Isend, Listen, MakeVDevice, Receives, RegMr, TooLong,
};
use crate::{
    Properties, VirtualDevice,
    layout::{
        c_void,
        device::{Config, DeviceHandle},
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
        unsafe { self.get_properties.call(dev) }
    }

    /// Listens on a device.
    ///
    /// # Safety
    /// `ctx` is the plugin's; `handle` has 128 bytes; `comm` has room for a pointer.
    pub unsafe fn listen(&self, ctx: P, dev: c_int, handle: P, comm: *mut P) -> c_int {
        // SAFETY: the caller's promise.
        unsafe { self.listen.call(ctx, dev, handle, comm) }
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
        unsafe { self.connect.call(ctx, config, dev, handle, comm, device) }
    }

    /// Accepts a connection.
    ///
    /// # Safety
    /// `listen_comm` is the plugin's; `comm` has room for a pointer; `device` as for [`Self::connect`].
    pub unsafe fn accept(&self, listen_comm: P, comm: *mut P, device: *mut *mut DeviceHandle) -> c_int {
        // SAFETY: the caller's promise.
        unsafe { self.accept.call(listen_comm, comm, device) }
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
        // SAFETY: the caller's promise.
        unsafe { self.reg_mr.call(comm, data, bytes, kind, mhandle) }
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
        // SAFETY: the caller's promise.
        unsafe { self.isend.call(comm, data, bytes, tag, mhandle, request) }
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
        // SAFETY: the caller's promise.
        unsafe { self.irecv.call(comm, parts, request) }
    }

    /// Joins devices to one, whose number it writes; `None` where there is no such function.
    ///
    /// # Safety
    /// The plugin is started; `index` has room for a number.
    pub unsafe fn make_v_device(&self, index: *mut c_int, devices: VirtualDevice) -> Option<c_int> {
        // SAFETY: the caller's promise.
        self.make_v_device.map(|make| unsafe { make.call(index, devices) })
    }
}
