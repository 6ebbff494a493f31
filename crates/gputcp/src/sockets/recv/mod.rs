//! The receiving end of a connection, as sockets and threads drive
//! [`connection::Receiver`](gputcp_proto::connection::Receiver). In the order of the data's way:
//! [`RecvComm::irecv`] posts a receive and announces it; [`group`] posts several at once. [`read`] takes
//! segments off the data sockets, straight to a host destination or into a bounce buffer. [`short`] takes
//! whole short messages off the control socket. [`finish`] ends the receive.

mod finish;
mod group;
mod read;
mod short;

use std::{
    io,
    net::IpAddr,
    ops::Deref,
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, RwLock, RwLockReadGuard, atomic::Ordering},
    time::{Duration, Instant},
};

use gputcp_gpu::{Buffer, ClaimError, Done, Lane, MemoryKind, UnpackMode, WriteClaim};
use gputcp_proto::{
    bounce::{Filled, Unpacking},
    connection::{
        End, Inbox, Receiver,
        receiver::{Posted, Receive},
    },
    layout::Layout,
    recv::Landing,
    window::Slot,
};
use gputcp_socket::TcpInfo;

pub use self::group::{GroupRequest, Part, ReceivedGroup};
use self::read::StreamReader;
use super::{
    agreed::Agreed,
    canceller::Canceller,
    control::ControlSocket,
    cores,
    driver::Driver,
    ending,
    locks::{read_lock, write_lock},
    shared::{Shared, Side},
};
use crate::{Error, Result, trace};

/// The receiving end of a connection: posts receives, and waits for them oldest first or in any order.
///
/// It has threads of its own from connect on, one per data socket and one for the control socket. With a pool
/// ([`Options::pool`](crate::Options::pool)) it uses the pool's threads instead. Dropped without
/// [`RecvComm::close`], it resets the connection.
#[derive(Debug)]
pub struct RecvComm {
    shared: Arc<Shared<RecvMemory>>,
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

/// The memory that the receiver's threads work on.
#[derive(Debug)]
pub(crate) struct RecvMemory {
    /// The destinations of the receives in flight, by slot. I/O threads hold the read lock while they write.
    destinations: Box<[RwLock<Option<Held>>]>,
    /// The control socket's lane; `None` without a device.
    short: Option<Mutex<Lane>>,
    /// Eager places, in which messages wait that came before their receives. A place is used by one thread at
    /// a time, as the rules say.
    places: Vec<Mutex<Box<[u8]>>>,
    mode: UnpackMode,
}

/// The destination of a receive in flight: a range, or many of a claim.
#[derive(Debug)]
struct Held {
    claim: WriteClaim,
    layout: Option<Arc<Layout>>,
}

/// The destination of a receive in flight, which is not given back meanwhile.
struct Destination<'a>(RwLockReadGuard<'a, Option<Held>>);

impl RecvComm {
    /// Makes everything that the connection will ever use (invariant I4).
    pub(crate) fn start(agreed: Agreed, options: &crate::Options) -> Result<Self> {
        if options.device.is_some() && options.unpack == UnpackMode::None {
            return Err(Error::usage(
                "unpack mode none leaves bytes in host memory; a device needs kernel, copy or host",
            ));
        }
        let near = cores::near(options.device.as_ref());
        let lanes = super::lanes(options, near.as_ref(), agreed.data.len(), agreed.segment_bytes)?;
        let short = super::short_lane(options, near.as_ref(), agreed.inline_bytes)?;
        let settings = agreed.settings(options);
        let trace = agreed.tracer(options, &settings, false);
        let place = || Mutex::new(vec![0; settings.eager_bytes as usize].into());
        let memory = RecvMemory {
            destinations: (0..settings.depth).map(|_| RwLock::new(None)).collect(),
            short: short.map(Mutex::new),
            places: std::iter::repeat_with(place).take(settings.eager_places).collect(),
            mode: options.unpack,
        };
        let longest_on_device = (!lanes.is_empty()).then(|| agreed.longest_chunk());
        let Agreed { peer, control, data, inline_bytes, max_receives, .. } = agreed;
        let driver = Driver::new(options.pool.as_ref())?;
        let control = ControlSocket::new(control, &driver.watch())
            .map_err(|error| Error::system("set up the connection's descriptors", error))?;
        let end = Receiver::new(&settings);
        let shared = Arc::new(Shared::new(peer, options, control, data, end, memory, trace)?);
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
        let held = || {
            let claim = destination.write(offset, bytes).map_err(|error| Error::usage(error.to_string()))?;
            Ok(Held { claim, layout: None })
        };
        self.post(held, Receive { capacity: bytes, is_bounced: !on_host, tag })
    }

    /// Posts a receive of a message whose bytes go to many ranges of claimed memory.
    ///
    /// # Errors
    /// As [`RecvComm::irecv`].
    pub(crate) fn irecv_layout(
        &mut self,
        claim: Result<WriteClaim, ClaimError>,
        layout: &Arc<Layout>,
    ) -> Result<Option<RecvRequest>> {
        self.shared.check()?;
        let claim = match claim {
            Ok(claim) => claim,
            // Others will be given back.
            Err(ClaimError::TooMany) => return Ok(None),
            Err(error) => return Err(Error::usage(error.to_string())),
        };
        let (capacity, is_bounced) = (layout.bytes(), claim.kind() != MemoryKind::Host);
        if is_bounced {
            super::check_on_device(self.longest_on_device, capacity)?;
        }
        let held = || Ok(Held { claim, layout: Some(layout.clone()) });
        self.post(held, Receive { capacity, is_bounced, tag: 0 })
    }

