//! One end of a link: the order of what it says, sends and receives, as an endpoint has it.

use std::collections::VecDeque;

use gputcp_proto::{
    Violation,
    onesided::{
        command::{Command, Kind, PUT_BYTES_MAX, Request},
        key::Operation,
        link::{Link, News, TransferId, UnderWay},
        regions::{Grant, Regions},
    },
};

use super::{memory::Region, user::Transfer};

/// Ranges of this end's memory: the region's place in the owner's list, the start, the length.
pub(super) type Places = Vec<(usize, u64, u64)>;

/// A message to send on the data connection.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) grants: Vec<Grant>,
    pub(super) places: Places,
    is_read: bool,
}

/// A message to receive on the data connection, or behind a command.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) grants: Vec<Grant>,
    /// None if it was refused, and its bytes go nowhere.
    pub(super) places: Option<Places>,
    whose: Whose,
    /// The length that came.
    pub(super) got: u64,
}

#[derive(Debug)]
enum Whose {
    Own(TransferId),
    Peers(u64),
    Refused,
}

#[derive(Debug)]
pub(super) struct End {
    pub(super) rules: Link,
    pub(super) regions: Regions,
    pub(super) memory: Vec<Region>,
    pub(super) transfers: Vec<Transfer>,
    /// Messages on the command connection: commands, and bytes behind some.
    pub(super) commands: VecDeque<Vec<u8>>,
    pub(super) sends: VecDeque<Outbound>,
    /// Receives on the data connection that wait to be posted, each with its command.
    pub(super) recvs: VecDeque<(Inbound, Vec<u8>)>,
    pub(super) posted: VecDeque<Inbound>,
    /// Its bytes have come, its unpack is under way.
    pub(super) unpacking: VecDeque<Inbound>,
    /// The bytes that come next on the command connection.
    pub(super) due: Option<Inbound>,
    pub(super) refused: u64,
}

impl End {
    pub(super) fn new(window: usize) -> Self {
        Self {
            rules: Link::new(window),
            regions: Regions::default(),
            memory: vec![],
            transfers: vec![],
            commands: VecDeque::new(),
            sends: VecDeque::new(),
            recvs: VecDeque::new(),
            posted: VecDeque::new(),
            unpacking: VecDeque::new(),
            due: None,
            refused: 0,
        }
    }

    /// Begins a chunk, if there is one. Returns its transfer.
    pub(super) fn begin(&mut self, operation: Operation, rng: &mut fastrand::Rng) -> Option<TransferId> {
        let chunk = self.rules.next(operation)?;
        let transfer = self.transfers.iter().find(|transfer| transfer.id == chunk.transfer)?;
        // Short writes are longer in life; here the length does not matter to the rules.
        let is_put = transfer.plan.chunk(chunk.number as usize).bytes <= PUT_BYTES_MAX && rng.bool();
        let (kind, places) = match operation {
            Operation::Read => (Kind::Get, self.local(&chunk)?),
            Operation::Write if is_put => (Kind::Put, self.local(&chunk)?),
            Operation::Write => (Kind::Offer, vec![]),
        };
        let message = transfer.plan.request(chunk.number as usize, kind, chunk.chunk, &transfer.keys);
        match kind {
            Kind::Get => {
                let whose = Whose::Own(chunk.transfer);
                let inbound = Inbound { grants: vec![], places: Some(places), whose, got: 0 };
                self.recvs.push_back((inbound, message));
            }
            Kind::Offer => self.commands.push_back(message),
            Kind::Put => {
                self.rules.put(chunk.chunk);
                self.commands.push_back(message);
                let bytes = self.gather(&places);
                self.commands.push_back(bytes);
            }
        }
        Some(chunk.transfer)
    }

    /// Takes a message of the command connection.
    pub(super) fn hear(&mut self, message: &[u8]) -> Result<(), Violation> {
        if let Some(mut inbound) = self.due.take() {
            inbound.got = message.len() as u64;
            self.scatter(&inbound, message)?;
            self.unpacking.push_back(inbound);
            return Ok(());
        }
        let (command, rest) = Command::decode(message)?;
        match command {
            Command::Request(kind, request) => self.serve(kind, &request, rest),
            Command::Note { .. } => Ok(()),
            command => {
                let news = self.rules.heard(&command)?;
                self.take(news);
                Ok(())
            }
        }
    }

