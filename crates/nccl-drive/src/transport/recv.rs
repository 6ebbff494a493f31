//! The receiving end of a plugin's connection.
//!
//! A posted receive lands when the plugin's `test` reports it as done. It is then in place at once, or is
//! unpacked or flushed, several at a time. Consuming gives its slot back, in order.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use gputcp::{Canceller, Result, contract::RecvEnd};
use gputcp_gpu::{Buffer, UnpackMode};
use gputcp_nccl_net::layout::constants::REQUESTS_MAX;
use gputcp_proto::recv::Received;

use super::{
    Endpoint, Options,
    send::{none_open, tag},
    usage,
    wait::{Cancelled, Pace, Wait},
};
use crate::recv::{Landed, RecvComm as Receives};

/// The receiving end of a plugin's connection. A drop closes it; see [`RecvComm::close`] for when that is
/// right.
#[derive(Debug)]
pub struct RecvComm {
    /// Landed and not yet consumed, oldest first.
    arrivals: VecDeque<Landed>,
    comm: Receives,
    endpoint: Endpoint,
    cancelled: Arc<Cancelled>,
    pace: Pace,
    posted: u64,
    /// The number of consumed receives, which are the oldest.
    done: u64,
    /// The sizes of the last consumed receives, by their number.
    sizes: [Size; SIZES],
    landed_bytes: u64,
    placed_bytes: u64,
}

/// A receive in flight.
#[must_use = "wait for it"]
#[derive(Debug)]
pub struct RecvRequest {
    number: u64,
    bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Size {
    number: u64,
    bytes: u64,
}

impl RecvComm {
    /// Makes everything that the connection will ever use (invariant I4).
    pub(super) fn start(mut comm: Receives, endpoint: Endpoint) -> Result<Self> {
        let Options { gpu, unpack, .. } = &endpoint.options;
        if let Some(gpu) = gpu
            && comm.find_queue(gpu, *unpack)?
            && *unpack == UnpackMode::None
        {
            return Err(usage(
                "the plugin leaves GPU memory's bytes in bounce buffers; unpack them by kernel, copy or host",
            ));
        }
        Ok(Self {
            arrivals: VecDeque::with_capacity(REQUESTS_MAX),
            comm,
            endpoint,
            cancelled: Arc::default(),
            pace: Pace::here(),
            posted: 0,
            done: 0,
            sizes: [Size { number: u64::MAX, bytes: 0 }; SIZES],
            landed_bytes: 0,
            placed_bytes: 0,
        })
    }

    /// Registers memory with the plugin before it is received into, so that the first receive need not.
    ///
    /// # Errors
    /// If the plugin takes no such memory, or fails.
    pub fn register(&mut self, buffer: &Buffer) -> Result<()> {
        self.endpoint.make_current()?;
        let pointer = self.endpoint.pointer(buffer.kind());
        Ok(self.comm.register(buffer, pointer, self.endpoint.options.gpu.as_ref())?)
    }

    /// Advances each receive as far as it can. Returns whether one has landed or ended.
    fn advance(&mut self) -> Result<bool> {
        let mut moved = false;
        while let Some(landed) = self.comm.test_oldest()? {
            moved = true;
            self.landed_bytes += landed.bytes();
            self.arrivals.push_back(landed);
        }
        while let Some(oldest) = self.arrivals.pop_front() {
            match self.comm.poll(oldest)? {
                Ok(consumable) => {
                    let bytes = self.comm.consume(consumable)?;
                    self.sizes[self.done as usize % SIZES] = Size { number: self.done, bytes };
                    self.done += 1;
                    self.pace.ended(1);
                    self.placed_bytes += bytes;
                    moved = true;
                }
                Err(oldest) => {
                    self.arrivals.push_front(oldest);
                    break;
                }
            }
        }
        Ok(moved)
    }

    /// Returns the number of receives whose slots the plugin does not have back.
    fn outstanding(&self) -> usize {
        self.comm.in_flight() + self.arrivals.len()
    }

    /// Returns whether this side unpacks the plugin's receives from a bounce region.
    #[must_use]
    pub const fn unpacks(&self) -> bool {
        self.comm.unpacks()
    }

    /// Returns the payload bytes that the plugin has received.
    #[must_use]
    pub const fn bytes_landed(&self) -> u64 {
        self.landed_bytes
    }

    /// Returns the payload bytes that are at their destination.
    #[must_use]
    pub const fn bytes_placed(&self) -> u64 {
        self.placed_bytes
    }

    /// Closes the connection. The caller must know that the other end has finished: a plugin may break off
    /// its unfinished work.
    ///
    /// # Errors
    /// If requests are still in flight, or the plugin fails.
    pub fn close(mut self) -> Result<()> {
        let open = self.outstanding();
        self.endpoint.make_current()?;
        self.arrivals.clear();
        self.comm.close()?;
        none_open(open)
    }

    /// Ends every wait on this connection from another thread.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller::new(self.cancelled.clone())
    }
}

impl RecvEnd for RecvComm {
    type Request = RecvRequest;

    /// Posts a receive. Returns `None` while as many are outstanding as the options allow: the caller
    /// finishes one first. A plugin that has no room although nothing is outstanding is asked again, within
    /// the timeout.
    ///
    /// # Errors
    /// If the part is in use, or the plugin fails.
    fn irecv(&mut self, destination: &Buffer, offset: u64, bytes: u64) -> Result<Option<RecvRequest>> {
        self.cancelled.check()?;
        self.register(destination)?;
        if self.outstanding() >= self.endpoint.options.slots.into() {
            return Ok(None);
        }
        let (cancelled, name) = (self.cancelled.clone(), self.endpoint.name.clone());
        let mut wait = None;
        while !self.comm.irecv(destination, offset, bytes, tag(self.posted))? {
            if self.outstanding() > 0 {
                return Ok(None);
            }
            let timeout = self.endpoint.options.timeout;
            wait.get_or_insert_with(|| Wait::new(&cancelled, "posting a receive", &name, timeout, bytes))
                .rest()?;
        }
        let request = RecvRequest { number: self.posted, bytes };
        self.posted += 1;
        // Some plugins move bytes only when they are polled.
        self.advance()?;
        Ok(Some(request))
    }

    /// Waits until a message is where it belongs, and finishes the ones before it too. Fails if no receive
    /// lands or ends for `timeout`.
    ///
    /// # Errors
    /// If the plugin or the GPU fails, or the plugin falls silent.
    fn wait(&mut self, request: RecvRequest, timeout: Duration) -> Result<Received> {
        let RecvRequest { number, bytes } = request;
        self.cancelled.check()?;
        self.endpoint.make_current()?;
        let (cancelled, name) = (self.cancelled.clone(), self.endpoint.name.clone());
        let mut wait = Wait::new(&cancelled, "receiving a message", &name, timeout, bytes);
        while self.done <= number {
            if self.advance()? {
                wait.moved();
                continue;
            }
            match self.arrivals.front().and_then(Landed::unpack) {
                // The lane knows when it is done; the plugin may have landed more by then.
                Some(unpack) => {
                    let until = Instant::now() + wait.next_sleep()?;
                    unpack.wait(until)?;
                }
                None => wait.rest_for(&mut self.pace, self.comm.in_flight())?,
            }
        }
        let size = self.sizes[number as usize % SIZES];
        if size.number != number {
            return Err(usage("a receive was waited for after many later ones: wait in their order"));
        }
        Ok(Received { bytes: size.bytes })
    }
}

/// As many receives as may be outstanding, and as many again that were not waited for.
const SIZES: usize = 2 * REQUESTS_MAX;
