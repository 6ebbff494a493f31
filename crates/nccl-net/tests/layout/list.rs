//! Every struct with its fields, under NCCL's names.

use std::mem::offset_of;

use gputcp_nccl_net::{
    layout::{device, tuner, unpack},
    versions::{v5, v6, v7, v8, v9, v10, v11, v12},
};

/// A struct as Rust lays it out.
pub(crate) struct Layout {
    pub(crate) name: &'static str,
    pub(crate) size: usize,
    /// Name and offset.
    pub(crate) fields: Vec<(&'static str, usize)>,
}

macro_rules! layout {
    ($name:literal, $path:path { $($rust:ident $c:ident),* $(,)? }) => {
        Layout {
            name: $name,
            size: size_of::<$path>(),
            fields: vec![$((stringify!($c), offset_of!($path, $rust))),*],
        }
    };
}

/// Returns the structs of the net interface.
pub(crate) fn net_layouts() -> Vec<Layout> {
    vec![
        layout!("ncclNetProperties_v5_t", v5::Properties {
            name name, pci_path pciPath, guid guid, ptr_support ptrSupport, speed speed, port port, latency latency, max_comms maxComms, max_recvs maxRecvs,
        }),
        layout!("ncclNet_v5_t", v5::Net {
            name name, init init, devices devices, get_properties getProperties, listen listen, connect connect, accept accept, reg_mr regMr, dereg_mr deregMr, isend isend, irecv irecv, iflush iflush, test test, close_send closeSend, close_recv closeRecv, close_listen closeListen,
        }),
        layout!("ncclNet_v6_t", v6::Net {
            name name, init init, devices devices, get_properties getProperties, listen listen, connect connect, accept accept, reg_mr regMr, reg_mr_dma_buf regMrDmaBuf, dereg_mr deregMr, isend isend, irecv irecv, iflush iflush, test test, close_send closeSend, close_recv closeRecv, close_listen closeListen,
        }),
        layout!("ncclNetProperties_v6_t", v6::Properties {
            name name, pci_path pciPath, guid guid, ptr_support ptrSupport, speed speed, port port, latency latency, max_comms maxComms, max_recvs maxRecvs,
        }),
        layout!("ncclNetProperties_v7_t", v7::Properties {
            name name, pci_path pciPath, guid guid, ptr_support ptrSupport, speed speed, port port, latency latency, max_comms maxComms, max_recvs maxRecvs, net_device_type netDeviceType, net_device_version netDeviceVersion,
        }),
        layout!("ncclNet_v7_t", v7::Net {
            name name, init init, devices devices, get_properties getProperties, listen listen, connect connect, accept accept, reg_mr regMr, reg_mr_dma_buf regMrDmaBuf, dereg_mr deregMr, isend isend, irecv irecv, iflush iflush, test test, close_send closeSend, close_recv closeRecv, close_listen closeListen, get_device_mr getDeviceMr, irecv_consumed irecvConsumed,
        }),
        layout!("ncclNetProperties_v8_t", v8::Properties {
            name name, pci_path pciPath, guid guid, ptr_support ptrSupport, reg_is_global regIsGlobal, speed speed, port port, latency latency, max_comms maxComms, max_recvs maxRecvs, net_device_type netDeviceType, net_device_version netDeviceVersion,
        }),
        layout!("ncclNet_v8_t", v8::Net {
            name name, init init, devices devices, get_properties getProperties, listen listen, connect connect, accept accept, reg_mr regMr, reg_mr_dma_buf regMrDmaBuf, dereg_mr deregMr, isend isend, irecv irecv, iflush iflush, test test, close_send closeSend, close_recv closeRecv, close_listen closeListen, get_device_mr getDeviceMr, irecv_consumed irecvConsumed,
        }),
        layout!("ncclNetProperties_v9_t", v9::Properties {
            name name, pci_path pciPath, guid guid, ptr_support ptrSupport, reg_is_global regIsGlobal, force_flush forceFlush, speed speed, port port, latency latency, max_comms maxComms, max_recvs maxRecvs, net_device_type netDeviceType, net_device_version netDeviceVersion, v_props vProps, max_p2p_bytes maxP2pBytes, max_coll_bytes maxCollBytes,
        }),
        layout!("ncclNet_v9_t", v9::Net {
            name name, init init, devices devices, get_properties getProperties, listen listen, connect connect, accept accept, reg_mr regMr, reg_mr_dma_buf regMrDmaBuf, dereg_mr deregMr, isend isend, irecv irecv, iflush iflush, test test, close_send closeSend, close_recv closeRecv, close_listen closeListen, get_device_mr getDeviceMr, irecv_consumed irecvConsumed, make_v_device makeVDevice,
        }),
        layout!("ncclNetProperties_v10_t", v10::Properties {
            name name, pci_path pciPath, guid guid, ptr_support ptrSupport, reg_is_global regIsGlobal, force_flush forceFlush, speed speed, port port, latency latency, max_comms maxComms, max_recvs maxRecvs, net_device_type netDeviceType, net_device_version netDeviceVersion, v_props vProps, max_p2p_bytes maxP2pBytes, max_coll_bytes maxCollBytes,
        }),
        layout!("ncclNet_v10_t", v10::Net {
            name name, init init, devices devices, get_properties getProperties, listen listen, connect connect, accept accept, reg_mr regMr, reg_mr_dma_buf regMrDmaBuf, dereg_mr deregMr, isend isend, irecv irecv, iflush iflush, test test, close_send closeSend, close_recv closeRecv, close_listen closeListen, get_device_mr getDeviceMr, irecv_consumed irecvConsumed, make_v_device makeVDevice,
        }),
        layout!("ncclNetProperties_v11_t", v11::Properties {
            name name, pci_path pciPath, guid guid, ptr_support ptrSupport, reg_is_global regIsGlobal, force_flush forceFlush, speed speed, port port, latency latency, max_comms maxComms, max_recvs maxRecvs, net_device_type netDeviceType, net_device_version netDeviceVersion, v_props vProps, max_p2p_bytes maxP2pBytes, max_coll_bytes maxCollBytes, max_multi_request_size maxMultiRequestSize,
        }),
        layout!("ncclNet_v11_t", v11::Net {
            name name, init init, devices devices, get_properties getProperties, listen listen, connect connect, accept accept, reg_mr regMr, reg_mr_dma_buf regMrDmaBuf, dereg_mr deregMr, isend isend, irecv irecv, iflush iflush, test test, close_send closeSend, close_recv closeRecv, close_listen closeListen, get_device_mr getDeviceMr, irecv_consumed irecvConsumed, make_v_device makeVDevice, finalize finalize, set_net_attr setNetAttr,
        }),
        layout!("ncclNetProperties_v12_t", v12::Properties {
            name name, pci_path pciPath, guid guid, ptr_support ptrSupport, reg_is_global regIsGlobal, force_flush forceFlush, speed speed, port port, latency latency, max_comms maxComms, max_recvs maxRecvs, net_device_type netDeviceType, net_device_version netDeviceVersion, v_props vProps, max_p2p_bytes maxP2pBytes, max_coll_bytes maxCollBytes, max_multi_request_size maxMultiRequestSize, rail_id railId, plane_id planeId,
        }),
        layout!("ncclNet_v12_t", v12::Net {
            name name, init init, devices devices, get_properties getProperties, listen listen, connect connect, accept accept, reg_mr regMr, reg_mr_dma_buf regMrDmaBuf, dereg_mr deregMr, isend isend, irecv irecv, iflush iflush, test test, close_send closeSend, close_recv closeRecv, close_listen closeListen, get_device_mr getDeviceMr, irecv_consumed irecvConsumed, make_v_device makeVDevice, finalize finalize, set_net_attr setNetAttr,
        }),
        layout!("ncclNetDeviceHandle_v7_t", device::DeviceHandle {
            net_device_type netDeviceType, net_device_version netDeviceVersion, handle handle, size size, needs_proxy_progress needsProxyProgress,
        }),
        layout!("ncclNetVDeviceProps_v9_t", device::VProps {
            ndevs ndevs, devs devs,
        }),
        layout!("ncclNetVDeviceProps_v12_t", device::VPropsV12 {
            ndevs ndevs, devs devs,
        }),
        layout!("ncclNetCommConfig_v11_t", device::Config {
            traffic_class trafficClass,
        }),
        layout!("ncclNetCommAttr_v11_t", device::CommAttr {
            max_concurrent_peers maxConcurrentPeers, min_concurrent_peers minConcurrentPeers, max_flows_per_peer maxFlowsPerPeer, min_flows_per_peer minFlowsPerPeer,
        }),
        layout!("ncclNetAttr_v11_t", device::NetAttr {
            send sendCommAttr, recv recvCommAttr, op op, algo algo, proto proto,
        }),
        layout!("loadMeta", unpack::LoadMeta {
            src_off src_off, len len, dst_off dst_off,
        }),
        layout!("netUnpackMeta", unpack::NetUnpackMeta {
            mem mem, cnt cnt,
        }),
        layout!("unpackNetDeviceHandle", unpack::UnpackDeviceHandle {
            meta meta, bounce_buf bounce_buf, head head,
        }),
    ]
}

/// Returns the structs of the tuner interface.
pub(crate) fn tuner_layouts() -> Vec<Layout> {
    vec![
        layout!("ncclTuner_v3_t", tuner::TunerV3 {
            name name, init init, get_coll_info getCollInfo, destroy destroy,
        }),
        layout!("ncclTuner_v4_t", tuner::TunerV4 {
            name name, init init, get_coll_info getCollInfo, destroy destroy,
        }),
        layout!("ncclTuner_v5_t", tuner::TunerV5 {
            name name, init init, get_coll_info getCollInfo, finalize finalize,
        }),
        layout!("ncclTuner_v6_t", tuner::TunerV6 {
            name name, init init, get_coll_info getCollInfo, finalize finalize, get_chunk_size getChunkSize,
        }),
    ]
}
