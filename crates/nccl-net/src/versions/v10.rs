//! Version 10, NCCL 2.26 on: profilers, a configuration for connect.

use super::define::table;
use crate::layout::{device::VProps, functions::*};

pub use super::v9::Properties;

table! {
    10 c"ncclNetPlugin_v10" {
        init: InitV10,
        devices: Devices,
        get_properties: GetProperties<Properties>,
        listen: Listen,
        connect: ConnectV10,
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
        make_v_device: MakeVDevice<VProps>,
    }
}
