//! The state that both ends of a connection share: registrations, requests in flight, and an orderly close.
//!
//! Invariants: the connection keeps the claim of each request that the plugin has. It releases the claim when
//! the plugin reports the request as done or has closed the connection. After a close that failed it keeps
//! the claim for ever. Requests are polled in the order in which they were posted, as some plugins know only
//! their oldest.

use std::{
    collections::VecDeque,
    mem,
    os::fd::AsRawFd as _,
    ptr::{self, NonNull},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use gputcp_gpu::{Buffer, Device};

use crate::{
    error::{Error, Result},
    plugin::Plugin,
    properties::DeviceKind,
    watch::watched,
};
use gputcp_nccl_net::{
    call::TooLong,
    layout::{c_int, c_void, constants, device::DeviceHandleStorage, functions::Close},
};

/// The memory type that a plugin is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pointer {
    /// Memory of the host.
    Host,
    /// Memory of a CUDA GPU, or of the software GPU where it stands for one.
    Cuda,
}

/// A connection of a plugin, with the memory that it works on. `C` is the claim that its requests need.
pub(crate) struct Comm<C> {
    pub(crate) plugin: Arc<Plugin>,
    /// The connection's number within the process.
    number: u64,
    /// The index of the plugin's device.
    device: usize,
    comm: NonNull<c_void>,
    close: (&'static str, Close),
    registrations: Vec<Registration>,
    flights: VecDeque<Flight<C>>,
    /// The claims of requests that failed: the plugin may still use their memory.
    parked: Vec<C>,
    /// The storage for the device handle. The plugin may have kept its address.
    storage: Option<Box<DeviceHandleStorage>>,
    failed: bool,
    is_open: bool,
}

/// Memory that the plugin knows. The buffer lives as long as the registration.
struct Registration {
    buffer: Buffer,
    known: Known,
}

/// The plugin's own words for memory that it knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) pointer: Pointer,
    pub(crate) handle: *mut c_void,
}

/// A request that the plugin has.
struct Flight<C> {
    request: NonNull<c_void>,
    claim: C,
    known: Known,
    bytes: u64,
}

/// A request that the plugin is done with.
#[derive(Debug)]
pub(crate) struct Over<C> {
    /// The connection's number.
    of: u64,
    pub(crate) request: NonNull<c_void>,
    pub(crate) claim: C,
    /// The registration of its memory.
    pub(crate) known: Known,
    /// The posted length.
    pub(crate) bytes: u64,
    /// The size that the plugin reports; `None` if that size is impossible.
    pub(crate) said: Option<u64>,
}

// SAFETY: the pointer is the plugin's own name for the request; only calls for its connection pass it back.
unsafe impl<C: Send> Send for Over<C> {}
// SAFETY: NCCL makes connections on one thread and uses them on another. Calls for one connection are made
// one at a time, as they need `&mut self`.
unsafe impl<C: Send> Send for Comm<C> {}

impl<C> Over<C> {
    /// Returns the bytes of the request: the size that the plugin reports, if it is possible, else the posted
    /// length.
    pub(crate) fn counted(&self) -> u64 {
        self.said.unwrap_or(self.bytes)
    }
}

impl<C> Comm<C> {
    /// Checks that a request is this connection's. The plugin does not know another connection's.
    ///
    /// # Panics
    /// If it is another's.
    pub(crate) fn check_own<D>(&self, over: &Over<D>) {
        assert_eq!(over.of, self.number, "a request goes back to the connection that it was posted on");
    }

