//! The connections between two endpoints: data and commands, each way.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use gputcp_gpu::{Buffer, Done};
use gputcp_proto::{
    frame::Token,
    onesided::{
        command::COMMAND_BYTES_MAX,
        key::Operation,
        link::{Link as Rules, UnderWay},
        regions::Grant,
    },
};

use super::{
    Address,
    greeting::{Greeting, Purpose, WINDOW},
    job::{PeerId, Side},
    ring::Ring,
};
use crate::{Connector, Error, Options, Progress, RecvComm, RecvRequest, Result, SendComm, SendRequest};

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
    /// Commands on their way out, and the receives of those that come.
    commands: VecDeque<Vec<u8>>,
    sent_commands: Ring<SendRequest>,
    awaited_commands: Ring<RecvRequest>,
    /// Messages to send on the data connection, in the order in which the peer wants them.
    pub(super) sends: VecDeque<Outbound>,
    sending: VecDeque<(SendRequest, Outbound)>,
    /// Messages to receive, in the order in which they were decided.
    pub(super) recvs: VecDeque<Inbound>,
    receiving: VecDeque<(RecvRequest, Inbound)>,
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
    /// Begins to connect to an endpoint.
    pub(super) fn begin(
        peer: PeerId,
        token: Token,
        address: Address,
        own: Address,
        options: &Options,
    ) -> Result<Self> {
        let handle = address.handle()?;
        let outgoing = |purpose, options: Options| {
            let greeting = Greeting { purpose, window: WINDOW, token, from: own };
            let connector = Connector::new(&handle, options)?;
            Ok::<_, Error>(Outgoing::Connecting(Box::new(connector), greeting.encode()))
        };
        Ok(Self {
            peer,
            token,
            address,
            rules: Rules::new(WINDOW.into()),
            began: Instant::now(),
            data_out: outgoing(Purpose::Data, options.clone())?,
            commands_out: outgoing(Purpose::Commands, command_options(options))?,
            data_in: None,
            commands_in: None,
            commands: VecDeque::new(),
            sent_commands: Ring::new()?,
            awaited_commands: Ring::new()?,
            sends: VecDeque::new(),
            sending: VecDeque::new(),
            recvs: VecDeque::new(),
            receiving: VecDeque::new(),
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
        self.commands.push_back(command);
    }

    /// Sends queued commands, as many as there are slots for. Returns true if something moved.
    pub(super) fn send_commands(&mut self) -> Result<bool> {
        let Outgoing::Connected(comm) = &mut self.commands_out else { return Ok(false) };
        let mut moved = false;
        while let Some(request) = self.sent_commands.requests.pop_front() {
            match comm.look_at(request)? {
                Progress::Done(_) => moved = true,
                Progress::NotYet(request) => {
                    self.sent_commands.requests.push_front(request);
                    break;
                }
            }
        }
        while let Some(command) = self.commands.front() {
            let Some(at) = self.sent_commands.slot() else { break };
            self.sent_commands.buffer.copy_from_host(at, command)?;
            let Some(request) = comm.isend(&self.sent_commands.buffer, at, command.len() as u64)? else {
                break;
            };
            self.sent_commands.push(request);
            self.commands.pop_front();
            moved = true;
        }
        Ok(moved)
    }

    /// Returns the next command of the peer's, if one has come, and posts receives for more.
    pub(super) fn next_command(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(comm) = &mut self.commands_in else { return Ok(None) };
        let ring = &mut self.awaited_commands;
        let mut command = None;
        if let Some(request) = ring.requests.pop_front() {
            match comm.look_at(request)? {
                Progress::NotYet(request) => ring.requests.push_front(request),
                Progress::Done(received) => {
                    let at = ring.oldest_done();
                    let mut bytes = vec![0; received.bytes as usize];
                    ring.buffer.copy_to_host(at, &mut bytes)?;
                    command = Some(bytes);
                }
            }
        }
        while let Some(at) = ring.slot() {
            let Some(request) = comm.irecv(&ring.buffer, at, COMMAND_BYTES_MAX as u64)? else { break };
            ring.push(request);
        }
        Ok(command)
    }

    /// Posts the messages that are queued. Returns true if something moved.
    pub(super) fn post(&mut self) -> Result<bool> {
        let mut moved = false;
        if let Some(comm) = &mut self.data_in {
            while let Some(next) = self.recvs.front_mut() {
                let (side, command) = next.parts();
                let Some(request) = comm.irecv_layout(side.write(), side.layout())? else { break };
                let command = std::mem::take(command);
                self.commands.push_back(command);
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
                    Outbound::Refused => comm.isend(&self.sent_commands.buffer, 0, 0)?,
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
        match comm.look_at(request)? {
            Progress::Done(_) => Ok(Some(message)),
            Progress::NotYet(request) => {
                self.sending.push_front((request, message));
                Ok(None)
            }
        }
    }

    /// Returns the oldest message that has come, and its length.
    pub(super) fn next_received(&mut self) -> Result<Option<(Inbound, u64)>> {
        let (Some(comm), Some((request, message))) = (&mut self.data_in, self.receiving.pop_front()) else {
            return Ok(None);
        };
        match comm.look_at(request)? {
            Progress::Done(received) => Ok(Some((message, received.bytes))),
            Progress::NotYet(request) => {
                self.receiving.push_front((request, message));
                Ok(None)
            }
        }
    }

    /// Returns the completion of the newest unpack under way, if there is one.
    pub(super) fn newest_unpack(&self) -> Option<Done> {
        self.data_in.as_ref().and_then(RecvComm::newest_unpack)
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
        let sent = outbound.flat_map(|message| match message {
            Outbound::Get(grants, _) => grants,
            Outbound::Refused | Outbound::Write(_) => vec![],
        });
        let received = inbound.flat_map(|message| match message {
            Inbound::Offer(_, grants, ..) => grants,
            Inbound::Read(..) => vec![],
        });
        sent.chain(received).collect()
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

impl Inbound {
    const fn parts(&mut self) -> (&Side, &mut Vec<u8>) {
        match self {
            Self::Read(_, side, command) | Self::Offer(_, _, side, command) => (side, command),
        }
    }
}

/// Commands are short messages of host memory: one stream, and places for them to come early.
pub(super) fn command_options(options: &Options) -> Options {
    options.clone().with_streams(1).with_device(None).tuned(|tuning| {
        tuning.inline_bytes = COMMAND_BYTES_MAX as u32;
        tuning.eager_places = gputcp_proto::frame::EAGER_PLACES_MAX;
    })
}
