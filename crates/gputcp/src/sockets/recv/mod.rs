//! The receiving end of a connection. In the order of the data's way: [`RecvComm::irecv`] posts a receive and
//! announces it ([`gputcp_proto::announce`]); [`group`] posts several at once. [`read`] takes segments off
//! the data sockets, straight to a host destination or into a bounce ring. [`short`] takes whole short
//! messages off the control socket. [`unpack`] follows the unpacks and gives the ring's buffers back.
//! [`finish`] ends the receive.

mod finish;
mod group;
mod read;
mod short;
mod unpack;

use std::{
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use gputcp_gpu::{Buffer, Lane, MemoryKind, UnpackMode, WriteClaim};
use gputcp_proto::{
    Violation,
    announce::Announcer,
    frame::{Control, Mark},
    plan::SegmentPlan,
    recv::{Placed, RecvSide},
    window::Slot,
};
use gputcp_socket::TcpInfo;

pub use self::group::{GroupRequest, Part, ReceivedGroup};
use self::{read::StreamReader, short::Coming, unpack::BounceRing};
use super::{
    SHORT_SLABS,
    agreed::{Agreed, SLOTS},
    canceller::Canceller,
    control::Reader,
    cores,
    driver::Driver,
    ending,
    locks::{lock, write_lock},
    shared::{Shared, Side},
};
use crate::{Error, Result};

/// The receiving end of a connection: posts receives, and waits for them oldest first or in any order.
///
/// It has threads of its own from connect on, one per data socket and one for the control socket. With a pool
/// ([`Options::pool`](crate::Options::pool)) it uses the pool's threads instead. Dropped without
/// [`RecvComm::close`], it resets the connection.
#[derive(Debug)]
pub struct RecvComm {
    shared: Arc<Shared<RecvState>>,
    driver: Driver,
    inline_bytes: u64,
    /// How many receives may be grouped.
    max_receives: u16,
    /// The longest message of device memory; `None` without a device.
    longest_on_device: Option<u64>,
}

/// A receive in flight. Holds its slot: only waiting for it gives the slot back.
#[must_use = "wait for it, or its slot stays taken"]
#[derive(Debug)]
pub struct RecvRequest {
    slot: Slot,
    bytes: u64,
}

/// The state that the receiver's threads share.
#[derive(Debug)]
pub(crate) struct RecvState {
    side: RecvSide<SLOTS>,
    parts: Arc<Parts>,
}

/// Parts with locks of their own, so that a long read holds up no other thread.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The destinations of the receives in flight, by slot. I/O threads hold the read lock while they write.
    destinations: Box<[RwLock<Option<WriteClaim>>]>,
    announcer: Mutex<Announcer>,
    /// One ring per data socket, and the control socket's behind them; empty without a device.
    rings: Vec<Mutex<BounceRing>>,
    /// The control socket's lane.
    short: Option<Mutex<Lane>>,
    /// Eager places, in which messages wait that came before their receives. A place is used by one thread at
    /// a time, as the rules say; each has `eager_bytes`.
    places: Vec<Mutex<Box<[u8]>>>,
    eager_bytes: u64,
    /// The message that is being read off the control socket.
    coming: Mutex<Option<Coming>>,
    mode: UnpackMode,
    /// Whether the last bytes came on the control socket.
    came_short: AtomicBool,
}

impl RecvComm {
    /// Makes everything that the connection will ever use (invariant I4).
    pub(crate) fn start(agreed: Agreed, options: &crate::Options) -> Result<Self> {
        let (eager_bytes, depth) = (agreed.eager_bytes(), agreed.depth(options.tuning.slots));
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
        let eager_places = usize::from(eager_places);
        if options.device.is_some() && options.unpack == UnpackMode::None {
            return Err(Error::usage(
                "unpack mode none leaves bytes in host memory; a device needs kernel, copy or host",
            ));
        }
        let near = cores::near(options.device.as_ref());
        let lanes = super::lanes(options, near.as_ref(), data.len(), segment_bytes)?;
        let short = super::short_lane(options, near.as_ref(), inline_bytes)?.map(Mutex::new);
        let ring = |slabs| Mutex::new(BounceRing::new(slabs));
        let stream_rings = lanes.iter().map(|_| ring(options.tuning.slabs.into()));
        let parts = Arc::new(Parts {
            destinations: (0..depth).map(|_| RwLock::new(None)).collect(),
            announcer: Mutex::new(Announcer::new(eager_places)),
            rings: stream_rings.chain(short.iter().map(|_| ring(SHORT_SLABS))).collect(),
            short,
            places: (0..eager_places).map(|_| Mutex::new(vec![0; eager_bytes as usize].into())).collect(),
            eager_bytes,
            coming: Mutex::new(None),
            mode: options.unpack,
            came_short: AtomicBool::new(false),
        });
        let side = RecvSide::new(depth, segment_bytes.into(), inline_bytes.into())
            .with_streams(data.len())
            .with_pieces(piece_bytes.into())
            .with_eager(eager_places, eager_bytes);
        let plan = SegmentPlan::new(segment_bytes.into()).with_pieces(piece_bytes.into());
        let longest_on_device = (!lanes.is_empty()).then(|| plan.longest_chunk());
        let state = RecvState { side, parts };
        let driver = Driver::new(options.pool.as_ref())?;
        let shared =
            Arc::new(Shared::new(peer, options.timeout, (control, &driver.watch(), depth), data, state)?);
        let inline_bytes = inline_bytes.into();
        let mut comm = Self { shared, driver, inline_bytes, max_receives, longest_on_device };
        let mut lanes = lanes.into_iter();
        let shared = comm.shared.clone();
        let tasks = (0..shared.data.len()).map(|stream| StreamReader::new(&shared, stream, lanes.next()));
        comm.driver.start(&shared, near.as_ref(), tasks)?;
        Ok(comm)
    }

