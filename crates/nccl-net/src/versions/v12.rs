//! Version 12, NCCL 2.30 on: eight devices per virtual device, rails and planes.

use super::define::{properties, table};
use crate::layout::{c_char, c_int, device::VPropsV12, functions::*};

properties! {
    name: *mut c_char,
    pci_path: *mut c_char,
    guid: u64,
    ptr_support: c_int,
    reg_is_global: c_int,
    force_flush: c_int,
    speed: c_int,
    port: c_int,
    latency: f32,
    max_comms: c_int,
    max_recvs: c_int,
    net_device_type: u32,
    net_device_version: c_int,
    v_props: VPropsV12,
    max_p2p_bytes: usize,
    max_coll_bytes: usize,
    max_multi_request_size: c_int,
    rail_id: i16,
    plane_id: i16,
}

table! {
    12 c"ncclNetPlugin_v12" {
        init: InitV11,
        devices: Devices,
        get_properties: GetProperties<Properties>,
        listen: ListenV11,
        connect: ConnectV11,
        accept: AcceptV7,
        reg_mr: RegMrV8,
        reg_mr_dma_buf: RegMrDmaBuf,
        dereg_mr: DeregMr,
        isend: IsendV10,
        irecv: IrecvV10,
        iflush: Iflush,
        test: Test,
        close_send: Close,
        close_recv: Close,
        close_listen: Close,
        get_device_mr: GetDeviceMr,
        irecv_consumed: IrecvConsumed,
        make_v_device: MakeVDevice<VPropsV12>,
        finalize: Finalize,
        set_net_attr: SetNetAttr,
    }
}
