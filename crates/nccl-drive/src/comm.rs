//! What both ends of a connection have: registrations, requests in flight, and an orderly end.
//!
//! Invariants: the claim of a request that the plugin has is kept here until the plugin says that it is done, or has closed
//! the connection; if it fails to close, for ever. Requests are asked for in the order they were posted, as some plugins
//! know only their oldest.

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

/// What a plugin is told that memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pointer {
    /// Memory of the host.
    Host,
    /// Memory of a CUDA GPU, or what stands for it.
    Cuda,
}

/// A connection of a plugin, and what it works on. `C` is the claim that its requests need.
pub(crate) struct Comm<C> {
    pub(crate) plugin: Arc<Plugin>,
    /// Which connection of the process it is.
    number: u64,
    /// Which device of the plugin.
    device: usize,
    comm: NonNull<c_void>,
    close: (&'static str, Close),
    registrations: Vec<Registration>,
    flights: VecDeque<Flight<C>>,
    /// Of requests that failed: the plugin may still work under them.
    parked: Vec<C>,
    /// What the plugin's calls for this connection were given, and may have kept.
    storage: Option<Box<DeviceHandleStorage>>,
    failed: bool,
    is_open: bool,
}

/// Memory that the plugin knows. The buffer lives as long as that.
struct Registration {
    buffer: Buffer,
    pointer: Pointer,
    handle: *mut c_void,
}

/// A request that the plugin has.
struct Flight<C> {
    request: NonNull<c_void>,
    claim: C,
    pointer: Pointer,
    handle: *mut c_void,
    bytes: u64,
}

/// A request that the plugin is done with.
#[derive(Debug)]
pub(crate) struct Over<C> {
    /// The connection's number.
    of: u64,
    pub(crate) request: NonNull<c_void>,
    pub(crate) claim: C,
    pub(crate) pointer: Pointer,
    /// The registration of its memory.
    pub(crate) handle: *mut c_void,
    /// What was posted.
    pub(crate) bytes: u64,
    /// What the plugin says; nothing if it says nothing that can be.
    pub(crate) said: Option<u64>,
}

// SAFETY: a request's pointer names something of the plugin's, to which only calls for its connection give it back.
unsafe impl<C: Send> Send for Over<C> {}
// SAFETY: NCCL makes connections on one thread and uses them on another; calls for one are made one at a time, as they
// need `&mut self`.
unsafe impl<C: Send> Send for Comm<C> {}

impl<C> Over<C> {
    /// How many bytes it had: what the plugin says, if that can be, else what was posted.
    pub(crate) fn counted(&self) -> u64 {
        self.said.unwrap_or(self.bytes)
    }
}

impl<C> Comm<C> {
    /// Checks that a request is this connection's: the plugin would be given what it does not know.
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

    /// Whether its device leaves what it receives to be unpacked.
    pub(crate) fn unpacks(&self) -> bool {
        self.plugin.devices()[self.device].kind == DeviceKind::Unpack
    }

    /// Makes a buffer known to the plugin; once, however often it is asked for.
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
        self.registrations.push(Registration { buffer: buffer.clone(), pointer, handle });
        Ok(())
    }

    fn register_address(&self, buffer: &Buffer, pointer: Pointer) -> Result<*mut c_void> {
        let mut handle = ptr::null_mut();
        let kind = if pointer == Pointer::Host { constants::PTR_HOST } else { constants::PTR_CUDA };
        let (data, bytes) = (buffer.address().as_ptr().cast(), buffer.bytes() as usize);
        // SAFETY: the connection is open; the buffer, which the registration will hold, is memory of this type.
        let code = watched(&"regMr", || unsafe {
            self.plugin.calls.reg_mr(self.comm.as_ptr(), data, bytes, kind, &raw mut handle)
        });
        self.plugin.check("regMr", self.plugin.fits("regMr", buffer.bytes(), code)?)?;
        Ok(handle)
    }

    /// Nothing if the plugin has no such function.
    fn register_dma_buf(&self, buffer: &Buffer, offset: u64, fd: c_int) -> Result<Option<*mut c_void>> {
        let Some(reg) = self.plugin.calls.reg_mr_dma_buf else { return Ok(None) };
        let mut handle = ptr::null_mut();
        let (data, bytes) = (buffer.address().as_ptr().cast(), buffer.bytes() as usize);
        // SAFETY: the connection is open; the descriptor leads to the buffer, which the registration will hold.
        let code = watched(&"regMrDmaBuf", || unsafe {
            reg(self.comm.as_ptr(), data, bytes, constants::PTR_CUDA, offset, fd, &raw mut handle)
        });
        self.plugin.check("regMrDmaBuf", code).map(|()| Some(handle))
    }