    /// Takes a connection that the plugin gave.
    pub(crate) fn new(
        plugin: &Arc<Plugin>,
        device: usize,
        comm: NonNull<c_void>,
        close: (&'static str, Close),
        storage: Box<DeviceHandleStorage>,
    ) -> Self {
        Self {
            plugin: plugin.clone(),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            device,
            comm,
            close,
            registrations: Vec::new(),
            flights: VecDeque::with_capacity(constants::REQUESTS_MAX),
            parked: Vec::new(),
            storage: Some(storage),
            failed: false,
            is_open: true,
        }
    }

    /// Returns whether the connection's device leaves its receives to be unpacked.
    pub(crate) fn unpacks(&self) -> bool {
        self.plugin.devices()[self.device].kind == DeviceKind::Unpack
    }

    /// Registers a buffer with the plugin, unless it is registered already.
    pub(crate) fn register(&mut self, buffer: &Buffer, pointer: Pointer, gpu: Option<&Device>) -> Result<()> {
        if self.find(buffer).is_ok() {
            return Ok(());
        }
        let properties = &self.plugin.devices()[self.device];
        let takes = match pointer {
            Pointer::Host => properties.host,
            Pointer::Cuda => properties.cuda || properties.dma_buf,
        };
        if !takes {
            return Err(Error::Memory {
                plugin: self.plugin.name().into(),
                device: properties.name.as_str().into(),
                memory: if pointer == Pointer::Host { "host" } else { "GPU" },
            });
        }
        let dma_buf = properties.dma_buf && pointer == Pointer::Cuda;
        let handle = match gpu.filter(|_| dma_buf).and_then(|gpu| gpu.dma_buf(buffer)) {
            Some((fd, offset)) => self.register_dma_buf(buffer, offset, fd.as_raw_fd())?,
            None => None,
        };
        let handle = match handle {
            Some(handle) => handle,
            None => self.register_address(buffer, pointer)?,
        };
        self.registrations.push(Registration { buffer: buffer.clone(), known: Known { pointer, handle } });
        Ok(())
    }

    fn register_address(&self, buffer: &Buffer, pointer: Pointer) -> Result<*mut c_void> {
        let mut handle = ptr::null_mut();
        let kind = if pointer == Pointer::Host { constants::PTR_HOST } else { constants::PTR_CUDA };
        let (data, bytes) = (buffer.address().as_ptr().cast(), buffer.bytes() as usize);
        // SAFETY: the connection is open. The buffer is memory of this type, and the registration will hold
        // it.
        let code = watched(&"regMr", || unsafe {
            self.plugin.calls.reg_mr(self.comm.as_ptr(), data, bytes, kind, &raw mut handle)
        });
        self.plugin.check("regMr", self.plugin.fits("regMr", buffer.bytes(), code)?)?;
        Ok(handle)
    }

    /// Registers a buffer by its dma-buf; `None` if the plugin has no such function.
    fn register_dma_buf(&self, buffer: &Buffer, offset: u64, fd: c_int) -> Result<Option<*mut c_void>> {
        let Some(reg) = self.plugin.calls.reg_mr_dma_buf else { return Ok(None) };
        let mut handle = ptr::null_mut();
        let (data, bytes) = (buffer.address().as_ptr().cast(), buffer.bytes() as usize);
        // SAFETY: the connection is open. The descriptor leads to the buffer, which the registration will
        // hold.
        let code = watched(&"regMrDmaBuf", || unsafe {
            reg(self.comm.as_ptr(), data, bytes, constants::PTR_CUDA, offset, fd, &raw mut handle)
        });
        self.plugin.check("regMrDmaBuf", code).map(|()| Some(handle))
    }

    /// Returns the registration of a buffer.
    pub(crate) fn find(&self, buffer: &Buffer) -> Result<Known> {
        let key = |buffer: &Buffer| (buffer.address(), buffer.bytes(), buffer.kind());
        let found = self.registrations.iter().find(|known| key(&known.buffer) == key(buffer));
        found.map(|found| found.known).ok_or(Error::NotRegistered)
    }

    pub(crate) const fn raw(&self) -> *mut c_void {
        self.comm.as_ptr()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Fails if the connection can no longer be used.
    pub(crate) fn check(&self) -> Result<()> {
        if self.failed { Err(Error::Failed) } else { Ok(()) }
    }

    /// Takes in the plugin's answer to a post. Returns whether the plugin has the request.
    pub(crate) fn posted(
        &mut self,
        call: &'static str,
        code: Result<c_int, TooLong>,
        request: *mut c_void,
        claim: C,
        known: Known,
        bytes: u64,
    ) -> Result<bool> {
        // A length that is too long is refused before any call, so the claim is free again.
        let code = self.plugin.fits(call, bytes, code)?;
        match (self.plugin.check(call, code), NonNull::new(request)) {
            (Ok(()), None) => Ok(false),
            (Ok(()), Some(request)) => {
                self.flights.push_back(Flight { request, claim, known, bytes });
                Ok(true)
            }
            (Err(error), _) => {
                self.failed = true;
                self.parked.push(claim);
                Err(error)
            }
        }
    }

    /// Polls the oldest request, and returns it once it is done.
    pub(crate) fn test_oldest(&mut self) -> Result<Option<Over<C>>> {
        self.check()?;
        let Some(oldest) = self.flights.front() else { return Ok(None) };
        let Some(size) = self.ask(oldest.request.as_ptr(), "test")? else { return Ok(None) };
        let Some(Flight { request, claim, known, bytes }) = self.flights.pop_front() else {
            return Ok(None);
        };
        // Many plugins leave a 0 there. It never counts: no request of this driver moves 0 bytes of a longer
        // post.
        let said = u64::try_from(size).ok().filter(|&size| 0 < size && size <= bytes);
        Ok(Some(Over { of: self.number, request, claim, known, bytes, said }))
    }

    /// Polls a request of the connection, and returns the size that the plugin reports once it is done.
    pub(crate) fn ask(&mut self, request: *mut c_void, call: &'static str) -> Result<Option<c_int>> {
        let mut done = 0;
        // Room for more than the one size that is due: a plugin may write as many as its device has receives.
        let mut sizes = [-1; SIZES];
        // SAFETY: the plugin gave the request, which was not done when it was last polled.
        let code = watched(&"test", || unsafe {
            (self.plugin.calls.test)(request, &raw mut done, sizes.as_mut_ptr())
        });
        self.plugin.check(call, code).inspect_err(|_| self.failed = true)?;
        Ok((done != 0).then_some(sizes[0]))
    }

    /// Marks the connection as failed: it must not be used any more.
    pub(crate) const fn fail(&mut self) {
        self.failed = true;
    }

    /// Closes the connection, even with requests in flight, and releases the memory that the plugin knows.
    ///
    /// # Errors
    /// The plugin's error. The memory that it knows is then never freed.
    pub(crate) fn close(mut self) -> Result<()> {
        self.end()
    }

    /// Leaves the connection open for ever, as work in its bounce region goes on. Frees none of the memory
    /// that the plugin knows.
    pub(crate) fn leak(mut self) {
        self.is_open = false;
        self.forget();
    }

    fn end(&mut self) -> Result<()> {
        self.is_open = false;
        let mut result = Ok(());
        for Registration { known, .. } in &self.registrations {
            // SAFETY: each was given for this connection, and is given back once.
            let code = watched(&"deregMr", || unsafe {
                (self.plugin.calls.dereg_mr)(self.comm.as_ptr(), known.handle)
            });
            result = result.and_then(|()| self.plugin.check("deregMr", code));
        }
        let (call, close) = self.close;
        // SAFETY: the connection is open, and is closed once.
        let code = watched(&"close", || unsafe { close(self.comm.as_ptr()) });
        result.and_then(|()| self.plugin.check(call, code)).inspect_err(|_| self.forget())
    }

    /// Leaks the memory that the plugin may still use.
    fn forget(&mut self) {
        mem::forget((
            mem::take(&mut self.registrations),
            mem::take(&mut self.flights),
            mem::take(&mut self.parked),
            self.storage.take(),
        ));
    }
}

impl<C> Drop for Comm<C> {
    fn drop(&mut self) {
        if self.is_open
            && let Err(error) = self.end()
        {
            tracing::warn!("{error}");
        }
    }
}

/// More than the one that is due.
const SIZES: usize = 8;

/// The next connection's number.
static NUMBERS: AtomicU64 = AtomicU64::new(0);
