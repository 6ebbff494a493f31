//! The functions whose signature changed, an enum each. A variant is named by the version that its signature
//! came with. Its call passes the arguments that the signature takes.

use std::{ffi::c_int, mem::MaybeUninit, ptr};

use crate::{
    Properties, VirtualDevice,
    layout::{
        c_void,
        device::{Config, DeviceHandle, VProps, VPropsV12},
        functions as f,
    },
};

type P = *mut c_void;

/// The arrays of a receive request, of the same length each.
#[derive(Debug)]
pub struct Receives<'a> {
    /// The destinations.
    pub data: &'a mut [P],
    /// Their lengths in bytes.
    pub sizes: &'a mut [usize],
    /// Their tags.
    pub tags: &'a mut [c_int],
    /// Their registrations, or NULL.
    pub mhandles: &'a mut [P],
}

/// A length is more than the version's C int can express.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Defines an enum over signatures.
macro_rules! forms {
    ($($(#[$doc:meta])* $name:ident { $($form:ident($function:ty)),* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            #[expect(missing_docs, reason = "variants are named by the version that a signature came with")]
            pub enum $name {
                $($form($function),)*
            }

            $(impl From<$function> for $name {
                fn from(function: $function) -> Self {
                    Self::$form(function)
                }
            })*
        )*
    };
}

forms! {
    /// Starts a plugin.
    Init { V5(f::Init), V10(f::InitV10), V11(f::InitV11) }
    /// Listens.
    Listen { V5(f::Listen), V11(f::ListenV11) }
    /// Connects.
    Connect { V5(f::Connect), V7(f::ConnectV7), V10(f::ConnectV10), V11(f::ConnectV11) }
    /// Accepts.
    Accept { V5(f::Accept), V7(f::AcceptV7) }
    /// Registers memory.
    RegMr { V5(f::RegMr), V8(f::RegMrV8) }
    /// Posts a send.
    Isend { V5(f::Isend), V9(f::IsendV9), V10(f::IsendV10) }
    /// Posts receives.
    Irecv { V5(f::Irecv), V9(f::IrecvV9), V10(f::IrecvV10) }
    /// Joins devices.
    MakeVDevice { V9(f::MakeVDevice<VProps>), V12(f::MakeVDevice<VPropsV12>) }
}

/// Describes a device, in the layout of any version.
#[derive(Debug, Clone, Copy)]
pub struct GetProperties {
    function: *const (),
    ask: unsafe fn(*const (), c_int) -> Result<Properties, c_int>,
}

// SAFETY: two functions; what they demand is said where they are called.
unsafe impl Send for GetProperties {}
// SAFETY: as above.
unsafe impl Sync for GetProperties {}

impl<T> From<f::GetProperties<T>> for GetProperties
where
    Properties: for<'a> From<&'a T>,
{
    fn from(function: f::GetProperties<T>) -> Self {
        unsafe fn as_it_was<T>(function: *const (), dev: c_int) -> Result<Properties, c_int>
        where
            Properties: for<'a> From<&'a T>,
        {
            // SAFETY: `from` made this pointer of a function of this type.
            let function = unsafe { std::mem::transmute::<*const (), f::GetProperties<T>>(function) };
            // SAFETY: the caller's promise.
            unsafe { ask(function, dev) }
        }
        Self { function: function as *const (), ask: as_it_was::<T> }
    }
}

impl GetProperties {
    /// # Safety
    /// The plugin is started.
    pub(super) unsafe fn call(self, dev: c_int) -> Result<Properties, c_int> {
        // SAFETY: the caller's promise.
        unsafe { (self.ask)(self.function, dev) }
    }
}

/// Asks for properties of a version's layout.
///
/// # Safety
/// The plugin is started.
unsafe fn ask<T>(get: f::GetProperties<T>, dev: c_int) -> Result<Properties, c_int>
where
    Properties: for<'a> From<&'a T>,
{
    // All zeros: numbers, and pointers that may be NULL.
    let mut properties = MaybeUninit::<T>::zeroed();
    // SAFETY: the function writes properties of its version; zeros are a value of all their fields.
    match unsafe { get(dev, properties.as_mut_ptr()) } {
        // SAFETY: as above.
        0 => Ok(Properties::from(unsafe { properties.assume_init_ref() })),
        code => Err(code),
    }
}

impl Init {
    /// Starts the plugin.
    ///
    /// # Safety
    /// `ctx` has room for a pointer. `config` lives as long as the plugin. One thread at a time makes this
    /// call.
    pub unsafe fn call(self, ctx: *mut P, comm_id: u64, config: *mut Config, logger: f::Logger) -> c_int {
        // SAFETY: as the interface says for each version; the rest is the caller's promise.
        unsafe {
            match self {
                Self::V5(init) => init(logger),
                Self::V10(init) => init(logger, None),
                Self::V11(init) => init(ctx, comm_id, config, logger, None),
            }
        }
    }
}

impl Listen {
    pub(super) unsafe fn call(self, ctx: P, dev: c_int, handle: P, comm: *mut P) -> c_int {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::V5(listen) => listen(dev, handle, comm),
                Self::V11(listen) => listen(ctx, dev, handle, comm),
            }
        }
    }
}

