//! The CUDA driver as C sees it: types, numbers, and a table of the functions in use.
//!
//! The functions are found in libcuda.so.1 at run time. Names are as in cuda.h of CUDA 12.2 ("CUDA Driver
//! API", modules by name).
//!
//! The crate does not use cudarc, which panics if libcuda or one of its symbols is missing. One binary is to
//! run with and without a GPU.
//!
//! Invariant: a [`Driver`] has all its functions but the optional ones, and the library stays open as long as
//! it.

use std::{
    ffi::{c_char, c_int, c_uint, c_void},
    ptr,
};

use libloading::Library;

/// `CUresult`.
pub(super) type Code = c_int;
/// `CUdevice`.
pub(super) type DeviceHandle = c_int;
/// `CUdeviceptr`: under unified addressing also the address of pinned host memory.
pub(super) type Address = u64;
/// `CUcontext`.
pub(super) type ContextHandle = *mut c_void;
/// `CUmodule`.
pub(super) type ModuleHandle = *mut c_void;
/// `CUfunction`.
pub(super) type FunctionHandle = *mut c_void;
/// `CUstream`.
pub(super) type StreamHandle = *mut c_void;
/// `CUevent`.
pub(super) type EventHandle = *mut c_void;

/// `CUuuid`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Uuid {
    pub(super) bytes: [u8; 16],
}

/// `CUlaunchConfig`.
#[repr(C)]
#[derive(Debug)]
pub(super) struct LaunchConfig {
    grid: [c_uint; 3],
    block: [c_uint; 3],
    shared_bytes: c_uint,
    stream: StreamHandle,
    attributes: *mut LaunchAttribute,
    attribute_count: c_uint,
}

/// `CUlaunchAttribute`. Its value is a union of 64 bytes, of which the one attribute in use has an int.
#[repr(C, align(8))]
#[derive(Debug)]
pub(super) struct LaunchAttribute {
    id: c_uint,
    _padding: u32,
    value: c_int,
    _rest: [u32; 15],
}

impl LaunchConfig {
    /// Returns a configuration of `blocks` × `threads` with one attribute.
    pub(super) const fn new(
        blocks: u32,
        threads: u32,
        stream: StreamHandle,
        attribute: &mut LaunchAttribute,
    ) -> Self {
        let attributes = ptr::from_mut(attribute);
        let (grid, block) = ([blocks, 1, 1], [threads, 1, 1]);
        Self { grid, block, shared_bytes: 0, stream, attributes, attribute_count: 1 }
    }
}

impl LaunchAttribute {
    /// `CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION`, set.
    ///
    /// The kernel before this one in the stream may let it start, and it waits itself for the end of that
    /// one.
    pub(super) const EARLY: Self = Self { id: 6, _padding: 0, value: 1, _rest: [0; 15] };
}

/// `cuLaunchKernelEx`.
pub(super) type LaunchEx =
    unsafe extern "C" fn(*const LaunchConfig, FunctionHandle, *mut *mut c_void, *mut *mut c_void) -> Code;

pub(super) const SUCCESS: Code = 0;
pub(super) const ERROR_INVALID_VALUE: Code = 1;
pub(super) const ERROR_OUT_OF_MEMORY: Code = 2;
pub(super) const ERROR_NO_DEVICE: Code = 100;
pub(super) const ERROR_NOT_FOUND: Code = 500;
pub(super) const ERROR_NOT_READY: Code = 600;

