//! The connections between two endpoints: data and commands, each way.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use gputcp_gpu::{Buffer, Done, MemoryKind};
use gputcp_proto::{
    frame::Token,
    handle::Handle,
    onesided::{
        command::PUT_BYTES_MAX,
        key::Operation,
        link::{Link as Rules, UnderWay},
        regions::Grant,
    },
};

use super::{
    Address, Counters,
    commands::{Heard, Hearer, Put, Speaker},
    greeting::{Greeting, Purpose, WINDOW},
    job::{PeerId, Side},
};
use crate::{
    Connector, Error, Options, Progress, RecvComm, RecvRequest, Result, SendComm, SendRequest, Tuning,
};

/// A link to a peer, as far as it is made.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: PeerId,
    pub(super) token: Token,
    pub(super) address: Address,
    pub(super) rules: Rules,
    began: Instant,
    data_out: Outgoing,
    commands_out: Outgoing,
    data_in: Option<RecvComm>,
    commands_in: Option<RecvComm>,
    speaker: Speaker,
    hearer: Hearer,
    /// The source of empty messages.
    nothing: Buffer,
    /// Messages to send on the data connection, in the order in which the peer wants them.
    pub(super) sends: VecDeque<Outbound>,
    sending: VecDeque<(SendRequest, Outbound)>,
    /// Messages to receive, in the order in which they were decided.
    pub(super) recvs: VecDeque<Inbound>,
    receiving: VecDeque<(RecvRequest, Inbound)>,
    /// The grants of messages that have failed.
    lost: Vec<Grant>,
}

/// The sending end of a connection, as far as it is made.
#[derive(Debug)]
enum Outgoing {
    Connecting(Box<Connector>, [u8; Greeting::BYTES]),
    Connected(SendComm),
    Failed,
}

/// A message to send on the data connection.
#[derive(Debug)]
pub(super) enum Outbound {
    /// The bytes that a peer reads, under grants.
    Get(Vec<Grant>, Side),
    /// An empty message in the place of bytes that were refused.
    Refused,
    /// The bytes of a write of this side's.
    Write(Side),
}

/// A message to receive on the data connection, and the command that asks for it.
#[derive(Debug)]
pub(super) enum Inbound {
    /// The bytes of a read of this side's.
    Read(UnderWay, Side, Vec<u8>),
    /// The bytes that a peer writes, under grants.
    Offer(u64, Vec<Grant>, Side, Vec<u8>),
}

impl Link {
    /// Begins to connect to an endpoint, by the ways of `handle`.
    pub(super) fn begin(
        peer: PeerId,
        token: Token,
        address: Address,
        handle: &Handle,
        own: Address,
        options: &Options,
    ) -> Result<Self> {
        // Each interface of the peer gets a socket, which shows where this end is.
        let ways = handle.addresses().count() as u16;
        let outgoing = |purpose, options: Options| {
            let greeting = Greeting { purpose, window: WINDOW, token, from: own };
            let streams = options.streams.max(ways);
            let connector = Connector::new(handle, options.with_streams(streams))?;
            Ok::<_, Error>(Outgoing::Connecting(Box::new(connector), greeting.encode()))
        };
        Ok(Self {
            peer,
            token,
            address,
            rules: Rules::new(WINDOW.into()),
            began: Instant::now(),
            data_out: outgoing(Purpose::Data, data_options(options))?,
            commands_out: outgoing(Purpose::Commands, command_options(options))?,
            data_in: None,
            commands_in: None,
            speaker: Speaker::new()?,
            hearer: Hearer::new()?,
            nothing: Buffer::host(1)?,
            sends: VecDeque::new(),
            sending: VecDeque::new(),
            recvs: VecDeque::new(),
            receiving: VecDeque::new(),
            lost: Vec::new(),
        })
    }

    /// Takes a connection that the peer has made for this link.
    ///
    /// # Errors
    /// If it has one already.
    pub(super) fn attach(&mut self, purpose: Purpose, comm: RecvComm) -> Result<()> {
        let place = match purpose {
            Purpose::Data => &mut self.data_in,
            Purpose::Commands => &mut self.commands_in,
        };
        if place.is_some() {
            return Err(Error::usage("a peer has made a connection of a link twice"));
        }
        *place = Some(comm);
        Ok(())
    }

    /// Returns whether all connections are there.
    pub(super) const fn is_up(&self) -> bool {
        matches!((&self.data_out, &self.commands_out), (Outgoing::Connected(_), Outgoing::Connected(_)))
            && self.data_in.is_some()
            && self.commands_in.is_some()
    }

