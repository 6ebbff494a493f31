//! The plugin as C sees it: a table per version. What the versions have in common is in `calls`, in the newest version's
//! shape; a version's file holds what differs.

mod calls;
pub mod v11;
pub mod v5;
pub mod v7;
pub mod v8;

use std::ffi::CStr;

/// The plugin's name, as `NCCL_NET` selects it.
const NAME: &CStr = c"GpuTcpTest";
