//! A device's primary context, which CUDA's other users in the process share, and the crate's kernels in it.
//!
//! Invariant: while a [`Context`] lives, its handle and the handles of its kernels are valid.

use std::{
    ffi::{CStr, c_int, c_void},
    ptr,
};

use super::{
    kernels::{PTX, PTX_SM90},
    result::driver,
    sys::{self, ContextHandle, DeviceHandle, Driver, FunctionHandle, LaunchEx, ModuleHandle},
};
use crate::Error;

/// A retained primary context.
pub(super) struct Context {
    pub(super) driver: &'static Driver,
    pub(super) ordinal: u32,
    pub(super) kernels: Kernels,
    /// The number of the device's multiprocessors.
    pub(super) multiprocessors: u32,
    /// The driver's function for early launches, if device and driver have them: `unpack` then waits in the
    /// kernel.
    pub(super) launch_ex: Option<LaunchEx>,
    device: DeviceHandle,
    handle: ContextHandle,
    module: ModuleHandle,
}

/// The functions of unpack.cu.
pub(super) struct Kernels {
    pub(super) unpack: FunctionHandle,
    pub(super) mark: FunctionHandle,
    pub(super) fail: FunctionHandle,
    pub(super) fill: FunctionHandle,
    pub(super) verify: FunctionHandle,
}

// SAFETY: the handles name objects of the driver; any thread that has made the context current may use them.
unsafe impl Send for Context {}
// SAFETY: as above; the driver's functions are safe to call from several threads.
unsafe impl Sync for Context {}

impl Context {
    /// Retains the device's primary context, and loads the kernels.
    pub(super) fn retain(device: DeviceHandle, ordinal: u32) -> Result<Self, Error> {
        let driver = driver()?;
        let attribute = |attribute: c_int| {
            let mut value = 0;
            // SAFETY: the driver writes one number.
            let code = unsafe { (driver.device_attribute)(&mut value, attribute, device) };
            driver.check(code, "say what it can do").map(|()| value)
        };
        let capability = attribute(sys::ATTRIBUTE_CAPABILITY_MAJOR)?;
        if capability < VOLTA || attribute(sys::ATTRIBUTE_UNIFIED_ADDRESSING)? == 0 {
            let reason = format!("cuda:{ordinal} is older than Volta or shares no addresses with the host");
            return Err(Error::NoGpu { reason });
        }
        let multiprocessors = attribute(sys::ATTRIBUTE_MULTIPROCESSORS)?.max(1) as u32;
        let launch_ex = driver.launch_ex.filter(|_| capability >= HOPPER);
        let mut handle: ContextHandle = ptr::null_mut();
        // SAFETY: the driver writes one handle, of a context that it retains until it is released below.
        driver.check(unsafe { (driver.context_retain)(&mut handle, device) }, "open its primary context")?;
        let none = ptr::null_mut();
        let kernels = Kernels { unpack: none, mark: none, fail: none, fill: none, verify: none };
        let mut context =
            Self { driver, ordinal, kernels, multiprocessors, launch_ex, device, handle, module: none };
        context.load()?;
        Ok(context)
    }

    /// Makes the context current on the calling thread, where it stays.
    ///
    /// Asking the driver costs some 10 ns. A flag of this crate could not know what the rest of the process
    /// does to the thread meanwhile.
    pub(super) fn make_current(&self) -> Result<(), Error> {
        let mut current: ContextHandle = ptr::null_mut();
        // SAFETY: the driver writes one handle.
        let code = unsafe { (self.driver.context_current)(&mut current) };
        self.driver.check(code, "say which context is current")?;
        if current != self.handle {
            // SAFETY: the handle is of a context that is retained.
            let code = unsafe { (self.driver.context_set)(self.handle) };
            self.driver.check(code, "make its context current")?;
        }
        Ok(())
    }

    /// Loads the PTX once more and unloads it, as a launcher does that makes it per chunk.
    pub(super) fn load_and_unload(&self) -> Result<(), Error> {
        self.make_current()?;
        let mut module: ModuleHandle = ptr::null_mut();
        // SAFETY: the PTX ends in a zero; the driver writes one handle, which is not used after it is
        // unloaded.
        unsafe {
            self.driver.check((self.driver.module_load)(&mut module, self.ptx()), LOAD)?;
            self.driver.check((self.driver.module_unload)(module), "unload the kernels")
        }
    }

    fn load(&mut self) -> Result<(), Error> {
        self.make_current()?;
        let ptx = self.ptx();
        // SAFETY: the PTX ends in a zero; the driver writes one handle.
        let code = unsafe { (self.driver.module_load)(&mut self.module, ptx) };
        self.driver.check(code, LOAD)?;
        self.kernels = Kernels {
            unpack: self.function(c"unpack")?,
            mark: self.function(c"mark")?,
            fail: self.function(c"fail")?,
            fill: self.function(c"fill")?,
            verify: self.function(c"verify")?,
        };
        Ok(())
    }

    /// Returns the PTX for this device: the one whose `unpack` waits in the kernel, if early launches exist.
    fn ptx(&self) -> *const c_void {
        let ptx = if self.launch_ex.is_some() { PTX_SM90 } else { PTX };
        ptx.as_ptr().cast()
    }

    fn function(&self, name: &CStr) -> Result<FunctionHandle, Error> {
        let mut function: FunctionHandle = ptr::null_mut();
        // SAFETY: the module is loaded, the name ends in a zero, and the driver writes one handle.
        let code = unsafe { (self.driver.module_function)(&mut function, self.module, name.as_ptr()) };
        self.driver.check(code, "find a kernel")?;
        Ok(function)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let is_current = self.make_current().is_ok();
        if is_current && !self.module.is_null() {
            // SAFETY: streams and memory hold the context, so nothing that uses the module still runs.
            let _ = unsafe { (self.driver.module_unload)(self.module) };
        }
        // SAFETY: the context was retained once, and is released once. A failure here leaves nothing useful
        // to do.
        let _ = unsafe { (self.driver.context_release)(self.device) };
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("ordinal", &self.ordinal).finish_non_exhaustive()
    }
}

const LOAD: &str = "load the kernels";
/// The major numbers of compute capabilities.
const VOLTA: c_int = 7;
const HOPPER: c_int = 9;
