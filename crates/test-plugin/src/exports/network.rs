//! The network as NCCL sees it, in the newest version's shape.

use std::ffi::{CStr, c_int};

use gputcp_nccl_net::{
    Properties, VirtualDevice,
    export::{Network, P, Receives},
    layout::{
        device::DeviceHandle,
        functions::{IrecvConsumed, Logger, RegMrDmaBuf},
    },
    network_functions,
};

use super::{NAME, calls};

/// The network. `KEEP`: a receive's slot is kept until `irecvConsumed`, which the table then has.
pub struct Test<const KEEP: bool>;

impl<const KEEP: bool> Network for Test<KEEP> {
    const IRECV_CONSUMED: Option<IrecvConsumed> = if KEEP { Some(irecv_consumed) } else { None };
    const NAME: &'static CStr = NAME;
    const REG_MR_DMA_BUF: Option<RegMrDmaBuf> = Some(reg_mr_dma_buf);

    fn properties(dev: c_int) -> Result<Properties, c_int> {
        calls::properties(dev)
    }

    network_functions! {
        fn init(logger: Logger, ctx: *mut P) => calls::init(logger, KEEP, (!ctx.is_null()).then_some(ctx));
        fn finalize(ctx: P) => calls::finalize(ctx);
        fn devices(count: *mut c_int) => calls::devices(count);
        fn make_v_device(index: *mut c_int, devices: VirtualDevice)
            => calls::make_v_device(index, devices.devices().unwrap_or_default());
        fn listen(dev: c_int, handle: P, comm: *mut P) => calls::listen(dev, handle, comm);
        fn connect(dev: c_int, handle: P, comm: *mut P, device: Option<*mut *mut DeviceHandle>)
            => calls::connect(dev, handle, comm, device);
        fn accept(listener: P, comm: *mut P, device: Option<*mut *mut DeviceHandle>)
            => calls::accept(listener, comm, device);
        fn reg_mr(_comm: P, _data: P, _bytes: Option<usize>, kind: c_int, mhandle: *mut P)
            => calls::reg_mr(kind, mhandle);
        fn dereg_mr(comm: P, mhandle: P) => calls::dereg_mr(comm, mhandle);
        fn isend(comm: P, data: P, bytes: Option<usize>, tag: c_int, mhandle: P, request: *mut P)
            => calls::isend(comm, data, bytes, tag, mhandle, request);
        fn irecv(comm: P, parts: &Receives, request: *mut P) => calls::irecv(comm, parts, request);
        fn iflush(_comm: P, request: *mut P) => calls::iflush(request);
        fn test(request: P, done: *mut c_int, sizes: *mut c_int) => calls::test(request, done, sizes);
        fn close_send(comm: P) => calls::close_send(comm);
        fn close_recv(comm: P) => calls::close_recv(comm);
        fn close_listen(listener: P) => calls::close_listen(listener);
    }
}

unsafe extern "C" fn reg_mr_dma_buf(
    _: P,
    _: P,
    bytes: usize,
    kind: c_int,
    offset: u64,
    fd: c_int,
    mhandle: *mut P,
) -> c_int {
    // SAFETY: the caller is NCCL or keeps its promises.
    unsafe { calls::reg_mr_dma_buf(bytes, kind, offset, fd, mhandle) }
}

unsafe extern "C" fn irecv_consumed(_: P, _: c_int, request: P) -> c_int {
    // SAFETY: as above.
    unsafe { calls::irecv_consumed(request) }
}
