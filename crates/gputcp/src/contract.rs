//! The two traits that each transport implements: the built-in sockets, and any NCCL net plugin.
//!
//! "Not yet" is `None`, never an error; an error ends the connection.

use std::time::Duration;

use gputcp_gpu::Buffer;
use gputcp_proto::{recv::Received, send::Sent};

use crate::{RecvComm, RecvRequest, Result, SendComm, SendRequest};

/// The sending end of a connection.
pub trait SendEnd {
    /// A message in flight; holds its slot.
    type Request;

    /// Returns how many requests are finished at a time. The caller sleeps for the newest of them; the older
    /// ones are then done too. It is 1 where only the oldest may be tested, as in some NCCL net plugins.
    fn batch(&self) -> usize {
        1
    }

    /// Posts `bytes` of `source` from `offset`. Returns `None` when no slot is free, which is never so while
    /// no request is in flight.
    ///
    /// # Errors
    /// If the connection has failed, or the source cannot be sent on it.
    fn isend(&mut self, source: &Buffer, offset: u64, bytes: u64) -> Result<Option<Self::Request>>;

    /// Waits for a request, as long as bytes move. With a batch of 1, the oldest is waited for first.
    ///
    /// # Errors
    /// If the connection has failed, or none of its bytes have moved for `timeout`.
    fn wait(&mut self, request: Self::Request, timeout: Duration) -> Result<Sent>;
}

/// The receiving end of a connection.
pub trait RecvEnd {
    /// A receive in flight; holds its slot.
    type Request;

    /// Returns how many requests are finished at a time. The caller sleeps for the newest of them; the older
    /// ones are then done too. It is 1 where only the oldest may be tested, as in some NCCL net plugins.
    fn batch(&self) -> usize {
        1
    }

    /// Posts a receive of up to `bytes` to `destination` at `offset`. Returns `None` when no slot is free.
    ///
    /// # Errors
    /// If the connection has failed, or the destination cannot be received to on it.
    fn irecv(&mut self, destination: &Buffer, offset: u64, bytes: u64) -> Result<Option<Self::Request>>;

    /// Waits until a message is at its destination, as long as bytes move. With a batch of 1, the oldest is
    /// waited for first.
    ///
    /// # Errors
    /// If the connection has failed, or none of its bytes have moved for `timeout`.
    fn wait(&mut self, request: Self::Request, timeout: Duration) -> Result<Received>;
}

impl SendEnd for SendComm {
    type Request = SendRequest;

    fn batch(&self) -> usize {
        SOCKETS_BATCH
    }

    fn isend(&mut self, source: &Buffer, offset: u64, bytes: u64) -> Result<Option<SendRequest>> {
        self.isend_or_wait(source, offset, bytes)
    }

    fn wait(&mut self, request: SendRequest, timeout: Duration) -> Result<Sent> {
        Self::wait(self, request, timeout)
    }
}

impl RecvEnd for RecvComm {
    type Request = RecvRequest;

    fn batch(&self) -> usize {
        SOCKETS_BATCH
    }

    fn irecv(&mut self, destination: &Buffer, offset: u64, bytes: u64) -> Result<Option<RecvRequest>> {
        Self::irecv(self, destination, offset, bytes)
    }

    fn wait(&mut self, request: RecvRequest, timeout: Duration) -> Result<Received> {
        Self::wait(self, request, timeout)
    }
}

/// A quarter of the receiver's usual window: four chunks take one sleep and one wake-up, and three quarters
/// stay posted.
const SOCKETS_BATCH: usize = 4;
