//! The sending end of a connection. In the order of the data's way: [`SendComm::isend`] posts a message, and
//! an announced receive lets it start. [`stage`] copies device memory to a pinned ring. [`write`] carries
//! segments on the data sockets, [`short`] whole short messages on the control socket. [`finish`] ends the
//! send.

mod finish;
mod short;
mod stage;
mod write;

use std::{
    sync::{Arc, Mutex, RwLock, atomic::Ordering},
    time::{Duration, Instant},
};

use gputcp_gpu::{Buffer, MemoryKind, ReadClaim};
use gputcp_proto::{
    frame::Control,
    plan::SegmentPlan,
    send::{Carrier, Segment, SendSide},
    window::Slot,
};
use gputcp_socket::TcpInfo;

use self::{short::ShortSends, stage::StagingRing, write::Writer};
use super::{
    SHORT_BYTES,
    agreed::{Agreed, SLOTS},
    bound::Bound,
    canceller::Canceller,
    control::Reader,
    cores,
    driver::Driver,
    ending,
    locks::{lock, write_lock},
    shared::{Ready, Shared, Side},
};
use crate::{Error, Result};

/// The sending end of a connection: posts messages, and waits for them oldest first or in any order.
///
/// It has threads of its own from connect on, one per data socket and one for the control socket. With a pool
/// ([`Options::pool`](crate::Options::pool)) it uses the pool's threads instead. Dropped without
/// [`SendComm::close`], it resets the connection.
#[derive(Debug)]
pub struct SendComm {
    shared: Arc<Shared<SendState>>,
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

/// The state that the sender's threads share.
#[derive(Debug)]
pub(crate) struct SendState {
    side: SendSide<SLOTS>,
    parts: Arc<Parts>,
}

/// Parts with locks of their own, so that a long write holds up no other thread.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The sources of the sends in flight, by slot. I/O threads hold the read lock while they read.
    sources: Box<[RwLock<Option<ReadClaim>>]>,
    short: Mutex<ShortSends>,
}

