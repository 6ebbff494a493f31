//! The sending end of a connection, as sockets and threads drive
//! [`connection::Sender`](gputcp_proto::connection::Sender). In the order of the data's way:
//! [`SendComm::isend`] posts a message. [`write`] carries segments on the data sockets, [`short`] whole short
//! messages on the control socket. [`finish`] ends the send.

mod finish;
mod short;
mod write;

use std::{
    io,
    ops::Deref,
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, RwLock, RwLockReadGuard, atomic::Ordering},
    time::{Duration, Instant},
};

use gputcp_gpu::{Buffer, ClaimError, Done, Lane, MemoryKind, ReadClaim, UnpackMode};
use gputcp_proto::{
    connection::{
        End, Sender,
        sender::{Departure, Send, Wrote},
    },
    layout::Layout,
    send::Segment,
    stage::Staging,
    window::Slot,
};
use gputcp_socket::TcpInfo;

use self::write::Writer;
use super::{
    agreed::Agreed,
    bound::Bound,
    canceller::Canceller,
    control::ControlSocket,
    cores,
    driver::Driver,
    ending,
    locks::{read_lock, write_lock},
    shared::{Ready, Shared, Side},
};
use crate::{Error, Result, trace};

/// The sending end of a connection: posts messages, and waits for them oldest first or in any order.
///
/// It has threads of its own from connect on, one per data socket and one for the control socket. With a pool
/// ([`Options::pool`](crate::Options::pool)) it uses the pool's threads instead. Dropped without
/// [`SendComm::close`], it resets the connection.
#[derive(Debug)]
pub struct SendComm {
    shared: Arc<Shared<SendMemory>>,
    driver: Driver,
    /// The longest message of device memory; `None` without a device.
    longest_on_device: Option<u64>,
    /// How many receives may be grouped: with more than 1, tags count.
    max_receives: u16,
}

/// A message in flight. Holds its slot: only waiting for it gives the slot back.
#[must_use = "wait for it, or its slot stays taken"]
#[derive(Debug)]
pub struct SendRequest {
    slot: Slot,
}

/// The memory that the sender's threads work on.
#[derive(Debug)]
pub(crate) struct SendMemory {
    /// The sources of the sends in flight, by slot. I/O threads hold the read lock while they read.
    sources: Box<[RwLock<Option<Held>>]>,
    /// The control socket's lane; `None` without a device.
    short: Option<Mutex<Lane>>,
    mode: UnpackMode,
}

/// The source of a send in flight: a range, or many of a claim.
#[derive(Debug)]
struct Held {
    claim: ReadClaim,
    layout: Option<Arc<Layout>>,
}

/// The source of a send in flight, which is not given back meanwhile.
struct Source<'a>(RwLockReadGuard<'a, Option<Held>>);

impl SendComm {
    /// Makes everything that the connection will ever use (invariant I4).
    pub(crate) fn start(agreed: Agreed, options: &crate::Options) -> Result<Self> {
        let near = cores::near(options.device.as_ref());
        let lanes = super::lanes(options, near.as_ref(), agreed.data.len(), agreed.segment_bytes)?;
        let short = super::short_lane(options, near.as_ref(), agreed.inline_bytes)?;
        let settings = agreed.settings(options);
        let trace = agreed.tracer(options, &settings, true);
        let memory = SendMemory {
            sources: (0..settings.depth).map(|_| RwLock::new(None)).collect(),
            short: short.map(Mutex::new),
            mode: options.unpack,
        };
        let longest_on_device = (!lanes.is_empty()).then(|| agreed.longest_chunk());
        let Agreed { peer, control, data, max_receives, .. } = agreed;
        let driver = Driver::new(options.pool.as_ref())?;
        let control = ControlSocket::new(control, &driver.watch())
            .map_err(|error| Error::system("set up the connection's descriptors", error))?;
        let end = Sender::new(&settings);
        let shared = Arc::new(Shared::new(peer, options, control, data, end, memory, trace)?);
        let mut comm = Self { shared, driver, longest_on_device, max_receives };
        let mut lanes = lanes.into_iter();
        let buffers = options.tuning.slabs.into();
        let shared = comm.shared.clone();
        let tasks = (0..shared.data.len()).map(|stream| Writer::new(&shared, stream, lanes.next(), buffers));
        comm.driver.start(&shared, near.as_ref(), tasks)?;
        Ok(comm)
    }

    /// Posts a message: `bytes` of `source` from `offset`. Returns `None` when no slot is free: finish a
    /// request first.
    ///
    /// The source stays reserved until the request is finished, which is when the sockets have taken its
    /// bytes.
    ///
    /// # Errors
    /// If the connection has failed, or the range is not the caller's to send. Also if the source is device
    /// memory and the connection was made without that device.
    pub fn isend(&mut self, source: &Buffer, offset: u64, bytes: u64) -> Result<Option<SendRequest>> {
        self.isend_tagged(source, offset, bytes, 0)
    }

