//! The receiving end of a plugin's connection.
//!
//! A posted receive becomes [`Landed`] once the plugin's `test` reports it as done. Its bytes are in place,
//! or [`Scattered`] in the plugin's bounce region, or [`Flushing`]. A scattered receive becomes
//! [`Unpacking`]. Each way ends in a [`Consumable`], and consuming that gives the slot back.
//!
//! Invariant (I2): consumed bytes are where they belong. Only a finished unpack or flush, or a device that
//! receives in place, gives a [`Consumable`].

use std::{fmt, mem, ptr, slice, sync::Arc};

use gputcp_gpu::{Buffer, Device, Done, Lane, UnpackMode, WriteClaim};
use gputcp_proto::bounce::{Completion as _, Fragment};

use crate::{
    comm::{Comm, Over, Pointer},
    error::Result,
    queue::UnpackQueue,
    watch::watched,
};
use gputcp_nccl_net::{
    call::{Receives, TooLong},
    layout::{c_int, c_void, device::DeviceHandle, unpack::FRAGMENTS_MAX},
};

/// The receiving end. A drop closes it, unless a lane still works in its bounce region.
pub struct RecvComm {
    comm: Option<Comm<WriteClaim>>,
    device: Option<DeviceHandle>,
    queue: Option<UnpackQueue>,
    /// Shared by each piece of work in the bounce region.
    keeper: Arc<()>,
    /// The number of receives that have landed. It is the next one's number, which selects the queue's row.
    landed: u64,
    /// The fragments of the receive that is being unpacked.
    fragments: Vec<Fragment>,
}

// SAFETY: the device handle's pointer is the plugin's, which NCCL passes from thread to thread as well.
unsafe impl Send for RecvComm {}

/// A receive that the plugin is done with.
#[derive(Debug)]
pub enum Landed {
    /// Its bytes are where they belong.
    InPlace(Consumable),
    /// They lie in the plugin's bounce region.
    Scattered(Scattered),
    /// They are on their way into the GPU's memory: a flush is in flight.
    Flushing(Flushing),
}

/// A receive that is to be unpacked.
#[must_use = "unpack it, or its slot stays taken"]
#[derive(Debug)]
pub struct Scattered {
    over: Over<WriteClaim>,
    /// The receive's number on the connection.
    number: u64,
}

/// A receive whose bytes are on their way from the bounce region to their destination.
#[must_use = "wait for it and consume it, or its slot stays taken"]
#[derive(Debug)]
pub struct Unpacking {
    over: Over<WriteClaim>,
    done: Done,
}

/// A receive that the plugin is asked to make visible to the GPU.
#[must_use = "ask for it and consume it, or its slot stays taken"]
#[derive(Debug)]
pub struct Flushing {
    over: Over<WriteClaim>,
    request: *mut c_void,
}

// SAFETY: as for the connection's own requests: only calls for the connection give the pointer back.
unsafe impl Send for Flushing {}

/// A receive whose bytes are where they belong.
#[must_use = "consume it, or its slot stays taken"]
#[derive(Debug)]
pub struct Consumable {
    over: Over<WriteClaim>,
}

impl RecvComm {
    pub(crate) fn new(comm: Comm<WriteClaim>, device: Option<DeviceHandle>) -> Self {
        let (keeper, fragments) = (Arc::new(()), Vec::with_capacity(FRAGMENTS_MAX));
        Self { comm: Some(comm), device, queue: None, keeper, landed: 0, fragments }
    }

    /// Finds the queue by which receives into GPU memory are unpacked, and returns whether there is one.
    /// Waits for a copy on `lane`, which is of the GPU. The caller calls it before the first receive.
    ///
    /// # Errors
    /// If the queue is of another version, or the plugin's word on it makes no sense. If the plugin's device
    /// has a queue, and the connection none.
    pub fn find_queue(&mut self, gpu: &Device, lane: &mut Lane) -> Result<bool> {
        if let (Some(comm), Some(device)) = (&self.comm, self.device) {
            self.queue = UnpackQueue::find(&comm.plugin, device, gpu, lane, &self.keeper)?;
        }
        if let Some(comm) = self.comm.as_ref().filter(|comm| comm.unpacks())
            && self.queue.is_none()
        {
            return Err(comm.plugin.absurd("accept", "no unpack queue, where its device has one"));
        }
        Ok(self.queue.is_some())
    }

