//! Moves a whole message over any transport. The message is cut into chunks, of which a window is in flight.
//! The oldest chunk is finished first, or the oldest batch where the transport allows it. At the end the
//! window is drained. Chunk `i` travels on connection `i mod N`.
//!
//! A burst of messages is moved in the same way without a pause: the next message begins while the last one
//! ends.
//!
//! Waits are bounded by progress, not by an end: a message may take as long as its bytes move. A deadline
//! would have to guess how fast the network is.

mod burst;

use std::{collections::VecDeque, time::Duration};

use gputcp_gpu::Buffer;

use crate::{
    Error, RecvComm, Result, SendComm,
    contract::{RecvEnd, SendEnd},
};
pub use burst::{Burst, Step};
use burst::{Piece, Pieces};

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
    /// Receives of the present burst that were posted.
    posted: usize,
}

#[derive(Debug)]
struct Flying<R> {
    request: R,
    connection: usize,
    piece: Piece,
}

/// A message or a burst whose first receives are posted.
#[must_use = "finish it, or its receives stay posted"]
#[derive(Debug)]
pub struct Receiving<'a> {
    pieces: Pieces<'a>,
    /// The chunk that found no slot, or no room in the depth.
    next: Option<Piece>,
}

impl<C: SendEnd> Sender<C> {
    /// Returns a sender for `connections` connections under this plan.
    #[must_use]
    pub fn new(plan: Plan, connections: usize) -> Self {
        Self { plan, in_flight: VecDeque::with_capacity(plan.window * connections) }
    }

    /// Sends a message or a burst, and waits until the sockets have taken all of it.
    ///
    /// # Errors
    /// If a connection fails, or falls silent for longer than the plan's timeout.
    pub fn send<'a>(&mut self, connections: &mut [C], burst: impl Into<Burst<'a>>) -> Result<Moved> {
        let burst = burst.into();
        self.in_flight.clear();
        let mut moved = Moved::default();
        let limit = self.plan.window * connections.len();
        let batch = connections.first().map_or(1, C::batch);
        for (index, piece) in Pieces::new(burst, self.plan.chunk_bytes).enumerate() {
            let connection = index % connections.len();
            loop {
                match due(&self.in_flight, piece.message, burst.depth) {
                    0 => break,
                    due => self.finish_oldest(connections, due.min(batch), &mut moved)?,
                }
            }
            // The window is checked before posting, never after.
            let request = loop {
                if self.in_flight.len() < limit {
                    let (source, Piece { offset, bytes, .. }) = (burst.first.buffer, piece);
                    if let Some(request) = connections[connection].isend(source, offset, bytes)? {
                        break request;
                    }
                }
                self.finish_oldest(connections, batch, &mut moved)?;
            };
            self.in_flight.push_back(Flying { request, connection, piece });
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
            moved.count(flying.piece.bytes, sent.bytes)?;
        }
        if batch == 0 { Err(no_slot()) } else { Ok(()) }
    }
}

impl<C: RecvEnd> Receiver<C> {
    /// Returns a receiver for `connections` connections under this plan.
    #[must_use]
    pub fn new(plan: Plan, connections: usize) -> Self {
        Self { plan, in_flight: VecDeque::with_capacity(plan.window * connections), posted: 0 }
    }

    /// Posts the first window of receives of a message or a burst, so that the sender can start at once when
    /// it is told to.
    ///
    /// # Errors
    /// If a connection has failed.
    pub fn post<'a>(&mut self, connections: &mut [C], burst: impl Into<Burst<'a>>) -> Result<Receiving<'a>> {
        self.in_flight.clear();
        self.posted = 0;
        let mut receiving =
            Receiving { pieces: Pieces::new(burst.into(), self.plan.chunk_bytes), next: None };
        self.fill_window(connections, &mut receiving, |_| {})?;
        Ok(receiving)
    }

    /// Receives the rest of the message and waits until all of it is at its destination.
    ///
    /// # Errors
    /// If a connection fails or falls silent for longer than the plan's timeout, or the sender cuts the
    /// message differently.
    pub fn finish(&mut self, connections: &mut [C], receiving: Receiving<'_>) -> Result<Moved> {
        self.finish_with(connections, receiving, |_| {})
    }

    /// Does as [`Receiver::finish`], and calls `each` at every step of the messages that have not begun, or
    /// are not over, by then.
    ///
    /// # Errors
    /// As [`Receiver::finish`].
    pub fn finish_with(
        &mut self,
        connections: &mut [C],
        mut receiving: Receiving<'_>,
        mut each: impl FnMut(Step),
    ) -> Result<Moved> {
        let mut moved = Moved::default();
        let batch = connections.first().map_or(1, C::batch);
        while let Some(Flying { piece: Piece { message, .. }, .. }) = self.in_flight.front() {
            // No batch passes the end of a message, which would be seen late.
            let message = *message;
            let left = due(&self.in_flight, message, 0);
            let all_posted = receiving.next.is_none() && receiving.pieces.is_finished();
            let batch = if all_posted && batch > 1 { left } else { batch.min(left) };
            let mut is_over = false;
            for at in newest_first(batch) {
                let Some(flying) = self.in_flight.remove(at) else { return Err(no_slot()) };
                let received = connections[flying.connection].wait(flying.request, self.plan.timeout)?;
                moved.count(flying.piece.bytes, received.bytes)?;
                is_over |= flying.piece.is_last;
            }
            if is_over {
                each(Step::Over(message));
            }
            self.fill_window(connections, &mut receiving, &mut each)?;
        }
        if receiving.next.is_some() { Err(no_slot()) } else { Ok(moved) }
    }

    fn fill_window(
        &mut self,
        connections: &mut [C],
        receiving: &mut Receiving<'_>,
        mut each: impl FnMut(Step),
    ) -> Result<()> {
        let Burst { first: Message { buffer, .. }, depth, .. } = receiving.pieces.burst;
        while self.in_flight.len() < self.plan.window * connections.len() {
            let Some(piece) = receiving.next.take().or_else(|| receiving.pieces.next()) else { break };
            let connection = self.posted % connections.len();
            let has_room = due(&self.in_flight, piece.message, depth) == 0;
            let request = if has_room {
                connections[connection].irecv(buffer, piece.offset, piece.bytes)?
            } else {
                None
            };
            let Some(request) = request else {
                receiving.next = Some(piece);
                break;
            };
            self.posted += 1;
            self.in_flight.push_back(Flying { request, connection, piece });
            if piece.is_first {
                each(Step::Begun(piece.message));
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
        let (plan, message) = (Plan::usual(Plan::SEND_WINDOW, self.timeout()), message.into());
        Sender::new(plan, 1).send(std::slice::from_mut(self), message)
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
        let (connection, message) = (std::slice::from_mut(self), message.into());
        let receiving = receiver.post(connection, message)?;
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

/// Returns how many of the oldest chunks in flight must be over before a chunk of `message` begins. They are
/// those of messages that are `depth` or more before it.
fn due<R>(in_flight: &VecDeque<Flying<R>>, message: u64, depth: u64) -> usize {
    in_flight.iter().take_while(|flying| flying.piece.message + depth <= message).count()
}

/// Returns the places to take from a queue: the newest of a batch, then the others from the oldest on.
fn newest_first(batch: usize) -> impl Iterator<Item = usize> {
    let newest = batch.checked_sub(1).into_iter();
    newest.chain(std::iter::repeat_n(0, batch.saturating_sub(1)))
}

fn no_slot() -> Error {
    Error::usage("the transport has no free slot although nothing is in flight: a request was dropped")
}
