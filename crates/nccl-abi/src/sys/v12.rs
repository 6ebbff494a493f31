//! Version 12, NCCL 2.30 on: eight devices per virtual device, rails and planes.

use super::{
    c_char, c_int,
    device::VPropsV12,
    functions::{
        AcceptV7, Close, ConnectV11, DeregMr, Devices, Finalize, GetDeviceMr, GetProperties, Iflush, InitV11,
        IrecvConsumed, IrecvV10, IsendV10, ListenV11, MakeVDevice, RegMrDmaBuf, RegMrV8, SetNetAttr, Test,
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
    /// Not 0 where a registration serves every connection.
    pub reg_is_global: c_int,
    /// Not 0 where `iflush` is needed on every GPU.
    pub force_flush: c_int,
    /// In Mbit/s.
    pub speed: c_int,
    pub port: c_int,
    /// In µs.
    pub latency: f32,
    pub max_comms: c_int,
    /// The most receives of one request.
    pub max_recvs: c_int,
    /// One of the `NET_DEVICE_*` numbers.
    pub net_device_type: u32,
    pub net_device_version: c_int,
    pub v_props: VPropsV12,
    /// The longest send in bytes.
    pub max_p2p_bytes: usize,
    pub max_coll_bytes: usize,
    pub max_multi_request_size: c_int,
    pub rail_id: i16,
    pub plane_id: i16,
}

/// The plugin's functions.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Net {
    pub name: *const c_char,
    pub init: Option<InitV11>,
    pub devices: Option<Devices>,
    pub get_properties: Option<GetProperties<Properties>>,
    pub listen: Option<ListenV11>,
    pub connect: Option<ConnectV11>,
    pub accept: Option<AcceptV7>,
    pub reg_mr: Option<RegMrV8>,
    pub reg_mr_dma_buf: Option<RegMrDmaBuf>,
    pub dereg_mr: Option<DeregMr>,
    pub isend: Option<IsendV10>,
    pub irecv: Option<IrecvV10>,
    pub iflush: Option<Iflush>,
    pub test: Option<Test>,
    pub close_send: Option<Close>,
    pub close_recv: Option<Close>,
    pub close_listen: Option<Close>,
    pub get_device_mr: Option<GetDeviceMr>,
    pub irecv_consumed: Option<IrecvConsumed>,
    pub make_v_device: Option<MakeVDevice<VPropsV12>>,
    pub finalize: Option<Finalize>,
    pub set_net_attr: Option<SetNetAttr>,
}

table!(12, c"ncclNetPlugin_v12");