    /// Posts a message with a tag. Where receives are grouped
    /// ([`Options::max_receives`](crate::Options::max_receives)), it goes to the oldest group with an open
    /// receive, there to the first open receive of its tag. It returns `None` also while that group has none
    /// of its tag, or is not announced: ask again. Elsewhere the tag means nothing. Never waits for the peer.
    ///
    /// # Errors
    /// As [`SendComm::isend`]; or if the peer has closed the connection, so that no receive will come.
    pub fn isend_tagged(
        &mut self,
        source: &Buffer,
        offset: u64,
        bytes: u64,
        tag: i32,
    ) -> Result<Option<SendRequest>> {
        let posted = self.try_isend(source, offset, bytes, tag)?;
        if posted.is_some() || self.max_receives == 1 {
            return Ok(posted);
        }
        // Its receive may be announced, in a frame that no thread has read yet. Behind a goodbye there is
        // none.
        self.shared.poll();
        let is_over = self.shared.end().life().peer_has_said_goodbye();
        let posted = self.try_isend(source, offset, bytes, tag)?;
        if posted.is_none() && is_over && self.shared.end().has_room() {
            return Err(self.shared.peer_closed());
        }
        Ok(posted)
    }

    /// Posts a message. Returns `None` only while others are in flight. Where receives are grouped, a message
    /// that is alone waits for its receive to be announced, within the timeout.
    ///
    /// # Errors
    /// As [`SendComm::isend_tagged`].
    pub(crate) fn isend_or_wait(
        &mut self,
        source: &Buffer,
        offset: u64,
        bytes: u64,
    ) -> Result<Option<SendRequest>> {
        let posted = self.isend(source, offset, bytes)?;
        if posted.is_some() || self.max_receives == 1 || self.shared.end().in_flight() > 0 {
            return Ok(posted);
        }
        let bound = Bound::Deadline(Instant::now() + self.shared.timeout);
        let posted = self.shared.wait_for("waiting for a receive", bound, None, false, || {
            let is_over = self.shared.end().life().peer_has_said_goodbye();
            match self.try_isend(source, offset, bytes, 0)? {
                Some(request) => Ok(Ready::Yes(request)),
                None if is_over => Err(self.shared.peer_closed()),
                None => Ok(Ready::No),
            }
        });
        posted.map(Some)
    }

    fn try_isend(&self, source: &Buffer, offset: u64, bytes: u64, tag: i32) -> Result<Option<SendRequest>> {
        self.shared.check()?;
        let on_host = source.kind() == MemoryKind::Host;
        if !on_host {
            super::check_on_device(self.longest_on_device, bytes)?;
        }
        let held = || {
            let claim = source.read(offset, bytes).map_err(|error| Error::usage(error.to_string()))?;
            Ok(Held { claim, layout: None })
        };
        self.post(held, Send { bytes, is_staged: !on_host, tag, is_prompt: false })
    }

    /// Posts a message whose bytes come from many ranges of claimed memory.
    ///
    /// # Errors
    /// As [`SendComm::isend`].
    pub(crate) fn isend_layout(
        &mut self,
        claim: Result<ReadClaim, ClaimError>,
        layout: &Arc<Layout>,
    ) -> Result<Option<SendRequest>> {
        self.isend_ranges(claim, layout, false)
    }

    /// Posts a message as [`Self::isend_layout`] does. A short one goes on the control socket although others
    /// are under way.
    ///
    /// # Errors
    /// As [`SendComm::isend`].
    pub(crate) fn isend_layout_promptly(
        &mut self,
        claim: Result<ReadClaim, ClaimError>,
        layout: &Arc<Layout>,
    ) -> Result<Option<SendRequest>> {
        self.isend_ranges(claim, layout, true)
    }

    fn isend_ranges(
        &self,
        claim: Result<ReadClaim, ClaimError>,
        layout: &Arc<Layout>,
        is_prompt: bool,
    ) -> Result<Option<SendRequest>> {
        self.shared.check()?;
        let claim = match claim {
            Ok(claim) => claim,
            // Others will be given back.
            Err(ClaimError::TooMany) => return Ok(None),
            Err(error) => return Err(Error::usage(error.to_string())),
        };
        let (bytes, is_staged) = (layout.bytes(), claim.kind() != MemoryKind::Host);
        if is_staged {
            super::check_on_device(self.longest_on_device, bytes)?;
        }
        let held = || Ok(Held { claim, layout: Some(layout.clone()) });
        self.post(held, Send { bytes, is_staged, tag: 0, is_prompt })
    }

