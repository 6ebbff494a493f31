//! The receiving end of a plugin's connection.
//!
//! A posted receive becomes [`Landed`] once the plugin's `test` reports it as done. Its bytes are in place,
//! or a lane unpacks them from the plugin's bounce region, or the plugin flushes them. Each way ends in a
//! [`Consumable`], and consuming that gives the slot back.
//!
//! Invariant (I2): consumed bytes are where they belong. Only a finished unpack or flush, or a device that
//! receives in place, gives a [`Consumable`].

use std::{fmt, ptr, slice, sync::Arc};

use gputcp_gpu::{Buffer, Device, Done, Lane, LaneSpec, UnpackMode, WriteClaim};
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
pub(crate) struct RecvComm {
    comm: Option<Comm<WriteClaim>>,
    device: Option<DeviceHandle>,
    unpacker: Option<Unpacker>,
    /// Shared by each piece of work in the bounce region.
    keeper: Arc<()>,
    /// The number of receives that have landed. It is the next one's number, which selects the queue's row.
    landed: u64,
}

// SAFETY: the device handle's pointer is the plugin's, which NCCL passes from thread to thread as well.
unsafe impl Send for RecvComm {}

/// The unpack of a connection with a queue.
struct Unpacker {
    /// It is dropped first, as it reads the plugin's memory.
    lane: Lane,
    mode: UnpackMode,
    queue: UnpackQueue,
    /// The fragments of the receive that is being unpacked.
    fragments: Vec<Fragment>,
}

/// A receive that the plugin is done with.
#[must_use = "poll it and consume it, or its slot stays taken"]
#[derive(Debug)]
pub(crate) struct Landed {
    over: Over<WriteClaim>,
    way: Way,
}

/// The way of a receive's bytes to where they belong.
#[derive(Debug)]
enum Way {
    /// They are there.
    InPlace,
    /// A lane moves them out of the plugin's bounce region.
    Unpacking(Done),
    /// The plugin makes them visible to the GPU; this is the request of the flush.
    Flushing(*mut c_void),
}

// SAFETY: as for the connection's own requests: only calls for the connection give the pointer back.
unsafe impl Send for Way {}

/// A receive whose bytes are where they belong.
#[must_use = "consume it, or its slot stays taken"]
#[derive(Debug)]
pub(crate) struct Consumable {
    over: Over<WriteClaim>,
}

impl RecvComm {
    pub(crate) fn new(comm: Comm<WriteClaim>, device: Option<DeviceHandle>) -> Self {
        Self { comm: Some(comm), device, unpacker: None, keeper: Arc::new(()), landed: 0 }
    }

    /// Finds the queue by which receives into GPU memory are unpacked, and returns whether there is one.
    /// Waits for a copy. The caller calls it before the first receive.
    ///
    /// # Errors
    /// If the queue is of another version, or the plugin's word on it makes no sense. If the plugin's device
    /// has a queue, and the connection none.
    pub(crate) fn find_queue(&mut self, gpu: &Device, mode: UnpackMode) -> Result<bool> {
        // The lane needs no slabs: it unpacks from the plugin's memory.
        let mut lane = gpu.lane(LaneSpec::NO_SLABS)?;
        if let (Some(comm), Some(device)) = (&self.comm, self.device)
            && let Some(queue) = UnpackQueue::find(&comm.plugin, device, gpu, &mut lane, &self.keeper)?
        {
            let fragments = Vec::with_capacity(FRAGMENTS_MAX);
            self.unpacker = Some(Unpacker { lane, mode, queue, fragments });
        }
        if let Some(comm) = self.comm.as_ref().filter(|comm| comm.unpacks())
            && self.unpacker.is_none()
        {
            return Err(comm.plugin.absurd("accept", "no unpack queue, where its device has one"));
        }
        Ok(self.unpacks())
    }

    /// Returns whether receives are unpacked from a bounce region.
    pub(crate) const fn unpacks(&self) -> bool {
        self.unpacker.is_some()
    }

    /// Registers memory with the plugin, once for each buffer, until the connection is closed. `gpu` is the
    /// device that owns the memory, if one does.
    ///
    /// # Errors
    /// If the plugin takes no such memory, or fails.
    pub(crate) fn register(&mut self, buffer: &Buffer, pointer: Pointer, gpu: Option<&Device>) -> Result<()> {
        self.comm().register(buffer, pointer, gpu)
    }

    /// Posts a receive of up to `bytes` bytes into a registered buffer. Returns false if the plugin has no
    /// free slot.
    ///
    /// # Errors
    /// If the part cannot be claimed, the plugin's version cannot say its length, or the plugin fails.
    pub(crate) fn irecv(&mut self, buffer: &Buffer, offset: u64, bytes: u64, tag: c_int) -> Result<bool> {
        let comm = self.comm();
        comm.check()?;
        let known = comm.find(buffer)?;
        let claim = buffer.write(offset, bytes).map_err(gputcp_gpu::Error::from)?;
        let mut request = ptr::null_mut();
        let (raw, mut data, mut length) = (comm.raw(), claim.address().as_ptr().cast(), bytes as usize);
        let (mut tag, mut mhandle) = (tag, known.handle);
        let one = Receives {
            data: slice::from_mut(&mut data),
            sizes: slice::from_mut(&mut length),
            tags: slice::from_mut(&mut tag),
            mhandles: slice::from_mut(&mut mhandle),
        };
        // SAFETY: the connection is open, the buffer registered. `posted` keeps the claim until the request
        // is done or the connection closed, and the claim keeps other users off.
        let code = watched(&"irecv", || unsafe { comm.plugin.calls.irecv(raw, one, &raw mut request) });
        comm.posted("irecv", code, request, claim, known, bytes)
    }