    /// Connects as far as it goes. Returns true if something has changed.
    pub(super) fn connect_on(&mut self, timeout: Duration) -> Result<bool> {
        if self.is_up() {
            return Ok(false);
        }
        let mut has_changed = false;
        for outgoing in [&mut self.data_out, &mut self.commands_out] {
            has_changed |= outgoing.go_on()?;
        }
        if !self.is_up() && self.began.elapsed() >= timeout {
            let peer = format!("{:?}", self.address).into();
            return Err(Error::Timeout { what: "connecting to an endpoint", peer, after: timeout });
        }
        Ok(has_changed)
    }

    /// Queues a command.
    pub(super) fn say(&mut self, command: Vec<u8>) {
        self.speaker.say(command);
    }

    /// Queues a short write: its command, and its bytes.
    pub(super) fn put(&mut self, command: Vec<u8>, side: Side) {
        self.speaker.put(command, side);
    }

    /// Sends what is queued, as much as there are slots for. Returns true if something moved.
    pub(super) fn send_commands(&mut self) -> Result<bool> {
        let Outgoing::Connected(comm) = &mut self.commands_out else { return Ok(false) };
        self.speaker.send(comm)
    }

    /// Returns what has come on the command connection.
    pub(super) fn next_heard(&mut self) -> Result<Option<Heard>> {
        let Some(comm) = &mut self.commands_in else { return Ok(None) };
        self.hearer.next(comm)
    }

    /// Has the bytes of a short write received: they come next on the command connection.
    pub(super) fn await_bytes(&mut self, put: Put) {
        self.hearer.await_bytes(put);
    }

    /// Posts the messages that are queued. Returns true if something moved.
    pub(super) fn post(&mut self) -> Result<bool> {
        let mut moved = false;
        if let Some(comm) = &mut self.data_in {
            while let Some(next) = self.recvs.front_mut() {
                let (side, command) = next.parts();
                let Some(request) = comm.irecv_layout(side.write(), side.layout())? else { break };
                self.speaker.say(std::mem::take(command));
                self.receiving.extend(self.recvs.pop_front().map(|next| (request, next)));
                moved = true;
            }
        }
        if let Outgoing::Connected(comm) = &mut self.data_out {
            while let Some(next) = self.sends.front() {
                let request = match next {
                    Outbound::Get(_, side) | Outbound::Write(side) => {
                        comm.isend_layout(side.read(), side.layout())?
                    }
                    Outbound::Refused => comm.isend(&self.nothing, 0, 0)?,
                };
                let Some(request) = request else { break };
                if !matches!(next, Outbound::Write(_)) {
                    self.rules.served(Operation::Read);
                }
                self.sending.extend(self.sends.pop_front().map(|next| (request, next)));
                moved = true;
            }
        }
        Ok(moved)
    }

    /// Returns the oldest message that was sent, if its bytes are out.
    pub(super) fn next_sent(&mut self) -> Result<Option<Outbound>> {
        let (Outgoing::Connected(comm), Some((request, message))) =
            (&mut self.data_out, self.sending.pop_front())
        else {
            return Ok(None);
        };
        match comm.look_at(request) {
            Ok(Progress::Done(_)) => Ok(Some(message)),
            Ok(Progress::NotYet(request)) => {
                self.sending.push_front((request, message));
                Ok(None)
            }
            Err(error) => {
                self.lost.extend(message.into_grants());
                Err(error)
            }
        }
    }

    /// Returns the oldest message that has come, and its length.
    pub(super) fn next_received(&mut self) -> Result<Option<(Inbound, u64)>> {
        let (Some(comm), Some((request, message))) = (&mut self.data_in, self.receiving.pop_front()) else {
            return Ok(None);
        };
        match comm.look_at(request) {
            Ok(Progress::Done(received)) => Ok(Some((message, received.bytes))),
            Ok(Progress::NotYet(request)) => {
                self.receiving.push_front((request, message));
                Ok(None)
            }
            Err(error) => {
                self.lost.extend(message.into_grants());
                Err(error)
            }
        }
    }

    /// Returns the completion of the newest unpack under way, if there is one.
    pub(super) fn newest_unpack(&self) -> Option<Done> {
        [&self.data_in, &self.commands_in].into_iter().flatten().find_map(RecvComm::newest_unpack)
    }

    /// Returns whether all commands are sent.
    pub(super) fn is_silent(&self) -> bool {
        self.speaker.is_silent()
    }

