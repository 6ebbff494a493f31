//! The tables of the plugin's files, their content before `init`, and their pointers that lead nowhere.

use std::{ffi::c_void, mem, ptr};

use gputcp_nccl_net::{
    each_version,
    export::Export,
    layout::functions::Devices,
    versions::{self, Net},
};

use super::{NAME_BEFORE, Test, late::Parts};
use crate::knobs::Knobs;

/// Returns the table of the file for this version alone: a slot is free when `test` has said that it is done.
pub const fn plain<T: Export<Test<false>>>() -> T {
    T::TABLE
}

/// Returns the table of the unpack file: a slot is free after `irecvConsumed`.
pub const fn unpack<T: Export<Test<true>>>() -> T {
    T::TABLE
}

macro_rules! parts {
    ($($version:ident $symbol:ident,)*) => {
        $(impl Parts for versions::$version::Net {
            fn beginning(self) -> Self {
                let name = if self.name.is_null() { self.name } else { NAME_BEFORE.as_ptr() };
                Self { name, init: self.init, ..<Self as Net>::EMPTY }
            }

            fn astray(self) -> Self {
                let name = if Knobs::is_nowhere("table-name") { nowhere().cast() } else { self.name };
                let devices = match Knobs::is_nowhere("devices") {
                    // SAFETY: none: this is the fault that was asked for.
                    true => Some(unsafe { mem::transmute::<*const c_void, Devices>(nowhere()) }),
                    false => self.devices,
                };
                Self { name, devices, ..self }
            }
        })*
    };
}
each_version!({ parts });

/// Returns an address without memory.
fn nowhere() -> *const c_void {
    ptr::without_provenance(0x1234)
}