    /// Registers memory with the plugin, once for each buffer, until the connection is closed. `gpu` is the
    /// device that owns the memory, if one does.
    ///
    /// # Errors
    /// If the plugin takes no such memory, or fails.
    pub fn register(&mut self, buffer: &Buffer, pointer: Pointer, gpu: Option<&Device>) -> Result<()> {
        self.comm().register(buffer, pointer, gpu)
    }

    /// Posts a receive of up to `bytes` bytes into a registered buffer. Returns false if the plugin has no
    /// free slot.
    ///
    /// # Errors
    /// If the part cannot be claimed, the plugin's version cannot say its length, or the plugin fails.
    pub fn irecv(&mut self, buffer: &Buffer, offset: u64, bytes: u64, tag: c_int) -> Result<bool> {
        let comm = self.comm();
        comm.check()?;
        let (pointer, handle) = comm.find(buffer)?;
        let claim = buffer.write(offset, bytes).map_err(gputcp_gpu::Error::from)?;
        let mut request = ptr::null_mut();
        let (raw, mut data, mut length) = (comm.raw(), claim.address().as_ptr().cast(), bytes as usize);
        let (mut tag, mut mhandle) = (tag, handle);
        let one = Receives {
            data: slice::from_mut(&mut data),
            sizes: slice::from_mut(&mut length),
            tags: slice::from_mut(&mut tag),
            mhandles: slice::from_mut(&mut mhandle),
        };
        // SAFETY: the connection is open, the buffer registered. `posted` keeps the claim until the request
        // is done or the connection closed, and the claim keeps other users off.
        let code = watched(&"irecv", || unsafe { comm.plugin.calls.irecv(raw, one, &raw mut request) });
        comm.posted("irecv", code, request, claim, ((pointer, handle), bytes))
    }

    /// Polls the oldest receive that has not landed, and returns it once it has.
    ///
    /// # Errors
    /// If the plugin fails.
    pub fn test_oldest(&mut self) -> Result<Option<Landed>> {
        let Some(over) = self.comm().test_oldest()? else { return Ok(None) };
        let number = self.landed;
        self.landed += 1;
        Ok(Some(match (over.pointer, &self.queue) {
            (Pointer::Host, _) => Landed::InPlace(Consumable { over }),
            (Pointer::Cuda, Some(_)) => Landed::Scattered(Scattered { over, number }),
            (Pointer::Cuda, None) => self.flush(over)?,
        }))
    }

    /// Asks the plugin to flush received bytes into a GPU's memory. NCCL leaves that out on GPUs of compute
    /// capability 9.0 and later, unless the device wants it. A flush without need is only slower.
    fn flush(&mut self, over: Over<WriteClaim>) -> Result<Landed> {
        let comm = self.comm();
        let Some(iflush) = comm.plugin.calls.iflush else {
            return Ok(Landed::InPlace(Consumable { over }));
        };
        let size = c_int::try_from(over.bytes).map_err(|_| TooLong);
        let mut size = comm.plugin.fits("iflush", over.bytes, size)?;
        let mut data = over.claim.address().as_ptr().cast();
        let (mut handle, mut request) = (over.handle, ptr::null_mut());
        // SAFETY: arrays of one, as `n` says, which plugins read during the call. The memory is the receive's
        // own.
        let code = watched(&"iflush", || unsafe {
            iflush(comm.raw(), 1, &raw mut data, &raw mut size, &raw mut handle, &raw mut request)
        });
        comm.plugin.check("iflush", code).inspect_err(|_| comm.fail())?;
        let done = request.is_null();
        Ok(if done {
            Landed::InPlace(Consumable { over })
        } else {
            Landed::Flushing(Flushing { over, request })
        })
    }

    /// Returns the flushed receive, or `flushing` itself while the flush is in flight.
    ///
    /// # Errors
    /// If the plugin fails.
    pub fn test_flush(&mut self, flushing: Flushing) -> Result<Result<Consumable, Flushing>> {
        let comm = self.comm();
        comm.check_own(&flushing.over);
        let done = comm.ask(flushing.request, "test")?.is_some();
        Ok(if done { Ok(Consumable { over: flushing.over }) } else { Err(flushing) })
    }

