//! The functions as C calls them. If a signature changed, the name has the version that it came with, as in
//! [`crate::layout::functions`].
//!
//! A table's field has a function type, and the type selects the function. Each trait here is one function of
//! the interface, implemented for each of its signatures.

use std::{ffi::c_int, ptr};

use super::{Network, P};
use crate::{
    Properties, ResultCode, VirtualDevice,
    layout::{
        device::{Config, DeviceHandle, NetAttr},
        functions as f,
    },
};

/// The arrays of a receive request, `n` of each.
#[derive(Debug, Clone, Copy)]
pub struct Receives {
    /// The number of receives, which may be wrong.
    pub n: c_int,
    data: *mut P,
    sizes: Sizes,
    tags: *mut c_int,
    mhandles: *mut P,
}

/// Lengths, as a version has them.
#[derive(Debug, Clone, Copy)]
enum Sizes {
    Int(*mut c_int),
    Usize(*mut usize),
}

/// One receive of a request.
#[derive(Debug, Clone, Copy)]
pub struct Receive {
    /// The destination.
    pub data: P,
    /// Its length in bytes; `None` where it came as a negative int.
    pub bytes: Option<usize>,
    /// Its tag; 0 where NCCL gave no tags.
    pub tag: c_int,
    /// Its registration, or NULL.
    pub mhandle: P,
}

impl Receives {
    /// Returns the receive at a place.
    ///
    /// # Safety
    /// The place is below `n`, and NCCL's arrays have `n` places.
    #[must_use]
    pub unsafe fn at(&self, place: usize) -> Receive {
        // SAFETY: the caller's promise; arrays that may be missing are looked at first.
        unsafe {
            Receive {
                data: *self.data.add(place),
                bytes: match self.sizes {
                    Sizes::Int(sizes) => usize::try_from(*sizes.add(place)).ok(),
                    Sizes::Usize(sizes) => Some(*sizes.add(place)),
                },
                tag: if self.tags.is_null() { 0 } else { *self.tags.add(place) },
                mhandle: if self.mhandles.is_null() { ptr::null_mut() } else { *self.mhandles.add(place) },
            }
        }
    }
}

