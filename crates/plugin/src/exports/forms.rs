//! The functions as C calls them.
//!
//! If a signature changed, the name has the version that it came with, as in
//! `gputcp_nccl_abi::sys::functions`. Values that older versions do not pass are the usual ones.
//!
//! `connect` and `accept` leave the place for a device handle alone, as NCCL's own networks do. NCCL's
//! pointer stays NULL: no GPU takes part in a connection.

use std::{ffi::c_int, ptr};

use gputcp_nccl_abi::{
    ResultCode,
    sys::{
        device::{Config, DeviceHandle, NetAttr, VProps, VPropsV12},
        functions::{Logger, Profiler},
    },
};

use super::calls::{self, Group, P};

pub(super) unsafe extern "C" fn init(logger: Logger) -> c_int {
    calls::init(logger, ptr::null_mut())
}

pub(super) unsafe extern "C" fn init_v10(logger: Logger, _: Profiler) -> c_int {
    calls::init(logger, ptr::null_mut())
}

pub(super) unsafe extern "C" fn init_v11(
    ctx: *mut P,
    _: u64,
    _: *mut Config,
    logger: Logger,
    _: Profiler,
) -> c_int {
    calls::init(logger, ctx)
}

pub(super) unsafe extern "C" fn finalize(ctx: P) -> c_int {
    calls::finalize(ctx)
}

pub(super) unsafe extern "C" fn set_net_attr(_: P, _: *mut NetAttr) -> c_int {
    ResultCode::SUCCESS
}

pub(super) unsafe extern "C" fn devices(count: *mut c_int) -> c_int {
    calls::devices(count)
}

pub(super) unsafe extern "C" fn make_v_device(out: *mut c_int, asked: *mut VProps) -> c_int {
    if out.is_null() || asked.is_null() {
        return ResultCode::InvalidArgument.number();
    }
    // SAFETY: NCCL gives a whole list, whatever its numbers are.
    let VProps { ndevs, devs } = unsafe { *asked };
    calls::make_v_device(out, (ndevs, devs))
}

pub(super) unsafe extern "C" fn make_v_device_v12(out: *mut c_int, asked: *mut VPropsV12) -> c_int {
    if out.is_null() || asked.is_null() {
        return ResultCode::InvalidArgument.number();
    }
    // SAFETY: as above.
    let VPropsV12 { ndevs, devs } = unsafe { *asked };
    calls::make_v_device(out, (ndevs, devs))
}

pub(super) unsafe extern "C" fn listen(dev: c_int, handle: P, listener: *mut P) -> c_int {
    calls::listen(dev, handle, listener)
}

pub(super) unsafe extern "C" fn listen_v11(_: P, dev: c_int, handle: P, listener: *mut P) -> c_int {
    calls::listen(dev, handle, listener)
}

pub(super) unsafe extern "C" fn connect(dev: c_int, handle: P, comm: *mut P) -> c_int {
    calls::connect(dev, handle, comm)
}

pub(super) unsafe extern "C" fn connect_v7(
    dev: c_int,
    handle: P,
    comm: *mut P,
    _: *mut *mut DeviceHandle,
) -> c_int {
    calls::connect(dev, handle, comm)
}

pub(super) unsafe extern "C" fn connect_v10(
    dev: c_int,
    _: *mut Config,
    handle: P,
    comm: *mut P,
    _: *mut *mut DeviceHandle,
) -> c_int {
    calls::connect(dev, handle, comm)
}

pub(super) unsafe extern "C" fn connect_v11(
    _: P,
    dev: c_int,
    handle: P,
    comm: *mut P,
    _: *mut *mut DeviceHandle,
) -> c_int {
    calls::connect(dev, handle, comm)
}

pub(super) unsafe extern "C" fn accept(listener: P, comm: *mut P) -> c_int {
    calls::accept(listener, comm)
}

pub(super) unsafe extern "C" fn accept_v7(listener: P, comm: *mut P, _: *mut *mut DeviceHandle) -> c_int {
    calls::accept(listener, comm)
}

pub(super) unsafe extern "C" fn reg_mr(_: P, data: P, bytes: c_int, kind: c_int, mhandle: *mut P) -> c_int {
    // A length beyond an int arrives cut: nothing is then registered, and each request names its memory
    // itself.
    calls::reg_mr(data, usize::try_from(bytes).unwrap_or(0), kind, mhandle)
}

pub(super) unsafe extern "C" fn reg_mr_v8(
    _: P,
    data: P,
    bytes: usize,
    kind: c_int,
    mhandle: *mut P,
) -> c_int {
    calls::reg_mr(data, bytes, kind, mhandle)
}

pub(super) unsafe extern "C" fn dereg_mr(_: P, mhandle: P) -> c_int {
    calls::dereg_mr(mhandle)
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
    // SAFETY: NCCL gives `n` sizes, of which only those are read.
    let bytes = |at| usize::try_from(unsafe { *sizes.add(at) }).map_err(|_| ResultCode::InvalidArgument);
    calls::irecv(comm, Group { n, data, tags, mhandles }, bytes, request)
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
    // SAFETY: as above.
    calls::irecv(comm, Group { n, data, tags, mhandles }, |at| Ok(unsafe { *sizes.add(at) }), request)
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
    // SAFETY: as above.
    calls::irecv(comm, Group { n, data, tags, mhandles }, |at| Ok(unsafe { *sizes.add(at) }), request)
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

pub(super) unsafe extern "C" fn close_send(comm: P) -> c_int {
    calls::close(comm)
}

pub(super) unsafe extern "C" fn close_recv(comm: P) -> c_int {
    calls::close(comm)
}

pub(super) unsafe extern "C" fn close_listen(listener: P) -> c_int {
    calls::close_listen(listener)
}