    fn post(&self, held: impl FnOnce() -> Result<Held>, send: Send) -> Result<Option<SendRequest>> {
        let began = self.shared.trace_time();
        let posted = self.shared.act(|end| {
            let held = held()?;
            if end.in_flight() == 0 {
                self.shared.resume();
            }
            let slot = end.post(send);
            if let Some(slot) = &slot {
                *write_lock(&self.shared.memory.sources[slot.index()]) = Some(held);
                if let Some(trace) = &self.shared.trace {
                    trace.posted(began, slot.index(), end.meets(slot), send.bytes);
                }
            }
            Ok::<_, Error>(slot)
        })?;
        // A failure since then is the request's, not the call's.
        Ok(posted.map(|slot| SendRequest { slot }))
    }

    /// Returns how many receives one group of the peer's may have: with 1, tags mean nothing.
    #[must_use]
    pub const fn max_receives(&self) -> u16 {
        self.max_receives
    }

    /// Says goodbye, waits for the peer's, and ends the threads. All requests must be finished.
    ///
    /// `Ok` means that the receiver has closed in good order too: all that it received is at its destination.
    /// A short message may have come before its receive; if that is never posted, the receiver's close says
    /// so. The receiver's work between its last receive and its close counts against the deadline.
    ///
    /// # Errors
    /// If requests are still in flight, or the peer does not answer by the deadline.
    pub fn close(mut self, deadline: Instant) -> Result<()> {
        ending::close(&self.shared, &mut self.driver, deadline)
    }

    /// Says goodbye and returns. A thread of its own, or the pool, waits for the peer's goodbye, up to
    /// `timeout`, and ends the work. Sent bytes still arrive. It is for callers that must not wait, such as a
    /// NCCL net plugin.
    ///
    /// # Errors
    /// If requests are still in flight or the connection has failed. Then it is reset, and no thread touches
    /// the requests' memory any more.
    pub fn leave(mut self, timeout: Duration) -> Result<()> {
        ending::leave(&self.shared, &mut self.driver, timeout)
    }

    /// Returns a handle that ends every wait on this connection from another thread.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller::new(self.shared.clone())
    }

    /// Returns the payload bytes that the sockets have taken.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.shared.carried.load(Ordering::Relaxed)
    }

    /// Returns the kernel's counters of each data socket.
    #[must_use]
    pub fn tcp_info(&self) -> Vec<TcpInfo> {
        super::tcp_info(&self.shared.data)
    }

    /// Returns the congestion control in force on the data sockets.
    #[must_use]
    pub fn congestion(&self) -> Option<String> {
        self.shared.data.first().and_then(|socket| super::tuning::congestion(socket).ok())
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.shared.timeout
    }

    /// Returns the peer's address.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.shared.peer
    }
}

impl Drop for SendComm {
    fn drop(&mut self) {
        ending::abandon(&self.shared, &mut self.driver);
    }
}

impl SendMemory {
    /// Returns the source of a send in flight.
    fn source(&self, slot: usize) -> Source<'_> {
        Source(read_lock(&self.sources[slot]))
    }

    fn short_lane(&self) -> &Mutex<Lane> {
        let Some(lane) = &self.short else { unreachable!("device memory is refused without lanes") };
        lane
    }
}

impl Source<'_> {
    /// Writes `header` and `bytes` bytes from `offset` of the message, in one call.
    fn send(&self, socket: BorrowedFd<'_>, header: &[u8], offset: u64, bytes: u64) -> io::Result<usize> {
        let Held { claim, layout } = self.held();
        match layout {
            None => claim.send(socket, header, offset, bytes),
            Some(layout) => claim.send_ranges(socket, header, layout, offset, bytes),
        }
    }

    /// Starts to copy a segment to a staging buffer.
    fn stage(
        &self,
        lane: &mut Lane,
        mode: UnpackMode,
        slot: Slot,
        segment: Segment,
    ) -> Result<Staging<Done>, gputcp_gpu::Error> {
        let Held { claim, layout } = self.held();
        match layout {
            None => Staging::start(slot, segment, &mut lane.stage_from(claim, mode)),
            Some(layout) => Staging::start(slot, segment, &mut lane.gather_from(claim, layout, mode)),
        }
    }

    fn held(&self) -> &Held {
        let Some(held) = self.0.deref() else { unreachable!("a dealt segment has a source") };
        held
    }
}

/// Returns a segment's place in its message, for a trace.
const fn range_of(segment: &Segment) -> trace::Segment {
    trace::Segment { seq: segment.seq(), offset: segment.offset(), bytes: segment.bytes() }
}

impl Side for SendMemory {
    type End = Sender<Done>;

    fn is_complete(_: &Sender<Done>, _: usize) -> bool {
        // A send is named as done only when it is.
        true
    }

    fn write_message(shared: &Shared<Self>, message: &mut Departure<Done>) -> Result<Wrote> {
        shared.write_short(message)
    }
}
