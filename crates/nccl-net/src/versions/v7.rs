//! Version 7, NCCL 2.19 on: device handles, `get_device_mr`, `irecv_consumed`. Google's TCPX plugin has it.

use super::define::{properties, table};
use crate::layout::{c_char, c_int, functions::*};

properties! {
    name: *mut c_char,
    pci_path: *mut c_char,
    guid: u64,
    ptr_support: c_int,
    speed: c_int,
    port: c_int,
    latency: f32,
    max_comms: c_int,
    max_recvs: c_int,
    net_device_type: u32,
    net_device_version: c_int,
}

table! {
    7 c"ncclNetPlugin_v7" {
        init: Init,
        devices: Devices,
        get_properties: GetProperties<Properties>,
        listen: Listen,
        connect: ConnectV7,
        accept: AcceptV7,
        reg_mr: RegMr,
        reg_mr_dma_buf: RegMrDmaBuf,
        dereg_mr: DeregMr,
        isend: Isend,
        irecv: Irecv,
        iflush: Iflush,
        test: Test,
        close_send: Close,
        close_recv: Close,
        close_listen: Close,
        get_device_mr: GetDeviceMr,
        irecv_consumed: IrecvConsumed,
    }
}
