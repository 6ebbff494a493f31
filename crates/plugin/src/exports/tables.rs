//! The tables that NCCL looks up, one for each version, from 6 (NCCL 2.13) to 12 (NCCL 2.30).
//!
//! NCCL takes the newest that it knows.

use std::{ffi::c_int, ptr};

use gputcp_nccl_abi::sys::{
    constants::{NET_DEVICE_HOST, NET_DEVICE_HOST_VERSION},
    device::{VProps, VPropsV12},
    v6, v7, v8, v9, v10, v11, v12,
};

use super::{calls, forms};
use crate::devices::Device;

/// Writes the table of a version: the functions whose form changed, those that came later, and the properties
/// it has besides.
macro_rules! table {
    (
        $(#[$doc:meta])*
        $symbol:ident: $version:ident, $init:ident, $listen:ident, $connect:ident, $accept:ident, $reg_mr:ident, $isend:ident,
        $irecv:ident, { $($field:ident: $value:expr,)* }, |$device:ident, $dev:ident| { $($property:ident: $says:expr,)* }
    ) => {
        $(#[$doc])*
        #[unsafe(no_mangle)]
        pub static $symbol: $version::Net = {
            unsafe extern "C" fn properties($dev: c_int, out: *mut $version::Properties) -> c_int {
                calls::describe($dev, |$device, max_recvs| {
                    let says = $version::Properties {
                        // NCCL only reads the texts; they stay as long as the process.
                        name: $device.name.as_ptr().cast_mut(),
                        pci_path: $device.pci_path.as_ref().map_or(ptr::null_mut(), |path| path.as_ptr().cast_mut()),
                        guid: $dev as u64,
                        ptr_support: calls::PTR_SUPPORT,
                        speed: $device.speed_mbit as c_int,
                        port: 0,
                        // Unknown, as NCCL's own sockets report.
                        latency: 0.0,
                        max_comms: calls::MAX_COMMS,
                        max_recvs,
                        $($property: $says,)*
                    };
                    // SAFETY: NCCL gives room for this version's properties.
                    unsafe { out.write(says) };
                })
            }
            $version::Net {
                name: calls::NAME.as_ptr(),
                init: Some(forms::$init),
                devices: Some(forms::devices),
                get_properties: Some(properties),
                listen: Some(forms::$listen),
                connect: Some(forms::$connect),
                accept: Some(forms::$accept),
                reg_mr: Some(forms::$reg_mr),
                // This one is for memory of GPUs alone.
                reg_mr_dma_buf: None,
                dereg_mr: Some(forms::dereg_mr),
                isend: Some(forms::$isend),
                irecv: Some(forms::$irecv),
                iflush: Some(forms::iflush),
                test: Some(forms::test),
                close_send: Some(forms::close_send),
                close_recv: Some(forms::close_recv),
                close_listen: Some(forms::close_listen),
                $($field: $value,)*
            }
        };
    };
}

table! {
    /// NCCL 2.13 to 2.18.
    ncclNetPlugin_v6: v6, init, listen, connect, accept, reg_mr, isend, irecv, {}, |device, dev| {}
}

table! {
    /// NCCL 2.19.
    ncclNetPlugin_v7: v7, init, listen, connect_v7, accept_v7, reg_mr, isend, irecv, {
        get_device_mr: None,
        irecv_consumed: None,
    }, |device, dev| {
        net_device_type: NET_DEVICE_HOST,
        net_device_version: NET_DEVICE_HOST_VERSION,
    }
}

table! {
    /// NCCL 2.20 to 2.23.
    ncclNetPlugin_v8: v8, init, listen, connect_v7, accept_v7, reg_mr_v8, isend, irecv, {
        get_device_mr: None,
        irecv_consumed: None,
    }, |device, dev| {
        reg_is_global: 0,
        net_device_type: NET_DEVICE_HOST,
        net_device_version: NET_DEVICE_HOST_VERSION,
    }
}

table! {
    /// NCCL 2.24 and 2.25.
    ncclNetPlugin_v9: v9, init, listen, connect_v7, accept_v7, reg_mr_v8, isend_v9, irecv_v9, {
        get_device_mr: None,
        irecv_consumed: None,
        make_v_device: Some(forms::make_v_device),
    }, |device, dev| {
        reg_is_global: 0,
        force_flush: 0,
        net_device_type: NET_DEVICE_HOST,
        net_device_version: NET_DEVICE_HOST_VERSION,
        v_props: v_props(device, dev),
        max_p2p_bytes: calls::LONGEST_BYTES,
        max_coll_bytes: calls::LONGEST_BYTES,
    }
}

table! {
    /// NCCL 2.26 and 2.27.
    ncclNetPlugin_v10: v10, init_v10, listen, connect_v10, accept_v7, reg_mr_v8, isend_v10, irecv_v10, {
        get_device_mr: None,
        irecv_consumed: None,
        make_v_device: Some(forms::make_v_device),
    }, |device, dev| {
        reg_is_global: 0,
        force_flush: 0,
        net_device_type: NET_DEVICE_HOST,
        net_device_version: NET_DEVICE_HOST_VERSION,
        v_props: v_props(device, dev),
        max_p2p_bytes: calls::LONGEST_BYTES,
        max_coll_bytes: calls::LONGEST_BYTES,
    }
}

table! {
    /// NCCL 2.28 and 2.29.
    ncclNetPlugin_v11: v11, init_v11, listen_v11, connect_v11, accept_v7, reg_mr_v8, isend_v10, irecv_v10, {
        get_device_mr: None,
        irecv_consumed: None,
        make_v_device: Some(forms::make_v_device),
        finalize: Some(forms::finalize),
        set_net_attr: Some(forms::set_net_attr),
    }, |device, dev| {
        reg_is_global: 0,
        force_flush: 0,
        net_device_type: NET_DEVICE_HOST,
        net_device_version: NET_DEVICE_HOST_VERSION,
        v_props: v_props(device, dev),
        max_p2p_bytes: calls::LONGEST_BYTES,
        max_coll_bytes: calls::LONGEST_BYTES,
        max_multi_request_size: 1,
    }
}

table! {
    /// NCCL 2.30 and later.
    ncclNetPlugin_v12: v12, init_v11, listen_v11, connect_v11, accept_v7, reg_mr_v8, isend_v10, irecv_v10, {
        get_device_mr: None,
        irecv_consumed: None,
        make_v_device: Some(forms::make_v_device_v12),
        finalize: Some(forms::finalize),
        set_net_attr: Some(forms::set_net_attr),
    }, |device, dev| {
        reg_is_global: 0,
        force_flush: 0,
        net_device_type: NET_DEVICE_HOST,
        net_device_version: NET_DEVICE_HOST_VERSION,
        v_props: v_props_v12(device, dev),
        max_p2p_bytes: calls::LONGEST_BYTES,
        max_coll_bytes: calls::LONGEST_BYTES,
        max_multi_request_size: 1,
        rail_id: -1,
        plane_id: -1,
    }
}

/// Returns the devices behind a device: those that NCCL had joined to it, or itself.
fn v_props(device: &Device, dev: c_int) -> VProps {
    let (ndevs, devs) = behind(device, dev);
    VProps { ndevs, devs }
}

fn v_props_v12(device: &Device, dev: c_int) -> VPropsV12 {
    let (ndevs, devs) = behind(device, dev);
    VPropsV12 { ndevs, devs }
}

fn behind<const N: usize>(device: &Device, dev: c_int) -> (c_int, [c_int; N]) {
    let behind = if device.behind.is_empty() { &[dev][..] } else { &device.behind };
    let mut devs = [0; N];
    devs.iter_mut().zip(behind).for_each(|(place, &dev)| *place = dev);
    (behind.len().min(N) as c_int, devs)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use gputcp_nccl_abi::sys::device::DeviceHandle;

    use super::*;
    use crate::exports::calls::P;

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
