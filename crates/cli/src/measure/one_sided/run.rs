//! One transfer, on either end.
//!
//! The order: data made, outside the clock → key at the client → transfer → note at the server → Sent and
//! Received reconciled. The server's key travels in Filled or in Go. Regions are registered for one run,
//! because their memory is then verified, or moved by bare sockets.

use std::time::{Duration, Instant};

use gputcp::{
    Origin,
    onesided::{Block, Region, RemoteKey, Rights, Transfer},
};
use gputcp_gpu::Buffer;

use super::{Connected, LOOK};
use crate::{
    bootstrap::{
        link::Link,
        message::{Begin, Filled, Go, Received, Sent, from_hex, to_hex},
    },
    failure::Failure,
    measure::{
        burst,
        damage::Damage,
        run::{Clock, Outcome, settle},
        side::tcp_counters,
    },
    session::{Kind, Role},
    settings::{OneSided, Operation, Settings},
};

/// One end of a run.
pub(in crate::measure) struct Run<'a> {
    /// This end.
    pub(in crate::measure) end: &'a Connected,
    /// The settings that both ends agreed on.
    pub(in crate::measure) settings: &'a Settings,
    /// This end's region.
    pub(in crate::measure) buffer: &'a Buffer,
    /// The fault to commit on purpose.
    pub(in crate::measure) damage: Damage,
    /// The client's word.
    pub(in crate::measure) begin: &'a Begin,
}

