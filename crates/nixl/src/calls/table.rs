//! The table of calls, as `shim/calls.h` declares it.

use std::{
    ffi::{c_char, c_int, c_void},
    ptr, slice,
};

use super::{
    check, connect, connection_info, deregister_memory, disconnect, load_connection_info, load_local,
    load_remote, notify, post, prepare, public_data, register_memory, release, start, stop,
    take_notifications, unload,
};
use crate::{
    agent::Agent,
    lists::Descriptor,
    memory::{Local, Remote},
    request::Request,
    settings::PARAMETERS,
    status::Status,
};

#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Text {
    start: *const u8,
    bytes: usize,
}

impl Text {
    /// # Safety
    /// The bytes are readable while the slice is used.
    pub(super) unsafe fn get<'a>(self) -> &'a [u8] {
        if self.start.is_null() {
            return &[];
        }
        // SAFETY: the caller's promise.
        unsafe { slice::from_raw_parts(self.start, self.bytes) }
    }

    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { start: bytes.as_ptr(), bytes: bytes.len() }
    }
}

#[repr(C)]
pub(super) struct Parameter {
    pub(super) name: Text,
    pub(super) value: Text,
}

/// `Range` of `shim/interface.h`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) bytes: u64,
    pub(super) device: u64,
}

pub(super) type Add = unsafe extern "C" fn(*mut c_void, Text, Text) -> bool;

#[repr(C)]
pub(super) struct Calls {
    version: *const c_char,
    parameters: *const *const c_char,
    start: unsafe extern "C" fn(Text, *const Parameter, usize) -> *mut c_void,
    stop: unsafe extern "C" fn(*mut c_void),
    register_memory: unsafe extern "C" fn(*const Agent, *const Range, c_int, *mut *const Local) -> Status,
    deregister_memory: unsafe extern "C" fn(*const Agent, *const Local) -> Status,
    public_data: unsafe extern "C" fn(*const Local, *mut u8) -> usize,
    connection_info: unsafe extern "C" fn(*const Agent, *mut u8) -> usize,
    load_connection_info: unsafe extern "C" fn(*const Agent, Text, Text) -> Status,
    connect: unsafe extern "C" fn(*const Agent, Text) -> Status,
    disconnect: unsafe extern "C" fn(*const Agent, Text) -> Status,
    load_remote: unsafe extern "C" fn(*const Agent, *const Range, Text, Text, *mut *const Remote) -> Status,
    load_local: unsafe extern "C" fn(*const Agent, *const Local, *mut *const Remote) -> Status,
    unload: unsafe extern "C" fn(*const Remote),
    prepare: unsafe extern "C" fn(
        *const Agent,
        c_int,
        *const Descriptor,
        usize,
        *const Descriptor,
        usize,
        Text,
        *mut *const Request,
    ) -> Status,
    post: unsafe extern "C" fn(*const Agent, *const Request, bool, Text) -> Status,
    check: unsafe extern "C" fn(*const Request) -> Status,
    release: unsafe extern "C" fn(*const Request) -> Status,
    take_notifications: unsafe extern "C" fn(*const Agent, *mut c_void, Add) -> Status,
    notify: unsafe extern "C" fn(*const Agent, Text, Text) -> Status,
}

/// The table that the C++ side keeps.
pub(super) static CALLS: Calls = Calls {
    version: concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast(),
    parameters: NAMES.0.as_ptr(),
    start,
    stop,
    register_memory,
    deregister_memory,
    public_data,
    connection_info,
    load_connection_info,
    connect,
    disconnect,
    load_remote,
    load_local,
    unload,
    prepare,
    post,
    check,
    release,
    take_notifications,
    notify,
};

struct Names([*const c_char; PARAMETERS.len() + 1]);

static NAMES: Names = {
    let mut names = [ptr::null(); PARAMETERS.len() + 1];
    let mut at = 0;
    while at < PARAMETERS.len() {
        names[at] = PARAMETERS[at].as_ptr();
        at += 1;
    }
    Names(names)
};

// SAFETY: pointers to constants.
unsafe impl Sync for Names {}
// SAFETY: as above, and functions.
unsafe impl Sync for Calls {}
