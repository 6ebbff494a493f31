//! Version 5, NCCL 2.12 to 2.25: no dma-buf.

use super::{
    c_char, c_int,
    functions::{
        Accept, Close, Connect, DeregMr, Devices, GetProperties, Iflush, Init, Irecv, Isend, Listen, RegMr,
        Test,
    },
    table,
};

/// A device's properties.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Properties {
    pub name: *mut c_char,
    /// NULL where there is none.
    pub pci_path: *mut c_char,
    pub guid: u64,
    /// The sum of the `PTR_*` types it takes.
    pub ptr_support: c_int,
    /// In Mbit/s.
    pub speed: c_int,
    pub port: c_int,
    /// In µs.
    pub latency: f32,
    pub max_comms: c_int,
    /// The most receives of one request.
    pub max_recvs: c_int,
}

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
    pub dereg_mr: Option<DeregMr>,
    pub isend: Option<Isend>,
    pub irecv: Option<Irecv>,
    pub iflush: Option<Iflush>,
    pub test: Option<Test>,
    pub close_send: Option<Close>,
    pub close_recv: Option<Close>,
    pub close_listen: Option<Close>,
}

table!(5, c"ncclNetPlugin_v5");