    /// Polls the oldest receive that has not landed, and returns it once it has. Its unpack or flush has then
    /// begun. Does not wait, unless the lane is full.
    ///
    /// # Errors
    /// If the plugin fails, the queue's content is impossible, or the lane is lost.
    pub(crate) fn test_oldest(&mut self) -> Result<Option<Landed>> {
        let Some(over) = self.comm().test_oldest()? else { return Ok(None) };
        let number = self.landed;
        self.landed += 1;
        Ok(Some(match over.known.pointer {
            Pointer::Host => Landed { over, way: Way::InPlace },
            Pointer::Cuda if self.unpacks() => self.unpack(over, number)?,
            Pointer::Cuda => self.flush(over)?,
        }))
    }

    /// Starts to unpack a receive, the one of this number on the connection.
    fn unpack(&mut self, mut over: Over<WriteClaim>, number: u64) -> Result<Landed> {
        let (Some(Unpacker { lane, mode, queue, fragments }), Some(comm)) =
            (&mut self.unpacker, &mut self.comm)
        else {
            unreachable!("only a connection with a queue unpacks");
        };
        let bytes = queue.read(number, over.bytes, fragments).map_err(|what| {
            comm.fail();
            comm.plugin.absurd("test", &what)
        })?;
        let unpacked = lane.unpack_fragments(queue.bounce(), fragments, &over.claim, *mode);
        let done = unpacked.inspect_err(|_| comm.fail())?;
        // The queue's count overrides the size that `test` reported.
        over.said = Some(bytes);
        Ok(Landed { over, way: Way::Unpacking(done) })
    }

    /// Asks the plugin to flush received bytes into a GPU's memory. NCCL leaves that out on GPUs of compute
    /// capability 9.0 and later, unless the device wants it. A flush without need is only slower.
    fn flush(&mut self, over: Over<WriteClaim>) -> Result<Landed> {
        let comm = self.comm();
        let Some(iflush) = comm.plugin.calls.iflush else {
            return Ok(Landed { over, way: Way::InPlace });
        };
        let size = c_int::try_from(over.bytes).map_err(|_| TooLong);
        let mut size = comm.plugin.fits("iflush", over.bytes, size)?;
        let mut data = over.claim.address().as_ptr().cast();
        let (mut handle, mut request) = (over.known.handle, ptr::null_mut());
        // SAFETY: arrays of one, as `n` says, which plugins read during the call. The memory is the receive's
        // own.
        let code = watched(&"iflush", || unsafe {
            iflush(comm.raw(), 1, &raw mut data, &raw mut size, &raw mut handle, &raw mut request)
        });
        comm.plugin.check("iflush", code).inspect_err(|_| comm.fail())?;
        let way = if request.is_null() { Way::InPlace } else { Way::Flushing(request) };
        Ok(Landed { over, way })
    }

    /// Returns the receive for its slot to be given back, or itself while its bytes are on their way. Never
    /// waits.
    ///
    /// # Errors
    /// If the plugin fails, or the lane is lost.
    pub(crate) fn poll(&mut self, mut landed: Landed) -> Result<Result<Consumable, Landed>> {
        let comm = self.comm();
        comm.check_own(&landed.over);
        let done = match &mut landed.way {
            Way::InPlace => true,
            Way::Unpacking(done) => done.is_done()?,
            Way::Flushing(request) => comm.ask(*request, "test")?.is_some(),
        };
        Ok(if done { Ok(Consumable { over: landed.over }) } else { Err(landed) })
    }

    /// Gives a receive's slot back to the plugin, in the order in which the receives landed. Returns its
    /// bytes: the size that the plugin reported, if it is possible, else the posted length.
    ///
    /// # Errors
    /// If the plugin fails.
    pub(crate) fn consume(&mut self, consumable: Consumable) -> Result<u64> {
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
    pub(crate) fn in_flight(&self) -> usize {
        self.comm.as_ref().map_or(0, Comm::in_flight)
    }

    /// Closes the connection, even with requests in flight. Lanes must have finished to unpack from its
    /// bounce region, else the connection stays open for ever.
    ///
    /// # Errors
    /// If the plugin fails. The memory that it knows is then never freed.
    pub(crate) fn close(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.unpacker = None;
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

impl Landed {
    /// Returns how many bytes came: the size that the plugin or its queue reported, if it is possible, else
    /// the posted length.
    pub(crate) fn bytes(&self) -> u64 {
        self.over.counted()
    }

    /// Returns the completion of the receive's unpack, if it is unpacked.
    pub(crate) const fn unpack(&self) -> Option<&Done> {
        match &self.way {
            Way::Unpacking(done) => Some(done),
            Way::InPlace | Way::Flushing(_) => None,
        }
    }
}

impl Drop for RecvComm {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!("{error}");
        }
    }
}

impl fmt::Debug for RecvComm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plugin = self.comm.as_ref().map(|comm| &comm.plugin);
        f.debug_struct("RecvComm").field("plugin", &plugin).finish_non_exhaustive()
    }
}
