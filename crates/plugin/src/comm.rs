//! A connection as NCCL holds it, and its requests.
//!
//! NCCL polls a request with the request's pointer alone. That is the connection's own address with the
//! number of the request's place in its lowest bits, so a request needs no memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gputcp::{Error, GroupRequest, Part, Progress, RecvComm, RecvRequest, Result, SendComm, SendRequest};
use gputcp_gpu::Buffer;
use gputcp_nccl_net::ResultCode;
use gputcp_proto::frame::{RECEIVES_MAX, SLOTS_MAX};

use crate::{
    answer::{failed, refused},
    started::Started,
};

/// A connection. Its alignment leaves its address as many low bits as number the requests.
#[derive(Debug)]
#[repr(align(256))]
pub(crate) struct Comm {
    end: Mutex<End>,
}

/// One of the two ends of a connection.
#[derive(Debug)]
pub(crate) enum End {
    Send(Requests<SendComm>),
    Recv(Requests<RecvComm>),
}

/// A connection's end and its requests in flight.
#[derive(Debug)]
pub(crate) struct Requests<C: Carry> {
    comm: C,
    /// The requests by the numbers in NCCL's pointers; a place is free once `test` has reported its request
    /// as done.
    open: Box<[Option<C::Request>]>,
    /// The failure that ended the connection: the answer to every later call.
    failed: Option<ResultCode>,
}

/// The operations that both ends of a connection have.
pub(crate) trait Carry {
    type Request: std::fmt::Debug;

    /// Returns the most requests in flight.
    fn requests(&self) -> usize;

    /// Reports the lengths of the messages if the request is done, or else gives the request back.
    fn test(
        &mut self,
        request: Self::Request,
        say: impl FnMut(usize, u64),
    ) -> Result<Progress<(), Self::Request>>;
}

/// A receive request in flight.
#[derive(Debug)]
pub(crate) enum Receiving {
    One(RecvRequest),
    Group(GroupRequest),
}

/// The most requests in flight: the number that NCCL asks for, and that the transport has slots for.
///
/// Sends may number one for each receive of each request.
const REQUESTS: usize = gputcp_nccl_net::layout::constants::REQUESTS_MAX;
/// The number of requests that the low bits of a connection's address can tell apart.
pub(crate) const NUMBERS: usize = align_of::<Comm>();
const _: () = assert!(REQUESTS * RECEIVES_MAX as usize == NUMBERS, "a number for each request");
const _: () = assert!(REQUESTS == SLOTS_MAX as usize, "a slot for each request");

impl Comm {
    pub(crate) const fn new(end: End) -> Self {
        Self { end: Mutex::new(end) }
    }

    /// Posts a send; returns the number of its request, or `None` if all are in flight.
    pub(crate) fn isend(
        &self,
        source: &Buffer,
        offset: u64,
        bytes: u64,
        tag: i32,
    ) -> Result<Option<usize>, ResultCode> {
        match &mut *self.lock() {
            End::Send(sends) => sends.post(|comm| comm.isend_tagged(source, offset, bytes, tag)),
            End::Recv(_) => Err(refused("isend was called for a connection that receives")),
        }
    }

    /// Posts a receive; returns the number of its request, or `None` if all are in flight.
    pub(crate) fn irecv(&self, part: Part<'_>) -> Result<Option<usize>, ResultCode> {
        let Part { destination, offset, bytes, tag } = part;
        self.post_receive(|comm| Ok(comm.irecv_tagged(destination, offset, bytes, tag)?.map(Receiving::One)))
    }