/// Defines the trait of a function, and a C function for each of its signatures.
macro_rules! forms {
    ($($(#[$doc:meta])* $name:ident {
        $($form:ident($($argument:ident: $type:ty),*) => $body:expr;)*
    })*) => {
        $(
            $(#[$doc])*
            pub(crate) trait $name<N: Network>: Sized {
                /// The function.
                const FUNCTION: Self;
            }

            $(impl<N: Network> $name<N> for f::$form {
                const FUNCTION: Self = {
                    unsafe extern "C" fn function<N: Network>($($argument: $type),*) -> c_int {
                        // SAFETY: NCCL's promises, which are the trait's.
                        unsafe { $body }
                    }
                    function::<N>
                };
            })*
        )*
    };
}

forms! {
    /// Starts the network.
    Init {
        Init(logger: f::Logger) => N::init(logger, ptr::null_mut());
        InitV10(logger: f::Logger, _profiler: f::Profiler) => N::init(logger, ptr::null_mut());
        InitV11(ctx: *mut P, _comm_id: u64, _config: *mut Config, logger: f::Logger, _profiler: f::Profiler)
            => N::init(logger, ctx);
    }
    /// Listens.
    Listen {
        Listen(dev: c_int, handle: P, comm: *mut P) => N::listen(dev, handle, comm);
        ListenV11(_ctx: P, dev: c_int, handle: P, comm: *mut P) => N::listen(dev, handle, comm);
    }
    /// Connects.
    Connect {
        Connect(dev: c_int, handle: P, comm: *mut P) => N::connect(dev, handle, comm, None);
        ConnectV7(dev: c_int, handle: P, comm: *mut P, device: *mut *mut DeviceHandle)
            => N::connect(dev, handle, comm, Some(device));
        ConnectV10(dev: c_int, _config: *mut Config, handle: P, comm: *mut P, device: *mut *mut DeviceHandle)
            => N::connect(dev, handle, comm, Some(device));
        ConnectV11(_ctx: P, dev: c_int, handle: P, comm: *mut P, device: *mut *mut DeviceHandle)
            => N::connect(dev, handle, comm, Some(device));
    }
    /// Accepts.
    Accept {
        Accept(listener: P, comm: *mut P) => N::accept(listener, comm, None);
        AcceptV7(listener: P, comm: *mut P, device: *mut *mut DeviceHandle)
            => N::accept(listener, comm, Some(device));
    }
    /// Registers memory.
    RegMr {
        RegMr(comm: P, data: P, bytes: c_int, kind: c_int, mhandle: *mut P)
            => N::reg_mr(comm, data, usize::try_from(bytes).ok(), kind, mhandle);
        RegMrV8(comm: P, data: P, bytes: usize, kind: c_int, mhandle: *mut P)
            => N::reg_mr(comm, data, Some(bytes), kind, mhandle);
    }
    /// Posts a send.
    Isend {
        Isend(comm: P, data: P, bytes: c_int, tag: c_int, mhandle: P, request: *mut P)
            => N::isend(comm, data, usize::try_from(bytes).ok(), tag, mhandle, request);
        IsendV9(comm: P, data: P, bytes: usize, tag: c_int, mhandle: P, request: *mut P)
            => N::isend(comm, data, Some(bytes), tag, mhandle, request);
        IsendV10(comm: P, data: P, bytes: usize, tag: c_int, mhandle: P, _phandle: P, request: *mut P)
            => N::isend(comm, data, Some(bytes), tag, mhandle, request);
    }
    /// Posts receives.
    Irecv {
        Irecv(comm: P, n: c_int, data: *mut P, sizes: *mut c_int, tags: *mut c_int, mhandles: *mut P, request: *mut P)
            => N::irecv(comm, &Receives { n, data, sizes: Sizes::Int(sizes), tags, mhandles }, request);
        IrecvV9(comm: P, n: c_int, data: *mut P, sizes: *mut usize, tags: *mut c_int, mhandles: *mut P, request: *mut P)
            => N::irecv(comm, &Receives { n, data, sizes: Sizes::Usize(sizes), tags, mhandles }, request);
        IrecvV10(
            comm: P, n: c_int, data: *mut P, sizes: *mut usize, tags: *mut c_int, mhandles: *mut P,
            _phandles: *mut P, request: *mut P
        ) => N::irecv(comm, &Receives { n, data, sizes: Sizes::Usize(sizes), tags, mhandles }, request);
    }
}

/// Describes a device in a version's layout.
pub(crate) unsafe extern "C" fn get_properties<N: Network, T: for<'a> From<&'a Properties>>(
    dev: c_int,
    out: *mut T,
) -> c_int {
    match N::properties(dev) {
        Ok(properties) => {
            // SAFETY: NCCL gives room for this version's properties.
            unsafe { out.write(T::from(&properties)) };
            ResultCode::SUCCESS
        }
        Err(code) => code,
    }
}

/// Joins devices of a version's list.
pub(crate) unsafe extern "C" fn make_v_device<N: Network, T: Copy + Into<VirtualDevice>>(
    out: *mut c_int,
    asked: *mut T,
) -> c_int {
    if out.is_null() || asked.is_null() {
        return ResultCode::InvalidArgument.number();
    }
    // SAFETY: NCCL gives a whole list, whatever its numbers are, and room for a number.
    unsafe { N::make_v_device(out, (*asked).into()) }
}

/// Takes note of how connections will be used: no network here does.
pub(crate) unsafe extern "C" fn set_net_attr(_ctx: P, _attr: *mut NetAttr) -> c_int {
    ResultCode::SUCCESS
}

pub(crate) unsafe extern "C" fn iflush<N: Network>(
    comm: P,
    _n: c_int,
    _data: *mut P,
    _sizes: *mut c_int,
    _mhandles: *mut P,
    request: *mut P,
) -> c_int {
    // SAFETY: NCCL's promises, which are the trait's.
    unsafe { N::iflush(comm, request) }
}

/// Defines a C function for each function of one signature.
macro_rules! same {
    ($($function:ident($($argument:ident: $type:ty),*);)*) => {
        $(pub(crate) unsafe extern "C" fn $function<N: Network>($($argument: $type),*) -> c_int {
            // SAFETY: NCCL's promises, which are the trait's.
            unsafe { N::$function($($argument),*) }
        })*
    };
}
same! {
    devices(count: *mut c_int);
    dereg_mr(comm: P, mhandle: P);
    test(request: P, done: *mut c_int, sizes: *mut c_int);
    close_send(comm: P);
    close_recv(comm: P);
    close_listen(listener: P);
    finalize(ctx: P);
}

/// A table's field: the function of a network for the signature that the field has.
macro_rules! exported {
    ($n:ident init) => {
        Some($crate::export::Init::<$n>::FUNCTION)
    };
    ($n:ident listen) => {
        Some($crate::export::Listen::<$n>::FUNCTION)
    };
    ($n:ident connect) => {
        Some($crate::export::Connect::<$n>::FUNCTION)
    };
    ($n:ident accept) => {
        Some($crate::export::Accept::<$n>::FUNCTION)
    };
    ($n:ident reg_mr) => {
        Some($crate::export::RegMr::<$n>::FUNCTION)
    };
    ($n:ident isend) => {
        Some($crate::export::Isend::<$n>::FUNCTION)
    };
    ($n:ident irecv) => {
        Some($crate::export::Irecv::<$n>::FUNCTION)
    };
    ($n:ident get_properties) => {
        Some($crate::export::get_properties::<$n, _>)
    };
    ($n:ident make_v_device) => {
        Some($crate::export::make_v_device::<$n, _>)
    };
    ($n:ident reg_mr_dma_buf) => {
        $n::REG_MR_DMA_BUF
    };
    ($n:ident irecv_consumed) => {
        $n::IRECV_CONSUMED
    };
    // Memory that a GPU names itself: no network here has it.
    ($n:ident get_device_mr) => {
        None
    };
    ($n:ident set_net_attr) => {
        Some($crate::export::set_net_attr)
    };
    ($n:ident $same:ident) => {
        Some($crate::export::$same::<$n>)
    };
}
pub(crate) use exported;