    /// The registration of a buffer.
    pub(crate) fn find(&self, buffer: &Buffer) -> Result<(Pointer, *mut c_void)> {
        let key = |buffer: &Buffer| (buffer.address(), buffer.bytes(), buffer.kind());
        let found = self.registrations.iter().find(|known| key(&known.buffer) == key(buffer));
        found.map(|known| (known.pointer, known.handle)).ok_or(Error::NotRegistered)
    }

    pub(crate) const fn raw(&self) -> *mut c_void {
        self.comm.as_ptr()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Whether the connection can still be used.
    pub(crate) fn check(&self) -> Result<()> {
        if self.failed { Err(Error::Failed) } else { Ok(()) }
    }

    /// Takes in what the plugin answered to a post: true if it has the request.
    pub(crate) fn posted(
        &mut self,
        call: &'static str,
        code: Result<c_int, TooLong>,
        request: *mut c_void,
        claim: C,
        ((pointer, handle), bytes): ((Pointer, *mut c_void), u64),
    ) -> Result<bool> {
        // Before any call was made.
        let code = self.plugin.fits(call, bytes, code)?;
        match (self.plugin.check(call, code), NonNull::new(request)) {
            (Ok(()), None) => Ok(false),
            (Ok(()), Some(request)) => {
                self.flights.push_back(Flight { request, claim, pointer, handle, bytes });
                Ok(true)
            }
            (Err(error), _) => {
                self.failed = true;
                self.parked.push(claim);
                Err(error)
            }
        }
    }

    /// Asks for the oldest request; gives it when it is done.
    pub(crate) fn test_oldest(&mut self) -> Result<Option<Over<C>>> {
        self.check()?;
        let Some(oldest) = self.flights.front() else { return Ok(None) };
        let Some(size) = self.ask(oldest.request.as_ptr(), "test")? else { return Ok(None) };
        let Some(Flight { request, claim, pointer, handle, bytes }) = self.flights.pop_front() else {
            return Ok(None);
        };
        // 0 is what many leave there, and no request of ours is empty and says less by it.
        let said = u64::try_from(size).ok().filter(|&size| 0 < size && size <= bytes);
        Ok(Some(Over { of: self.number, request, claim, pointer, handle, bytes, said }))
    }

    /// Asks for a request of the connection; gives the size that the plugin says when it is done.
    pub(crate) fn ask(&mut self, request: *mut c_void, call: &'static str) -> Result<Option<c_int>> {
        let mut done = 0;
        // Room for more than the one size that is due: a plugin may write as many as its device has receives.
        let mut sizes = [-1; SIZES];
        // SAFETY: the request is one that the plugin gave, and was not done when it was last asked for.
        let code = watched(&"test", || unsafe {
            (self.plugin.calls.test)(request, &raw mut done, sizes.as_mut_ptr())
        });
        self.plugin.check(call, code).inspect_err(|_| self.failed = true)?;
        Ok((done != 0).then_some(sizes[0]))
    }

    /// The connection must not be used any more.
    pub(crate) const fn fail(&mut self) {
        self.failed = true;
    }

    /// Closes the connection, whatever is in flight, and lets go of all that the plugin was told of.
    ///
    /// # Errors
    /// What the plugin failed for. Then nothing that it was told of is ever freed.
    pub(crate) fn close(mut self) -> Result<()> {
        self.end()
    }

    /// Never closes the connection: somebody else may still be at work in it. Nothing it was told of is freed.
    pub(crate) fn leak(mut self) {
        self.is_open = false;
        self.forget();
    }

    fn end(&mut self) -> Result<()> {
        self.is_open = false;
        let mut result = Ok(());
        for Registration { handle, .. } in &self.registrations {
            // SAFETY: each was given for this connection, and is given back once.
            let code =
                watched(&"deregMr", || unsafe { (self.plugin.calls.dereg_mr)(self.comm.as_ptr(), *handle) });
            result = result.and_then(|()| self.plugin.check("deregMr", code));
        }
        let (call, close) = self.close;
        // SAFETY: the connection is open, and is closed once.
        let code = watched(&"close", || unsafe { close(self.comm.as_ptr()) });
        result.and_then(|()| self.plugin.check(call, code)).inspect_err(|_| self.forget())
    }

    /// Keeps for ever what the plugin may still work on.
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
