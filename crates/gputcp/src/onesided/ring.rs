//! Slots of host memory for the commands under way on one connection.

use std::collections::VecDeque;

use gputcp_gpu::Buffer;
use gputcp_proto::onesided::command::COMMAND_BYTES_MAX;

use crate::Result;

/// Slots of host memory for commands under way, in order.
#[derive(Debug)]
pub(super) struct Ring<R> {
    pub(super) buffer: Buffer,
    pub(super) requests: VecDeque<R>,
    next: usize,
}

impl<R> Ring<R> {
    pub(super) fn new() -> Result<Self> {
        let buffer = Buffer::host((SLOTS * COMMAND_BYTES_MAX) as u64)?;
        Ok(Self { buffer, requests: VecDeque::with_capacity(SLOTS), next: 0 })
    }

    /// Returns the start of the next free slot.
    pub(super) fn slot(&self) -> Option<u64> {
        (self.requests.len() < SLOTS).then_some(((self.next % SLOTS) * COMMAND_BYTES_MAX) as u64)
    }

    pub(super) fn push(&mut self, request: R) {
        self.requests.push_back(request);
        self.next += 1;
    }

    /// Returns the start of the slot whose request was just taken off the front.
    pub(super) fn oldest_done(&self) -> u64 {
        ((self.next - self.requests.len() - 1) % SLOTS * COMMAND_BYTES_MAX) as u64
    }
}

/// Commands under way, each way.
const SLOTS: usize = 16;