    /// Reads the counters of the data connections, as far as they are made.
    pub(super) fn counters(&self) -> Counters {
        // The greeting is none of the transfers' bytes.
        let of_transfers = |bytes: u64| bytes.saturating_sub(Greeting::BYTES as u64);
        let mut counters = Counters::default();
        if let Outgoing::Connected(comm) = &self.data_out {
            counters.sending = comm.tcp_info();
            counters.congestion = comm.congestion();
            counters.bytes_sent = of_transfers(comm.bytes_written());
        }
        if let Some(comm) = &self.data_in {
            counters.receiving = comm.tcp_info();
            counters.bytes_received = of_transfers(comm.bytes_landed());
        }
        counters
    }

    /// Returns whether it is still connecting.
    pub(super) const fn is_connecting(&self) -> bool {
        !self.is_up()
    }

    /// Ends the link. The grants of requests under way come back; no thread touches their memory any more.
    pub(super) fn end(mut self, timeout: Duration) -> Vec<Grant> {
        let is_idle = self.sending.is_empty() && self.receiving.is_empty();
        for outgoing in [&mut self.data_out, &mut self.commands_out] {
            if let Outgoing::Connected(comm) = std::mem::replace(outgoing, Outgoing::Failed)
                && is_idle
            {
                // With requests in flight it is reset, which is what is left to do.
                let _ = comm.leave(timeout);
            }
        }
        drop((self.data_in.take(), self.commands_in.take()));
        let outbound = self.sends.into_iter().chain(self.sending.into_iter().map(|(_, message)| message));
        let inbound = self.recvs.into_iter().chain(self.receiving.into_iter().map(|(_, message)| message));
        let sent = outbound.flat_map(Outbound::into_grants);
        let received = inbound.flat_map(Inbound::into_grants);
        sent.chain(received).chain(self.hearer.into_grants()).chain(self.lost).collect()
    }
}

impl Outgoing {
    /// Connects as far as it goes, and sends the greeting. Returns true once it is connected.
    fn go_on(&mut self) -> Result<bool> {
        let Self::Connecting(connector, greeting) = self else { return Ok(false) };
        let Some(mut comm) = connector.poll()? else { return Ok(false) };
        let buffer = Buffer::host(Greeting::BYTES as u64)?;
        buffer.copy_from_host(0, greeting)?;
        comm.send(&buffer)?;
        *self = Self::Connected(comm);
        Ok(true)
    }
}

impl Outbound {
    fn into_grants(self) -> Vec<Grant> {
        match self {
            Self::Get(grants, _) => grants,
            Self::Refused | Self::Write(_) => vec![],
        }
    }
}

impl Inbound {
    fn into_grants(self) -> Vec<Grant> {
        match self {
            Self::Offer(_, grants, ..) => grants,
            Self::Read(..) => vec![],
        }
    }

    const fn parts(&mut self) -> (&Side, &mut Vec<u8>) {
        match self {
            Self::Read(_, side, command) | Self::Offer(_, _, side, command) => (side, command),
        }
    }
}

/// A short read that is alone comes whole on the control socket, as a short write does.
///
/// Between GPUs, rings of two long segments move a long chunk best, unless the user asks for others.
pub(super) fn data_options(options: &Options) -> Options {
    let is_cuda = options.device.as_ref().is_some_and(|device| matches!(device.kind(), MemoryKind::Cuda(_)));
    options.clone().tuned(|tuning| {
        tuning.inline_bytes = tuning.inline_bytes.max(PUT_BYTES_MAX as u32);
        let usual = Tuning::default();
        if is_cuda && (tuning.segment_bytes, tuning.slabs) == (usual.segment_bytes, usual.slabs) {
            // 512 MiB between two H200: 26 GB/s, and 16 with four slabs of 512 KiB.
            (tuning.segment_bytes, tuning.piece_bytes, tuning.slabs) = (2 << 20, 2 << 20, 2);
        }
    })
}

/// Commands are short messages, as are the bytes behind them: one stream, and places for them to come early.
pub(super) fn command_options(options: &Options) -> Options {
    options.clone().with_streams(1).tuned(|tuning| {
        tuning.inline_bytes = PUT_BYTES_MAX as u32;
        tuning.eager_places = gputcp_proto::frame::EAGER_PLACES_MAX;
        tuning.segment_bytes = PUT_BYTES_MAX as u32;
        tuning.piece_bytes = PUT_BYTES_MAX as u32;
    })
}