impl SendComm {
    /// Makes everything that the connection will ever use (invariant I4).
    pub(crate) fn start(agreed: Agreed, options: &crate::Options) -> Result<Self> {
        let eager_bytes = agreed.eager_bytes();
        let (depth, peer_depth) = (agreed.depth(options.tuning.slots), agreed.depth(agreed.peer_slots));
        let Agreed {
            peer,
            control,
            data,
            segment_bytes,
            piece_bytes,
            inline_bytes,
            eager_places,
            max_receives,
            peer_slots: _,
        } = agreed;
        let near = cores::near(options.device.as_ref());
        let lanes = super::lanes(options, near.as_ref(), data.len(), segment_bytes)?;
        let short = super::short_lane(options, near.as_ref(), inline_bytes)?;
        let short = short.map(|lane| StagingRing::new(lane, super::SHORT_SLABS, options.unpack));
        let short = Mutex::new(ShortSends::new(short, depth));
        let parts = Arc::new(Parts { sources: (0..depth).map(|_| RwLock::new(None)).collect(), short });
        let mut side = SendSide::new(depth, segment_bytes.into(), peer_depth)
            .with_pieces(piece_bytes.into())
            .with_streams(data.len())
            .with_inline(inline_bytes.into())
            .with_eager(eager_places.into(), eager_bytes);
        if max_receives > 1 {
            side = side.with_groups(max_receives);
        }
        let plan = SegmentPlan::new(segment_bytes.into()).with_pieces(piece_bytes.into());
        let longest_on_device = (!lanes.is_empty()).then(|| plan.longest_chunk());
        let state = SendState { side, parts };
        let driver = Driver::new(options.pool.as_ref())?;
        let shared =
            Arc::new(Shared::new(peer, options.timeout, (control, &driver.watch(), depth), data, state)?);
        let mut comm = Self { shared, driver, longest_on_device, max_receives };
        let ring = |lane| StagingRing::new(lane, options.tuning.slabs.into(), options.unpack);
        let mut rings = lanes.into_iter().map(ring);
        let shared = comm.shared.clone();
        let tasks = (0..shared.data.len()).map(|stream| Writer::new(&shared, stream, rings.next()));
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
        let is_over = self.shared.peer_has_said_goodbye();
        let posted = self.try_isend(source, offset, bytes, tag)?;
        if posted.is_none() && is_over && lock(&self.shared.state).side.has_room() {
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
        if posted.is_some() || self.max_receives == 1 || lock(&self.shared.state).side.in_flight() > 0 {
            return Ok(posted);
        }
        let bound = Bound::Deadline(Instant::now() + self.shared.timeout);
        let posted = self.shared.wait_for("waiting for a receive", bound, None, false, || {
            let is_over = self.shared.peer_has_said_goodbye();
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
        let mut state = lock(&self.shared.state);
        let claim = source.read(offset, bytes).map_err(|error| Error::usage(error.to_string()))?;
        let alone = state.side.in_flight() == 0;
        if alone {
            self.shared.resume();
        }
        let inline = alone || (on_host && bytes <= SHORT_BYTES);
        let Some(slot) = state.side.post_tagged(bytes, inline, tag) else { return Ok(None) };
        *write_lock(&state.parts.sources[slot.index()]) = Some(claim);
        let dealt = state.side.deal(Carrier::Control);
        let (next, wanted) = (state.side.to_wake(), state.side.to_want());
        drop(state);
        self.shared.wake(next);
        self.shared.want(wanted)?;
        self.shared.carry_dealt(dealt)?;
        Ok(Some(SendRequest { slot }))
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
        let open = lock(&self.shared.state).side.in_flight();
        ending::close(&self.shared, &mut self.driver, open, deadline)
    }

    /// Says goodbye and returns. A thread of its own, or the pool, waits for the peer's goodbye, up to
    /// `timeout`, and ends the work. Sent bytes still arrive. It is for callers that must not wait, such as a
    /// NCCL net plugin.
    ///
    /// # Errors
    /// If requests are still in flight or the connection has failed. Then it is reset, and no thread touches
    /// the requests' memory any more.
    pub fn leave(mut self, timeout: Duration) -> Result<()> {
        let open = lock(&self.shared.state).side.in_flight();
        ending::leave(&self.shared, &mut self.driver, open, timeout)
    }

    /// Returns a handle that ends every wait on this connection from another thread.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller::new(self.shared.clone())
    }

    /// Returns the payload bytes that the sockets have taken.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.shared.counters.carried.load(Ordering::Relaxed)
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

impl Shared<SendState> {
    /// Wakes the I/O thread whose turn it is.
    fn wake(&self, stream: Option<usize>) {
        if let Some(stream) = stream {
            self.work[stream].wake();
        }
    }

    /// Asks for an announcement that the peer may hold back.
    fn want(&self, seq: Option<u64>) -> Result<()> {
        let Some(seq) = seq else { return Ok(()) };
        let asked = self.control.write(&Control::Want { seq }.encode());
        asked.or_else(|error| self.control_failed(error))
    }

    /// Counts a segment that a socket has taken.
    fn written(&self, segment: Segment) {
        self.counters.carried.fetch_add(segment.bytes(), Ordering::Relaxed);
        let slot = segment.slot_index();
        if lock(&self.state).side.written(segment) {
            self.doorbell.ring(slot);
        }
    }

    fn peer_closed(&self) -> Error {
        Error::PeerClosed { peer: self.peer.clone(), open: lock(&self.state).side.in_flight() }
    }

    fn parts(&self) -> Arc<Parts> {
        lock(&self.state).parts.clone()
    }
}

impl Side for SendState {
    const SENDS: bool = true;

    fn dispatch(shared: &Shared<Self>, frame: Control, _: &mut Reader) -> Result<()> {
        let Control::Announce(announce) = frame else {
            return Err(shared.misbehaved(gputcp_proto::Violation::Field {
                frame: "control frame to a sender",
                field: "kind",
                value: u64::from(frame.encode()[2]),
            }));
        };
        let mut state = lock(&shared.state);
        let announced = state.side.announced(&announce);
        let dealt = state.side.deal(Carrier::Control);
        let (next, wanted) = (state.side.to_wake(), state.side.to_want());
        drop(state);
        announced.map_err(|violation| shared.misbehaved(violation))?;
        shared.wake(next);
        shared.want(wanted)?;
        shared.carry_dealt(dealt)
    }

    fn owed(&self) -> (bool, bool) {
        (self.side.in_flight() > 0, self.side.is_amid())
    }

    fn write_on(shared: &Shared<Self>) -> Result<()> {
        let parts = shared.parts();
        shared.write_short(lock(&parts.short), &parts)
    }
}
