//! The traffic of one link: this side's transfers, and the peer's requests.

use std::sync::Arc;

use gputcp_proto::onesided::{
    chunks::Distinct,
    command::{Command, Kind, PUT_BYTES_MAX, Request},
    key::Operation,
    link::{News, TransferId, UnderWay},
    regions::{Grant, Refusal},
};

use super::{
    Note,
    commands::{Heard, Put},
    job::{Job, Memory, Side, layout_of, starts},
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
            match self.next_heard()? {
                None => break,
                Some(Heard::Command(message)) => self.hear(&message, shared)?,
                Some(Heard::Bytes(Put { chunk, grants, side }, bytes)) => {
                    if let Some(side) = side {
                        self.written(chunk, grants, side, bytes, shared)?;
                    }
                }
            }
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
        self.begin_chunks(shared)?;
        moved |= self.post()?;
        moved |= self.send_commands()?;
        Ok(moved)
    }

    /// Begins as many chunks of this side's transfers as the windows allow.
    fn begin_chunks(&mut self, shared: &Shared) -> Result<()> {
        for operation in [Operation::Read, Operation::Write] {
            while let Some(chunk) = self.rules.next(operation) {
                let Some(job) = job_of(shared, &chunk) else { continue };
                let is_put = operation == Operation::Write
                    && job.plan.chunk(chunk.number as usize).bytes <= PUT_BYTES_MAX;
                let message = request(&job, &chunk, is_put);
                match operation {
                    Operation::Write if is_put => {
                        if let Some(side) = local_side(shared, &chunk)? {
                            self.rules.put(chunk.chunk);
                            self.put(message, side);
                        }
                    }
                    Operation::Read => {
                        if let Some(side) = local_side(shared, &chunk)? {
                            self.recvs.push_back(Inbound::Read(chunk, side, message));
                        }
                    }
                    Operation::Write => self.say(message),
                }
            }
        }
        Ok(())
    }

    /// Takes a command of the peer's.
    fn hear(&mut self, message: &[u8], shared: &Shared) -> Result<()> {
        let (command, rest) = Command::decode(message).map_err(|violation| self.misbehaved(violation))?;
        match command {
            Command::Request(kind, request) => self.serve(kind, &request, rest, shared),
            Command::Note { .. } => {
                shared.lock().notes.push_back(Note { from: self.address, bytes: rest.to_vec() });
                shared.tell();
                Ok(())
            }
            command => {
                let news = self.rules.heard(&command).map_err(|violation| self.misbehaved(violation))?;
                self.take(news, shared)
            }
        }
    }

    /// Serves a request, or refuses it.
    fn serve(&mut self, kind: Kind, request: &Request, rest: &[u8], shared: &Shared) -> Result<()> {
        let chunk = request.chunk;
        let mut state = shared.lock();
        let judged = self.rules.judge(kind, request, rest, &mut state.regions);
        match judged.map_err(|violation| self.misbehaved(violation))? {
            Ok(grants) => {
                let regions: Vec<_> = grants.iter().filter_map(|grant| state.memory(grant)).collect();
                drop(state);
                let side = side_of(regions, request, rest);
                let Ok(side) = side else {
                    let mut state = shared.lock();
                    grants.into_iter().for_each(|grant| state.give_back(grant));
                    drop(state);
                    return Err(self.mixed(request.regions));
                };
                match kind {
                    Kind::Get => self.sends.push_back(Outbound::Get(grants, side)),
                    Kind::Put => self.await_bytes(Put { chunk, grants, side: Some(side) }),
                    Kind::Offer => {
                        let pull = Command::Pull { chunk }.encode().to_vec();
                        self.recvs.push_back(Inbound::Offer(chunk, grants, side, pull));
                    }
                }
            }
            Err(refused) => {
                state.refused += 1;
                drop(state);
                self.say(refused.encode().to_vec());
                match kind {
                    Kind::Get => self.sends.push_back(Outbound::Refused),
                    Kind::Offer => {}
                    Kind::Put => self.await_bytes(Put { chunk, grants: vec![], side: None }),
                }
            }
        }
        Ok(())
    }

    /// Takes the news about one chunk of this side's.
    fn take(&mut self, news: News, shared: &Shared) -> Result<()> {
        match news {
            News::Done(chunk) => self.count(chunk.transfer, 1, shared),
            News::Send(chunk) => {
                if let Some(side) = local_side(shared, &chunk)? {
                    self.sends.push_back(Outbound::Write(side));
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
        Ok(())
    }

    /// Takes a message that was sent.
    fn sent(message: Outbound, shared: &Shared) {
        // The end of a write is told by the peer, when the bytes are in place.
        if let Outbound::Get(grants, side) = message {
            // First, so that the end of a region is the end of its claim.
            drop(side);
            let mut state = shared.lock();
            grants.into_iter().for_each(|grant| state.give_back(grant));
            drop(state);
            shared.tell();
        }
    }

    /// Takes a message that has come.
    fn received(&mut self, message: Inbound, bytes: u64, shared: &Shared) -> Result<()> {
        match message {
            Inbound::Read(chunk, side, _) => {
                let expected = side.bytes();
                drop(side);
                if bytes != expected && bytes > 0 {
                    return Err(self.wrong_length(bytes, expected));
                }
                if self.rules.arrived(bytes == 0) {
                    self.count(chunk.transfer, 1, shared);
                }
                Ok(())
            }
            Inbound::Offer(chunk, grants, side, _) => self.written(chunk, grants, side, bytes, shared),
        }
    }

    /// Takes the end of a peer's write: its bytes are in place.
    fn written(
        &mut self,
        chunk: u64,
        grants: Vec<Grant>,
        side: Side,
        bytes: u64,
        shared: &Shared,
    ) -> Result<()> {
        let expected = side.bytes();
        // First, so that the end of a region is the end of its claim.
        drop(side);
        let mut state = shared.lock();
        grants.into_iter().for_each(|grant| state.give_back(grant));
        drop(state);
        shared.tell();
        self.rules.served(Operation::Write);
        if bytes != expected {
            return Err(self.wrong_length(bytes, expected));
        }
        self.say(Command::Done { chunk }.encode().to_vec());
        Ok(())
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

    fn mixed(&self, regions: u32) -> Error {
        let (frame, field) = ("command", "number of regions of different memories");
        self.misbehaved(gputcp_proto::Violation::Field { frame, field, value: regions.into() })
    }

    fn wrong_length(&self, found: u64, expected: u64) -> Error {
        let value = found;
        tracing::debug!(found, expected, "a one-sided message has a wrong length");
        self.misbehaved(gputcp_proto::Violation::Field { frame: "one-sided message", field: "length", value })
    }
}

/// Returns the job of a chunk, if its transfer is not over.
fn job_of(shared: &Shared, chunk: &UnderWay) -> Option<Arc<Job>> {
    shared
        .lock()
        .flights
        .get(&chunk.transfer)
        .filter(|flight| !flight.is_over)
        .map(|flight| flight.job.clone())
}

/// Returns the request of a chunk.
fn request(job: &Job, chunk: &UnderWay, is_put: bool) -> Vec<u8> {
    let kind = match job.operation {
        Operation::Read => Kind::Get,
        Operation::Write if is_put => Kind::Put,
        Operation::Write => Kind::Offer,
    };
    job.plan.request(chunk.number as usize, kind, chunk.chunk, &job.remotes)
}

/// Returns a chunk's bytes at this end, its initiator's.
fn local_side(shared: &Shared, chunk: &UnderWay) -> Result<Option<Side>> {
    let state = shared.lock();
    let number = chunk.number as usize;
    let Some(flight) = state.flights.get(&chunk.transfer).filter(|flight| !flight.is_over) else {
        return Ok(None);
    };
    let (job, mut locals) = (flight.job.clone(), Distinct::default());
    let count = job.plan.blocks(number).map(|block| locals.place_of(block.local)).count();
    let memory: Vec<_> =
        locals.regions().iter().map(|&local| flight.locals[local as usize].clone()).collect();
    drop(state);
    let layout = match job.layouts[number].get() {
        Some(layout) => layout.clone(),
        None => {
            let starts: Vec<u64> = starts(memory.iter().map(|region| &region.buffer)).collect();
            let ranges = job
                .plan
                .blocks(number)
                .map(|block| (starts[locals.place_of(block.local)] + block.local_offset, block.bytes));
            let layout = Arc::new(layout_of(ranges, count)?);
            job.layouts[number].get_or_init(|| layout).clone()
        }
    };
    Side::new(memory, layout).map(Some)
}

/// Returns a chunk's bytes at this end, its target's.
fn side_of(regions: Vec<Arc<Memory>>, request: &Request, rest: &[u8]) -> Result<Side> {
    let starts: Vec<u64> = starts(regions.iter().map(|region| &region.buffer)).collect();
    let ranges = request.ranges(rest).map(|range| {
        let start = starts.get(usize::from(range.region)).copied().unwrap_or(u64::MAX);
        (start.saturating_add(range.offset), range.bytes.into())
    });
    let layout = layout_of(ranges, request.ranges as usize)?;
    Side::new(regions, Arc::new(layout))
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