    /// Posts several receives as one request; returns its number, or `None` if all are in flight.
    pub(crate) fn irecv_group(&self, parts: &[Part<'_>]) -> Result<Option<usize>, ResultCode> {
        self.post_receive(|comm| {
            let most = usize::from(comm.max_receives());
            if parts.len() > most {
                return Err(Error::Usage(
                    format!(
                        "{} receives came in one request, of which this connection takes {most}: all ranks need the same \
                         GPUTCP_MAX_RECEIVES",
                        parts.len()
                    )
                    .into(),
                ));
            }
            Ok(comm.irecv_group(parts)?.map(Receiving::Group))
        })
    }

    fn post_receive(
        &self,
        post: impl FnOnce(&mut RecvComm) -> Result<Option<Receiving>>,
    ) -> Result<Option<usize>, ResultCode> {
        match &mut *self.lock() {
            End::Recv(receives) => receives.post(post),
            End::Send(_) => Err(refused("irecv was called for a connection that sends")),
        }
    }

    /// Returns whether a request is done; if so, reports its messages' lengths, each with its place in the
    /// request.
    pub(crate) fn test(&self, number: usize, say: impl FnMut(usize, u64)) -> Result<bool, ResultCode> {
        match &mut *self.lock() {
            End::Send(sends) => sends.test(number, say),
            End::Recv(receives) => receives.test(number, say),
        }
    }

    /// Ends the connection, without waiting for the peer.
    ///
    /// With requests in flight, or after a failure, it is reset. When this returns, no thread touches their
    /// memory any more.
    pub(crate) fn close(self, plugin: &Started) {
        let timeout = plugin.settings.timeout;
        let left = match self.end.into_inner().unwrap_or_else(PoisonError::into_inner) {
            End::Send(sends) => sends.comm.leave(timeout),
            End::Recv(receives) => receives.comm.leave(timeout),
        };
        // NCCL also closes a connection that it has given up: that is no failure of the close.
        if let Err(error) = left {
            crate::log::info(&format!("a connection was reset when it was closed: {error}"));
        }
    }

    /// Locks the end, poisoned or not: a panic in the middle of a call was answered as an error, and NCCL
    /// then closes.
    fn lock(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Carry> Requests<C> {
    pub(crate) fn new(comm: C) -> Self {
        let open = (0..comm.requests()).map(|_| None).collect();
        Self { comm, open, failed: None }
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

    fn test(&mut self, number: usize, say: impl FnMut(usize, u64)) -> Result<bool, ResultCode> {
        let Some(request) = self.open.get_mut(number).and_then(Option::take) else {
            let unknown = || refused("test was called for a request that is not in flight");
            return Err(self.failed.unwrap_or_else(unknown));
        };
        match self.comm.test(request, say) {
            Ok(Progress::Done(())) => Ok(true),
            Ok(Progress::NotYet(request)) => {
                self.open[number] = Some(request);
                Ok(false)
            }
            Err(error) => Err(self.fail(&error)),
        }
    }

    /// Records a failure; every request of a failed connection fails alike, and the log has it once.
    #[track_caller]
    fn fail(&mut self, error: &Error) -> ResultCode {
        *self.failed.get_or_insert_with(|| failed(error))
    }
}

impl Carry for SendComm {
    type Request = SendRequest;

    fn requests(&self) -> usize {
        REQUESTS * usize::from(self.max_receives())
    }

    fn test(
        &mut self,
        request: SendRequest,
        mut say: impl FnMut(usize, u64),
    ) -> Result<Progress<(), SendRequest>> {
        Ok(Self::test(self, request)?.map(|sent| say(0, sent.bytes)))
    }
}

impl Carry for RecvComm {
    type Request = Receiving;

    fn requests(&self) -> usize {
        REQUESTS
    }

    fn test(
        &mut self,
        request: Receiving,
        mut say: impl FnMut(usize, u64),
    ) -> Result<Progress<(), Receiving>> {
        Ok(match request {
            Receiving::One(request) => {
                let received = Self::test(self, request)?.map_not_yet(Receiving::One);
                received.map(|received| say(0, received.bytes))
            }
            Receiving::Group(request) => {
                let group = self.test_group(request)?.map_not_yet(Receiving::Group);
                group.map(|group| {
                    group.parts().iter().enumerate().for_each(|(at, received)| say(at, received.bytes));
                })
            }
        })
    }
}
