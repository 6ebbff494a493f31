//! What every transport offers: the built-in sockets today, a foreign NCCL net plugin behind the same two traits.
//!
//! "Not yet" is `None`, never an error; an error ends the connection.

use std::time::Instant;

use gputcp_gpu::Buffer;
use gputcp_proto::{recv::Received, send::Sent};

use crate::{RecvComm, RecvRequest, Result, SendComm, SendRequest};

/// The sending end of a connection.
pub trait SendEnd {
    /// A message in flight; holds its slot.
    type Request;

    /// Posts `bytes` of `source` from `offset`; `None` when no slot is free.
    ///
    /// # Errors
    /// If the connection has failed, or the source cannot be sent on it.
    fn isend(&mut self, source: &Buffer, offset: u64, bytes: u64) -> Result<Option<Self::Request>>;

    /// Waits for a request; the oldest is waited for first.
    ///
    /// # Errors
    /// If the connection has failed, or does so by the deadline.
    fn wait(&mut self, request: Self::Request, deadline: Instant) -> Result<Sent>;
}

/// The receiving end of a connection.
pub trait RecvEnd {
    /// A receive in flight; holds its slot.
    type Request;

    /// Posts a receive of up to `bytes` to `destination` at `offset`; `None` when no slot is free.
    ///
    /// # Errors
    /// If the connection has failed, or the destination cannot be received to on it.
    fn irecv(&mut self, destination: &Buffer, offset: u64, bytes: u64) -> Result<Option<Self::Request>>;

    /// Waits until a message is where it belongs; the oldest is waited for first.
    ///
    /// # Errors
    /// If the connection has failed, or does so by the deadline.
    fn wait(&mut self, request: Self::Request, deadline: Instant) -> Result<Received>;
}

impl SendEnd for SendComm {
    type Request = SendRequest;

    fn isend(&mut self, source: &Buffer, offset: u64, bytes: u64) -> Result<Option<SendRequest>> {
        Self::isend(self, source, offset, bytes)
    }

    fn wait(&mut self, request: SendRequest, deadline: Instant) -> Result<Sent> {
        Self::wait(self, request, deadline)
    }
}

impl RecvEnd for RecvComm {
    type Request = RecvRequest;

    fn irecv(&mut self, destination: &Buffer, offset: u64, bytes: u64) -> Result<Option<RecvRequest>> {
        Self::irecv(self, destination, offset, bytes)
    }

    fn wait(&mut self, request: RecvRequest, deadline: Instant) -> Result<Received> {
        Self::wait(self, request, deadline)
    }
}
