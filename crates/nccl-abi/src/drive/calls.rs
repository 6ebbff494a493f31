//! One view over the functions of all versions' tables. A length that a version cannot express is an error
//! before the call, never a cut number.

use std::ptr;

use super::{
    error::{Error, Result},
    properties::Raw,
    table::Found,
};
use crate::sys::{
    c_int, c_void,
    device::{Config, DeviceHandle},
    functions as f, v5, v7, v8, v9, v10, v11, v12,
};

/// The functions of a table once its plugin is started; those that every plugin must have are there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calls {
    version: u32,
    pub(super) devices: f::Devices,
    properties: GetProperties,
    listen: Listen,
    connect: Connect,
    accept: Accept,
    reg_mr: RegMr,
    pub(super) dereg_mr: f::DeregMr,
    isend: Isend,
    irecv: Irecv,
    pub(super) test: f::Test,
    pub(super) close_send: f::Close,
    pub(super) close_recv: f::Close,
    pub(super) close_listen: f::Close,
    pub(super) optional: Optional,
}

/// Functions that a plugin may lack, because of its version or by its own choice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Optional {
    pub(super) reg_mr_dma_buf: Option<f::RegMrDmaBuf>,
    pub(super) iflush: Option<f::Iflush>,
    pub(super) irecv_consumed: Option<f::IrecvConsumed>,
}

// Each is named by the version that it came with.
#[derive(Debug, Clone, Copy)]
enum GetProperties {
    V5(f::GetProperties<v5::Properties>),
    V7(f::GetProperties<v7::Properties>),
    V8(f::GetProperties<v8::Properties>),
    V9(f::GetProperties<v9::Properties>),
    V10(f::GetProperties<v10::Properties>),
    V11(f::GetProperties<v11::Properties>),
    V12(f::GetProperties<v12::Properties>),
}

#[derive(Debug, Clone, Copy)]
enum Listen {
    V5(f::Listen),
    V11(f::ListenV11),
}

#[derive(Debug, Clone, Copy)]
enum Connect {
    V5(f::Connect),
    V7(f::ConnectV7),
    V10(f::ConnectV10),
    V11(f::ConnectV11),
}

#[derive(Debug, Clone, Copy)]
enum Accept {
    V5(f::Accept),
    V7(f::AcceptV7),
}

#[derive(Debug, Clone, Copy)]
enum RegMr {
    V5(f::RegMr),
    V8(f::RegMrV8),
}

#[derive(Debug, Clone, Copy)]
enum Isend {
    V5(f::Isend),
    V9(f::IsendV9),
    V10(f::IsendV10),
}

#[derive(Debug, Clone, Copy)]
enum Irecv {
    V5(f::Irecv),
    V9(f::IrecvV9),
    V10(f::IrecvV10),
}

/// Reads a table: first which forms its functions have, then which of the optional ones its version knows.
macro_rules! read {
    (
        $table:expr, $version:literal, $properties:ident $listen:ident $connect:ident $accept:ident $reg:ident
        $isend:ident $irecv:ident, $($optional:ident)*
    ) => {{
        // SAFETY: the table's symbol says its type; it stays where it is, as libraries are never closed, and nobody
        // writes it while no call is on its way.
        let net = unsafe { $table.read() };
        let mut optional = NOTHING_OPTIONAL;
        $(optional.$optional = net.$optional;)*
        Ok(Calls {
            version: $version,
            devices: net.devices.ok_or("devices")?,
            properties: GetProperties::$properties(net.get_properties.ok_or("getProperties")?),
            listen: Listen::$listen(net.listen.ok_or("listen")?),
            connect: Connect::$connect(net.connect.ok_or("connect")?),
            accept: Accept::$accept(net.accept.ok_or("accept")?),
            reg_mr: RegMr::$reg(net.reg_mr.ok_or("regMr")?),
            dereg_mr: net.dereg_mr.ok_or("deregMr")?,
            isend: Isend::$isend(net.isend.ok_or("isend")?),
            irecv: Irecv::$irecv(net.irecv.ok_or("irecv")?),
            test: net.test.ok_or("test")?,
            close_send: net.close_send.ok_or("closeSend")?,
            close_recv: net.close_recv.ok_or("closeRecv")?,
            close_listen: net.close_listen.ok_or("closeListen")?,
            optional,
        })
    }};
}

