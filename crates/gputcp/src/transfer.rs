//! Moves a whole message over any transport. The message is cut into chunks, of which a window is in flight.
//! The oldest chunk is finished first, or the oldest batch where the transport allows it. At the end the
//! window is drained. Chunk `i` travels on connection `i mod N`.
//!
//! Waits are bounded by progress, not by an end: a message may take as long as its bytes move. A deadline
//! would have to guess how fast the network is.

use std::{collections::VecDeque, time::Duration};

use gputcp_gpu::Buffer;
use gputcp_proto::plan::{Chunk, ChunkPlan};

use crate::{
    Error, RecvComm, Result, SendComm,
    contract::{RecvEnd, SendEnd},
};

/// How messages are cut, and how many chunks may be in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The length of a chunk in bytes; the last of a message may be shorter. Both ends need the same.
    pub chunk_bytes: u64,
    /// Chunks in flight per connection; at most its slots.
    pub window: usize,
    /// The longest time in which no byte may move; then the connection has failed.
    pub timeout: Duration,
}

impl Plan {
    /// Half a mebibyte: one 64 MiB request would leave nothing to pipeline.
    pub const CHUNK_BYTES: u64 = 512 << 10;
    /// The sender's usual window: below the receiver's, so that a posted receive is always waiting.
    pub const SEND_WINDOW: usize = 12;
    /// The receiver's usual window.
    pub const RECV_WINDOW: usize = 16;

    const fn usual(window: usize, timeout: Duration) -> Self {
        Self { chunk_bytes: Self::CHUNK_BYTES, window, timeout }
    }
}

/// A message: a range of a buffer.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The memory.
    pub buffer: &'a Buffer,
    /// Where the message starts in it.
    pub offset: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

impl<'a> From<&'a Buffer> for Message<'a> {
    /// Takes the whole buffer.
    fn from(buffer: &'a Buffer) -> Self {
        Self { buffer, offset: 0, bytes: buffer.bytes() }
    }
}

/// The chunks and bytes that a finished transfer moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Chunks finished.
    pub chunks: u64,
    /// Their bytes in all.
    pub bytes: u64,
}

/// Sends messages over one or more connections. Made once; holds the queue of chunks in flight.
#[derive(Debug)]
pub struct Sender<C: SendEnd> {
    plan: Plan,
    in_flight: VecDeque<Flying<C::Request>>,
}

/// Receives messages over one or more connections. Made once; holds the queue of chunks in flight.
#[derive(Debug)]
pub struct Receiver<C: RecvEnd> {
    plan: Plan,
    in_flight: VecDeque<Flying<C::Request>>,
}

#[derive(Debug)]
struct Flying<R> {
    request: R,
    connection: usize,
    bytes: u64,
}

/// A message whose first receives are posted.
#[must_use = "finish it, or its receives stay posted"]
#[derive(Debug)]
pub struct Receiving<'a> {
    message: Message<'a>,
    chunks: ChunkPlan,
    /// The chunk that found no slot.
    next: Option<Chunk>,
}

impl<C: SendEnd> Sender<C> {
    /// Returns a sender for `connections` connections under this plan.
    #[must_use]
    pub fn new(plan: Plan, connections: usize) -> Self {
        Self { plan, in_flight: VecDeque::with_capacity(plan.window * connections) }
    }

    /// Sends one message and waits until the sockets have taken all of it.
    ///
    /// # Errors
    /// If a connection fails, or falls silent for longer than the plan's timeout.
    pub fn send(&mut self, connections: &mut [C], message: Message<'_>) -> Result<Moved> {
        self.in_flight.clear();
        let mut moved = Moved::default();
        let limit = self.plan.window * connections.len();
        let batch = connections.first().map_or(1, C::batch);
        for chunk in ChunkPlan::new(message.bytes, self.plan.chunk_bytes) {
            let connection = (chunk.index % connections.len() as u64) as usize;
            // The window is checked before posting, never after.
            let request = loop {
                if self.in_flight.len() < limit {
                    let offset = message.offset + chunk.offset;
                    if let Some(request) =
                        connections[connection].isend(message.buffer, offset, chunk.bytes)?
                    {
                        break request;
                    }
                }
                self.finish_oldest(connections, batch, &mut moved)?;
            };
            self.in_flight.push_back(Flying { request, connection, bytes: chunk.bytes });
        }
        while !self.in_flight.is_empty() {
            // Nothing is left to post: sleep once.
            let rest = if batch > 1 { self.in_flight.len() } else { 1 };
            self.finish_oldest(connections, rest, &mut moved)?;
        }
        Ok(moved)
    }

    /// Finishes the `batch` oldest, or as many as there are. Sleeps for the newest of them.
    fn finish_oldest(&mut self, connections: &mut [C], batch: usize, moved: &mut Moved) -> Result<()> {
        let batch = batch.min(self.in_flight.len());
        for at in newest_first(batch) {
            let Some(flying) = self.in_flight.remove(at) else { return Err(no_slot()) };
            let sent = connections[flying.connection].wait(flying.request, self.plan.timeout)?;
            moved.count(flying.bytes, sent.bytes)?;
        }
        if batch == 0 { Err(no_slot()) } else { Ok(()) }
    }
}

