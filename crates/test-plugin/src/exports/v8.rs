//! Version 8.

use std::ffi::{c_int, c_void};

use gputcp_nccl_abi::{
    ResultCode,
    sys::{
        device::DeviceHandle,
        functions::Logger,
        v8::{Net, Properties},
    },
};

use super::{
    NAME,
    calls::{self, Arrays},
};

type P = *mut c_void;

/// The table of the file for this version alone: a slot is free when `test` has said that it is done.
pub const PLAIN: Net = Net {
    name: NAME.as_ptr(),
    init: Some(init::<false>),
    devices: Some(devices),
    get_properties: Some(properties),
    listen: Some(listen),
    connect: Some(connect),
    accept: Some(accept),
    reg_mr: Some(reg_mr),
    reg_mr_dma_buf: None,
    dereg_mr: Some(dereg_mr),
    isend: Some(isend),
    irecv: Some(irecv),
    iflush: Some(iflush),
    test: Some(test),
    close_send: Some(close_send),
    close_recv: Some(close_recv),
    close_listen: Some(close_listen),
    get_device_mr: None,
    irecv_consumed: None,
};

/// The table of the unpack file: a slot is free after `irecvConsumed`.
pub const UNPACK: Net = Net { init: Some(init::<true>), irecv_consumed: Some(irecv_consumed), ..PLAIN };

unsafe extern "C" fn init<const KEEP: bool>(_: Logger) -> c_int {
    calls::init(KEEP, None)
}

unsafe extern "C" fn devices(count: *mut c_int) -> c_int {
    calls::devices(count)
}

unsafe extern "C" fn properties(dev: c_int, props: *mut Properties) -> c_int {
    calls::properties(dev, |facts| {
        // SAFETY: the host gives room for this version's properties.
        unsafe {
            props.write(Properties {
                name: facts.name,
                pci_path: std::ptr::null_mut(),
                guid: facts.guid,
                ptr_support: facts.ptr_support,
                reg_is_global: 0,
                speed: facts.speed_mbit,
                port: 1,
                latency: 0.0,
                max_comms: 65_536,
                max_recvs: facts.max_recvs,
                net_device_type: facts.net_device_type,
                net_device_version: facts.net_device_version,
            });
        }
    })
}

unsafe extern "C" fn listen(dev: c_int, handle: P, listener: *mut P) -> c_int {
    calls::listen(dev, handle, listener)
}

unsafe extern "C" fn connect(dev: c_int, handle: P, comm: *mut P, device: *mut *mut DeviceHandle) -> c_int {
    calls::connect(dev, handle, comm, Some(device))
}

unsafe extern "C" fn accept(listener: P, comm: *mut P, device: *mut *mut DeviceHandle) -> c_int {
    calls::accept(listener, comm, Some(device))
}

unsafe extern "C" fn reg_mr(_: P, _: P, _: usize, kind: c_int, mhandle: *mut P) -> c_int {
    calls::reg_mr(kind, mhandle)
}

unsafe extern "C" fn dereg_mr(comm: P, mhandle: P) -> c_int {
    calls::dereg_mr(comm, mhandle)
}

unsafe extern "C" fn isend(comm: P, data: P, bytes: c_int, tag: c_int, mhandle: P, request: *mut P) -> c_int {
    let Ok(bytes) = usize::try_from(bytes) else { return ResultCode::InvalidArgument.number() };
    calls::isend(comm, data, bytes, tag, mhandle, request)
}

unsafe extern "C" fn irecv(
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

unsafe extern "C" fn iflush(_: P, _: c_int, _: *mut P, _: *mut c_int, _: *mut P, request: *mut P) -> c_int {
    calls::iflush(request)
}

unsafe extern "C" fn test(request: P, done: *mut c_int, sizes: *mut c_int) -> c_int {
    calls::test(request, done, sizes)
}

unsafe extern "C" fn close_send(comm: P) -> c_int {
    calls::close_send(comm)
}

unsafe extern "C" fn close_recv(comm: P) -> c_int {
    calls::close_recv(comm)
}

unsafe extern "C" fn close_listen(listener: P) -> c_int {
    calls::close_listen(listener)
}

unsafe extern "C" fn irecv_consumed(_: P, _: c_int, request: P) -> c_int {
    calls::irecv_consumed(request)
}