impl Run<'_> {
    /// Runs it; both ends call this. The time is the client's, from the post of the prepared transfer until
    /// it is done.
    ///
    /// # Errors
    /// If anything of it fails: then nothing of it counts.
    pub(in crate::measure) fn run(&self, link: &mut Link, role: Role) -> Result<Outcome, Failure> {
        let Self { end, settings, buffer, damage, begin } = *self;
        let OneSided { op, blocks, .. } = end.places.one_sided;
        let sends = (role == Role::Client) == (op == Operation::Write);
        let interrupt = link.interrupt().clone();
        if sends {
            end.places.make(buffer, begin, &interrupt)?;
            damage.apply(buffer, end.places.middle_of_source(), begin)?;
        } else {
            end.places.make_gaps(buffer, begin, &interrupt)?;
        }
        let rights = match op {
            Operation::Read => Rights::Read,
            Operation::Write => Rights::Write,
        };
        let region = end.endpoint.register(buffer, rights)?;
        let clock = match role {
            Role::Client => self.initiate(link, &region)?,
            Role::Server => self.serve(link, &region)?,
        };
        region.deregister(settings.timeout())?;
        if !sends {
            // Only the client damages anything: here a read that has come.
            damage.apply(buffer, end.places.middle_of_destination(), begin)?;
        }
        let (time_ns, cpu_ns) = (clock.time.as_nanos() as u64, clock.cpu.as_nanos() as u64);
        let (bytes, chunks) = (begin.bytes, u64::from(blocks));
        let sent = sends.then(|| {
            let tcp = end.counters().and_then(|counters| tcp_counters(&counters.sending));
            Sent { bytes, chunks, cpu_ns, tcp }
        });
        let received = || -> Result<Option<Received>, Failure> {
            if sends {
                return Ok(None);
            }
            let mismatch = if settings.verify { end.places.check(buffer, begin, &interrupt)? } else { None };
            let verified = settings.verify.then_some(mismatch.is_none());
            // The end of the transfer says that all of it has landed.
            let (landed, unpacked) = (bytes, bytes);
            let message_times_ns = Vec::new();
            Ok(Some(Received {
                time_ns,
                landed,
                unpacked,
                chunks,
                cpu_ns,
                verified,
                mismatch,
                message_times_ns,
            }))
        };
        let mut outcome = settle(link, (begin, &burst::name(begin)), self.stall_timeout(), sent, received)?;
        if let (Role::Client, Some(flow)) = (role, &mut outcome.sent) {
            flow.time_ns = time_ns;
        }
        Ok(outcome)
    }

    /// Begins the transfer and waits for its end.
    fn initiate(&self, link: &mut Link, region: &Region) -> Result<Elapsed, Failure> {
        let OneSided { op, .. } = self.end.places.one_sided;
        let deadline = Instant::now() + self.stall_timeout();
        let key = match op {
            Operation::Read => link.hear::<Filled>(Kind::Filled, deadline)?.key,
            Operation::Write => {
                link.say(Kind::Filled, &Filled::default(), deadline)?;
                link.hear::<Go>(Kind::Go, deadline)?.key
            }
        };
        let mut transfer = self.prepare(region, &self.key_of(key.as_deref(), link.peer())?)?;
        if op == Operation::Read {
            link.say(Kind::Go, &Go::default(), deadline)?;
        }
        let clock = Clock::start();
        transfer.post(Some(&self.note()))?;
        self.wait(&transfer, link)?;
        Ok(Elapsed { time: clock.time(), cpu: clock.cpu() })
    }

    /// Lets the other side transfer, and waits for its note.
    fn serve(&self, link: &mut Link, region: &Region) -> Result<Elapsed, Failure> {
        let OneSided { op, .. } = self.end.places.one_sided;
        let deadline = Instant::now() + self.stall_timeout();
        let key = Some(to_hex(&region.key().encode()));
        let clock = match op {
            Operation::Read => {
                let clock = Clock::start();
                link.say(Kind::Filled, &Filled { key }, deadline)?;
                link.hear::<Go>(Kind::Go, deadline)?;
                clock
            }
            Operation::Write => {
                link.hear::<Filled>(Kind::Filled, deadline)?;
                let clock = Clock::start();
                link.say(Kind::Go, &Go { key }, deadline)?;
                clock
            }
        };
        // The client prepares the transfer meanwhile.
        let bound = self.transfer_timeout() + self.stall_timeout();
        if !self.end.hear(&self.note(), link, Instant::now() + bound)? {
            return Err(late(link.peer(), "end", op, bound));
        }
        Ok(Elapsed { time: clock.time(), cpu: clock.cpu() })
    }

    fn prepare(&self, local: &Region, remote: &RemoteKey) -> Result<Transfer, Failure> {
        let OneSided { op, block_bytes: bytes, .. } = self.end.places.one_sided;
        let blocks = self.end.places.blocks().map(|(source, destination)| {
            let (local_offset, remote_offset) = match op {
                Operation::Read => (destination, source),
                Operation::Write => (source, destination),
            };
            Block { local, local_offset, remote, remote_offset, bytes }
        });
        Ok(self.end.peer.prepare(op.into(), blocks)?)
    }

    /// Waits for the end of the transfer, and looks at the other side meanwhile.
    fn wait(&self, transfer: &Transfer, link: &mut Link) -> Result<(), Failure> {
        let bound = self.transfer_timeout();
        let deadline = Instant::now() + bound;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let _ = transfer.wait(left.min(LOOK));
            match transfer.poll() {
                Ok(progress) if progress.is_done() => return Ok(()),
                Ok(_) if left.is_zero() => {
                    return Err(late(link.peer(), "complete", self.end.places.one_sided.op, bound));
                }
                Ok(_) => link.watch(&[], Instant::now())?,
                // The blocks are right, and the key is the peer's: it has refused what it offered.
                Err(error) if error.origin() == Origin::Caller => {
                    return Err(Failure::Peer(format!("{}: {error}", link.peer())));
                }
                Err(error) => return Err(error.into()),
            };
        }
    }

    /// Returns the key that the other side has given.
    fn key_of(&self, text: Option<&str>, peer: &str) -> Result<RemoteKey, Failure> {
        let OneSided { op, .. } = self.end.places.one_sided;
        let key = text.and_then(from_hex::<{ RemoteKey::BYTES }>);
        let key = key.and_then(|bytes| RemoteKey::decode(&bytes).ok());
        key.filter(|key| key.bytes() == self.buffer.bytes() && key.rights().allow(op.into()))
            .ok_or_else(|| Failure::Peer(format!("{peer} gave no key for the {op} that was agreed on")))
    }

    /// Returns the note behind this run's transfer.
    const fn note(&self) -> [u8; 8] {
        self.begin.iteration.to_le_bytes()
    }

    /// Returns how long a side may be silent that makes or verifies the data meanwhile.
    fn stall_timeout(&self) -> Duration {
        self.settings.stall_timeout(self.end.places.one_sided.work_bytes())
    }

    /// Returns how long the transfer may take in all: the timeout, and the time that a link of 8 Mb/s needs.
    /// The library bounds the time without progress.
    fn transfer_timeout(&self) -> Duration {
        self.settings.timeout() + Duration::from_micros(self.begin.bytes)
    }
}

/// The time and the CPU time of a run.
struct Elapsed {
    time: Duration,
    cpu: Duration,
}

fn late(peer: &str, did: &str, op: Operation, bound: Duration) -> Failure {
    Failure::Peer(format!(
        "{peer} did not {did} a one-sided {op} within {:.1} s: it is stuck, or the network lost it (the bound is --timeout)",
        bound.as_secs_f64()
    ))
}