/// `CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT`.
pub(super) const ATTRIBUTE_MULTIPROCESSORS: c_int = 16;
/// `CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING`.
pub(super) const ATTRIBUTE_UNIFIED_ADDRESSING: c_int = 41;
/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR`.
pub(super) const ATTRIBUTE_CAPABILITY_MAJOR: c_int = 75;
/// `CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP`: pinned for, and mapped into, every context.
pub(super) const HOST_PORTABLE_MAPPED: c_uint = 1 | 2;
/// `CU_STREAM_NON_BLOCKING`: the stream and the default stream do not wait for each other.
pub(super) const STREAM_NON_BLOCKING: c_uint = 1;
/// `CU_EVENT_DEFAULT`: with a time.
pub(super) const EVENT_DEFAULT: c_uint = 0;
/// `CU_EVENT_DISABLE_TIMING`.
pub(super) const EVENT_DISABLE_TIMING: c_uint = 2;
/// `CU_STREAM_WRITE_VALUE_DEFAULT`: a fence for the whole system comes before the write.
pub(super) const WRITE_VALUE_DEFAULT: c_uint = 0;

/// `CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD`.
pub(super) const RANGE_DMA_BUF: c_int = 1;
/// `CU_POINTER_ATTRIBUTE_MEMORY_TYPE`.
pub(super) const POINTER_MEMORY_TYPE: c_int = 2;
/// `CU_MEMORYTYPE_HOST`.
pub(super) const MEMORY_TYPE_HOST: c_uint = 1;

/// Declares the table and the way it is read from a library.
macro_rules! functions {
    (
        $($field:ident = $symbol:literal ($($argument:ty),*);)*
        @optional $($optional:ident = $optional_symbol:literal ($($optional_argument:ty),*);)*
    ) => {
        /// The driver's functions. Each takes its arguments as in cuda.h, and returns a [`Code`].
        pub(super) struct Driver {
            $(pub(super) $field: unsafe extern "C" fn($($argument),*) -> Code,)*
            $(pub(super) $optional: Option<unsafe extern "C" fn($($optional_argument),*) -> Code>,)*
            /// The library of the functions, so it is last.
            _library: Library,
        }

        impl Driver {
            /// Reads the functions from an open libcuda; the error is the name of the first one that is
            /// missing.
            ///
            /// # Safety
            /// The library must be libcuda: its functions of these names must have these types.
            pub(super) unsafe fn from_library(library: Library) -> Result<Self, &'static str> {
                Ok(Self {
                    $($field: {
                        // SAFETY: the caller's promise. The pointer is used only while the library is open.
                        let found = unsafe { library.get(concat!($symbol, "\0").as_bytes()) };
                        *found.map_err(|_| $symbol)?
                    },)*
                    $($optional: {
                        // SAFETY: as above.
                        let found = unsafe { library.get(concat!($optional_symbol, "\0").as_bytes()) };
                        found.ok().map(|found| *found)
                    },)*
                    _library: library,
                })
            }
        }
    };
}

functions! {
    init = "cuInit" (c_uint);
    driver_version = "cuDriverGetVersion" (*mut c_int);
    error_name = "cuGetErrorName" (Code, *mut *const c_char);
    error_text = "cuGetErrorString" (Code, *mut *const c_char);

    device_count = "cuDeviceGetCount" (*mut c_int);
    device_get = "cuDeviceGet" (*mut DeviceHandle, c_int);
    device_name = "cuDeviceGetName" (*mut c_char, c_int, DeviceHandle);
    device_uuid = "cuDeviceGetUuid_v2" (*mut Uuid, DeviceHandle);
    device_pci = "cuDeviceGetPCIBusId" (*mut c_char, c_int, DeviceHandle);
    device_memory = "cuDeviceTotalMem_v2" (*mut usize, DeviceHandle);
    device_attribute = "cuDeviceGetAttribute" (*mut c_int, c_int, DeviceHandle);

    context_retain = "cuDevicePrimaryCtxRetain" (*mut ContextHandle, DeviceHandle);
    context_release = "cuDevicePrimaryCtxRelease_v2" (DeviceHandle);
    context_current = "cuCtxGetCurrent" (*mut ContextHandle);
    context_set = "cuCtxSetCurrent" (ContextHandle);

    module_load = "cuModuleLoadData" (*mut ModuleHandle, *const c_void);
    module_unload = "cuModuleUnload" (ModuleHandle);
    module_function = "cuModuleGetFunction" (*mut FunctionHandle, ModuleHandle, *const c_char);
    launch = "cuLaunchKernel" (
        FunctionHandle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, StreamHandle, *mut *mut c_void,
        *mut *mut c_void
    );

    memory_info = "cuMemGetInfo_v2" (*mut usize, *mut usize);
    memory_alloc = "cuMemAlloc_v2" (*mut Address, usize);
    memory_free = "cuMemFree_v2" (Address);
    host_alloc = "cuMemHostAlloc" (*mut *mut c_void, usize, c_uint);
    host_free = "cuMemFreeHost" (*mut c_void);
    copy_async = "cuMemcpyAsync" (Address, Address, usize, StreamHandle);
    set_async = "cuMemsetD8Async" (Address, u8, usize, StreamHandle);

    stream_create = "cuStreamCreate" (*mut StreamHandle, c_uint);
    stream_destroy = "cuStreamDestroy_v2" (StreamHandle);
    stream_query = "cuStreamQuery" (StreamHandle);
    stream_write = "cuStreamWriteValue32_v2" (StreamHandle, Address, u32, c_uint);

    event_create = "cuEventCreate" (*mut EventHandle, c_uint);
    event_destroy = "cuEventDestroy_v2" (EventHandle);
    event_record = "cuEventRecord" (EventHandle, StreamHandle);
    event_elapsed = "cuEventElapsedTime" (*mut f32, EventHandle, EventHandle);
    event_synchronize = "cuEventSynchronize" (EventHandle);

    @optional
    launch_ex = "cuLaunchKernelEx" (*const LaunchConfig, FunctionHandle, *mut *mut c_void, *mut *mut c_void);
    memory_range = "cuMemGetAddressRange_v2" (*mut Address, *mut usize, Address);
    memory_handle = "cuMemGetHandleForAddressRange" (*mut c_void, Address, usize, c_int, u64);
    pointer_attribute = "cuPointerGetAttribute" (*mut c_void, c_int, Address);
}

#[cfg(test)]
mod tests {
    use std::mem::{align_of, offset_of};

    use super::*;

    /// The numbers are those of a C compiler for cuda.h of CUDA 12.2 on x86-64.
    #[test]
    fn what_a_launch_is_told_lies_as_in_c() {
        assert_eq!((size_of::<LaunchConfig>(), align_of::<LaunchConfig>()), (56, 8));
        assert_eq!(offset_of!(LaunchConfig, grid), 0);
        assert_eq!(offset_of!(LaunchConfig, block), 12);
        assert_eq!(offset_of!(LaunchConfig, shared_bytes), 24);
        assert_eq!(offset_of!(LaunchConfig, stream), 32);
        assert_eq!(offset_of!(LaunchConfig, attributes), 40);
        assert_eq!(offset_of!(LaunchConfig, attribute_count), 48);
        assert_eq!((size_of::<LaunchAttribute>(), align_of::<LaunchAttribute>()), (72, 8));
        assert_eq!(offset_of!(LaunchAttribute, id), 0);
        assert_eq!(offset_of!(LaunchAttribute, value), 8);
        assert_eq!((LaunchAttribute::EARLY.id, LaunchAttribute::EARLY.value), (6, 1));
    }
}
