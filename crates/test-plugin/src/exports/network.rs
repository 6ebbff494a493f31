//! The network as NCCL sees it, in the newest version's shape.

use std::ffi::{CStr, c_int};

use gputcp_nccl_net::{
    Properties, ResultCode, VirtualDevice,
    export::{Network, P, Receives},
    layout::{
        device::DeviceHandle,
        functions::{IrecvConsumed, Logger, RegMrDmaBuf},
    },
};

use super::{NAME, calls};

/// The network. `KEEP`: a receive's slot is kept until `irecvConsumed`, which the table then has.
pub struct Test<const KEEP: bool>;

impl<const KEEP: bool> Network for Test<KEEP> {
    const IRECV_CONSUMED: Option<IrecvConsumed> = if KEEP { Some(irecv_consumed) } else { None };
    const NAME: &'static CStr = NAME;
    const REG_MR_DMA_BUF: Option<RegMrDmaBuf> = Some(reg_mr_dma_buf);

    unsafe fn init(logger: Logger, ctx: *mut P) -> c_int {
        calls::init(logger, KEEP, (!ctx.is_null()).then_some(ctx))
    }

    unsafe fn finalize(ctx: P) -> c_int {
        calls::finalize(ctx)
    }

    unsafe fn devices(count: *mut c_int) -> c_int {
        calls::devices(count)
    }

    fn properties(dev: c_int) -> Result<Properties, c_int> {
        calls::properties(dev)
    }

    unsafe fn make_v_device(index: *mut c_int, devices: VirtualDevice) -> c_int {
        calls::make_v_device(index, devices.devices().unwrap_or_default())
    }

    unsafe fn listen(dev: c_int, handle: P, comm: *mut P) -> c_int {
        calls::listen(dev, handle, comm)
    }

    unsafe fn connect(dev: c_int, handle: P, comm: *mut P, device: Option<*mut *mut DeviceHandle>) -> c_int {
        calls::connect(dev, handle, comm, device)
    }

    unsafe fn accept(listener: P, comm: *mut P, device: Option<*mut *mut DeviceHandle>) -> c_int {
        calls::accept(listener, comm, device)
    }

    unsafe fn reg_mr(_: P, _: P, _: Option<usize>, kind: c_int, mhandle: *mut P) -> c_int {
        calls::reg_mr(kind, mhandle)
    }

    unsafe fn dereg_mr(comm: P, mhandle: P) -> c_int {
        calls::dereg_mr(comm, mhandle)
    }

    unsafe fn isend(
        comm: P,
        data: P,
        bytes: Option<usize>,
        tag: c_int,
        mhandle: P,
        request: *mut P,
    ) -> c_int {
        let Some(bytes) = bytes else { return ResultCode::InvalidArgument.number() };
        calls::isend(comm, data, bytes, tag, mhandle, request)
    }

    unsafe fn irecv(comm: P, parts: &Receives, request: *mut P) -> c_int {
        calls::irecv(comm, parts, request)
    }

    unsafe fn iflush(_: P, request: *mut P) -> c_int {
        calls::iflush(request)
    }

    unsafe fn test(request: P, done: *mut c_int, sizes: *mut c_int) -> c_int {
        calls::test(request, done, sizes)
    }

    unsafe fn close_send(comm: P) -> c_int {
        calls::close_send(comm)
    }

    unsafe fn close_recv(comm: P) -> c_int {
        calls::close_recv(comm)
    }

    unsafe fn close_listen(listener: P) -> c_int {
        calls::close_listen(listener)
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
    calls::reg_mr_dma_buf(bytes, kind, offset, fd, mhandle)
}

unsafe extern "C" fn irecv_consumed(_: P, _: c_int, request: P) -> c_int {
    calls::irecv_consumed(request)
}
