//! The interface's numbers.

use super::c_int;

/// The length of a handle in bytes (`NCCL_NET_HANDLE_MAXSIZE`).
pub const HANDLE_BYTES: usize = 128;
/// The most requests in flight on one connection (`NCCL_NET_MAX_REQUESTS`): 32 since NCCL 2.19, 8 before.
pub const REQUESTS_MAX: usize = 32;
/// The most devices behind one virtual device, up to version 11 (`NCCL_NET_MAX_DEVS_PER_NIC`).
pub const DEVICES_PER_NIC_V9: usize = 4;
/// The same from version 12 on.
pub const DEVICES_PER_NIC_V12: usize = 8;
/// A length without a limit (`NCCL_MAX_NET_SIZE_BYTES`).
pub const NET_BYTES_MAX: usize = 1 << 40;
/// The content of an `irecv`'s request before the call, when NCCL does not care for the end
/// (`NCCL_NET_OPTIONAL_RECV_COMPLETION`).
pub const OPTIONAL_RECV_COMPLETION: usize = 1;
/// A traffic class that was not chosen (`NCCL_NET_TRAFFIC_CLASS_UNDEF`).
pub const TRAFFIC_CLASS_UNDEFINED: c_int = -1;

/// The speed in Mbit/s that NCCL assumes for a device whose plugin reports 0 or less (`ncclTopoAddNet` in
/// src/graph/topo.cc: "Some NICs define speed = -1").
pub const SPEED_UNKNOWN_MBIT: u32 = 10_000;

/// Host memory (`NCCL_PTR_HOST`).
pub const PTR_HOST: c_int = 1;
/// Memory of a CUDA GPU (`NCCL_PTR_CUDA`).
pub const PTR_CUDA: c_int = 2;
/// Memory of a CUDA GPU by a dma-buf (`NCCL_PTR_DMABUF`).
pub const PTR_DMABUF: c_int = 4;

/// A device that the host drives (`NCCL_NET_DEVICE_HOST`).
pub const NET_DEVICE_HOST: u32 = 0;
/// A device whose receives are to be unpacked (`NCCL_NET_DEVICE_UNPACK`).
pub const NET_DEVICE_UNPACK: u32 = 1;
/// The version of a host-driven device (`NCCL_NET_DEVICE_INVALID_VERSION`).
pub const NET_DEVICE_HOST_VERSION: c_int = 0;
/// The version of the unpack queue that is known (`NCCL_NET_DEVICE_UNPACK_VERSION`).
pub const NET_DEVICE_UNPACK_VERSION: c_int = 7;

/// The logger's levels (`NCCL_LOG_*`), the most urgent first.
pub const LOG_NONE: c_int = 0;
pub const LOG_VERSION: c_int = 1;
pub const LOG_WARN: c_int = 2;
pub const LOG_INFO: c_int = 3;
pub const LOG_ABORT: c_int = 4;
pub const LOG_TRACE: c_int = 5;
