//! The traffic of one link: this side's transfers, and the peer's requests.

use std::sync::Arc;

use gputcp_proto::onesided::{
    chunks::Block,
    command::{self, Command, HEAD_BYTES, Request},
    key::Operation,
    link::{News, TransferId, UnderWay},
    regions::Refusal,
};

use super::{
    Note,
    job::{Job, Memory, layout_of},
    link::{Inbound, Link, Outbound},
    state::{NOTES_MAX, Shared, State},
};
use crate::{Error, Result};

impl Link {
    /// Does all that can be done now. Returns true if something moved.
    ///
    /// # Errors
    /// If a connection fails, or the peer breaks the rules: the link is lost.
    pub(super) fn round(&mut self, shared: &Shared) -> Result<bool> {
        let mut moved = false;
        while shared.lock().notes.len() < NOTES_MAX {
            let Some(message) = self.next_command()? else { break };
            self.hear(&message, shared)?;
            moved = true;
        }
        while let Some(message) = self.next_sent()? {
            Self::sent(message, shared);
            moved = true;
        }
        while let Some((message, bytes)) = self.next_received()? {
            self.received(message, bytes, shared)?;
            moved = true;
        }
        self.begin_chunks(shared);
        moved |= self.post()?;
        moved |= self.send_commands()?;
        Ok(moved)
    }

    /// Begins as many chunks of this side's transfers as the windows allow.
    fn begin_chunks(&mut self, shared: &Shared) {
        for operation in [Operation::Read, Operation::Write] {
            while let Some(chunk) = self.rules.next(operation) {
                let number = chunk.number as usize;
                let Some((job, first, memory)) = local_side(shared, &chunk) else { continue };
                let key = &job.remotes[first.remote as usize];
                let ranges = job.plan.blocks(number).map(|block| (block.remote_offset, block.bytes));
                let bytes = job.plan.chunk(number).bytes;
                let mut message = vec![0; HEAD_BYTES];
                let mut count = 0;
                for (offset, bytes) in ranges {
                    command::put_range(&mut message, offset, bytes);
                    count += 1;
                }
                let head = Command::request(operation, key, chunk.chunk, bytes, count).encode();
                message[..HEAD_BYTES].copy_from_slice(&head);
                match operation {
                    Operation::Read => {
                        let layout = job.layouts[number].clone();
                        self.recvs.push_back(Inbound::Read(chunk, memory, layout, message));
                    }
                    Operation::Write => self.say(message),
                }
            }
        }
    }

    /// Takes a command of the peer's.
    fn hear(&mut self, message: &[u8], shared: &Shared) -> Result<()> {
        let (command, rest) = Command::decode(message).map_err(|violation| self.misbehaved(violation))?;
        match command {
            Command::Get(request) => self.serve(Operation::Read, &request, rest, shared),
            Command::Offer(request) => self.serve(Operation::Write, &request, rest, shared),
            Command::Note { .. } => {
                shared.lock().notes.push_back(Note { from: self.address, bytes: rest.to_vec() });
                shared.tell();
                Ok(())
            }
            command => {
                let news = self.rules.heard(&command).map_err(|violation| self.misbehaved(violation))?;
                self.take(news, shared);
                Ok(())
            }
        }
    }

    /// Serves a request, or refuses it.
    fn serve(&mut self, operation: Operation, request: &Request, rest: &[u8], shared: &Shared) -> Result<()> {
        self.rules.requested(operation).map_err(|violation| self.misbehaved(violation))?;
        let mut state = shared.lock();
        let granted = state.regions.grant(request.region, operation, command::ranges(rest));
        let granted = granted.and_then(|grant| match state.memory(&grant) {
            Some(memory) => Ok((grant, memory)),
            None => {
                state.regions.give_back(grant);
                Err((0, Refusal::UnknownKey))
            }
        });
        let chunk = request.chunk;
        match granted {
            Ok((grant, memory)) => {
                drop(state);
                let layout = Arc::new(layout_of(command::ranges(rest), request.ranges as usize)?);
                match operation {
                    Operation::Read => self.sends.push_back(Outbound::Get(grant, memory, layout)),
                    Operation::Write => {
                        let pull = Command::Pull { chunk }.encode().to_vec();
                        self.recvs.push_back(Inbound::Offer(chunk, grant, memory, layout, pull));
                    }
                }
            }
            Err((range, refusal)) => {
                state.refused += 1;
                drop(state);
                self.say(Command::Refused { chunk, range: range as u32, refusal }.encode().to_vec());
                match operation {
                    Operation::Read => self.sends.push_back(Outbound::Refused),
                    Operation::Write => self.rules.served(operation),
                }
            }
        }
        Ok(())
    }