const NOTHING_OPTIONAL: Optional = Optional { reg_mr_dma_buf: None, iflush: None, irecv_consumed: None };

impl Calls {
    /// Reads the functions of the table of a started plugin; fails with the name of the first missing one.
    pub(super) fn read(found: Found) -> std::result::Result<Self, &'static str> {
        match found {
            Found::V5(t) => read!(t, 5, V5 V5 V5 V5 V5 V5 V5, iflush),
            Found::V6(t) => read!(t, 6, V5 V5 V5 V5 V5 V5 V5, iflush reg_mr_dma_buf),
            Found::V7(t) => read!(t, 7, V7 V5 V7 V7 V5 V5 V5, iflush reg_mr_dma_buf irecv_consumed),
            Found::V8(t) => read!(t, 8, V8 V5 V7 V7 V8 V5 V5, iflush reg_mr_dma_buf irecv_consumed),
            Found::V9(t) => read!(t, 9, V9 V5 V7 V7 V8 V9 V9, iflush reg_mr_dma_buf irecv_consumed),
            Found::V10(t) => read!(t, 10, V10 V5 V10 V7 V8 V10 V10, iflush reg_mr_dma_buf irecv_consumed),
            Found::V11(t) => read!(t, 11, V11 V11 V11 V7 V8 V10 V10, iflush reg_mr_dma_buf irecv_consumed),
            Found::V12(t) => read!(t, 12, V12 V11 V11 V7 V8 V10 V10, iflush reg_mr_dma_buf irecv_consumed),
        }
    }

    /// # Safety
    /// The plugin was started.
    pub(super) unsafe fn properties(&self, dev: c_int) -> std::result::Result<Raw, c_int> {
        /// Calls it with properties that are all zero: numbers, and pointers that may be NULL.
        macro_rules! ask {
            ($get:expr) => {{
                let mut props = std::mem::MaybeUninit::zeroed();
                // SAFETY: the function writes properties of its version; zeros are a value of all their fields.
                match unsafe { $get(dev, props.as_mut_ptr()) } {
                    // SAFETY: as above.
                    0 => Ok(Raw::from(unsafe { props.assume_init() })),
                    code => Err(code),
                }
            }};
        }
        match self.properties {
            GetProperties::V5(get) => ask!(get),
            GetProperties::V7(get) => ask!(get),
            GetProperties::V8(get) => ask!(get),
            GetProperties::V9(get) => ask!(get),
            GetProperties::V10(get) => ask!(get),
            GetProperties::V11(get) => ask!(get),
            GetProperties::V12(get) => ask!(get),
        }
    }

    /// # Safety
    /// `handle` has 128 bytes; `ctx` is the plugin's.
    pub(super) unsafe fn listen(
        &self,
        ctx: *mut c_void,
        dev: c_int,
        handle: *mut c_void,
        comm: *mut *mut c_void,
    ) -> c_int {
        // SAFETY: the caller's promise.
        unsafe {
            match self.listen {
                Listen::V5(listen) => listen(dev, handle, comm),
                Listen::V11(listen) => listen(ctx, dev, handle, comm),
            }
        }
    }

    /// # Safety
    /// `handle` has 128 bytes, the same at each call for one connection; `config` lives as long as the plugin;
    /// `device_handle` points to a pointer to storage of 512 bytes, or to NULL.
    pub(super) unsafe fn connect(
        &self,
        (ctx, config): (*mut c_void, *mut Config),
        dev: c_int,
        handle: *mut c_void,
        comm: *mut *mut c_void,
        device_handle: *mut *mut DeviceHandle,
    ) -> c_int {
        // SAFETY: the caller's promise.
        unsafe {
            match self.connect {
                Connect::V5(connect) => connect(dev, handle, comm),
                Connect::V7(connect) => connect(dev, handle, comm, device_handle),
                Connect::V10(connect) => connect(dev, config, handle, comm, device_handle),
                Connect::V11(connect) => connect(ctx, dev, handle, comm, device_handle),
            }
        }
    }

    /// # Safety
    /// `listen_comm` is the plugin's; `device_handle` as for [`Self::connect`].
    pub(super) unsafe fn accept(
        &self,
        listen_comm: *mut c_void,
        comm: *mut *mut c_void,
        device_handle: *mut *mut DeviceHandle,
    ) -> c_int {
        // SAFETY: the caller's promise.
        unsafe {
            match self.accept {
                Accept::V5(accept) => accept(listen_comm, comm),
                Accept::V7(accept) => accept(listen_comm, comm, device_handle),
            }
        }
    }

    /// # Safety
    /// `comm` is the plugin's; the memory is of the type, and lives until it is deregistered.
    pub(super) unsafe fn reg_mr(
        &self,
        comm: *mut c_void,
        data: *mut c_void,
        bytes: usize,
        kind: c_int,
        handle: *mut *mut c_void,
    ) -> Result<c_int> {
        Ok(match self.reg_mr {
            // SAFETY: the caller's promise.
            RegMr::V5(reg) => unsafe { reg(comm, data, self.int(bytes, "regMr")?, kind, handle) },
            // SAFETY: the caller's promise.
            RegMr::V8(reg) => unsafe { reg(comm, data, bytes, kind, handle) },
        })
    }

    /// # Safety
    /// `comm` is the plugin's; the memory is registered as `mhandle`, and lives, and is not written, until the request is
    /// done or the connection closed.
    pub(super) unsafe fn isend(
        &self,
        comm: *mut c_void,
        data: *mut c_void,
        bytes: usize,
        tag: c_int,
        mhandle: *mut c_void,
        request: *mut *mut c_void,
    ) -> Result<c_int> {
        Ok(match self.isend {
            // SAFETY: the caller's promise.
            Isend::V5(isend) => unsafe {
                isend(comm, data, self.int(bytes, "isend")?, tag, mhandle, request)
            },
            // SAFETY: the caller's promise.
            Isend::V9(isend) => unsafe { isend(comm, data, bytes, tag, mhandle, request) },
            // SAFETY: the caller's promise; no profiler was given, so there is no handle of one.
            Isend::V10(isend) => unsafe { isend(comm, data, bytes, tag, mhandle, ptr::null_mut(), request) },
        })
    }

    /// Posts one receive.
    ///
    /// # Safety
    /// `comm` is the plugin's; the memory is registered as `mhandle`, and lives, and is nobody else's, until the request is
    /// done or the connection closed.
    pub(super) unsafe fn irecv(
        &self,
        comm: *mut c_void,
        mut data: *mut c_void,
        mut bytes: usize,
        mut tag: c_int,
        mut mhandle: *mut c_void,
        request: *mut *mut c_void,
    ) -> Result<c_int> {
        let (data, tag, mhandle) = (&raw mut data, &raw mut tag, &raw mut mhandle);
        let mut profiler: *mut c_void = ptr::null_mut();
        Ok(match self.irecv {
            Irecv::V5(irecv) => {
                let mut bytes = self.int(bytes, "irecv")?;
                // SAFETY: arrays of one, as n says, which plugins read during the call; the rest is the caller's promise.
                unsafe { irecv(comm, 1, data, &raw mut bytes, tag, mhandle, request) }
            }
            // SAFETY: as above.
            Irecv::V9(irecv) => unsafe { irecv(comm, 1, data, &raw mut bytes, tag, mhandle, request) },
            // SAFETY: as above; no profiler was given, so there is no handle of one.
            Irecv::V10(irecv) => unsafe {
                irecv(comm, 1, data, &raw mut bytes, tag, mhandle, &raw mut profiler, request)
            },
        })
    }

    /// A length as C's int.
    pub(super) fn int(&self, bytes: usize, call: &'static str) -> Result<c_int> {
        c_int::try_from(bytes).map_err(|_| Error::TooLong {
            bytes: bytes as u64,
            version: self.version,
            call,
        })
    }
}
