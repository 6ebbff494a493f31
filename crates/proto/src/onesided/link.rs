//! The transfers between two endpoints: which chunk goes next, and which are under way.

use std::collections::VecDeque;

use super::{
    command::{Command, Kind, Request},
    key::Operation,
    regions::{Grant, Refusal, Regions},
};
use crate::Violation;

/// This side's transfers with one peer.
///
/// Reads and writes have a window each. The next chunk is taken from the transfer that has waited longest, so
/// a short transfer waits for one window of others at most.
#[derive(Debug)]
pub struct Link {
    /// The transfers that have chunks left to begin, by operation; the next one first.
    waiting: [VecDeque<Waiting>; 2],
    /// The chunks under way, by operation. Reads are in the order in which they were asked for.
    under_way: [VecDeque<UnderWay>; 2],
    /// Reads whose empty message came before the reason of their refusal.
    unexplained: Vec<UnderWay>,
    window: usize,
    next_chunk: u64,
    /// The peer's offers that are not done.
    offers: usize,
    /// The peer's reads whose messages are not posted.
    gets: usize,
}

/// A transfer's number, by its initiator.
pub type TransferId = u64;

#[derive(Debug)]
struct Waiting {
    transfer: TransferId,
    next: u32,
    chunks: u32,
}

/// A chunk of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnderWay {
    /// The transfer.
    pub transfer: TransferId,
    /// The chunk's number in the transfer's plan.
    pub number: u32,
    /// The chunk's number in commands.
    pub chunk: u64,
    /// Whether the bytes of a write go, and since when.
    sending: Sending,
    /// The peer has refused it, and said why.
    is_refused: bool,
}

/// When the bytes of a write go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// Once the peer asks for them.
    OnPull,
    /// Now: the peer has asked.
    Pulled,
    /// With the request.
    Put,
}

/// The news about one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It is done.
    Done(UnderWay),
    /// The peer wants the bytes of a write: send them next.
    Send(UnderWay),
    /// The peer refused it: this range, for this reason.
    Refused {
        /// The chunk.
        chunk: UnderWay,
        /// The number of the range in the chunk.
        range: u32,
        /// The reason.
        refusal: Refusal,
        /// Whether the chunk is over. A read is over when its empty message has come, too.
        is_over: bool,
    },
}

impl Link {
    /// Returns a link with so many chunks under way each way. Both ends have the same number.
    #[must_use]
    pub fn new(window: usize) -> Self {
        Self {
            waiting: Default::default(),
            under_way: Default::default(),
            unexplained: Vec::new(),
            window,
            next_chunk: 0,
            offers: 0,
            gets: 0,
        }
    }

    /// Adds a transfer of so many chunks.
    pub fn post(&mut self, operation: Operation, transfer: TransferId, chunks: u32) {
        if chunks > 0 {
            self.waiting[at(operation)].push_back(Waiting { transfer, next: 0, chunks });
        }
    }

    /// Returns the next chunk to begin, if the window has room.
    pub fn next(&mut self, operation: Operation) -> Option<UnderWay> {
        let (waiting, under_way) = (&mut self.waiting[at(operation)], &mut self.under_way[at(operation)]);
        if under_way.len() >= self.window {
            return None;
        }
        let mut first = waiting.pop_front()?;
        let chunk = UnderWay {
            transfer: first.transfer,
            number: first.next,
            chunk: self.next_chunk,
            sending: Sending::OnPull,
            is_refused: false,
        };
        self.next_chunk += 1;
        first.next += 1;
        if first.next < first.chunks {
            waiting.push_back(first);
        }
        under_way.push_back(chunk);
        Some(chunk)
    }

    /// Notes that the bytes of a write go with its request.
    pub fn put(&mut self, chunk: u64) {
        if let Ok(found) = self.find(Operation::Write, chunk) {
            found.sending = Sending::Put;
        }
    }

    /// Begins no more chunks of a transfer. Those under way go on. Returns how many were left.
    pub fn cancel(&mut self, transfer: TransferId) -> u32 {
        let mut left = 0;
        for waiting in &mut self.waiting {
            waiting.retain(|other| {
                let is_other = other.transfer != transfer;
                left += if is_other { 0 } else { other.chunks - other.next };
                is_other
            });
        }
        left
    }

    /// Takes the oldest read, whose message has come: all of it, or nothing. Returns whether the chunk is
    /// over. An empty one is over when the reason of its refusal has come, too.
    pub fn arrived(&mut self, is_empty: bool) -> bool {
        let Some(read) = self.under_way[at(Operation::Read)].pop_front() else { return true };
        let is_over = !is_empty || read.is_refused;
        if !is_over {
            self.unexplained.push(read);
        }
        is_over
    }

