//! The tables of all versions behind one set of functions.
//!
//! Before `init` a table may hold no more than that function and a name. Afterwards it must be whole: a check
//! starts only if each function that NCCL calls without looking is there. So unwrapping one cannot fail
//! later.

use std::{
    ffi::{c_char, c_int},
    ptr,
};

use gputcp_nccl_abi::sys::{
    self, Table as _,
    constants::{DEVICES_PER_NIC_V9, DEVICES_PER_NIC_V12},
    device::{Config, DeviceHandle, VProps, VPropsV12},
    v5, v6, v7, v8, v9, v10, v11, v12,
};
use libloading::Library;

use super::{Group, P, Properties};

/// A table.
#[derive(Debug, Clone, Copy)]
pub enum Table {
    /// Version 5.
    V5(v5::Net),
    /// Version 6.
    V6(v6::Net),
    /// Version 7.
    V7(v7::Net),
    /// Version 8.
    V8(v8::Net),
    /// Version 9.
    V9(v9::Net),
    /// Version 10.
    V10(v10::Net),
    /// Version 11.
    V11(v11::Net),
    /// Version 12.
    V12(v12::Net),
}

/// One expression for whichever version it is.
macro_rules! each {
    ($table:expr, $net:ident => $body:expr) => {
        match $table {
            Table::V5($net) => $body,
            Table::V6($net) => $body,
            Table::V7($net) => $body,
            Table::V8($net) => $body,
            Table::V9($net) => $body,
            Table::V10($net) => $body,
            Table::V11($net) => $body,
            Table::V12($net) => $body,
        }
    };
}

/// Calls a function that `find` has seen.
macro_rules! call {
    ($function:expr $(, $argument:expr)*) => {{
        let function = $function.expect("a plugin without it is not checked");
        // SAFETY: a function of the plugin, with the arguments that its version asks for. What they point to is this
        // process's own; what the plugin does with it is what is being checked, in a process of its own.
        unsafe { function($($argument),*) }
    }};
}

impl Table {
    /// The table of a version, or the newest.
    pub(super) fn find(library: &Library, version: Option<u32>) -> Option<Self> {
        macro_rules! find {
            ($($variant:ident $net:ty)*) => {{
                $(if version.is_none_or(|version| version == <$net>::VERSION) {
                    // SAFETY: the symbol's name says the type.
                    let symbol = unsafe { library.get::<*const $net>(<$net>::SYMBOL.to_bytes_with_nul()) };
                    if let Ok(symbol) = symbol {
                        // SAFETY: a table of a library that stays open.
                        return Some(Self::$variant(unsafe { symbol.read() }));
                    }
                })*
            }};
        }
        find!(V12 v12::Net V11 v11::Net V10 v10::Net V9 v9::Net V8 v8::Net V7 v7::Net V6 v6::Net V5 v5::Net);
        None
    }

