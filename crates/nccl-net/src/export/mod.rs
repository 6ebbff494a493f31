//! The exporting side: tables of all versions, made from one implementation in the newest version's shape.
//!
//! A plugin implements [`Network`] and exports it with [`crate::export!`]. `forms` has the functions that C
//! calls; [`guard`] keeps panics from it.

mod forms;
pub mod guard;

use std::ffi::{CStr, c_int};

pub(crate) use self::forms::{
    Accept, Connect, Init, Irecv, Isend, Listen, RegMr, close_listen, close_recv, close_send, dereg_mr,
    devices, exported, finalize, get_properties, iflush, make_v_device, set_net_attr, test,
};
pub use self::forms::{Receive, Receives};
use crate::{
    Properties, VirtualDevice,
    layout::{
        c_void,
        device::DeviceHandle,
        functions::{IrecvConsumed, Logger, RegMrDmaBuf},
    },
};

/// Any pointer of the interface.
pub type P = *mut c_void;

/// A network as NCCL's newest version sees it. A value that an older version does not pass has its neutral
/// value.
///
/// The functions are NCCL's, described at their types in [`crate::layout::functions`]. Each returns a code.
/// They take NCCL's pointers as they are, so that a plugin judges them itself.
///
/// # Safety of the functions
/// The caller is NCCL or keeps NCCL's promises. Out-pointers have room for the result. A comm or a request is
/// one that the network gave and that was not closed; no thread uses a comm that is being closed.
#[expect(clippy::missing_safety_doc, reason = "said once, at the trait")]
pub trait Network: 'static {
    /// The name, as `NCCL_NET` selects it.
    const NAME: &'static CStr;
    /// Registers a dma-buf, where the network can.
    const REG_MR_DMA_BUF: Option<RegMrDmaBuf> = None;
    /// Gives a receive's slot back, where a slot is kept until then.
    const IRECV_CONSUMED: Option<IrecvConsumed> = None;

    /// Starts the network. `ctx` is NULL before version 11.
    unsafe fn init(logger: Logger, ctx: *mut P) -> c_int;
    /// Ends what `init` started.
    unsafe fn finalize(ctx: P) -> c_int;
    /// Writes the number of devices.
    unsafe fn devices(count: *mut c_int) -> c_int;
    /// Returns a device's properties.
    ///
    /// # Errors
    /// A code that is not success.
    fn properties(dev: c_int) -> Result<Properties, c_int>;
    /// Joins devices to one, and writes its number. The list's own number of devices may be wrong.
    unsafe fn make_v_device(index: *mut c_int, devices: VirtualDevice) -> c_int;
    /// Listens on a device.
    unsafe fn listen(dev: c_int, handle: P, comm: *mut P) -> c_int;
    /// Connects. `device` is `None` before version 7.
    unsafe fn connect(dev: c_int, handle: P, comm: *mut P, device: Option<*mut *mut DeviceHandle>) -> c_int;
    /// Accepts. `device` is `None` before version 7.
    unsafe fn accept(listener: P, comm: *mut P, device: Option<*mut *mut DeviceHandle>) -> c_int;
    /// Registers memory. `bytes` is `None` where it came as a negative int: cut, before version 8.
    unsafe fn reg_mr(comm: P, data: P, bytes: Option<usize>, kind: c_int, mhandle: *mut P) -> c_int;
    /// Takes a registration back.
    unsafe fn dereg_mr(comm: P, mhandle: P) -> c_int;
    /// Posts a send. `bytes` is `None` where it came as a negative int.
    unsafe fn isend(comm: P, data: P, bytes: Option<usize>, tag: c_int, mhandle: P, request: *mut P)
    -> c_int;
    /// Posts receives as one request.
    unsafe fn irecv(comm: P, parts: &Receives, request: *mut P) -> c_int;
    /// Makes received data visible to the GPU.
    unsafe fn iflush(comm: P, request: *mut P) -> c_int;
    /// Polls a request.
    unsafe fn test(request: P, done: *mut c_int, sizes: *mut c_int) -> c_int;
    /// Ends a sending connection.
    unsafe fn close_send(comm: P) -> c_int;
    /// Ends a receiving connection.
    unsafe fn close_recv(comm: P) -> c_int;
    /// Ends a listener.
    unsafe fn close_listen(listener: P) -> c_int;
}

/// Defines functions of a [`Network`] by an expression each. The promise of their caller covers it.
#[macro_export]
macro_rules! network_functions {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(,)?) => $body:expr;)*) => {
        $(unsafe fn $name($($argument: $type),*) -> std::ffi::c_int {
            // SAFETY: the caller keeps NCCL's promises, which are those of the trait.
            unsafe { $body }
        })*
    };
}

/// A version's table for a network.
pub trait Export<N: Network>: Sized {
    /// The table, whole.
    const TABLE: Self;
}
