//! Version 9, NCCL 2.24 on: lengths are `usize`, virtual devices.

use super::define::{properties, table};
use crate::layout::{c_char, c_int, device::VProps, functions::*};

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
    v_props: VProps,
    max_p2p_bytes: usize,
    max_coll_bytes: usize,
}

table! {
    9 c"ncclNetPlugin_v9" {
        init: Init,
        devices: Devices,
        get_properties: GetProperties<Properties>,
        listen: Listen,
        connect: ConnectV7,
        accept: AcceptV7,
        reg_mr: RegMrV8,
        reg_mr_dma_buf: RegMrDmaBuf,
        dereg_mr: DeregMr,
        isend: IsendV9,
        irecv: IrecvV9,
        iflush: Iflush,
        test: Test,
        close_send: Close,
        close_recv: Close,
        close_listen: Close,
        get_device_mr: GetDeviceMr,
        irecv_consumed: IrecvConsumed,
        make_v_device: MakeVDevice<VProps>,
    }
}
