//! A CUDA stream: work that the device does in order. Only functions that say so wait for the device.
//!
//! Invariant: the stream's handle is valid while its [`Queue`] lives, and its context is retained.

use std::{
    ffi::c_void,
    ptr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    context::Context,
    sys::{self, Address, FunctionHandle, LaunchAttribute, LaunchConfig, StreamHandle},
};
use crate::Error;

/// A non-blocking stream. Its callers have made the context current.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) context: Arc<Context>,
    handle: StreamHandle,
}

// SAFETY: any thread in whose context the stream is may use it ("Stream Management"); the driver locks it.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    pub(super) fn new(context: &Arc<Context>) -> Result<Self, Error> {
        context.make_current()?;
        let mut handle: StreamHandle = ptr::null_mut();
        // SAFETY: the driver writes one handle.
        let code = unsafe { (context.driver.stream_create)(&mut handle, sys::STREAM_NON_BLOCKING) };
        context.driver.check(code, "make a stream")?;
        Ok(Self { context: Arc::clone(context), handle })
    }

    pub(super) const fn handle(&self) -> StreamHandle {
        self.handle
    }

    /// Copies between any two places that the device reaches.
    ///
    /// # Safety
    /// Both ranges must stay valid, and reserved for this, until the copy is done. Host memory must be
    /// pinned.
    pub(super) unsafe fn copy(
        &self,
        to: Address,
        from: Address,
        bytes: u64,
        doing: &'static str,
    ) -> Result<(), Error> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.context.driver.copy_async)(to, from, bytes as usize, self.handle) };
        self.context.driver.check(code, doing)
    }

    /// Writes zeros.
    ///
    /// # Safety
    /// The range must be device memory, valid and reserved for this until it is done.
    pub(super) unsafe fn zero(&self, start: Address, bytes: u64) -> Result<(), Error> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.context.driver.set_async)(start, 0, bytes as usize, self.handle) };
        self.context.driver.check(code, "clear memory")
    }

    /// Writes `value` to `flag` when all work before it is done, after a fence for the whole system.
    ///
    /// # Safety
    /// The flag must stay valid until then.
    pub(super) unsafe fn write_value(&self, flag: Address, value: u32) -> Result<(), Error> {
        // SAFETY: the caller's promise.
        let code =
            unsafe { (self.context.driver.stream_write)(self.handle, flag, value, sys::WRITE_VALUE_DEFAULT) };
        self.context.driver.check(code, "let a stream write a flag")
    }

    /// Launches a kernel of `blocks` × `threads`.
    ///
    /// # Safety
    /// `arguments` must point to as many values, of the types, as the kernel has parameters. The memory that
    /// they name must stay valid, and reserved for this, until the kernel is done.
    pub(super) unsafe fn launch(
        &self,
        kernel: FunctionHandle,
        blocks: u32,
        threads: u32,
        arguments: &mut [*mut c_void],
        doing: &'static str,
    ) -> Result<(), Error> {
        let driver = self.context.driver;
        // SAFETY: the kernel is of the context's module; the rest is the caller's promise. Arguments are
        // copied at once.
        let code = unsafe {
            (driver.launch)(
                kernel,
                blocks,
                1,
                1,
                threads,
                1,
                1,
                0,
                self.handle,
                arguments.as_mut_ptr(),
                ptr::null_mut(),
            )
        };
        driver.check(code, doing)
    }

    /// Launches a kernel that may start early: its blocks are in place when the kernel before it in the
    /// stream ends.
    ///
    /// Without support by the device or the driver, launches it like any other.
    ///
    /// # Safety
    /// As [`Self::launch`]. Each of the kernel's threads must wait for the work before it in the stream
    /// before it touches anything, as those of `unpack` do.
    pub(super) unsafe fn launch_early(
        &self,
        kernel: FunctionHandle,
        blocks: u32,
        threads: u32,
        arguments: &mut [*mut c_void],
        doing: &'static str,
    ) -> Result<(), Error> {
        let Some(launch) = self.context.launch_ex else {
            // SAFETY: the caller's promise.
            return unsafe { self.launch(kernel, blocks, threads, arguments, doing) };
        };
        let mut early = LaunchAttribute::EARLY;
        let config = LaunchConfig::new(blocks, threads, self.handle, &mut early);
        // SAFETY: as above. Configuration and attribute are read before the call returns, as are the
        // arguments.
        let code = unsafe { launch(&config, kernel, arguments.as_mut_ptr(), ptr::null_mut()) };
        self.context.driver.check(code, doing)
    }

    /// Returns whether all work is done, or the error that prevents it. Does not wait.
    pub(super) fn is_idle(&self, doing: &'static str) -> Result<bool, Error> {
        // SAFETY: the stream is alive.
        match unsafe { (self.context.driver.stream_query)(self.handle) } {
            sys::ERROR_NOT_READY => Ok(false),
            code => self.context.driver.check(code, doing).map(|()| true),
        }
    }

    /// Waits until all work is done; used at a stream's start and end only.
    ///
    /// It polls, as the driver's own wait has no bound.
    ///
    /// # Errors
    /// [`Error::LaneLost`] if the device is stuck: the work may then still be done, at any time.
    pub(super) fn finish(&self, doing: &'static str) -> Result<(), Error> {
        let start = Instant::now();
        while !self.is_idle(doing)? {
            if start.elapsed() >= STUCK {
                return Err(Error::LaneLost);
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.context.make_current().is_ok() {
            // The memory that the work uses may be freed next. A lane has waited before, and is not dropped
            // while the device is stuck, so this costs nothing.
            let _ = self.finish("finish a stream's work");
            // SAFETY: made once, destroyed once. After a lost device it is gone already.
            let _ = unsafe { (self.context.driver.stream_destroy)(self.handle) };
        }
    }
}

/// The bound of a wait. Every command is of one chunk, or one fill: a thousandth of this.
pub(super) const STUCK: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_micros(20);

/// Returns an argument for a launch; the driver copies the value that it points to.
pub(super) const fn pointer<T>(argument: &mut T) -> *mut c_void {
    ptr::from_mut(argument).cast()
}