    fn serve(&mut self, kind: Kind, request: &Request, rest: &[u8]) -> Result<(), Violation> {
        let chunk = request.chunk;
        match self.rules.judge(kind, request, rest, &mut self.regions)? {
            Ok(grants) => {
                let named: Vec<usize> = request.names(rest).map(|(place, _)| self.owned(place)).collect();
                let is_alive = |at: &usize| !self.memory[*at].is_revoked;
                assert!(named.iter().all(is_alive), "a region was granted whose end was asked for");
                if named.iter().any(|&at| self.memory[at].key.space() != self.memory[named[0]].key.space()) {
                    self.give_back(grants);
                    let (frame, field) = ("command", "number of regions of different memories");
                    return Err(Violation::Field { frame, field, value: named.len() as u64 });
                }
                let ranges = request.ranges(rest);
                let places = ranges
                    .map(|range| (named[usize::from(range.region)], range.offset, u64::from(range.bytes)));
                let places: Places = places.collect();
                match kind {
                    Kind::Get => self.sends.push_back(Outbound { grants, places, is_read: true }),
                    Kind::Offer | Kind::Put => {
                        let whose = Whose::Peers(chunk);
                        let inbound = Inbound { grants, places: Some(places), whose, got: 0 };
                        match kind {
                            Kind::Put => self.due = Some(inbound),
                            _ => {
                                let pull = Command::Pull { chunk }.encode().to_vec();
                                self.recvs.push_back((inbound, pull));
                            }
                        }
                    }
                }
            }
            Err(refused) => {
                self.refused += 1;
                self.commands.push_back(refused.encode().to_vec());
                match kind {
                    Kind::Get => {
                        self.sends.push_back(Outbound { grants: vec![], places: vec![], is_read: true });
                    }
                    Kind::Offer => {}
                    Kind::Put => {
                        let whose = Whose::Refused;
                        self.due = Some(Inbound { grants: vec![], places: None, whose, got: 0 });
                    }
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, news: News) {
        match news {
            News::Done(chunk) => self.count(chunk.transfer, 1),
            News::Send(chunk) => {
                if let Some(places) = self.local(&chunk) {
                    self.sends.push_back(Outbound { grants: vec![], places, is_read: false });
                }
            }
            News::Refused { chunk, refusal, is_over, .. } => {
                if let Some(transfer) = self.transfer(chunk.transfer) {
                    transfer.refusal.get_or_insert(refusal);
                }
                self.give_up(chunk.transfer);
                if is_over {
                    self.count(chunk.transfer, 1);
                }
            }
        }
    }

    /// Begins no more chunks of a transfer.
    pub(super) fn give_up(&mut self, transfer: TransferId) {
        let left = self.rules.cancel(transfer);
        self.count(transfer, left);
    }

    fn count(&mut self, transfer: TransferId, chunks: u32) {
        if let Some(transfer) = self.transfer(transfer) {
            assert!(transfer.left >= chunks, "a chunk is over once");
            transfer.left -= chunks;
        }
    }

    /// Sends the next message on the data connection. Returns its bytes.
    pub(super) fn send(&mut self) -> Option<Vec<u8>> {
        let Outbound { grants, places, is_read } = self.sends.pop_front()?;
        if is_read {
            self.rules.served(Operation::Read);
        }
        let bytes = self.gather(&places);
        self.give_back(grants);
        Some(bytes)
    }

    /// Posts the next receive, and says its command.
    pub(super) fn post(&mut self) -> bool {
        let Some((inbound, command)) = self.recvs.pop_front() else { return false };
        self.posted.push_back(inbound);
        self.commands.push_back(command);
        true
    }

    /// Takes a message of the data connection, for which a receive is posted.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let Some(mut inbound) = self.posted.pop_front() else { return Ok(()) };
        inbound.got = bytes.len() as u64;
        if !bytes.is_empty() {
            self.scatter(&inbound, bytes)?;
        }
        self.unpacking.push_back(inbound);
        Ok(())
    }

    /// Ends the oldest unpack.
    pub(super) fn unpacked(&mut self) -> Result<bool, Violation> {
        let Some(Inbound { grants, places, whose, got }) = self.unpacking.pop_front() else {
            return Ok(false);
        };
        let expected: u64 = places.iter().flatten().map(|(_, _, bytes)| bytes).sum();
        self.give_back(grants);
        match whose {
            Whose::Refused => {}
            Whose::Own(transfer) => {
                if got != expected && got > 0 {
                    return Err(wrong_length(got));
                }
                if self.rules.arrived(got == 0) {
                    self.count(transfer, 1);
                }
            }
            Whose::Peers(chunk) => {
                self.rules.served(Operation::Write);
                if got != expected {
                    return Err(wrong_length(got));
                }
                self.commands.push_back(Command::Done { chunk }.encode().to_vec());
            }
        }
        Ok(true)
    }

    /// Ends the link: all grants come back, and all transfers are over.
    pub(super) fn end(&mut self) {
        let sends = self.sends.drain(..).flat_map(|message| message.grants);
        let recvs = self.recvs.drain(..).map(|(message, _)| message);
        let others = self.posted.drain(..).chain(self.unpacking.drain(..)).chain(self.due.take());
        let grants: Vec<Grant> =
            sends.chain(recvs.chain(others).flat_map(|message| message.grants)).collect();
        self.give_back(grants);
        self.transfers.iter_mut().for_each(|transfer| transfer.left = 0);
    }

    fn give_back(&mut self, grants: Vec<Grant>) {
        for grant in grants {
            self.regions.give_back(grant);
        }
        self.forget();
    }

    /// Forgets the regions whose end was asked for, if it has come.
    pub(super) fn forget(&mut self) {
        for region in self.memory.iter_mut().filter(|region| region.is_revoked && !region.is_gone) {
            region.is_gone = self.regions.forget(&region.key);
        }
    }

    fn transfer(&mut self, id: TransferId) -> Option<&mut Transfer> {
        self.transfers.iter_mut().find(|transfer| transfer.id == id)
    }

    /// Returns the local side of a chunk.
    fn local(&self, chunk: &UnderWay) -> Option<Places> {
        let transfer = self.transfers.iter().find(|transfer| transfer.id == chunk.transfer)?;
        let blocks = transfer.plan.blocks(chunk.number as usize);
        Some(blocks.map(|block| (block.local as usize, block.local_offset, block.bytes)).collect())
    }

    /// Returns the registered region of a place.
    fn owned(&self, place: u32) -> usize {
        let is_it = |region: &Region| region.key.place() == place as usize && !region.is_gone;
        self.memory.iter().position(is_it).expect("a region that was granted is registered")
    }

    fn gather(&self, places: &Places) -> Vec<u8> {
        let mut bytes = vec![];
        for &(region, offset, length) in places {
            let region = &self.memory[region];
            assert!(!region.is_gone, "bytes were read of a region that has ended");
            bytes.extend_from_slice(&region.bytes[offset as usize..(offset + length) as usize]);
        }
        bytes
    }

    /// Puts bytes in place, unless there are more than places: the transport refuses those.
    fn scatter(&mut self, inbound: &Inbound, mut bytes: &[u8]) -> Result<(), Violation> {
        let Some(places) = &inbound.places else { return Ok(()) };
        if bytes.len() as u64 > places.iter().map(|(_, _, bytes)| bytes).sum() {
            return Err(wrong_length(bytes.len() as u64));
        }
        for &(region, offset, length) in places {
            let region = &mut self.memory[region];
            assert!(!region.is_gone, "bytes were written to a region that has ended");
            let (part, rest) = bytes.split_at((length as usize).min(bytes.len()));
            region.bytes[offset as usize..offset as usize + part.len()].copy_from_slice(part);
            bytes = rest;
        }
        Ok(())
    }
}

const fn wrong_length(value: u64) -> Violation {
    Violation::Field { frame: "one-sided message", field: "length", value }
}
