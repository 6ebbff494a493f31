//! Version 5, NCCL 2.12 to 2.25: no dma-buf.

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
}

table! {
    5 c"ncclNetPlugin_v5" {
        init: Init,
        devices: Devices,
        get_properties: GetProperties<Properties>,
        listen: Listen,
        connect: Connect,
        accept: Accept,
        reg_mr: RegMr,
        dereg_mr: DeregMr,
        isend: Isend,
        irecv: Irecv,
        iflush: Iflush,
        test: Test,
        close_send: Close,
        close_recv: Close,
        close_listen: Close,
    }
}
