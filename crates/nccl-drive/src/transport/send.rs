//! The sending end of a plugin's connection.

use std::{sync::Arc, time::Duration};

use gputcp_gpu::Buffer;
use gputcp_proto::send::Sent;

use super::{
    Endpoint, usage,
    wait::{Cancelled, Pace, Wait},
};
use crate::send::SendComm as Sends;
use gputcp::{Canceller, Result, contract::SendEnd};

/// The sending end of a plugin's connection. A drop closes it; see [`SendComm::close`] for when that is
/// right.
#[derive(Debug)]
pub struct SendComm {
    comm: Sends,
    endpoint: Endpoint,
    cancelled: Arc<Cancelled>,
    pace: Pace,
    posted: u64,
    /// The number of sends that are done, which are the oldest.
    done: u64,
}

/// A send in flight.
#[must_use = "wait for it"]
#[derive(Debug)]
pub struct SendRequest {
    number: u64,
    bytes: u64,
}

impl SendComm {
    pub(super) fn start(comm: Sends, endpoint: Endpoint) -> Self {
        Self { comm, endpoint, cancelled: Arc::default(), pace: Pace::here(), posted: 0, done: 0 }
    }

    /// Registers memory with the plugin before it is sent from, so that the first send need not.
    ///
    /// # Errors
    /// If the plugin takes no such memory, or fails.
    pub fn register(&mut self, buffer: &Buffer) -> Result<()> {
        self.endpoint.make_current()?;
        let pointer = self.endpoint.pointer(buffer.kind());
        Ok(self.comm.register(buffer, pointer, self.endpoint.options.gpu.as_ref())?)
    }

    /// Polls the oldest send, and returns whether it is done.
    fn test(&mut self) -> Result<bool> {
        let done = self.comm.test_oldest()?.is_some();
        self.done += u64::from(done);
        self.pace.ended(done.into());
        Ok(done)
    }

    /// Closes the connection. The caller must know that the other end has received everything: a plugin may
    /// break off bytes that are on their way.
    ///
    /// # Errors
    /// If requests are still in flight, or the plugin fails.
    pub fn close(self) -> Result<()> {
        let open = self.comm.in_flight();
        self.endpoint.make_current()?;
        self.comm.close()?;
        none_open(open)
    }

    /// Ends every wait on this connection from another thread.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller::new(self.cancelled.clone())
    }
}

impl SendEnd for SendComm {
    type Request = SendRequest;

    /// Posts a send. Returns `None` while as many are outstanding as the options allow: the caller finishes
    /// one first. A plugin that has no room although nothing is outstanding is asked again, within the
    /// timeout.
    ///
    /// # Errors
    /// If the part is being written, or the plugin fails.
    fn isend(&mut self, source: &Buffer, offset: u64, bytes: u64) -> Result<Option<SendRequest>> {
        self.cancelled.check()?;
        self.register(source)?;
        let Self { comm, endpoint, cancelled, .. } = self;
        if comm.in_flight() >= endpoint.options.slots.into() {
            return Ok(None);
        }
        let mut wait = None;
        while !comm.isend(source, offset, bytes, tag(self.posted))? {
            if comm.in_flight() > 0 {
                return Ok(None);
            }
            let start =
                || Wait::new(cancelled, "posting a send", &endpoint.name, endpoint.options.timeout, bytes);
            wait.get_or_insert_with(start).rest()?;
        }
        let request = SendRequest { number: self.posted, bytes };
        self.posted += 1;
        // Some plugins move bytes only when they are polled.
        self.test()?;
        Ok(Some(request))
    }

    /// Waits until the plugin has taken all of a send, and finishes the ones before it too. Fails if no send
    /// ends for `timeout`.
    ///
    /// # Errors
    /// If the plugin fails, or falls silent.
    fn wait(&mut self, request: SendRequest, timeout: Duration) -> Result<Sent> {
        let SendRequest { number, bytes } = request;
        self.cancelled.check()?;
        self.endpoint.make_current()?;
        let (cancelled, name) = (self.cancelled.clone(), self.endpoint.name.clone());
        let mut wait = Wait::new(&cancelled, "sending a message", &name, timeout, bytes);
        while self.done <= number {
            if self.test()? {
                wait.moved();
            } else {
                wait.rest_for(&mut self.pace, self.comm.in_flight())?;
            }
        }
        Ok(Sent { bytes })
    }
}

/// Returns a message's tag. Messages are matched in order; the tags agree with it, for plugins that compare
/// them.
pub(super) const fn tag(number: u64) -> i32 {
    (number & i32::MAX as u64) as i32
}

/// Refuses an end that leaves requests in flight.
pub(super) fn none_open(open: usize) -> Result<()> {
    if open == 0 {
        return Ok(());
    }
    Err(usage(format!(
        "{open} requests were still in flight when the connection was closed: wait for them first"
    )))
}
