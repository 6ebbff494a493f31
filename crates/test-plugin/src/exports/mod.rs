//! The plugin as C sees it. `calls` holds the bodies of its functions, in the newest version's shape; `forms`
//! their signatures, as C calls them. `tables` combines forms into versions, and `late` completes tables in
//! `init`.

mod calls;
mod forms;
mod late;
mod tables;

pub use self::{
    late::{Parts, Table},
    tables::{v5, v6, v7, v8, v9, v10, v11, v12},
};

use std::ffi::CStr;

/// The plugin's name, as `NCCL_NET` selects it.
const NAME: &CStr = c"GpuTcpTest";
/// The plugin's name before `init`, where the table is completed only then.
const NAME_BEFORE: &CStr = c"GpuTcpTest, not started";