    /// The first function that must be there and is not.
    pub(super) fn missing(&self) -> Option<&'static str> {
        each!(self, net => {
            let functions = [
                ("devices", net.devices.is_none()),
                ("getProperties", net.get_properties.is_none()),
                ("listen", net.listen.is_none()),
                ("connect", net.connect.is_none()),
                ("accept", net.accept.is_none()),
                ("regMr", net.reg_mr.is_none()),
                ("deregMr", net.dereg_mr.is_none()),
                ("isend", net.isend.is_none()),
                ("irecv", net.irecv.is_none()),
                ("test", net.test.is_none()),
                ("closeSend", net.close_send.is_none()),
                ("closeRecv", net.close_recv.is_none()),
                ("closeListen", net.close_listen.is_none()),
            ];
            functions.into_iter().find_map(|(name, missing)| missing.then_some(name))
        })
    }

    /// Whether it can be started at all.
    pub(super) fn starts(&self) -> bool {
        each!(self, net => net.init.is_some())
    }

    pub(super) const fn version(&self) -> u32 {
        match self {
            Self::V5(_) => 5,
            Self::V6(_) => 6,
            Self::V7(_) => 7,
            Self::V8(_) => 8,
            Self::V9(_) => 9,
            Self::V10(_) => 10,
            Self::V11(_) => 11,
            Self::V12(_) => 12,
        }
    }

    pub(super) fn name(&self) -> *const c_char {
        each!(self, net => net.name)
    }

    pub(super) fn init(&self, ctx: *mut P) -> c_int {
        // It lives as long as the communicator: for ever.
        let config = || {
            Box::leak(Box::new(Config { traffic_class: sys::constants::TRAFFIC_CLASS_UNDEFINED }))
                as *mut Config
        };
        let logger = crate::logger::logger();
        match self {
            Self::V5(net) => call!(net.init, logger),
            Self::V6(net) => call!(net.init, logger),
            Self::V7(net) => call!(net.init, logger),
            Self::V8(net) => call!(net.init, logger),
            Self::V9(net) => call!(net.init, logger),
            Self::V10(net) => call!(net.init, logger, None),
            Self::V11(net) => call!(net.init, ctx, COMM_ID, config(), logger, None),
            Self::V12(net) => call!(net.init, ctx, COMM_ID, config(), logger, None),
        }
    }

    pub(super) fn finalize(&self, ctx: P) -> Option<c_int> {
        let finalize = match self {
            Self::V11(net) => net.finalize,
            Self::V12(net) => net.finalize,
            _ => None,
        };
        finalize.is_some().then(|| call!(finalize, ctx))
    }

    pub(super) fn devices(&self, count: *mut c_int) -> c_int {
        each!(self, net => call!(net.devices, count))
    }

    pub(super) fn properties(&self, dev: c_int) -> Result<Properties, c_int> {
        /// Asks for a version's properties, and translates what it has.
        macro_rules! ask {
            ($net:expr, $props:ident => $net_device:expr, $force_flush:expr, $behind:expr, $max:expr) => {{
                let mut room = std::mem::MaybeUninit::zeroed();
                let code = call!($net.get_properties, dev, room.as_mut_ptr());
                if code != 0 {
                    return Err(code);
                }
                // SAFETY: zeros are a value of all fields, whatever the plugin wrote of them.
                let $props = unsafe { room.assume_init() };
                Properties {
                    name: $props.name,
                    pci_path: $props.pci_path,
                    ptr_support: $props.ptr_support,
                    speed: $props.speed,
                    latency: $props.latency,
                    max_comms: $props.max_comms,
                    max_recvs: $props.max_recvs,
                    net_device: $net_device,
                    force_flush: $force_flush,
                    behind: $behind,
                    max_p2p_bytes: $max,
                }
            }};
        }
        macro_rules! with_device {
            ($net:expr) => {
                ask!($net, props => Some((props.net_device_type, props.net_device_version)), None, None, None)
            };
        }
        macro_rules! with_behind {
            ($net:expr) => {
                ask!($net, props =>
                    Some((props.net_device_type, props.net_device_version)),
                    Some(props.force_flush),
                    Some((props.v_props.ndevs, props.v_props.devs[0])),
                    Some(props.max_p2p_bytes))
            };
        }
        Ok(match self {
            Self::V5(net) => ask!(net, props => None, None, None, None),
            Self::V6(net) => ask!(net, props => None, None, None, None),
            Self::V7(net) => with_device!(net),
            Self::V8(net) => with_device!(net),
            Self::V9(net) => with_behind!(net),
            Self::V10(net) => with_behind!(net),
            Self::V11(net) => with_behind!(net),
            Self::V12(net) => with_behind!(net),
        })
    }

    /// `None` where there is no such function.
    pub(super) fn make_v_device(&self, index: *mut c_int, devs: &[c_int]) -> Option<c_int> {
        /// Asks in a version's list, which has room for more.
        macro_rules! ask {
            ($net:expr, $list:ident, $room:expr) => {
                $net.make_v_device.is_some().then(|| {
                    let mut list = $list { ndevs: devs.len() as c_int, devs: [0; $room] };
                    list.devs[..devs.len()].copy_from_slice(devs);
                    call!($net.make_v_device, index, &raw mut list)
                })
            };
        }
        match self {
            Self::V5(_) | Self::V6(_) | Self::V7(_) | Self::V8(_) => None,
            Self::V9(net) => ask!(net, VProps, DEVICES_PER_NIC_V9),
            Self::V10(net) => ask!(net, VProps, DEVICES_PER_NIC_V9),
            Self::V11(net) => ask!(net, VProps, DEVICES_PER_NIC_V9),
            Self::V12(net) => ask!(net, VPropsV12, DEVICES_PER_NIC_V12),
        }
    }

    pub(super) fn listen(&self, ctx: P, dev: c_int, handle: P, listener: *mut P) -> c_int {
        match self {
            Self::V5(net) => call!(net.listen, dev, handle, listener),
            Self::V6(net) => call!(net.listen, dev, handle, listener),
            Self::V7(net) => call!(net.listen, dev, handle, listener),
            Self::V8(net) => call!(net.listen, dev, handle, listener),
            Self::V9(net) => call!(net.listen, dev, handle, listener),
            Self::V10(net) => call!(net.listen, dev, handle, listener),
            Self::V11(net) => call!(net.listen, ctx, dev, handle, listener),
            Self::V12(net) => call!(net.listen, ctx, dev, handle, listener),
        }
    }

    pub(super) fn connect(
        &self,
        (ctx, config): (P, *mut Config),
        dev: c_int,
        handle: P,
        comm: *mut P,
        device: *mut *mut DeviceHandle,
    ) -> c_int {
        match self {
            Self::V5(net) => call!(net.connect, dev, handle, comm),
            Self::V6(net) => call!(net.connect, dev, handle, comm),
            Self::V7(net) => call!(net.connect, dev, handle, comm, device),
            Self::V8(net) => call!(net.connect, dev, handle, comm, device),
            Self::V9(net) => call!(net.connect, dev, handle, comm, device),
            Self::V10(net) => call!(net.connect, dev, config, handle, comm, device),
            Self::V11(net) => call!(net.connect, ctx, dev, handle, comm, device),
            Self::V12(net) => call!(net.connect, ctx, dev, handle, comm, device),
        }
    }

    pub(super) fn accept(&self, listener: P, comm: *mut P, device: *mut *mut DeviceHandle) -> c_int {
        match self {
            Self::V5(net) => call!(net.accept, listener, comm),
            Self::V6(net) => call!(net.accept, listener, comm),
            Self::V7(net) => call!(net.accept, listener, comm, device),
            Self::V8(net) => call!(net.accept, listener, comm, device),
            Self::V9(net) => call!(net.accept, listener, comm, device),
            Self::V10(net) => call!(net.accept, listener, comm, device),
            Self::V11(net) => call!(net.accept, listener, comm, device),
            Self::V12(net) => call!(net.accept, listener, comm, device),
        }
    }

    pub(super) fn reg_mr(&self, comm: P, data: P, bytes: usize, kind: c_int, mhandle: *mut P) -> c_int {
        match self {
            Self::V5(net) => call!(net.reg_mr, comm, data, int(bytes), kind, mhandle),
            Self::V6(net) => call!(net.reg_mr, comm, data, int(bytes), kind, mhandle),
            Self::V7(net) => call!(net.reg_mr, comm, data, int(bytes), kind, mhandle),
            Self::V8(net) => call!(net.reg_mr, comm, data, bytes, kind, mhandle),
            Self::V9(net) => call!(net.reg_mr, comm, data, bytes, kind, mhandle),
            Self::V10(net) => call!(net.reg_mr, comm, data, bytes, kind, mhandle),
            Self::V11(net) => call!(net.reg_mr, comm, data, bytes, kind, mhandle),
            Self::V12(net) => call!(net.reg_mr, comm, data, bytes, kind, mhandle),
        }
    }

    pub(super) fn dereg_mr(&self, comm: P, mhandle: P) -> c_int {
        each!(self, net => call!(net.dereg_mr, comm, mhandle))
    }

    pub(super) fn isend(
        &self,
        comm: P,
        data: P,
        bytes: usize,
        tag: c_int,
        mhandle: P,
        request: *mut P,
    ) -> c_int {
        let none = ptr::null_mut();
        match self {
            Self::V5(net) => call!(net.isend, comm, data, int(bytes), tag, mhandle, request),
            Self::V6(net) => call!(net.isend, comm, data, int(bytes), tag, mhandle, request),
            Self::V7(net) => call!(net.isend, comm, data, int(bytes), tag, mhandle, request),
            Self::V8(net) => call!(net.isend, comm, data, int(bytes), tag, mhandle, request),
            Self::V9(net) => call!(net.isend, comm, data, bytes, tag, mhandle, request),
            Self::V10(net) => call!(net.isend, comm, data, bytes, tag, mhandle, none, request),
            Self::V11(net) => call!(net.isend, comm, data, bytes, tag, mhandle, none, request),
            Self::V12(net) => call!(net.isend, comm, data, bytes, tag, mhandle, none, request),
        }
    }

    pub(super) fn irecv(&self, comm: P, group: &mut Group, request: *mut P) -> c_int {
        let n = int(group.data.len());
        let mut ints: Vec<c_int> = group.sizes.iter().map(|&bytes| int(bytes)).collect();
        let mut handles = vec![ptr::null_mut(); group.data.len()];
        let (data, ints) = (group.data.as_mut_ptr(), ints.as_mut_ptr());
        let (sizes, tags, mhandles) =
            (group.sizes.as_mut_ptr(), group.tags.as_mut_ptr(), group.mhandles.as_mut_ptr());
        let handles = handles.as_mut_ptr();
        match self {
            Self::V5(net) => call!(net.irecv, comm, n, data, ints, tags, mhandles, request),
            Self::V6(net) => call!(net.irecv, comm, n, data, ints, tags, mhandles, request),
            Self::V7(net) => call!(net.irecv, comm, n, data, ints, tags, mhandles, request),
            Self::V8(net) => call!(net.irecv, comm, n, data, ints, tags, mhandles, request),
            Self::V9(net) => call!(net.irecv, comm, n, data, sizes, tags, mhandles, request),
            Self::V10(net) => call!(net.irecv, comm, n, data, sizes, tags, mhandles, handles, request),
            Self::V11(net) => call!(net.irecv, comm, n, data, sizes, tags, mhandles, handles, request),
            Self::V12(net) => call!(net.irecv, comm, n, data, sizes, tags, mhandles, handles, request),
        }
    }

    pub(super) fn iflush(
        &self,
        comm: P,
        data: *mut P,
        size: *mut c_int,
        mhandle: *mut P,
        request: *mut P,
    ) -> Option<c_int> {
        each!(self, net => {
            net.iflush.is_some().then(|| call!(net.iflush, comm, 1, data, size, mhandle, request))
        })
    }

    pub(super) fn test(&self, request: P, done: *mut c_int, sizes: *mut c_int) -> c_int {
        each!(self, net => call!(net.test, request, done, sizes))
    }

    pub(super) fn irecv_consumed(&self, comm: P, n: c_int, request: P) -> Option<c_int> {
        let consumed = self.consumed();
        consumed.is_some().then(|| call!(consumed, comm, n, request))
    }

    pub(super) const fn takes_dma_bufs(&self) -> bool {
        match self {
            Self::V5(_) => false,
            Self::V6(net) => net.reg_mr_dma_buf.is_some(),
            Self::V7(net) => net.reg_mr_dma_buf.is_some(),
            Self::V8(net) => net.reg_mr_dma_buf.is_some(),
            Self::V9(net) => net.reg_mr_dma_buf.is_some(),
            Self::V10(net) => net.reg_mr_dma_buf.is_some(),
            Self::V11(net) => net.reg_mr_dma_buf.is_some(),
            Self::V12(net) => net.reg_mr_dma_buf.is_some(),
        }
    }

    pub(super) const fn keeps_slots(&self) -> bool {
        self.consumed().is_some()
    }

    const fn consumed(&self) -> Option<sys::functions::IrecvConsumed> {
        match self {
            Self::V5(_) | Self::V6(_) => None,
            Self::V7(net) => net.irecv_consumed,
            Self::V8(net) => net.irecv_consumed,
            Self::V9(net) => net.irecv_consumed,
            Self::V10(net) => net.irecv_consumed,
            Self::V11(net) => net.irecv_consumed,
            Self::V12(net) => net.irecv_consumed,
        }
    }

    pub(super) fn close_send(&self, comm: P) -> c_int {
        each!(self, net => call!(net.close_send, comm))
    }

    pub(super) fn close_recv(&self, comm: P) -> c_int {
        each!(self, net => call!(net.close_recv, comm))
    }

    pub(super) fn close_listen(&self, listener: P) -> c_int {
        each!(self, net => call!(net.close_listen, listener))
    }
}

/// A length as versions before 9 take it. The checks' lengths all fit.
fn int(bytes: usize) -> c_int {
    c_int::try_from(bytes).expect("no check moves 2 GiB")
}

/// Any number: one communicator per process.
const COMM_ID: u64 = 0x6770_7574_6370;
