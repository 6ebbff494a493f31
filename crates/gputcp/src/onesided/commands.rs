//! The command connections of a link, each way: commands, and behind some of them the bytes of a short write.

use std::collections::VecDeque;

use gputcp_gpu::Buffer;
use gputcp_proto::onesided::{
    command::{COMMAND_BYTES_MAX, PUT_BYTES_MAX},
    regions::Grant,
};

use super::job::Side;
use crate::{Progress, RecvComm, RecvRequest, Result, SendComm, SendRequest};

/// The commands that go out, in their order.
#[derive(Debug)]
pub(super) struct Speaker {
    queue: VecDeque<Saying>,
    /// Those under way; bytes keep their regions in use.
    sending: VecDeque<(SendRequest, Option<Side>)>,
    /// A slot for each command under way.
    slots: Buffer,
    next: usize,
}

#[derive(Debug)]
enum Saying {
    Command(Vec<u8>),
    Bytes(Side),
}

/// The commands that come, in their order.
#[derive(Debug)]
pub(super) struct Hearer {
    awaited: VecDeque<(RecvRequest, Awaited)>,
    /// The bytes that come next, whose receive is not posted yet.
    due: Option<Put>,
    command: Buffer,
    /// Whether a receive for a command is posted: at most one, as bytes may come behind it.
    awaits_command: bool,
    /// Room for bytes that were refused.
    refused: Option<Buffer>,
    /// The grants of writes that have failed.
    lost: Vec<Grant>,
}

#[derive(Debug)]
enum Awaited {
    Command,
    Bytes(Put),
}

/// A short write of the peer's, whose bytes come behind its command.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) chunk: u64,
    pub(super) grants: Vec<Grant>,
    /// The place of its bytes; none if it was refused.
    pub(super) side: Option<Side>,
}

/// News on the command connection.
#[derive(Debug)]
pub(super) enum Heard {
    Command(Vec<u8>),
    /// The bytes of a short write, of this length, are in place.
    Bytes(Put, u64),
}

impl Speaker {
    pub(super) fn new() -> Result<Self> {
        let slots = Buffer::host((SLOTS * COMMAND_BYTES_MAX) as u64)?;
        Ok(Self { queue: VecDeque::new(), sending: VecDeque::with_capacity(SLOTS), slots, next: 0 })
    }

    /// Queues a command.
    pub(super) fn say(&mut self, command: Vec<u8>) {
        self.queue.push_back(Saying::Command(command));
    }

    /// Queues a short write: its command, and its bytes.
    pub(super) fn put(&mut self, command: Vec<u8>, side: Side) {
        self.say(command);
        self.queue.push_back(Saying::Bytes(side));
    }

    /// Returns whether all is sent.
    pub(super) fn is_silent(&self) -> bool {
        self.queue.is_empty() && self.sending.is_empty()
    }

    /// Sends as much as there are slots for. Returns true if something moved.
    pub(super) fn send(&mut self, comm: &mut SendComm) -> Result<bool> {
        let mut moved = false;
        while let Some((request, side)) = self.sending.pop_front() {
            match comm.look_at(request)? {
                Progress::Done(_) => moved = true,
                Progress::NotYet(request) => {
                    self.sending.push_front((request, side));
                    break;
                }
            }
        }
        while self.sending.len() < SLOTS
            && let Some(next) = self.queue.front()
        {
            let request = match next {
                Saying::Command(command) => {
                    let at = (self.next % SLOTS * COMMAND_BYTES_MAX) as u64;
                    self.slots.copy_from_host(at, command)?;
                    comm.isend(&self.slots, at, command.len() as u64)?
                }
                Saying::Bytes(side) => comm.isend_layout_promptly(side.read(), side.layout())?,
            };
            let Some(request) = request else { break };
            let side = self.queue.pop_front().and_then(|said| match said {
                Saying::Command(_) => None,
                Saying::Bytes(side) => Some(side),
            });
            self.sending.push_back((request, side));
            self.next += 1;
            moved = true;
        }
        Ok(moved)
    }
}

impl Hearer {
    pub(super) fn new() -> Result<Self> {
        let command = Buffer::host(COMMAND_BYTES_MAX as u64)?;
        let awaited = VecDeque::with_capacity(SLOTS);
        Ok(Self { awaited, due: None, command, awaits_command: false, refused: None, lost: vec![] })
    }

    /// Has the bytes of a short write received: they come next.
    pub(super) fn await_bytes(&mut self, put: Put) {
        self.due = Some(put);
    }

    /// Returns what has come, and posts receives for what comes next.
    pub(super) fn next(&mut self, comm: &mut RecvComm) -> Result<Option<Heard>> {
        self.post(comm)?;
        let Some((request, awaited)) = self.awaited.pop_front() else { return Ok(None) };
        let received = match comm.look_at(request) {
            Ok(Progress::NotYet(request)) => {
                self.awaited.push_front((request, awaited));
                return Ok(None);
            }
            Ok(Progress::Done(received)) => received,
            Err(error) => {
                if let Awaited::Bytes(put) = awaited {
                    self.lost.extend(put.grants);
                }
                return Err(error);
            }
        };
        Ok(Some(match awaited {
            Awaited::Bytes(put) => Heard::Bytes(put, received.bytes),
            Awaited::Command => {
                let mut bytes = vec![0; received.bytes as usize];
                self.command.copy_to_host(0, &mut bytes)?;
                self.awaits_command = false;
                Heard::Command(bytes)
            }
        }))
    }

    fn post(&mut self, comm: &mut RecvComm) -> Result<()> {
        if let Some(put) = self.due.take() {
            match self.post_bytes(comm, &put) {
                Ok(Some(request)) => self.awaited.push_back((request, Awaited::Bytes(put))),
                other => {
                    self.due = Some(put);
                    return other.map(drop);
                }
            }
        }
        if !self.awaits_command
            && let Some(request) = comm.irecv(&self.command, 0, COMMAND_BYTES_MAX as u64)?
        {
            self.awaited.push_back((request, Awaited::Command));
            self.awaits_command = true;
        }
        Ok(())
    }

    fn post_bytes(&mut self, comm: &mut RecvComm, put: &Put) -> Result<Option<RecvRequest>> {
        match &put.side {
            Some(side) => comm.irecv_layout(side.write(), side.layout()),
            None => comm.irecv(self.room()?, 0, PUT_BYTES_MAX),
        }
    }

    fn room(&mut self) -> Result<&Buffer> {
        // Several refused writes may be on their way into it.
        let room = match self.refused.take() {
            Some(room) => room,
            None => Buffer::host(PUT_BYTES_MAX)?.share()?,
        };
        Ok(self.refused.insert(room))
    }

    /// Returns the grants of the writes whose bytes have not come.
    pub(super) fn into_grants(self) -> impl Iterator<Item = Grant> {
        let awaited = self.awaited.into_iter().filter_map(|(_, awaited)| match awaited {
            Awaited::Bytes(put) => Some(put),
            Awaited::Command => None,
        });
        awaited.chain(self.due).flat_map(|put| put.grants).chain(self.lost)
    }
}

/// Commands and short writes under way, each way.
const SLOTS: usize = 16;