    fn post(&self, held: impl FnOnce() -> Result<Held>, receive: Receive) -> Result<Option<RecvRequest>> {
        let began = self.shared.trace_time();
        let posted = self.shared.act(|end| {
            let held = held()?;
            if end.in_flight() == 0 {
                self.shared.resume();
            }
            let posted = end.post(receive);
            if let Some(posted) = &posted {
                *write_lock(&self.shared.memory.destinations[posted.slot.index()]) = Some(held);
                if let Some(trace) = &self.shared.trace {
                    let slot = &posted.slot;
                    trace.posted(began, slot.index(), slot.seq().wire(), receive.capacity);
                }
            }
            Ok::<_, Error>(posted)
        })?;
        let Some(Posted { slot, early }) = posted else { return Ok(None) };
        if let Some(early) = early {
            self.shared.deliver(early)?;
        }
        // A failure since then is the request's, not the call's.
        Ok(Some(RecvRequest { slot, bytes: receive.capacity }))
    }

    /// Returns the completion of the newest unpack under way, if there is one.
    pub(crate) fn newest_unpack(&self) -> Option<Done> {
        self.shared.end().newest_unpack()
    }

    /// Waits for the sender's goodbye, says it too, and ends the threads. All requests must be finished.
    ///
    /// `Ok` means that the sender has sent nothing beyond the messages that were received.
    ///
    /// # Errors
    /// If requests are still in flight, short messages came that were never received, or the peer does not
    /// close by the deadline.
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

    /// Returns the payload bytes that came off the sockets.
    #[must_use]
    pub fn bytes_landed(&self) -> u64 {
        self.shared.carried.load(Ordering::Relaxed)
    }

    /// Returns the payload bytes that are at their destination.
    #[must_use]
    pub fn bytes_placed(&self) -> u64 {
        self.shared.end().placed_bytes()
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

impl RecvComm {
    /// Returns the addresses that the connection's sockets come from, each once.
    pub(crate) fn peer_addresses(&self) -> Vec<IpAddr> {
        let mut found: Vec<IpAddr> = vec![];
        for socket in self.shared.data.iter().filter_map(|socket| socket.peer_addr().ok()?.as_socket()) {
            let ip = socket.ip().to_canonical();
            if !found.contains(&ip) {
                found.push(ip);
            }
        }
        found
    }
}

impl Drop for RecvComm {
    fn drop(&mut self) {
        ending::abandon(&self.shared, &mut self.driver);
    }
}

impl RecvMemory {
    /// Returns the destination of a receive in flight.
    fn destination(&self, slot: usize) -> Destination<'_> {
        Destination(read_lock(&self.destinations[slot]))
    }

    fn short_lane(&self) -> &Mutex<Lane> {
        let Some(lane) = &self.short else { unreachable!("device memory is refused without lanes") };
        lane
    }
}

impl Destination<'_> {
    /// Reads up to `bytes` bytes to `offset` of the message, in one call.
    fn recv(&self, socket: BorrowedFd<'_>, offset: u64, bytes: u64) -> io::Result<usize> {
        let Held { claim, layout } = self.held();
        match layout {
            None => claim.recv(socket, offset, bytes),
            Some(layout) => claim.recv_ranges(socket, layout, offset, bytes),
        }
    }

    /// Copies bytes to `offset` of the message.
    fn copy_from(&self, offset: u64, bytes: &[u8]) {
        let Held { claim, layout } = self.held();
        match layout {
            None => claim.copy_from(offset, bytes),
            Some(layout) => {
                let parts = layout.slice(offset, bytes.len() as u64).into_iter().flatten();
                for part in parts {
                    let from = part.source_offset as usize;
                    claim.copy_from(part.destination_offset, &bytes[from..from + part.bytes as usize]);
                }
            }
        }
    }

    /// Launches the unpack of a segment.
    fn unpack(
        &self,
        filled: Filled,
        lane: &mut Lane,
        mode: UnpackMode,
    ) -> Result<Unpacking<Done>, gputcp_gpu::Error> {
        let Held { claim, layout } = self.held();
        match layout {
            None => filled.unpack(&mut lane.unpack_into(claim, mode)),
            Some(layout) => filled.unpack(&mut lane.scatter_into(claim, layout, mode)),
        }
    }

    fn held(&self) -> &Held {
        let Some(held) = self.0.deref() else { unreachable!("a posted receive has a destination") };
        held
    }
}

/// Returns a segment's place in its message, for a trace.
const fn range_of(landing: &Landing) -> trace::Segment {
    trace::Segment { seq: landing.seq(), offset: landing.offset(), bytes: landing.bytes() }
}

impl Side for RecvMemory {
    type End = Receiver<Done>;

    fn is_complete(end: &Receiver<Done>, slot: usize) -> bool {
        end.is_complete_at(slot)
    }

    fn take_message(shared: &Shared<Self>, inbox: &mut Inbox<Done>) -> Result<bool> {
        shared.take_message(inbox)
    }
}
