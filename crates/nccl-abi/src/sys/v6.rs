//! Version 6, NCCL 2.13 on: dma-buf.

use super::{
    c_char,
    functions::{
        Accept, Close, Connect, DeregMr, Devices, GetProperties, Iflush, Init, Irecv, Isend, Listen, RegMr,
        RegMrDmaBuf, Test,
    },
    table,
};

pub use super::v5::Properties;

/// The plugin's functions.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Net {
    pub name: *const c_char,
    pub init: Option<Init>,
    pub devices: Option<Devices>,
    pub get_properties: Option<GetProperties<Properties>>,
    pub listen: Option<Listen>,
    pub connect: Option<Connect>,
    pub accept: Option<Accept>,
    pub reg_mr: Option<RegMr>,
    pub reg_mr_dma_buf: Option<RegMrDmaBuf>,
    pub dereg_mr: Option<DeregMr>,
    pub isend: Option<Isend>,
    pub irecv: Option<Irecv>,
    pub iflush: Option<Iflush>,
    pub test: Option<Test>,
    pub close_send: Option<Close>,
    pub close_recv: Option<Close>,
    pub close_listen: Option<Close>,
}

table!(6, c"ncclNetPlugin_v6");
