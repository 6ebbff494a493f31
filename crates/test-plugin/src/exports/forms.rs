//! The functions as C calls them. Where a signature changed, the name says the version that it came with, as in
//! `gputcp_nccl_abi::sys::functions`.

use std::ffi::{c_int, c_void};

use gputcp_nccl_abi::{
    ResultCode,
    sys::{
        device::{Config, DeviceHandle, NetAttr, VProps, VPropsV12},
        functions::{Logger, Profiler},
    },
};

use super::calls::{self, Arrays};

type P = *mut c_void;

/// `KEEP`: whether a receive's slot is kept until `irecvConsumed`.
pub(super) unsafe extern "C" fn init<const KEEP: bool>(logger: Logger) -> c_int {
    calls::init(logger, KEEP, None)
}

pub(super) unsafe extern "C" fn init_v10<const KEEP: bool>(logger: Logger, _: Profiler) -> c_int {
    calls::init(logger, KEEP, None)
}

pub(super) unsafe extern "C" fn init_v11<const KEEP: bool>(
    ctx: *mut P,
    _: u64,
    _: *mut Config,
    logger: Logger,
    _: Profiler,
) -> c_int {
    calls::init(logger, KEEP, Some(ctx))
}

pub(super) unsafe extern "C" fn devices(count: *mut c_int) -> c_int {
    calls::devices(count)
}

pub(super) unsafe extern "C" fn make_v_device(out: *mut c_int, asked: *mut VProps) -> c_int {
    // SAFETY: the host gives a whole list.
    let VProps { ndevs, devs } = unsafe { *asked };
    calls::make_v_device(out, devs.get(..ndevs as usize).unwrap_or_default())
}

pub(super) unsafe extern "C" fn make_v_device_v12(out: *mut c_int, asked: *mut VPropsV12) -> c_int {
    // SAFETY: as above.
    let VPropsV12 { ndevs, devs } = unsafe { *asked };
    calls::make_v_device(out, devs.get(..ndevs as usize).unwrap_or_default())
}

pub(super) unsafe extern "C" fn listen(dev: c_int, handle: P, listener: *mut P) -> c_int {
    calls::listen(dev, handle, listener)
}

pub(super) unsafe extern "C" fn listen_v11(_: P, dev: c_int, handle: P, listener: *mut P) -> c_int {
    calls::listen(dev, handle, listener)
}

pub(super) unsafe extern "C" fn connect(dev: c_int, handle: P, comm: *mut P) -> c_int {
    calls::connect(dev, handle, comm, None)
}

pub(super) unsafe extern "C" fn connect_v7(
    dev: c_int,
    handle: P,
    comm: *mut P,
    device: *mut *mut DeviceHandle,
) -> c_int {
    calls::connect(dev, handle, comm, Some(device))
}

pub(super) unsafe extern "C" fn connect_v10(
    dev: c_int,
    _: *mut Config,
    handle: P,
    comm: *mut P,
    device: *mut *mut DeviceHandle,
) -> c_int {
    calls::connect(dev, handle, comm, Some(device))
}

pub(super) unsafe extern "C" fn connect_v11(
    _: P,
    dev: c_int,
    handle: P,
    comm: *mut P,
    device: *mut *mut DeviceHandle,
) -> c_int {
    calls::connect(dev, handle, comm, Some(device))
}

pub(super) unsafe extern "C" fn accept(listener: P, comm: *mut P) -> c_int {
    calls::accept(listener, comm, None)
}

pub(super) unsafe extern "C" fn accept_v7(
    listener: P,
    comm: *mut P,
    device: *mut *mut DeviceHandle,
) -> c_int {
    calls::accept(listener, comm, Some(device))
}

pub(super) unsafe extern "C" fn reg_mr(_: P, _: P, _: c_int, kind: c_int, mhandle: *mut P) -> c_int {
    calls::reg_mr(kind, mhandle)
}