    /// Posts a receive of up to `bytes` to `destination` at `offset`. Returns `None` when no slot is free:
    /// finish a request first.
    ///
    /// The destination is reserved until the request is finished, which is when its bytes are at their
    /// destination.
    ///
    /// # Errors
    /// If the connection has failed, or the range is not the caller's to write. Also if the destination is
    /// device memory and the connection was made without that device.
    pub fn irecv(&mut self, destination: &Buffer, offset: u64, bytes: u64) -> Result<Option<RecvRequest>> {
        self.irecv_tagged(destination, offset, bytes, 0)
    }

    /// Posts a receive with a tag. Where receives are grouped
    /// ([`Options::max_receives`](crate::Options::max_receives)), it is a group of one, so it takes a message
    /// of its tag only. Elsewhere the tag means nothing.
    ///
    /// # Errors
    /// As [`RecvComm::irecv`].
    pub fn irecv_tagged(
        &mut self,
        destination: &Buffer,
        offset: u64,
        bytes: u64,
        tag: i32,
    ) -> Result<Option<RecvRequest>> {
        self.shared.check()?;
        let on_host = destination.kind() == MemoryKind::Host;
        if !on_host {
            super::check_on_device(self.longest_on_device, bytes)?;
        }
        let mut state = lock(&self.shared.state);
        let claim = destination.write(offset, bytes).map_err(|error| Error::usage(error.to_string()))?;
        if state.side.in_flight() == 0 {
            self.shared.resume();
        }
        let Some((slot, mut announce)) = state.side.post(bytes, true) else { return Ok(None) };
        announce.mark = (self.max_receives > 1).then_some(Mark { tag, following: 0 });
        *write_lock(&state.parts.destinations[slot.index()]) = Some(claim);
        let early = state.side.take_early(&slot);
        let parts = state.parts.clone();
        drop(state);
        self.shared.tell(&parts, |announcer| announcer.posted(announce))?;
        self.shared.take_early(early, &parts)?;
        Ok(Some(RecvRequest { slot, bytes }))
    }

    /// Waits for the sender's goodbye, says it too, and ends the threads. All requests must be finished.
    ///
    /// `Ok` means that the sender has sent nothing beyond the messages that were received.
    ///
    /// # Errors
    /// If requests are still in flight, short messages came that were never received, or the peer does not
    /// close by the deadline.
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

    /// Returns the payload bytes that came off the sockets.
    #[must_use]
    pub fn bytes_landed(&self) -> u64 {
        self.shared.counters.carried.load(Ordering::Relaxed)
    }

    /// Returns the payload bytes that are at their destination.
    #[must_use]
    pub fn bytes_placed(&self) -> u64 {
        self.shared.counters.placed.load(Ordering::Relaxed)
    }

    /// Returns the kernel's counters of each data socket.
    #[must_use]
    pub fn tcp_info(&self) -> Vec<TcpInfo> {
        super::tcp_info(&self.shared.data)
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

impl Drop for RecvComm {
    fn drop(&mut self) {
        ending::abandon(&self.shared, &mut self.driver);
    }
}

impl Shared<RecvState> {
    fn parts(&self) -> Arc<Parts> {
        lock(&self.state).parts.clone()
    }

    /// Writes the announcements that are due, under the announcer's lock, as their order counts. A sender
    /// that has said goodbye needs none, and may be gone.
    fn tell(&self, parts: &Parts, due: impl FnOnce(&mut Announcer) -> &[u8]) -> Result<()> {
        if self.peer_has_said_goodbye() {
            return Ok(());
        }
        let mut announcer = lock(&parts.announcer);
        let frames = due(&mut announcer);
        let written = if frames.is_empty() { Ok(()) } else { self.control.write(frames) };
        drop(announcer);
        // Not under the lock: a frame that is read then may be matched to a receive.
        written.or_else(|error| self.control_failed(error))
    }

    /// Counts bytes that are at their destination.
    fn placed(&self, placed: Placed) {
        self.counters.placed.fetch_add(placed.landing().bytes(), Ordering::Relaxed);
        let slot = placed.landing().slot_index();
        if lock(&self.state).side.place(placed) {
            self.doorbell.ring(slot);
        }
    }
}

impl Side for RecvState {
    const SENDS: bool = false;

    fn dispatch(shared: &Shared<Self>, frame: Control, reader: &mut Reader) -> Result<()> {
        // A sender has nothing in flight when it says goodbye. Its segments may be on the way, on other
        // sockets.
        let after_goodbye = |frame| Err(shared.misbehaved(Violation::AfterGoodbye { frame }));
        match frame {
            Control::Inline { .. } if shared.peer_has_said_goodbye() => after_goodbye("short message"),
            Control::Want { .. } if shared.peer_has_said_goodbye() => after_goodbye("want"),
            Control::Inline { seq, bytes } => shared.take_inline(seq, bytes.into(), reader),
            Control::Want { seq } => shared.tell(&shared.parts(), |announcer| announcer.wanted(seq)),
            _ => Err(shared.misbehaved(Violation::Field {
                frame: "control frame to a receiver",
                field: "kind",
                value: u64::from(frame.encode()[2]),
            })),
        }
    }

    fn owed(&self) -> (bool, bool) {
        (self.side.in_flight() > 0, self.side.is_amid())
    }

    fn unreceived(&self) -> usize {
        self.side.unreceived()
    }

    fn goodbye(shared: &Shared<Self>) {
        lock(&shared.state).side.goodbye();
    }

    fn take_rest(shared: &Shared<Self>, reader: &mut Reader) -> Result<bool> {
        shared.take_rest_of_inline(reader)
    }
}