    /// Takes the news about one chunk of this side's.
    fn take(&mut self, news: News, shared: &Shared) {
        match news {
            News::Done(chunk) => self.count(chunk.transfer, 1, shared),
            News::Send(chunk) => {
                let number = chunk.number as usize;
                if let Some((job, _, memory)) = local_side(shared, &chunk) {
                    self.sends.push_back(Outbound::Write(memory, job.layouts[number].clone()));
                }
            }
            News::Refused { chunk, range, refusal, is_over } => {
                let mut state = shared.lock();
                let error = refused(&state, &chunk, range, refusal);
                if let Some(flight) = state.flights.get_mut(&chunk.transfer) {
                    flight.failure.get_or_insert(error);
                }
                drop(state);
                self.give_up(chunk.transfer, shared);
                if is_over {
                    self.count(chunk.transfer, 1, shared);
                }
            }
        }
    }

    /// Takes a message that was sent.
    fn sent(message: Outbound, shared: &Shared) {
        // The end of a write is told by the peer, when the bytes are in place.
        if let Outbound::Get(grant, memory, _) = message {
            // First, so that the end of a region is the end of its claim.
            drop(memory);
            shared.lock().give_back(grant);
            shared.tell();
        }
    }

    /// Takes a message that has come.
    fn received(&mut self, message: Inbound, bytes: u64, shared: &Shared) -> Result<()> {
        match message {
            Inbound::Read(chunk, memory, layout, _) => {
                drop(memory);
                if bytes != layout.bytes() && bytes > 0 {
                    return Err(self.wrong_length(bytes, layout.bytes()));
                }
                if self.rules.arrived(bytes == 0) {
                    self.count(chunk.transfer, 1, shared);
                }
                Ok(())
            }
            Inbound::Offer(chunk, grant, memory, layout, _) => {
                drop(memory);
                shared.lock().give_back(grant);
                shared.tell();
                self.rules.served(Operation::Write);
                if bytes != layout.bytes() {
                    return Err(self.wrong_length(bytes, layout.bytes()));
                }
                self.say(Command::Done { chunk }.encode().to_vec());
                Ok(())
            }
        }
    }

    /// Begins no more chunks of a transfer that has failed or was cancelled.
    pub(super) fn give_up(&mut self, transfer: TransferId, shared: &Shared) {
        let left = self.rules.cancel(transfer);
        self.count(transfer, left, shared);
    }

    /// Counts chunks that are over. A transfer without any left is over, and its note goes out.
    pub(super) fn count(&mut self, transfer: TransferId, chunks: u32, shared: &Shared) {
        let mut state = shared.lock();
        let Some(flight) = state.flights.get_mut(&transfer) else { return };
        flight.left = flight.left.saturating_sub(chunks);
        if flight.left > 0 || flight.is_over {
            return;
        }
        let note = flight.note.take().filter(|_| flight.failure.is_none());
        state.end(transfer);
        drop(state);
        if let Some(note) = note {
            self.say_note(&note);
        }
        shared.tell();
    }

    /// Queues a note.
    pub(super) fn say_note(&mut self, bytes: &[u8]) {
        let mut message = Command::Note { bytes: bytes.len() as u32 }.encode().to_vec();
        message.extend_from_slice(bytes);
        self.say(message);
    }

    fn misbehaved(&self, violation: gputcp_proto::Violation) -> Error {
        Error::PeerMisbehaved { peer: format!("{:?}", self.address).into(), violation }
    }

    fn wrong_length(&self, found: u64, expected: u64) -> Error {
        let value = found;
        tracing::debug!(found, expected, "a one-sided message has a wrong length");
        self.misbehaved(gputcp_proto::Violation::Field { frame: "one-sided message", field: "length", value })
    }
}

/// Returns the job of a chunk, its first block, and the memory of its local side.
fn local_side(shared: &Shared, chunk: &UnderWay) -> Option<(Arc<Job>, Block, Arc<Memory>)> {
    let state = shared.lock();
    let flight = state.flights.get(&chunk.transfer)?;
    let first = flight.job.plan.blocks(chunk.number as usize).next()?;
    let memory = flight.locals.get(first.local as usize)?.clone();
    Some((flight.job.clone(), first, memory))
}

/// Returns the error of a refused chunk: which block, and why.
fn refused(state: &State, chunk: &UnderWay, range: u32, refusal: Refusal) -> Error {
    let Some(flight) = state.flights.get(&chunk.transfer) else {
        return Error::usage("a cancelled transfer was refused");
    };
    let job = &flight.job;
    let block = job.plan.number(chunk.number as usize, range as usize);
    let operation = job.operation;
    Error::usage(format!("the peer refused block {block} of a {operation}: {refusal}"))
}
