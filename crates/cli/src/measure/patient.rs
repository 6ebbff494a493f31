//! Connections that wait for progress, not for an end: each chunk may take as long as the timeout, the message as long as
//! its chunks do. A deadline for the whole message would have to guess how fast the network is.

use std::time::{Duration, Instant};

use gputcp::{
    RecvComm, RecvRequest, Result, SendComm, SendRequest,
    contract::{RecvEnd, SendEnd},
};
use gputcp_gpu::Buffer;
use gputcp_proto::{recv::Received, send::Sent};

/// A connection whose every wait is bounded anew.
#[derive(Debug)]
pub struct Patient<C> {
    /// The connection.
    pub comm: C,
    /// How long one chunk may take.
    pub timeout: Duration,
}

impl SendEnd for Patient<SendComm> {
    const BATCH: usize = SendComm::BATCH;
    type Request = SendRequest;

    fn isend(&mut self, source: &Buffer, offset: u64, bytes: u64) -> Result<Option<SendRequest>> {
        self.comm.isend(source, offset, bytes)
    }

    fn wait(&mut self, request: SendRequest, _: Instant) -> Result<Sent> {
        self.comm.wait(request, Instant::now() + self.timeout)
    }
}

impl RecvEnd for Patient<RecvComm> {
    const BATCH: usize = RecvComm::BATCH;
    type Request = RecvRequest;

    fn irecv(&mut self, destination: &Buffer, offset: u64, bytes: u64) -> Result<Option<RecvRequest>> {
        self.comm.irecv(destination, offset, bytes)
    }

    fn wait(&mut self, request: RecvRequest, _: Instant) -> Result<Received> {
        self.comm.wait(request, Instant::now() + self.timeout)
    }
}

/// What is given where a message's deadline is asked for: the chunks' deadlines are the ones that hold.
#[must_use]
pub fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(365 * 24 * 3600)
}
