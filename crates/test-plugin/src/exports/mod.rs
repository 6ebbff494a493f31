//! The plugin as C sees it. `network` exports the functions of `calls` in all versions. `tables` defines each
//! file's tables, and `late` completes them in `init`.

mod calls;
mod late;
mod network;
mod tables;

pub use self::{
    late::{Parts, Table},
    network::Test,
    tables::{plain, unpack},
};

use std::ffi::CStr;

/// The plugin's name, as `NCCL_NET` selects it.
const NAME: &CStr = c"GpuTcpTest";
/// The plugin's name before `init`, where the table is completed only then.
const NAME_BEFORE: &CStr = c"GpuTcpTest, not started";