impl Connect {
    pub(super) unsafe fn call(
        self,
        ctx: P,
        config: *mut Config,
        dev: c_int,
        handle: P,
        comm: *mut P,
        device: *mut *mut DeviceHandle,
    ) -> c_int {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::V5(connect) => connect(dev, handle, comm),
                Self::V7(connect) => connect(dev, handle, comm, device),
                Self::V10(connect) => connect(dev, config, handle, comm, device),
                Self::V11(connect) => connect(ctx, dev, handle, comm, device),
            }
        }
    }
}

impl Accept {
    pub(super) unsafe fn call(self, listener: P, comm: *mut P, device: *mut *mut DeviceHandle) -> c_int {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::V5(accept) => accept(listener, comm),
                Self::V7(accept) => accept(listener, comm, device),
            }
        }
    }
}

impl RegMr {
    pub(super) unsafe fn call(
        self,
        comm: P,
        data: P,
        bytes: usize,
        kind: c_int,
        mhandle: *mut P,
    ) -> Result<c_int, TooLong> {
        Ok(match self {
            // SAFETY: the caller's promise.
            Self::V5(reg_mr) => unsafe { reg_mr(comm, data, int(bytes)?, kind, mhandle) },
            // SAFETY: the caller's promise.
            Self::V8(reg_mr) => unsafe { reg_mr(comm, data, bytes, kind, mhandle) },
        })
    }
}

impl Isend {
    pub(super) unsafe fn call(
        self,
        comm: P,
        data: P,
        bytes: usize,
        tag: c_int,
        mhandle: P,
        request: *mut P,
    ) -> Result<c_int, TooLong> {
        Ok(match self {
            // SAFETY: the caller's promise.
            Self::V5(isend) => unsafe { isend(comm, data, int(bytes)?, tag, mhandle, request) },
            // SAFETY: the caller's promise.
            Self::V9(isend) => unsafe { isend(comm, data, bytes, tag, mhandle, request) },
            // SAFETY: the caller's promise; no profiler was given, so there is no handle of one.
            Self::V10(isend) => unsafe { isend(comm, data, bytes, tag, mhandle, ptr::null_mut(), request) },
        })
    }
}

impl Irecv {
    pub(super) unsafe fn call(self, comm: P, parts: Receives<'_>, request: *mut P) -> Result<c_int, TooLong> {
        let Receives { data, sizes, tags, mhandles } = parts;
        let n = data.len();
        assert!(
            sizes.len() == n && tags.len() == n && mhandles.len() == n,
            "the arrays of a receive are of one length"
        );
        let (mut few_ints, mut few_handles) = ([0; FEW], [ptr::null_mut(); FEW]);
        let (mut ints, mut handles) = (Vec::new(), Vec::new());
        let count = int(n)?;
        let (data, tags, mhandles) = (data.as_mut_ptr(), tags.as_mut_ptr(), mhandles.as_mut_ptr());
        // SAFETY: arrays as long as `n` says, which plugins read during the call. The rest is the caller's
        // promise. No profiler was given, so there are no handles of one.
        Ok(match self {
            Self::V5(irecv) => {
                let ints = room(n, &mut few_ints, &mut ints);
                for (place, &bytes) in ints.iter_mut().zip(&*sizes) {
                    *place = int(bytes)?;
                }
                let ints = ints.as_mut_ptr();
                // SAFETY: as above.
                unsafe { irecv(comm, count, data, ints, tags, mhandles, request) }
            }
            // SAFETY: as above.
            Self::V9(irecv) => unsafe {
                irecv(comm, count, data, sizes.as_mut_ptr(), tags, mhandles, request)
            },
            Self::V10(irecv) => {
                let handles = room(n, &mut few_handles, &mut handles).as_mut_ptr();
                // SAFETY: as above.
                unsafe { irecv(comm, count, data, sizes.as_mut_ptr(), tags, mhandles, handles, request) }
            }
        })
    }
}

impl MakeVDevice {
    pub(super) unsafe fn call(self, index: *mut c_int, devices: VirtualDevice) -> c_int {
        // SAFETY: the caller's promise; the list lives during the call.
        unsafe {
            match self {
                Self::V9(make) => make(index, &mut VProps::from(devices)),
                Self::V12(make) => make(index, &mut VPropsV12::from(devices)),
            }
        }
    }
}

/// Returns `n` places: the few where they suffice, so that usual calls allocate nothing.
fn room<'a, T: Copy>(n: usize, few: &'a mut [T; FEW], more: &'a mut Vec<T>) -> &'a mut [T] {
    if n <= FEW {
        return &mut few[..n];
    }
    more.resize(n, few[0]);
    more
}

fn int(bytes: usize) -> Result<c_int, TooLong> {
    c_int::try_from(bytes).map_err(|_| TooLong)
}

/// NCCL's own most of receives in one request (`NCCL_PROXY_MAX_SUBS` and the limit of its IB plugin).
const FEW: usize = 8;
