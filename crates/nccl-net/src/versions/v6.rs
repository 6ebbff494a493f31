//! Version 6, NCCL 2.13 on: dma-buf.

use super::define::table;
use crate::layout::{functions::*};

pub use super::v5::Properties;

table! {
    6 c"ncclNetPlugin_v6" {
        init: Init,
        devices: Devices,
        get_properties: GetProperties<Properties>,
        listen: Listen,
        connect: Connect,
        accept: Accept,
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
    }
}