pub(super) unsafe extern "C" fn reg_mr_v8(_: P, _: P, _: usize, kind: c_int, mhandle: *mut P) -> c_int {
    calls::reg_mr(kind, mhandle)
}

pub(super) unsafe extern "C" fn reg_mr_dma_buf(
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

pub(super) unsafe extern "C" fn dereg_mr(comm: P, mhandle: P) -> c_int {
    calls::dereg_mr(comm, mhandle)
}

pub(super) unsafe extern "C" fn isend(
    comm: P,
    data: P,
    bytes: c_int,
    tag: c_int,
    mhandle: P,
    request: *mut P,
) -> c_int {
    let Ok(bytes) = usize::try_from(bytes) else { return ResultCode::InvalidArgument.number() };
    calls::isend(comm, data, bytes, tag, mhandle, request)
}

pub(super) unsafe extern "C" fn isend_v9(
    comm: P,
    data: P,
    bytes: usize,
    tag: c_int,
    mhandle: P,
    request: *mut P,
) -> c_int {
    calls::isend(comm, data, bytes, tag, mhandle, request)
}

pub(super) unsafe extern "C" fn isend_v10(
    comm: P,
    data: P,
    bytes: usize,
    tag: c_int,
    mhandle: P,
    _: P,
    request: *mut P,
) -> c_int {
    calls::isend(comm, data, bytes, tag, mhandle, request)
}

pub(super) unsafe extern "C" fn irecv(
    comm: P,
    n: c_int,
    data: *mut P,
    sizes: *mut c_int,
    tags: *mut c_int,
    mhandles: *mut P,
    request: *mut P,
) -> c_int {
    // SAFETY: the host gives `n` sizes, and no more are asked for.
    let size = |part| usize::try_from(unsafe { *sizes.add(part) }).unwrap_or(0);
    calls::irecv(comm, &Arrays { n, data, tags, mhandles }, size, request)
}

pub(super) unsafe extern "C" fn irecv_v9(
    comm: P,
    n: c_int,
    data: *mut P,
    sizes: *mut usize,
    tags: *mut c_int,
    mhandles: *mut P,
    request: *mut P,
) -> c_int {
    // SAFETY: the host gives `n` sizes, and no more are asked for.
    let size = |part| unsafe { *sizes.add(part) };
    calls::irecv(comm, &Arrays { n, data, tags, mhandles }, size, request)
}

pub(super) unsafe extern "C" fn irecv_v10(
    comm: P,
    n: c_int,
    data: *mut P,
    sizes: *mut usize,
    tags: *mut c_int,
    mhandles: *mut P,
    _: *mut P,
    request: *mut P,
) -> c_int {
    // SAFETY: the host gives `n` sizes, and no more are asked for.
    let size = |part| unsafe { *sizes.add(part) };
    calls::irecv(comm, &Arrays { n, data, tags, mhandles }, size, request)
}

pub(super) unsafe extern "C" fn iflush(
    _: P,
    _: c_int,
    _: *mut P,
    _: *mut c_int,
    _: *mut P,
    request: *mut P,
) -> c_int {
    calls::iflush(request)
}

pub(super) unsafe extern "C" fn test(request: P, done: *mut c_int, sizes: *mut c_int) -> c_int {
    calls::test(request, done, sizes)
}

pub(super) unsafe extern "C" fn irecv_consumed(_: P, _: c_int, request: P) -> c_int {
    calls::irecv_consumed(request)
}

pub(super) unsafe extern "C" fn close_send(comm: P) -> c_int {
    calls::close_send(comm)
}

pub(super) unsafe extern "C" fn close_recv(comm: P) -> c_int {
    calls::close_recv(comm)
}

pub(super) unsafe extern "C" fn close_listen(listener: P) -> c_int {
    calls::close_listen(listener)
}

pub(super) unsafe extern "C" fn finalize(ctx: P) -> c_int {
    calls::finalize(ctx)
}

pub(super) unsafe extern "C" fn set_net_attr(_: P, _: *mut NetAttr) -> c_int {
    ResultCode::SUCCESS
}
