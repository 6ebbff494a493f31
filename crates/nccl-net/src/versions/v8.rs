//! Version 8, NCCL 2.20 on: a registration's length is a `usize`, properties say if registrations are global.

use super::define::{properties, table};
use crate::layout::{c_char, c_int, functions::*};

properties! {
    name: *mut c_char,
    pci_path: *mut c_char,
    guid: u64,
    ptr_support: c_int,
    reg_is_global: c_int,
    speed: c_int,
    port: c_int,
    latency: f32,
    max_comms: c_int,
    max_recvs: c_int,
    net_device_type: u32,
    net_device_version: c_int,
}

table! {
    8 c"ncclNetPlugin_v8" {
        init: Init,
        devices: Devices,
        get_properties: GetProperties<Properties>,
        listen: Listen,
        connect: ConnectV7,
        accept: AcceptV7,
        reg_mr: RegMrV8,
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
