//! A connection as NCCL holds it, and its requests.
//!
//! NCCL asks for a request with nothing but the request's pointer. That is the connection's own address with the number of
//! the request's place in its lowest bits, so a request needs no memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gputcp::{RecvComm, RecvRequest, Result, SendComm, SendRequest};
use gputcp_gpu::Buffer;
use gputcp_nccl_abi::ResultCode;

use crate::{
    answer::{failed, refused},
    started::Plugin,
};

/// A connection. Its alignment leaves its address as many low bits as number the requests.
#[derive(Debug)]
#[repr(align(32))]
pub(crate) struct Comm {
    end: Mutex<End>,
}

/// Which end of a connection.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it lies on the heap, once per connection")]
pub(crate) enum End {
    Send(Requests<SendComm>),
    Recv(Requests<RecvComm>),
}

/// A connection's end and its requests in flight.
#[derive(Debug)]
pub(crate) struct Requests<C: Carry> {
    comm: C,
    /// In places that NCCL's pointers name; a place is free when `test` has said that its request is done.
    open: [Option<C::Request>; REQUESTS],
    /// What ended the connection: the answer to all that is asked afterwards.
    failed: Option<ResultCode>,
}

/// What both ends of a connection can do.
pub(crate) trait Carry {
    type Request: std::fmt::Debug;

    /// The length of the message, if the request is done, or else the request again.
    fn test(&mut self, request: Self::Request) -> Result<Result<u64, Self::Request>>;
}

/// The most requests in flight: what NCCL asks for, and what the transport has slots for.
pub(crate) const REQUESTS: usize = gputcp_nccl_abi::sys::constants::REQUESTS_MAX;
const _: () = assert!(REQUESTS == align_of::<Comm>(), "a request's number fits the low bits of its address");
const _: () = assert!(REQUESTS == gputcp_proto::frame::SLOTS_MAX as usize, "a slot for each request");

impl Comm {
    pub(crate) const fn new(end: End) -> Self {
        Self { end: Mutex::new(end) }
    }

    /// Posts a send; the number of its request, or none if all are in flight.
    pub(crate) fn isend(
        &self,
        (source, offset): (&Buffer, u64),
        bytes: u64,
    ) -> Result<Option<usize>, ResultCode> {
        match &mut *self.lock() {
            End::Send(sends) => sends.post(|comm| comm.isend(source, offset, bytes)),
            End::Recv(_) => Err(refused("isend was called for a connection that receives")),
        }
    }

    /// Posts a receive; the number of its request, or none if all are in flight.
    pub(crate) fn irecv(
        &self,
        (to, offset): (&Buffer, u64),
        bytes: u64,
    ) -> Result<Option<usize>, ResultCode> {
        match &mut *self.lock() {
            End::Recv(receives) => receives.post(|comm| comm.irecv(to, offset, bytes)),
            End::Send(_) => Err(refused("irecv was called for a connection that sends")),
        }
    }

    /// The length of a request's message, if it is done.
    pub(crate) fn test(&self, number: usize) -> Result<Option<u64>, ResultCode> {
        match &mut *self.lock() {
            End::Send(sends) => sends.test(number),
            End::Recv(receives) => receives.test(number),
        }
    }

    /// Ends it, without waiting for the peer. With requests in flight, or after a failure, it is reset; when this returns
    /// nothing touches their memory any more.
    pub(crate) fn close(self, plugin: &Plugin) {
        let patience = plugin.settings.timeout;
        let left = match self.end.into_inner().unwrap_or_else(PoisonError::into_inner) {
            End::Send(sends) => sends.comm.leave(patience),
            End::Recv(receives) => receives.comm.leave(patience),
        };
        // NCCL closes what it has given up as well: that is no failure of the close.
        if let Err(error) = left {
            crate::log::info(&format!("a connection was reset when it was closed: {error}"));
        }
    }

    /// A panic in the middle of a call was answered as an error, and NCCL then closes.
    fn lock(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Carry> Requests<C> {
    pub(crate) const fn new(comm: C) -> Self {
        Self { comm, open: [const { None }; REQUESTS], failed: None }
    }

    fn post(
        &mut self,
        post: impl FnOnce(&mut C) -> Result<Option<C::Request>>,
    ) -> Result<Option<usize>, ResultCode> {
        if let Some(code) = self.failed {
            return Err(code);
        }
        // "Full" is no error: NCCL asks again.
        let Some(number) = self.open.iter().position(Option::is_none) else { return Ok(None) };
        self.open[number] = post(&mut self.comm).map_err(|error| self.fail(&error))?;
        Ok(self.open[number].is_some().then_some(number))
    }

    fn test(&mut self, number: usize) -> Result<Option<u64>, ResultCode> {
        let Some(request) = self.open[number].take() else {
            let unknown = || refused("test was called for a request that is not in flight");
            return Err(self.failed.unwrap_or_else(unknown));
        };
        match self.comm.test(request) {
            Ok(Ok(bytes)) => Ok(Some(bytes)),
            Ok(Err(request)) => {
                self.open[number] = Some(request);
                Ok(None)
            }
            Err(error) => Err(self.fail(&error)),
        }
    }

    /// Every request of a failed connection fails alike; the log says it once.
    #[track_caller]
    fn fail(&mut self, error: &gputcp::Error) -> ResultCode {
        *self.failed.get_or_insert_with(|| failed(error))
    }
}

impl Carry for SendComm {
    type Request = SendRequest;

    fn test(&mut self, request: SendRequest) -> Result<Result<u64, SendRequest>> {
        Ok(Self::test(self, request)?.map(|sent| sent.bytes))
    }
}

impl Carry for RecvComm {
    type Request = RecvRequest;

    fn test(&mut self, request: RecvRequest) -> Result<Result<u64, RecvRequest>> {
        Ok(Self::test(self, request)?.map(|received| received.bytes))
    }
}
