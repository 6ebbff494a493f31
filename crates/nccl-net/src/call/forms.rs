//! The functions whose signature changed, an enum each. A variant is named by the version that its signature
//! came with. A call passes the arguments that the signature takes.

use std::{ffi::c_int, mem::MaybeUninit};

use crate::{
    Properties,
    layout::{
        c_void,
        device::{Config, VProps, VPropsV12},
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
    pub(super) function: *const (),
    pub(super) ask: unsafe fn(*const (), c_int) -> Result<Properties, c_int>,
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
