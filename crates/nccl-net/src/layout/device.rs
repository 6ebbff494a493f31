//! The structs that all versions share: device handles, configuration, attributes.

use super::{c_int, c_void};

/// A plugin's handle for a GPU, which `connect` and `accept` fill in (`ncclNetDeviceHandle_t`).
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DeviceHandle {
    /// One of the `NET_DEVICE_*` numbers.
    pub net_device_type: u32,
    pub net_device_version: c_int,
    /// Depends on the type: for unpack, an [`super::unpack::UnpackDeviceHandle`] in GPU memory.
    pub handle: *mut c_void,
    /// Its length in bytes.
    pub size: usize,
    /// Not 0 where `test` must be called for the transfer to go on.
    pub needs_proxy_progress: c_int,
}

/// The memory that a caller of `connect` and `accept` provides for a device handle. Google's TCPX plugin
/// writes to it.
#[repr(C, align(16))]
#[derive(Debug, Clone, Copy)]
pub struct DeviceHandleStorage(pub [u8; 512]);

/// The configuration of a communicator (`ncclNetCommConfig_t`), from version 10 on.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Config {
    pub traffic_class: c_int,
}

/// The devices behind a virtual device (`ncclNetVDeviceProps_t`), versions 9 to 11.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct VProps {
    pub ndevs: c_int,
    pub devs: [c_int; super::constants::DEVICES_PER_NIC_V9],
}

/// The same from version 12 on.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct VPropsV12 {
    pub ndevs: c_int,
    pub devs: [c_int; super::constants::DEVICES_PER_NIC_V12],
}

/// How a communicator will use its connections in one direction (`ncclNetCommAttr_t`).
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct CommAttr {
    pub max_concurrent_peers: i32,
    pub min_concurrent_peers: i32,
    pub max_flows_per_peer: i32,
    pub min_flows_per_peer: i32,
}

/// How a communicator will use its connections (`ncclNetAttr_t`), from version 11 on.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NetAttr {
    pub send: CommAttr,
    pub recv: CommAttr,
    pub op: u32,
    pub algo: u32,
    pub proto: u32,
}