    /// Starts to unpack a receive. Does not wait, unless the lane is full.
    ///
    /// # Errors
    /// If the queue's content is impossible, or the lane is lost.
    pub fn unpack(&mut self, scattered: Scattered, lane: &mut Lane, mode: UnpackMode) -> Result<Unpacking> {
        let Scattered { mut over, number } = scattered;
        let (Some(queue), Some(comm)) = (&self.queue, &mut self.comm) else {
            unreachable!("only a connection with a queue has scattered receives");
        };
        comm.check_own(&over);
        let found = queue.read(number, over.bytes, &mut self.fragments);
        let bytes = found.map_err(|what| {
            comm.fail();
            comm.plugin.absurd("test", &what)
        })?;
        let unpacked = lane.unpack_fragments(queue.bounce(), &self.fragments, &over.claim, mode);
        let done = unpacked.inspect_err(|_| comm.fail())?;
        // The queue's count overrides the size that `test` reported.
        over.said = Some(bytes);
        Ok(Unpacking { over, done })
    }

    /// Gives a receive's slot back to the plugin, in the order in which the receives landed. Returns its
    /// bytes: the size that the plugin reported, if it is possible, else the posted length.
    ///
    /// # Errors
    /// If the plugin fails.
    pub fn consume(&mut self, consumable: Consumable) -> Result<u64> {
        let Consumable { over } = consumable;
        let comm = self.comm();
        comm.check_own(&over);
        if let Some(consumed) = comm.plugin.calls.irecv_consumed {
            // SAFETY: the request was given by this connection, is done, and is given back once.
            let code =
                watched(&"irecvConsumed", || unsafe { consumed(comm.raw(), 1, over.request.as_ptr()) });
            comm.plugin.check("irecvConsumed", code).inspect_err(|_| comm.fail())?;
        }
        Ok(over.counted())
    }

    /// Returns how many receives the plugin has that have not landed.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.comm.as_ref().map_or(0, Comm::in_flight)
    }

    /// Closes the connection, even with requests in flight. Lanes must have finished to unpack from its
    /// bounce region, else the connection stays open for ever.
    ///
    /// # Errors
    /// If the plugin fails. The memory that it knows is then never freed.
    pub fn close(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.queue = None;
        let Some(comm) = self.comm.take() else { return Ok(()) };
        // One for this end; each piece of work in the bounce region has another.
        if Arc::strong_count(&self.keeper) > 1 {
            tracing::warn!(
                "a connection of {:?} is left open, as its bounce region is still read",
                comm.plugin
            );
            comm.leak();
            return Ok(());
        }
        comm.close()
    }

    fn comm(&mut self) -> &mut Comm<WriteClaim> {
        self.comm.as_mut().expect("taken by the end alone, which takes the connection with it")
    }
}

impl Consumable {
    /// Returns how many bytes came: the size that the plugin reported, if it is possible, else the posted
    /// length.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.over.counted()
    }
}

impl Flushing {
    /// Returns how many bytes came: the size that the plugin reported, if it is possible, else the posted
    /// length.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.over.counted()
    }
}

impl Unpacking {
    /// Returns how many bytes came, by the queue's count.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.over.counted()
    }

    /// Returns the unpacked receive, or itself while work is left. Never waits.
    ///
    /// # Errors
    /// If the lane is lost.
    pub fn poll(mut self) -> Result<Result<Consumable, Self>> {
        let done = self.done.is_done()?;
        Ok(if done { Ok(Consumable { over: self.over }) } else { Err(self) })
    }

    /// Returns the completion of the unpack.
    #[must_use]
    pub const fn done(&self) -> &Done {
        &self.done
    }
}

impl Drop for RecvComm {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!("{error}");
        }
        mem::take(&mut self.fragments);
    }
}

impl fmt::Debug for RecvComm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plugin = self.comm.as_ref().map(|comm| &comm.plugin);
        f.debug_struct("RecvComm").field("plugin", &plugin).finish_non_exhaustive()
    }
}