impl<C: RecvEnd> Receiver<C> {
    /// Returns a receiver for `connections` connections under this plan.
    #[must_use]
    pub fn new(plan: Plan, connections: usize) -> Self {
        Self { plan, in_flight: VecDeque::with_capacity(plan.window * connections) }
    }

    /// Posts a message's first window of receives, so that the sender can start at once when it is told to.
    ///
    /// # Errors
    /// If a connection has failed.
    pub fn post<'a>(&mut self, connections: &mut [C], message: Message<'a>) -> Result<Receiving<'a>> {
        self.in_flight.clear();
        let mut receiving =
            Receiving { message, chunks: ChunkPlan::new(message.bytes, self.plan.chunk_bytes), next: None };
        self.fill_window(connections, &mut receiving)?;
        Ok(receiving)
    }

    /// Receives the rest of the message and waits until all of it is at its destination.
    ///
    /// # Errors
    /// If a connection fails or falls silent for longer than the plan's timeout, or the sender cuts the
    /// message differently.
    pub fn finish(&mut self, connections: &mut [C], mut receiving: Receiving<'_>) -> Result<Moved> {
        let mut moved = Moved::default();
        let batch = connections.first().map_or(1, C::batch);
        while !self.in_flight.is_empty() {
            let all_posted = receiving.next.is_none() && receiving.chunks.is_finished();
            let batch = if all_posted && batch > 1 { self.in_flight.len() } else { batch };
            for at in newest_first(batch.min(self.in_flight.len())) {
                let Some(flying) = self.in_flight.remove(at) else { return Err(no_slot()) };
                let received = connections[flying.connection].wait(flying.request, self.plan.timeout)?;
                moved.count(flying.bytes, received.bytes)?;
            }
            self.fill_window(connections, &mut receiving)?;
        }
        if receiving.next.is_some() { Err(no_slot()) } else { Ok(moved) }
    }

    fn fill_window(&mut self, connections: &mut [C], receiving: &mut Receiving<'_>) -> Result<()> {
        while self.in_flight.len() < self.plan.window * connections.len() {
            let Some(chunk) = receiving.next.take().or_else(|| receiving.chunks.next()) else { break };
            let connection = (chunk.index % connections.len() as u64) as usize;
            let Message { buffer, offset, .. } = receiving.message;
            match connections[connection].irecv(buffer, offset + chunk.offset, chunk.bytes)? {
                Some(request) => self.in_flight.push_back(Flying { request, connection, bytes: chunk.bytes }),
                None => {
                    receiving.next = Some(chunk);
                    break;
                }
            }
        }
        Ok(())
    }
}

impl SendComm {
    /// Sends one message of any length, such as `&buffer`. Waits until the sockets have taken all of it, as
    /// long as bytes move. A [`Sender`] does the same over several connections, and keeps its queue from one
    /// message to the next.
    ///
    /// # Errors
    /// If the connection fails, or no byte moves for [`Options::timeout`](crate::Options::timeout).
    pub fn send<'a>(&mut self, message: impl Into<Message<'a>>) -> Result<Moved> {
        let plan = Plan::usual(Plan::SEND_WINDOW, self.timeout());
        Sender::new(plan, 1).send(std::slice::from_mut(self), message.into())
    }
}

impl RecvComm {
    /// Receives one message, which the peer sends by [`SendComm::send`]. Waits until all of it is at its
    /// destination, as long as bytes move. Both ends name the same length.
    ///
    /// # Errors
    /// If the connection fails, no byte moves for [`Options::timeout`](crate::Options::timeout), or the
    /// peer's message is shorter. A longer message fails this call, the next one or [`RecvComm::close`].
    pub fn recv<'a>(&mut self, message: impl Into<Message<'a>>) -> Result<Moved> {
        let mut receiver = Receiver::new(Plan::usual(Plan::RECV_WINDOW, self.timeout()), 1);
        let connection = std::slice::from_mut(self);
        let receiving = receiver.post(connection, message.into())?;
        receiver.finish(connection, receiving)
    }
}

impl Moved {
    /// Counts a chunk, which must have come whole.
    fn count(&mut self, expected: u64, got: u64) -> Result<()> {
        if got != expected {
            return Err(Error::Mismatched { expected, got });
        }
        self.chunks += 1;
        self.bytes += got;
        Ok(())
    }
}

/// Returns the places to take from a queue: the newest of a batch, then the others from the oldest on.
fn newest_first(batch: usize) -> impl Iterator<Item = usize> {
    let newest = batch.checked_sub(1).into_iter();
    newest.chain(std::iter::repeat_n(0, batch.saturating_sub(1)))
}

fn no_slot() -> Error {
    Error::usage("the transport has no free slot although nothing is in flight: a request was dropped")
}