    /// Takes a command about this side's chunks.
    ///
    /// # Errors
    /// A [`Violation`] if no such chunk is under way, or it is not due.
    pub fn heard(&mut self, command: &Command) -> Result<News, Violation> {
        match *command {
            Command::Pull { chunk } => {
                let found = self.find(Operation::Write, chunk)?;
                if found.sending != Sending::OnPull {
                    return Err(unknown("pull", chunk));
                }
                found.sending = Sending::Pulled;
                Ok(News::Send(*found))
            }
            Command::Done { chunk } => {
                if self.find(Operation::Write, chunk)?.sending == Sending::OnPull {
                    return Err(unknown("done", chunk));
                }
                self.take(Operation::Write, chunk).map(News::Done)
            }
            Command::Refused { chunk, range, refusal } => {
                let unexplained = self.unexplained.iter().position(|read| read.chunk == chunk);
                let (chunk, is_over) = if let Some(at) = unexplained {
                    (self.unexplained.swap_remove(at), true)
                } else if let Ok(read) = self.find(Operation::Read, chunk) {
                    if std::mem::replace(&mut read.is_refused, true) {
                        return Err(unknown("refusal", chunk));
                    }
                    (*read, false)
                } else if self.find(Operation::Write, chunk)?.sending == Sending::Pulled {
                    return Err(unknown("refusal", chunk));
                } else {
                    (self.take(Operation::Write, chunk)?, true)
                };
                Ok(News::Refused { chunk, range, refusal, is_over })
            }
            Command::Request(..) | Command::Note { .. } => Err(unknown("request that is the peer's", 0)),
        }
    }

    /// Judges a request of the peer's: counts it, and grants the use of its regions. A refused one gets the
    /// answer to say.
    ///
    /// # Errors
    /// A [`Violation`] if the peer has more open than its window.
    pub fn judge(
        &mut self,
        kind: Kind,
        request: &Request,
        rest: &[u8],
        regions: &mut Regions,
    ) -> Result<Result<Vec<Grant>, Command>, Violation> {
        let operation = kind.operation();
        self.requested(operation)?;
        let granted = regions.grant(operation, request.names(rest), request.ranges(rest));
        Ok(granted.map_err(|(range, refusal)| {
            // The place of a refused read is taken by an empty message, which is yet to be posted.
            if operation == Operation::Write {
                self.served(operation);
            }
            Command::Refused { chunk: request.chunk, range: range as u32, refusal }
        }))
    }

    /// Counts a request of the peer's.
    ///
    /// # Errors
    /// A [`Violation`] if the peer has more open than its window.
    pub fn requested(&mut self, operation: Operation) -> Result<(), Violation> {
        let count = match operation {
            Operation::Read => &mut self.gets,
            Operation::Write => &mut self.offers,
        };
        *count += 1;
        if *count > self.window {
            return Err(Violation::Field {
                frame: "command",
                field: "number of open requests",
                value: *count as u64,
            });
        }
        Ok(())
    }

    /// Notes that a request of the peer's is no longer open. For a read that is when its message is posted:
    /// the peer may have the bytes before this side knows that they are out.
    pub const fn served(&mut self, operation: Operation) {
        match operation {
            Operation::Read => self.gets = self.gets.saturating_sub(1),
            Operation::Write => self.offers = self.offers.saturating_sub(1),
        }
    }

    /// Returns whether a transfer has chunks that have not begun.
    #[must_use]
    pub fn waits(&self, transfer: TransferId) -> bool {
        self.waiting.iter().flatten().any(|waiting| waiting.transfer == transfer)
    }

    /// Returns whether no chunk of this side's is under way or waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.unexplained.is_empty()
            && self.waiting.iter().all(VecDeque::is_empty)
            && self.under_way.iter().all(VecDeque::is_empty)
    }

    fn find(&mut self, operation: Operation, chunk: u64) -> Result<&mut UnderWay, Violation> {
        let mut all = self.under_way[at(operation)].iter_mut();
        all.find(|other| other.chunk == chunk).ok_or_else(|| unknown("chunk", chunk))
    }

    fn take(&mut self, operation: Operation, chunk: u64) -> Result<UnderWay, Violation> {
        let under_way = &mut self.under_way[at(operation)];
        let found = under_way.iter().position(|other| other.chunk == chunk);
        found.and_then(|found| under_way.remove(found)).ok_or_else(|| unknown("chunk", chunk))
    }
}

const fn at(operation: Operation) -> usize {
    match operation {
        Operation::Read => 0,
        Operation::Write => 1,
    }
}

const fn unknown(field: &'static str, value: u64) -> Violation {
    Violation::Field { frame: "command", field, value }
}
