//! The network as NCCL sees it, in the newest version's shape, and the tables that NCCL looks up.
//!
//! Values that older versions do not pass are the usual ones. `connect` and `accept` leave the place for a
//! device handle alone, as NCCL's own networks do. NCCL's pointer stays NULL: no GPU takes part in a
//! connection.

use std::{
    ffi::{CStr, c_int},
    ptr,
};

use gputcp_nccl_net::{
    Properties, VirtualDevice,
    export::{Network, P, Receives},
    layout::{
        constants::{NET_DEVICE_HOST, NET_DEVICE_HOST_VERSION},
        device::DeviceHandle,
        functions::Logger,
    },
    network_functions,
};

use super::calls;
use crate::devices::Device;

/// The network that NCCL selects with `NCCL_NET=gputcp`.
pub struct Gputcp;

gputcp_nccl_net::export!(Gputcp);

impl Network for Gputcp {
    const NAME: &'static CStr = calls::NAME;

    fn properties(dev: c_int) -> Result<Properties, c_int> {
        calls::describe(dev, |device, max_recvs| properties(device, dev, max_recvs))
    }

    network_functions! {
        fn init(logger: Logger, ctx: *mut P) => calls::init(logger, ctx);
        fn finalize(ctx: P) => calls::finalize(ctx);
        fn devices(count: *mut c_int) => calls::devices(count);
        fn make_v_device(index: *mut c_int, devices: VirtualDevice) => calls::make_v_device(index, &devices);
        fn listen(dev: c_int, handle: P, comm: *mut P) => calls::listen(dev, handle, comm);
        fn connect(dev: c_int, handle: P, comm: *mut P, _device: Option<*mut *mut DeviceHandle>)
            => calls::connect(dev, handle, comm);
        fn accept(listener: P, comm: *mut P, _device: Option<*mut *mut DeviceHandle>)
            => calls::accept(listener, comm);
        // A length beyond an int arrives cut: nothing is then registered, and each request names its memory
        // itself.
        fn reg_mr(_comm: P, data: P, bytes: Option<usize>, kind: c_int, mhandle: *mut P)
            => calls::reg_mr(data, bytes.unwrap_or(0), kind, mhandle);
        fn dereg_mr(_comm: P, mhandle: P) => calls::dereg_mr(mhandle);
        fn isend(comm: P, data: P, bytes: Option<usize>, tag: c_int, mhandle: P, request: *mut P)
            => calls::isend(comm, data, bytes, tag, mhandle, request);
        fn irecv(comm: P, parts: &Receives, request: *mut P) => calls::irecv(comm, parts, request);
        fn iflush(_comm: P, request: *mut P) => calls::iflush(request);
        fn test(request: P, done: *mut c_int, sizes: *mut c_int) => calls::test(request, done, sizes);
        fn close_send(comm: P) => calls::close(comm);
        fn close_recv(comm: P) => calls::close(comm);
        fn close_listen(listener: P) => calls::close_listen(listener);
    }
}

/// Describes a device. NCCL only reads the texts; they stay as long as the process.
fn properties(device: &Device, dev: c_int, max_recvs: c_int) -> Properties {
    // The devices behind it: those that NCCL had joined to it, or itself.
    let behind = if device.behind.is_empty() { &[dev][..] } else { &device.behind };
    Properties {
        name: device.name.as_ptr().cast_mut(),
        pci_path: device.pci_path.as_ref().map_or(ptr::null_mut(), |path| path.as_ptr().cast_mut()),
        guid: dev as u64,
        ptr_support: calls::PTR_SUPPORT,
        reg_is_global: Some(0),
        force_flush: Some(0),
        speed: device.speed_mbit as c_int,
        port: 0,
        // Unknown, as NCCL's own sockets report.
        latency: 0.0,
        max_comms: calls::MAX_COMMS,
        max_recvs,
        net_device_type: Some(NET_DEVICE_HOST),
        net_device_version: Some(NET_DEVICE_HOST_VERSION),
        v_props: Some(VirtualDevice::new(behind)),
        max_p2p_bytes: Some(calls::LONGEST_BYTES),
        max_coll_bytes: Some(calls::LONGEST_BYTES),
        max_multi_request_size: Some(1),
        rail_id: Some(-1),
        plane_id: Some(-1),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use gputcp_nccl_net::layout::device::DeviceHandle;

    use super::*;

    #[repr(align(16))]
    struct Handle([u8; 128]);

    /// Connects a device to itself, with places for device handles that lie nowhere, and closes.
    fn connects(
        listen: impl Fn(P, *mut P) -> c_int,
        connect: impl Fn(P, *mut P, *mut *mut DeviceHandle) -> c_int,
        accept: impl Fn(P, *mut P, *mut *mut DeviceHandle) -> c_int,
        close: impl Fn(P, P, P) -> [c_int; 3],
    ) {
        let nowhere: *mut *mut DeviceHandle = ptr::without_provenance_mut(0x1230);
        let (mut handle, mut listener) = (Handle([0; 128]), ptr::null_mut());
        let handle: P = handle.0.as_mut_ptr().cast();
        assert_eq!(listen(handle, &raw mut listener), 0);
        let (mut send, mut recv): (P, P) = (ptr::null_mut(), ptr::null_mut());
        let until = Instant::now() + Duration::from_secs(30);
        while send.is_null() || recv.is_null() {
            assert!(Instant::now() < until, "the connection was never there");
            if send.is_null() {
                assert_eq!(connect(handle, &raw mut send, nowhere), 0);
            }
            if recv.is_null() {
                assert_eq!(accept(listener, &raw mut recv, nowhere), 0);
            }
        }
        assert_eq!(close(send, recv, listener), [0; 3]);
    }

    /// The functions of a table, called with what its version has before `connect`'s handle.
    macro_rules! connects {
        ($net:expr, ($($init:expr),*), ($($ctx:expr)?), ($($before:expr),*)) => {{
            let net = $net;
            // SAFETY: the functions of this plugin, with the arguments of the version.
            unsafe {
                assert_eq!(net.init.unwrap()($($init),*), 0);
                connects(
                    |handle, out| net.listen.unwrap()($($ctx,)? 0, handle, out),
                    |handle, out, device| net.connect.unwrap()($($before,)* handle, out, device),
                    |listener, out, device| net.accept.unwrap()(listener, out, device),
                    |send, recv, listener| {
                        [
                            net.close_send.unwrap()(send),
                            net.close_recv.unwrap()(recv),
                            net.close_listen.unwrap()(listener),
                        ]
                    },
                );
            }
        }};
    }

    #[test]
    fn the_place_for_a_device_handle_is_left_alone() {
        let (no_config, mut ctx) = (ptr::null_mut(), ptr::null_mut());
        connects!(&ncclNetPlugin_v7, (None), (), (0));
        connects!(&ncclNetPlugin_v8, (None), (), (0));
        connects!(&ncclNetPlugin_v9, (None), (), (0));
        connects!(&ncclNetPlugin_v10, (None, None), (), (0, no_config));
        connects!(&ncclNetPlugin_v11, (&raw mut ctx, 1, no_config, None, None), (ctx), (ctx, 0));
        connects!(&ncclNetPlugin_v12, (&raw mut ctx, 1, no_config, None, None), (ctx), (ctx, 0));
    }
}
